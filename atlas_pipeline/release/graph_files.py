"""The atlas as GraphML and GEXF, for Gephi, yEd, Cytoscape, igraph and networkx: as a whole and by component.

DuckDB writes the lines, so that nothing is held in memory but a batch of them: ``networkx`` would hold the whole graph
and the whole document.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from typing import IO, Final

import duckdb
import pyarrow as pa

from atlas_pipeline.storage import TableStore, load_query, run_query

N_REGIONS: Final = 50
"""Components that get files of their own, the largest; the others are in the whole."""

BATCH_ROWS: Final = 20_000
GZIP_LEVEL: Final = 6
TABLES: Final = ("components.models", "edges.charted", "release.positions")

NODE_ATTRIBUTES: Final = {
    "license": "string",
    "pipeline_tag": "string",
    "model_type": "string",
    "created_at": "string",
    "downloads_30d": "long",
    "presence": "string",
    "component_id": "string",
}
EDGE_ATTRIBUTES: Final = {
    "relation": "string",
    "origin": "string",
    "rule": "string",
    "confidence": "double",
    "coefficient": "double",
    "is_ambiguous": "boolean",
}
PLACE: Final = {"x": "double", "y": "double"}
"""GraphML has no place for positions; most programs take them from attributes of these names."""


def write_graph_files(store: TableStore, folder: str) -> list[tuple[str, int, str]]:
    """Write the graph files, compressed; the same tables give the same bytes.

    An edge runs from parent to child. Models without any edge are left out.

    Args:
        store: where the tables lie; one that is missing counts as empty.
        folder: folder under the home to write into.

    Returns:
        path within the folder, bytes and sha256 of each file.
    """
    written = []
    with store.connect(dict.fromkeys(TABLES), optional=TABLES, threads=1) as connection:
        connection.execute("set variable component = null")
        connection.execute(load_query("release/graph_files"))
        regions = run_query(connection, "release/graph_regions", n_regions=N_REGIONS)["component_id"].to_pylist()
        for number, component in enumerate((None, *regions)):
            connection.execute("set variable component = ?", [component])
            name = "atlas" if component is None else f"regions/{number:02}-{file_stem(component)}"
            for suffix, parts in (("gexf", gexf_parts), ("graphml", graphml_parts)):
                path = f"{name}.{suffix}.gz"
                size, digest = store.files.write_with(f"{folder}/{path}", _compressed(connection, parts))
                written.append((path, size, digest))
    return written


def file_stem(model_id: str) -> str:
    """A model id as part of a file name: letters, digits and a few signs, not too many."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", model_id.replace("/", "--"))[:80]


Parts = Callable[[duckdb.DuckDBPyConnection], Iterator[bytes | memoryview]]


def gexf_parts(connection: duckdb.DuckDBPyConnection) -> Iterator[bytes | memoryview]:
    """GEXF 1.3 with positions, sizes by downloads and colours by relation, piece by piece."""
    yield b'<?xml version="1.0" encoding="UTF-8"?>\n'
    yield b'<gexf xmlns="http://gexf.net/1.3" xmlns:viz="http://gexf.net/1.3/viz" version="1.3">\n'
    yield b'<graph defaultedgetype="directed" mode="static">\n'
    for kind, attributes in (("node", NODE_ATTRIBUTES), ("edge", EDGE_ATTRIBUTES)):
        declared = (f'<attribute id="{name}" title="{name}" type="{type_}"/>' for name, type_ in attributes.items())
        yield f'<attributes class="{kind}" mode="static">{"".join(declared)}</attributes>\n'.encode()
    yield b"<nodes>\n"
    yield from _lines(connection, load_query("release/graph_gexf_nodes"))
    yield b"</nodes>\n<edges>\n"
    yield from _lines(connection, load_query("release/graph_gexf_edges"))
    yield b"</edges>\n</graph>\n</gexf>\n"


def graphml_parts(connection: duckdb.DuckDBPyConnection) -> Iterator[bytes | memoryview]:
    """GraphML with positions as attributes, piece by piece."""
    yield b'<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
    for kind, attributes in (("node", {**NODE_ATTRIBUTES, **PLACE}), ("edge", EDGE_ATTRIBUTES)):
        for name, type_ in attributes.items():
            yield f'<key id="{name}" for="{kind}" attr.name="{name}" attr.type="{type_}"/>\n'.encode()
    yield b'<graph edgedefault="directed">\n'
    yield from _lines(connection, load_query("release/graph_graphml_nodes"))
    yield from _lines(connection, load_query("release/graph_graphml_edges"))
    yield b"</graph>\n</graphml>\n"


def _compressed(connection: duckdb.DuckDBPyConnection, parts: Parts) -> Callable[[IO[bytes]], None]:
    def produce(stream: IO[bytes]) -> None:
        with gzip.GzipFile("", "wb", GZIP_LEVEL, stream, mtime=0) as packed:
            for part in parts(connection):
                packed.write(part)

    return produce


def _lines(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[memoryview]:
    """The texts that a query gives, end to end, a batch at a time."""
    for batch in connection.sql(query).to_arrow_reader(BATCH_ROWS):
        lines = batch.column(0).cast(pa.large_string())
        if len(lines):
            text = lines.buffers()[2]
            begins = memoryview(lines.buffers()[1]).cast("B").cast("q")
            yield memoryview(text)[begins[lines.offset] : begins[lines.offset + len(lines)]]
