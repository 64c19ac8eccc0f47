"""The gate before a release: every check of every table, run on what lies in the store, however it came there."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from atlas_pipeline.quality.expectations import SUITES, check_plausibility
from atlas_pipeline.quality.invariants import checks_of, run_check
from atlas_pipeline.quality.partitions import check_partitions, damaged_files
from atlas_pipeline.quality.results import CheckResult, not_run
from atlas_pipeline.schema import RELEASED, contract_of
from atlas_pipeline.storage import TableStore


class ReleaseRefused(Exception):
    """Tables that must not be released; the message names the checks that failed."""


def check_tables(store: TableStore, *, progress: Callable[[str], None] = lambda _: None) -> list[CheckResult]:
    """Run all checks of the tables of a release, all partitions at once.

    A table that is not there fails. Checks of a table whose files are damaged are not run, and fail for that.

    Args:
        store: where the tables lie.
        progress: told the name of each table before it is checked.
    """
    damaged = {table: problems for table in RELEASED if (problems := damaged_files(store, table))}
    views: dict[str, list[str] | None] = {table: [] if table in damaged else None for table in RELEASED}
    results = []
    with store.connect(views, optional=RELEASED) as connection:
        connection.execute("set variable partition = null")
        for table in RELEASED:
            progress(table)
            results.append(check_partitions(store, table, damaged.get(table, [])))
            for check in checks_of(table):
                unread = sorted({table, *check.reads} & damaged.keys())
                results.append(
                    not_run(check, f"files of {', '.join(unread)} are damaged")
                    if unread
                    else run_check(connection, check)
                )
        progress("plausibility")
        results += check_plausibility(connection, tuple(table for table in SUITES if table not in damaged))
    return results


def result_rows(results: list[CheckResult]) -> pa.Table:
    """Rows of ``release.checks``."""
    rows = [
        {
            "table": result.check.table,
            "check": result.check.name,
            "severity": result.check.severity,
            "is_passed": result.is_passed,
            "n_failing": result.n_failing,
            "sample": list(result.sample),
            "description": result.check.description,
        }
        for result in results
    ]
    return pa.Table.from_pylist(rows, contract_of("release.checks").arrow_schema)


def refuse_unless_sound(store: TableStore) -> pa.Table:
    """The rows of ``release.checks``, checked now and not read from an earlier run.

    Raises:
        ReleaseRefused: a check of severity error fails.
    """
    results = check_tables(store)
    failed = [r for r in results if not r.is_passed and r.check.severity == "error"]
    if failed:
        names = "; ".join(
            f"{r.check.table} {r.check.name} ({r.n_failing} rows, {'; '.join(r.sample[:1])})" for r in failed
        )
        raise ReleaseRefused(f"nothing was released: {len(failed)} checks fail: {names}")
    return result_rows(results)
