"""The check that every table has: the stored files keep the contract."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from atlas_pipeline.quality.results import SAMPLE_ROWS, Check, CheckResult, as_text
from atlas_pipeline.schema import TableContract, contract_of
from atlas_pipeline.storage import sql_literal
from atlas_pipeline.storage.table_store import duckdb_type

NAME = "contract_is_kept"


@dataclass(frozen=True)
class _Rule:
    """A complaint and the SQL condition on the rows that it is true of."""

    complaint: str
    condition: str


def contract_check(table: str) -> Check:
    """The check of a table's contract."""
    return Check(
        table,
        NAME,
        f"The files of {table} have the contract's columns and types, no nulls where none may be, distinct keys, and "
        "only the values that columns may take. Red: materialise the table again; if it stays red, its code is wrong.",
    )


def check_contract(connection: duckdb.DuckDBPyConnection, table: str) -> CheckResult:
    """Check the rows that the connection's view of a table shows, in one scan.

    Args:
        connection: with the table as a view; its variable ``partition`` may name the one partition that is shown.
        table: the table.

    Returns:
        the number of columns that are wrong, or else of failing rows, a row counted for each rule that it breaks;
        the sample holds one sentence for each rule, with the key of the first such row.
    """
    contract, check = contract_of(table), contract_check(table)
    problems = _column_problems(contract, connection)
    if problems:
        return CheckResult(check, len(problems), tuple(problems[:SAMPLE_ROWS]))
    rules = list(_rules(contract))
    key = _quoted(contract.full_key)
    counts = ", ".join(f"count(*) filter (where {rule.condition})" for rule in rules)
    # The key stands in a row because count(distinct) passes over a bare null.
    n_repeated, *n_failing = connection.execute(
        f"select count(*) - count(distinct row({key})), {counts} from {table}"
    ).fetchall()[0]
    struct = "{" + ", ".join(f"{sql_literal(name)}: {_quoted((name,))}" for name in contract.full_key) + "}"
    if n_repeated:
        groups = f"(select {key} from {table} group by all having count(*) > 1)"
        example = _first(connection, f"select min({struct}) from {groups}")
        problems.append(f"key ({', '.join(contract.full_key)}) repeated: {n_repeated} rows, as {example}")
    for rule, n_rows in zip(rules, n_failing, strict=True):
        if n_rows:
            # As a filter of an aggregate, not as a where: there DuckDB trusts Parquet statistics, which leave NaN out.
            example = _first(connection, f"select min({struct}) filter (where {rule.condition}) from {table}")
            problems.append(f"{rule.complaint}: {n_rows} rows, as {example}")
    return CheckResult(check, n_repeated + sum(n_failing), tuple(problems[:SAMPLE_ROWS]))


def _first(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    return as_text(connection.execute(query).fetchall()[0][0])


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _column_problems(contract: TableContract, connection: duckdb.DuckDBPyConnection) -> list[str]:
    found = {str(row[0]): str(row[1]) for row in connection.execute(f"describe {contract.name}").fetchall()}
    types = ", ".join(f'null::{duckdb_type(c.type)} as "{c.name}"' for c in contract.columns)
    wanted = {str(row[0]): str(row[1]) for row in connection.execute(f"describe select {types}").fetchall()}
    missing = [f"column {name} is missing" for name in wanted if name not in found]
    unknown = [f"column {name} is not in the contract" for name in found if name not in wanted]
    other = [
        f"column {name} is {found[name]}, not {kind}" for name, kind in wanted.items() if found.get(name, kind) != kind
    ]
    return missing + unknown + other


def _rules(contract: TableContract) -> Iterator[_Rule]:
    if contract.partitioned_by == "snapshot":
        yield _Rule("snapshot is not the partition's", "snapshot <> coalesce(getvariable('partition'), snapshot)")
    for column in contract.columns:
        name = f'"{column.name}"'
        if not column.nullable:
            yield _Rule(f"{column.name} is null", f"{name} is null")
        if column.values:
            values = ", ".join(sql_literal(value) for value in column.values)
            yield _Rule(f"{column.name} outside its values", f"{name} not in ({values})")
        if column.minimum is not None:
            yield _Rule(f"{column.name} below {column.minimum}", f"{name} < {column.minimum}")
        if column.maximum is not None:
            yield _Rule(f"{column.name} above {column.maximum}", f"{name} > {column.maximum}")
        for path in _real_numbers(name, column.type):
            yield _Rule(f"{path.replace(chr(34), '')} is not finite", f"not isfinite({path})")


def _real_numbers(path: str, kind: pa.DataType) -> Iterator[str]:
    """SQL paths of the floating-point values in a column, those in structs included."""
    if kind == pa.float64():
        yield path
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from _real_numbers(f'{path}."{field.name}"', field.type)
