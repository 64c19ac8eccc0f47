"""The check that every table has: the stored files keep the contract."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from atlas_pipeline.quality.results import SAMPLE_ROWS, Check, CheckResult
from atlas_pipeline.schema import TABLES, TableContract, contract_of
from atlas_pipeline.storage.table_store import duckdb_type, sql_literal

NAME = "contract_is_kept"


def contract_check(table: str) -> Check:
    """The check of a table's contract."""
    return Check(
        table,
        NAME,
        f"The files of {table} have the contract's columns and types, no nulls where none may be, distinct keys, and "
        "only the values that columns may take. Red: materialise the table again; if it stays red, its code is wrong.",
    )


def check_contract(connection: duckdb.DuckDBPyConnection, table: str) -> CheckResult:
    """Check the rows that the connection's view of a table shows.

    Args:
        connection: with the table as a view.
        table: the table.
    """
    contract, check = contract_of(table), contract_check(table)
    described = connection.execute(f"describe {table}").fetchall()
    found = {str(row[0]): str(row[1]) for row in described}
    problems = _column_problems(contract, found)
    n_failing = len(problems)
    if not problems:
        for problem, query in _row_queries(contract):
            rows = connection.execute(query).fetchall()
            if rows[0][0]:
                n_failing += int(rows[0][0])
                problems.append(f"{problem}: {rows[0][0]} rows")
    return CheckResult(check, n_failing, tuple(problems[:SAMPLE_ROWS]))


def _column_problems(contract: TableContract, found: dict[str, str]) -> list[str]:
    with duckdb.connect() as connection:
        wanted = {
            c.name: str(connection.execute(f"select typeof(null::{duckdb_type(c.type)})").fetchall()[0][0])
            for c in contract.columns
        }
    missing = [f"column {name} is missing" for name in wanted if name not in found]
    unknown = [f"column {name} is not in the contract" for name in found if name not in wanted]
    other = [
        f"column {name} is {found[name]}, not {kind}" for name, kind in wanted.items() if found.get(name, kind) != kind
    ]
    return missing + unknown + other


def _row_queries(contract: TableContract) -> list[tuple[str, str]]:
    """Pairs of a complaint and a query that counts the rows it is true of."""
    key = [*contract.key]
    if contract.partitioned_by == "snapshot":
        key = ["snapshot", *key]
    columns = ", ".join(f'"{name}"' for name in key)
    of = f"from {contract.name} where"
    queries = [
        (
            f"key ({', '.join(key)}) repeated",
            f"select count(*) - count(distinct ({columns})) from {contract.name}",
        )
    ]
    for column in contract.columns:
        name = f'"{column.name}"'
        if not column.nullable:
            queries.append((f"{column.name} is null", f"select count(*) {of} {name} is null"))
        if column.values:
            values = ", ".join(sql_literal(value) for value in column.values)
            queries.append((f"{column.name} outside its values", f"select count(*) {of} {name} not in ({values})"))
        if column.minimum is not None:
            queries.append((f"{column.name} below {column.minimum}", f"select count(*) {of} {name} < {column.minimum}"))
        if column.maximum is not None:
            queries.append((f"{column.name} above {column.maximum}", f"select count(*) {of} {name} > {column.maximum}"))
        if column.type == pa.float64():
            queries.append((f"{column.name} is not finite", f"select count(*) {of} not isfinite({name})"))
    return queries


def tables_with_contract() -> tuple[str, ...]:
    """All tables; each has the contract check."""
    return tuple(TABLES)
