"""The map of a release: a page that works from a folder, and its data in pieces.

A page that is opened from a folder may load scripts beside it, but may not fetch files: each piece is a script that
hands over one Arrow table, compressed, as base64. The page itself is built in ``map/`` and comes with the package.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from atlas_pipeline.schema import contract_of
from atlas_pipeline.storage import load_query, run_query

TABLES: Final = ("components.models", "components.impact", "edges.charted", "release.positions")
PIECE_ROWS: Final = 65_536
GZIP_LEVEL: Final = 6
PAGE: Final = ("index.html", "map.js", "map.css", "licenses.txt")
NAMED: Final = ("relation", "origin", "rule")
"""Columns of edges whose values are numbers on the map: places in the contract's set of values, from 1."""

MODELS: Final = pa.schema(
    [
        ("id", pa.string()),
        ("x", pa.float32()),
        ("y", pa.float32()),
        ("downloads", pa.int32()),
        ("descendants", pa.int32()),
        ("created", pa.int32()),
        ("relation", pa.uint8()),
        ("origin", pa.uint8()),
        ("confidence", pa.float32()),
        ("license", pa.uint16()),
        ("task", pa.uint16()),
        ("modality", pa.uint8()),
        ("component", pa.int32()),
    ]
)
EDGES: Final = pa.schema(
    [
        ("parent", pa.int32()),
        ("child", pa.int32()),
        ("relation", pa.uint8()),
        ("origin", pa.uint8()),
        ("rule", pa.uint8()),
        ("confidence", pa.float32()),
        ("ambiguous", pa.uint8()),
        ("said", pa.uint16()),
        ("coefficient", pa.float32()),
        ("distance", pa.float32()),
        ("candidates", pa.int32()),
    ]
)


def map_files(connection: duckdb.DuckDBPyConnection, version: str) -> Iterator[tuple[str, bytes]]:
    """Path and content of each file of the map; the same tables give the same bytes.

    Args:
        connection: with ``TABLES``, of a store or of a downloaded atlas.duckdb; temporary tables are made in it.
        version: of the release, shown on the page.
    """
    for name in PAGE:
        yield name, files("atlas_pipeline.release").joinpath("site", name).read_bytes()
    connection.execute("set variable piece_rows = ?", [PIECE_ROWS])
    for column in NAMED:
        connection.execute(f"set variable {column}s = ?", [_names(column)])
    connection.execute(load_query("release/map_models"))
    connection.execute(load_query("release/map_edges"))
    models = connection.sql(load_query("release/map_rows")).to_arrow_table().cast(MODELS)
    edges = connection.sql(load_query("release/map_edge_rows")).to_arrow_table()
    pieces = []
    for number, start in enumerate(range(0, models.num_rows, PIECE_ROWS)):
        of_piece = edges.filter(pc.equal(edges["piece"], number)).drop_columns("piece").cast(EDGES)
        parts = {"models": models.slice(start, PIECE_ROWS), "edges": of_piece}
        for kind, rows in parts.items():
            yield f"data/{kind}-{number:03}.js", _piece(f"{kind}-{number:03}", rows)
        pieces.append({kind: rows.num_rows for kind, rows in parts.items()})
    yield "data/index.js", _index(connection, version, pieces)


def _names(column: str) -> list[str]:
    values = next(each.values for each in contract_of("edges.charted").columns if each.name == column)
    return list(values or ())


def _piece(name: str, rows: pa.Table) -> bytes:
    """A script that hands over a table under a name."""
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, rows.schema) as writer:
        for batch in rows.combine_chunks().to_batches():
            writer.write_batch(batch)
    packed = base64.b64encode(gzip.compress(buffer.getvalue(), GZIP_LEVEL, mtime=0))
    return b'atlasPiece("%s","%s");\n' % (name.encode(), packed)


def _index(connection: duckdb.DuckDBPyConnection, version: str, pieces: list[dict[str, int]]) -> bytes:
    facts = run_query(connection, "release/map_facts").to_pylist()[0]
    words = {row["column_name"]: row["words"] for row in run_query(connection, "release/map_words").to_pylist()}
    index = {
        "version": version,
        "pieceRows": PIECE_ROWS,
        "pieces": pieces,
        **{f"{column}s": _names(column) for column in NAMED},
        "words": {name: words.get(name, []) for name in ("license", "pipeline_tag", "modality", "said")},
        **facts,
    }
    # Of a script that is no part of a page nothing needs to be escaped: JSON is JavaScript.
    return b"atlasIndex(%s);\n" % json.dumps(index, sort_keys=True, allow_nan=False).encode()
