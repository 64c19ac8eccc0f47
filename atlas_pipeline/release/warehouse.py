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
            for view in VIEWS:
                connection.execute(load_query(f"views/{view}"))
                connection.execute(f"comment on view {view} is {sql_literal(_said_of(view))}")
            connection.execute("use memory")
            connection.execute("detach atlas")

        def produce(stream: IO[bytes]) -> None:
            with path.open("rb") as built:
                shutil.copyfileobj(built, stream)

        store.files.write_with(name, produce)


def _said_of(view: str) -> str:
    """The comment that a view's file begins with."""
    lines = load_query(f"views/{view}").splitlines()
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
