"""Trend tables: each is one query of ``sql/trends/``."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from atlas_pipeline.storage import run_query


def trend(connection: duckdb.DuckDBPyConnection, name: str, snapshot: str) -> pa.Table:
    """Rows of ``trends.<name>``.

    Args:
        connection: with the tables that the trend's contract names.
        name: the trend, for example ``depth_by_modality``.
        snapshot: YYYY-MM-DD.

    Returns:
        columns as in the trend's contract, in the order of its query: by key, or what matters most first.

    Raises:
        FileNotFoundError: there is no such trend.
    """
    return run_query(connection, f"trends/{name}", snapshot=snapshot)
