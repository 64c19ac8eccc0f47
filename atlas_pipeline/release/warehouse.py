"""Builds atlas.duckdb: all released tables with comments and views, in one file that is swapped in whole."""

from __future__ import annotations

import shutil
import tempfile
from itertools import takewhile
from pathlib import Path
from typing import IO, Final

import duckdb

from atlas_pipeline.schema import RELEASED, contract_of
from atlas_pipeline.storage import TableStore, load_query, sql_literal

VIEWS: Final = ("atlas_models", "atlas_edges")
MACROS: Final = {
    "ancestors": "ancestors(id)",
    "descendants": "descendants(id)",
    "siblings": "siblings(id)",
    "path": "path(a, b)",
    "blast_radius": "blast_radius(id)",
    "impact": "impact(id)",
}
"""Table macros by name and as they are called, each after those that it uses."""

STORAGE_VERSION: Final = "v1.2.0"
"""Format that DuckDB 1.2 and everything later reads."""


def build_warehouse(store: TableStore, name: str) -> None:
    """Write the database to ``name`` under the home; a reader keeps the old file until it opens the new one.

    The same tables give the same rows, but neither the same bytes nor the same number of them.

    Args:
        store: where the tables lie; one that is missing becomes an empty table.
        name: path under the home.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "atlas.duckdb"
        with store.connect(dict.fromkeys(RELEASED), optional=RELEASED, threads=1) as connection:
            connection.execute(f"attach {sql_literal(str(path))} as atlas (storage_version '{STORAGE_VERSION}')")
            for table in RELEASED:
                _copy_table(connection, table)
            connection.execute("use atlas")
            open_views(connection)
            connection.execute("use memory")
            connection.execute("detach atlas")

        def produce(stream: IO[bytes]) -> None:
            with path.open("rb") as built:
                shutil.copyfileobj(built, stream)

        store.files.write_with(name, produce)


def open_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the views and macros over the tables of a connection, with their comments."""
    for name in VIEWS:
        _create(connection, f"view {name}", load_query(f"views/{name}"))
    for name in MACROS:
        _create(connection, f"macro table {name}", load_query(f"macros/{name}"))


def _create(connection: duckdb.DuckDBPyConnection, what: str, text: str) -> None:
    connection.execute(text)
    connection.execute(f"comment on {what} is {sql_literal(said_in(text))}")


def said_in(text: str) -> str:
    """The comment that a file of SQL begins with."""
    lines = text.splitlines()
    return " ".join(line[2:].strip() for line in takewhile(lambda line: line.startswith("--"), lines))


def _copy_table(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    contract = contract_of(table)
    target = f"atlas.{table}"
    connection.execute(f"create schema if not exists atlas.{contract.stage}")
    connection.execute(f"create table {target} as from memory.{table}")
    text = f"One row per {contract.grain}. {contract.description}"
    connection.execute(f"comment on table {target} is {sql_literal(text)}")
    for column in contract.columns:
        unit = f" [{column.unit}]" if column.unit else ""
        comment = sql_literal(column.description + unit)
        connection.execute(f'comment on column {target}."{column.name}" is {comment}')
