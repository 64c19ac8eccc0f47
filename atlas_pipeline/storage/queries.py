"""Finds the files that stand beside the package: SQL and the orchestrator's configuration."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa

_PACKAGE = Path(__file__).resolve().parents[1]


def project_file(name: str) -> Path:
    """Path of a file of the project, in a checkout or in an installed package.

    Args:
        name: path relative to the project, for example ``sql/components/models.sql``.

    Raises:
        FileNotFoundError: there is no such file.
    """
    for root in (_PACKAGE / "_project", _PACKAGE.parent):
        if (path := root / name).exists():
            return path
    raise FileNotFoundError(f"{name} belongs to the project but is not installed with it")


@cache
def load_query(name: str) -> str:
    """Text of ``sql/<name>.sql``, for example ``components/models``."""
    return project_file(f"sql/{name}.sql").read_text(encoding="utf-8")


def run_query(connection: duckdb.DuckDBPyConnection, name: str, **variables: str | int | float) -> pa.Table:
    """Run ``sql/<name>.sql``, which may hold several statements, and return the rows of the last.

    Args:
        connection: with the tables that the query reads.
        name: for example ``components/models``.
        variables: values that the query takes with ``getvariable('name')``.
    """
    for variable, value in variables.items():
        connection.execute(f"set variable {variable} = ?", [value])
    return connection.sql(load_query(name)).to_arrow_table()
