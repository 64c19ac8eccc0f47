"""The models of one partition that came after it was charted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import duckdb
import pyarrow as pa

from atlas_pipeline.edges.charting.arrivals import chart_arrivals, without_closing
from atlas_pipeline.edges.partitions import Measured, charted_table, documented_edge, documented_edges, places
from atlas_pipeline.edges.records import Edge, Evidence
from atlas_pipeline.storage import Attachment

_MODELS: Final = "models"


def list_of_models(measured: Measured) -> Attachment:
    """The models that a partition is charted of, to lie beside its edges: of sources the edges say nothing."""
    ids = sorted(model_id for group in measured.groups for model_id in measured.model_ids[group])
    return Attachment(metadata={_MODELS: json.dumps(ids)})


def arrived_edges(
    connection: duckdb.DuckDBPyConnection,
    partition: str,
    charted: tuple[Mapping[str, Any], Mapping[str, str]],
    measure: Callable[[], Measured],
) -> pa.Table:
    """Rows of ``edges.arrivals``: parents of the sampled models that ``edges.charted`` had not seen.

    Args:
        connection: with the inputs of edges.arrivals.
        partition: the partition.
        charted: arrays and metadata that lie beside ``edges.charted``.
        measure: gives vectors and distances of the partition's models; not called where nothing arrived.
    """
    children = connection.execute("select distinct child_id from edges.charted").fetchall()
    sampled = connection.execute("select model_id from features.models where status = 'ok'").fetchall()
    seen = {*json.loads(charted[1][_MODELS]), *(child_id for (child_id,) in children)}
    arrived = {model_id for (model_id,) in sampled} - seen
    if not arrived:
        return charted_table([], {})
    known = known_edges(connection)
    documented = documented_edges(connection, partition)
    edges = {
        (row["child_id"], row["parent_id"]): documented_edge(row) for row in documented if row["child_id"] in arrived
    }
    region_of: dict[str, str] = {}
    for place in places(connection, measure(), documented):
        if not arrived.isdisjoint(place.region_ids):
            region_of.update(place.region_ids)
            found = chart_arrivals(place.region, known, seen)
            edges.update({(edge.child_id, edge.parent_id): edge for edge in found})
    return charted_table(without_closing(known, list(edges.values())), region_of)


def known_edges(connection: duckdb.DuckDBPyConnection) -> list[Edge]:
    """The rows of ``edges.charted`` as edges, sorted by child and parent."""
    rows = connection.sql("from edges.charted order by child_id, parent_id").to_arrow_table().to_pylist()
    return [_edge(row) for row in rows]


def _edge(row: Mapping[str, Any]) -> Edge:
    evidence: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row["evidence"].items()}
    fields = {name: value for name, value in row.items() if name not in ("region_id", "evidence")}
    return Edge(**fields, evidence=Evidence(**evidence))
