"""What a query on a whole table cannot see: each file's own columns and snapshot, and files that are not there.

A query on several files takes its columns from the first, and rows that were never written break no rule.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from atlas_pipeline.quality.results import SAMPLE_ROWS, Check, CheckResult
from atlas_pipeline.schema import contract_of
from atlas_pipeline.storage import TableStore
from atlas_pipeline.storage.table_store import WHOLE

NAME: Final = "partitions_are_whole"

LEADING: Final = {"snapshot": "components.models", "region": "components.regions"}
"""Tables that say which partitions there must be: every snapshot of the models, every partition of the regions."""


def partitions_check(table: str) -> Check:
    """The check of a table's files, one by one."""
    return Check(
        table,
        NAME,
        f"{table} is there for every snapshot of the models, or every partition of the latest regions, and each file "
        "can be read, has the contract's columns and holds its own snapshot. Red: materialise the partitions named.",
    )


def check_partitions(store: TableStore, table: str, damaged: list[str]) -> CheckResult:
    """Check which partitions of a table are there, with what is known of their files.

    Args:
        store: where the tables lie.
        table: the table.
        damaged: what ``damaged_files`` found.
    """
    contract, there = contract_of(table), store.partitions(table)
    expected = _expected_partitions(store, contract.partitioned_by)
    problems = [f"{table} is not there: materialise it first"] if not there else list(damaged)
    if there and expected is not None:
        problems += [f"partition {name} is missing" for name in sorted(set(expected) - set(there))]
        problems += [f"partition {name} is left over" for name in sorted(set(there) - set(expected))]
    return CheckResult(partitions_check(table), len(problems), tuple(problems[:SAMPLE_ROWS]))


def damaged_files(store: TableStore, table: str) -> list[str]:
    """A sentence on each file of a table that cannot be queried with the others, or holds another snapshot.

    Args:
        store: where the tables lie.
        table: the table.
    """
    contract = contract_of(table)
    wanted = {column.name: column.type for column in contract.columns}
    problems = []
    for partition in store.partitions(table):
        name = store.file_name(table, None if contract.partitioned_by is None else partition)
        try:
            with store.files.filesystem.open(store.files.path(name)) as stream, pq.ParquetFile(stream) as file:
                schema = file.schema_arrow
                found = {field.name: field.type for field in schema}
                if found != wanted or len(schema) != len(wanted):
                    unlike = sorted(n for n in {*wanted, *found} if found.get(n) != wanted.get(n))
                    problems.append(f"{name} has other columns than the contract: {', '.join(unlike[:5])}")
                elif contract.partitioned_by == "snapshot":
                    snapshots = pc.unique(file.read(columns=["snapshot"])["snapshot"]).to_pylist()
                    if others := [s for s in snapshots if s != partition]:
                        problems.append(f"{name} holds rows of the snapshot {others[0]!r:.50}")
        except (pa.ArrowException, OSError) as error:
            problems.append(f"{name} cannot be read as Parquet ({type(error).__name__})")
    return problems


def _expected_partitions(store: TableStore, partitioned_by: str | None) -> list[str] | None:
    """Partitions that a table must have; None where the table that says so is not there or cannot be read."""
    if partitioned_by is None:
        return [WHOLE]
    leading = LEADING[partitioned_by]
    snapshots = store.partitions(leading)
    if partitioned_by == "snapshot" or not snapshots:
        return snapshots or None
    if damaged_files(store, leading):
        return None
    with store.connect({leading: snapshots[-1:]}) as connection:
        rows = connection.execute(f"select distinct region_partition from {leading} order by all").fetchall()
    return [str(row[0]) for row in rows]
