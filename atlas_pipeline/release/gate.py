"""The gate before a release: every check of every table, run on what lies in the store, however it came there."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from atlas_pipeline.quality.expectations import SUITES, check_plausibility
from atlas_pipeline.quality.invariants import checks_of, run_check
from atlas_pipeline.quality.results import CheckResult
from atlas_pipeline.schema import RELEASED, contract_of
from atlas_pipeline.storage import TableStore


class ReleaseRefused(Exception):
    """Tables that must not be released; the message names the checks that failed."""


def check_tables(store: TableStore, *, progress: Callable[[str], None] = lambda _: None) -> list[CheckResult]:
    """Run all checks of the tables that would be released, all partitions at once.

    Args:
        store: where the tables lie.
        progress: told the name of each table before it is checked.
    """
    there = tuple(table for table in RELEASED if store.partitions(table))
    results = []
    with store.connect(
        dict.fromkeys(("raw.hub_stats", *RELEASED)), optional=("raw.hub_stats", *RELEASED)
    ) as connection:
        connection.execute("set variable partition = null")
        for table in there:
            progress(table)
            results += [run_check(connection, check) for check in checks_of(table)]
        results += check_plausibility(connection, tuple(table for table in there if table in SUITES))
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
