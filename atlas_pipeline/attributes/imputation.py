"""Fills attributes in from sibling leaves (paper, section 3.2), and scores that on labels left out."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from atlas_pipeline.storage import run_query


def imputed(connection: duckdb.DuckDBPyConnection, snapshot: str) -> pa.Table:
    """Rows of ``attributes.imputed``.

    Args:
        connection: with components.models, parents, impact and regions of the snapshot.
        snapshot: YYYY-MM-DD.
    """
    run_query(connection, "attributes/labels")
    return run_query(connection, "attributes/imputed", snapshot=snapshot)


def scores(connection: duckdb.DuckDBPyConnection, snapshot: str) -> pa.Table:
    """Rows of ``attributes.scores``: hub majority against region and graph majority, Table 1b of the paper.

    Args:
        connection: with components.models, parents, impact and regions of the snapshot.
        snapshot: YYYY-MM-DD.
    """
    run_query(connection, "attributes/labels")
    return run_query(connection, "attributes/scores", snapshot=snapshot)
