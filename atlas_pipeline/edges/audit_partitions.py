"""The documented edges of one partition, audited."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pyarrow as pa

from atlas_pipeline.edges.audit import audit
from atlas_pipeline.edges.audit_records import audit_table, declarations
from atlas_pipeline.edges.comparison import CHARTING_METHOD, methods
from atlas_pipeline.edges.partitions import Measured, documented_edges, places
from atlas_pipeline.storage import run_query


def audited_edges(
    connection: duckdb.DuckDBPyConnection, partition: str, measured: Measured, *, n_neighbors: int, seed: int
) -> pa.Table:
    """Rows of ``edges.audit``: every kept documented edge of the partition beside what is charted without it.

    Args:
        connection: with the inputs of edges.audit.
        partition: the partition.
        measured: vectors and distances of its models.
        n_neighbors: K of the paper's Algorithm 1.
        seed: of random choices.
    """
    declared = declarations(run_query(connection, "edges/declared", partition=partition))
    chart = methods(n_neighbors=n_neighbors, seed=seed)[CHARTING_METHOD]
    regions = [place.region for place in places(connection, measured, documented_edges(connection, partition))]
    hidden = [replace(region, known_parents={}, known_sources={}) for region in regions]
    return audit_table(audit(declared, [edge for region in hidden for edge in chart(region)], regions))
