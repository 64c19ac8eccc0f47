"""Finds the files that stand beside the package: SQL and the orchestrator's configuration."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

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


SOURCES: Final = {
    "raw": ("repositories",),
    "components": ("graph",),
    "features": ("repositories", "weights"),
    "attributes": ("graph",),
    "release": ("quality", "graph", "sql/checks", "sql/views", "sql/macros"),
}
"""What besides its own folder and its SQL decides what a stage makes."""


@cache
def code_digest(stage: str) -> str:
    """sha256 over the code, SQL and data files that decide what a stage makes; a table of other code is out of date."""
    digest = hashlib.sha256()
    for name in (stage, f"sql/{stage}", *SOURCES.get(stage, ())):
        folder = project_file("sql") / name[4:] if name.startswith("sql/") else _PACKAGE / name
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", ".sql", ".csv"):
                digest.update(f"{name}/{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


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
