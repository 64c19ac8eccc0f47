"""Invariants: SQL files that return failing rows, and the ones that need a graph.

A file ``sql/checks/<table>/<name>.sql`` begins with a comment: what it means, then ``reads:`` and ``severity:`` lines.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import takewhile
from typing import Final

import duckdb
import networkx as nx
import pyarrow as pa
import pyarrow.compute as pc

from atlas_pipeline.graph import EdgeList, strong_components
from atlas_pipeline.quality.contracts import check_contract, contract_check
from atlas_pipeline.quality.results import SAMPLE_ROWS, Check, CheckResult, as_text, not_run
from atlas_pipeline.schema import TABLES
from atlas_pipeline.storage import project_file

ACYCLIC: Final = {"components.parents": "is_kept", "edges.charted": "true"}
"""Tables of edges that must form a DAG, with the condition on the edges that count."""

ACYCLIC_NAME: Final = "edges_are_acyclic"


class CheckFileError(Exception):
    """A file in sql/checks that is none; the message names it."""


@cache
def checks_of(table: str) -> tuple[Check, ...]:
    """All checks of a table: its contract, its SQL invariants by name, and acyclicity where edges stand in it."""
    folder = project_file("sql/checks") / table
    files = sorted(folder.glob("*.sql")) if folder.is_dir() else []
    checks = [contract_check(table), *(_parse(table, path.stem, path.read_text(encoding="utf-8")) for path in files)]
    if table in ACYCLIC:
        text = "No model descends from itself. Red: a repair missed a cycle; depth and impact cannot be trusted."
        checks.append(Check(table, ACYCLIC_NAME, text))
    return tuple(checks)


def all_checks() -> tuple[Check, ...]:
    """The checks of all tables, in the order of the stages."""
    return tuple(check for table in TABLES for check in checks_of(table))


def run_check(connection: duckdb.DuckDBPyConnection, check: Check) -> CheckResult:
    """Run one check on what the connection's views show.

    Args:
        connection: with the check's table and those that it reads as views.
        check: the check.

    Returns:
        what it found; a query that DuckDB refuses is a red result that says so.
    """
    try:
        if check.query:
            return _check_query(connection, check)
        if check.name == ACYCLIC_NAME:
            return _check_acyclic(connection, check)
        return check_contract(connection, check.table)
    except duckdb.Error as error:
        return not_run(check, " ".join(str(error).split()))


def _check_query(connection: duckdb.DuckDBPyConnection, check: Check) -> CheckResult:
    """Count the failing rows where they are; only the sample leaves DuckDB."""
    failing = f"from (\n{check.query}\n)"
    n_failing = int(connection.execute(f"select count(*) {failing}").fetchall()[0][0])
    if not n_failing:
        return CheckResult(check, 0)
    sample = connection.sql(f"{failing} order by all limit {SAMPLE_ROWS}").to_arrow_table()
    return CheckResult(check, n_failing, tuple(as_text(row) for row in sample.to_pylist()))


def _check_acyclic(connection: duckdb.DuckDBPyConnection, check: Check) -> CheckResult:
    """Count the edges that lie on a cycle. Each snapshot is a graph of its own; the charted atlas is one."""
    has_snapshot = TABLES[check.table].partitioned_by == "snapshot"
    snapshot = "coalesce(snapshot, '')" if has_snapshot else "''"
    # Nulls are the contract check's to report.
    edges = connection.sql(
        f"select {snapshot} as snapshot, parent_id, child_id from {check.table} "
        f"where {ACYCLIC[check.table]} and parent_id is not null and child_id is not null"
    ).to_arrow_table()
    failing = 0
    sample: list[str] = []
    for name in sorted(pc.unique(edges["snapshot"]).to_pylist()):
        part = edges.filter(pc.equal(edges["snapshot"], name))
        ids = pc.unique(pa.chunked_array(part["parent_id"].chunks + part["child_id"].chunks))
        graph = EdgeList.from_ids(ids, part["parent_id"], part["child_id"])
        labels = strong_components(graph)
        on_cycle = labels[graph.parent] == labels[graph.child]
        failing += int(on_cycle.sum())
        if on_cycle.any() and len(sample) < SAMPLE_ROWS:
            sample.append(as_text({"snapshot": name} | _one_cycle(part.filter(pa.array(on_cycle)))))
    return CheckResult(check, failing, tuple(sample))


def _one_cycle(edges: pa.Table) -> dict[str, object]:
    """Models of one cycle in their order, the first of them again at the end, and how many there are."""
    ordered = edges.sort_by([("parent_id", "ascending"), ("child_id", "ascending")])
    pairs = zip(ordered["parent_id"].to_pylist(), ordered["child_id"].to_pylist(), strict=True)
    cycle = nx.find_cycle(nx.DiGraph(pairs))
    return {"n_models": len(cycle), "cycle": [cycle[0][0], *(edge[1] for edge in cycle)]}


def _parse(table: str, name: str, text: str) -> Check:
    header = [line[2:].strip() for line in takewhile(lambda line: line.startswith("--"), text.splitlines())]
    matches = [match for line in header if (match := re.fullmatch(r"(reads|severity): *(.*)", line))]
    fields = {match[1]: match[2] for match in matches}
    description = " ".join(line for line in header if not re.match(r"(reads|severity):", line))
    severity = fields.get("severity", "error")
    if severity not in ("error", "warning") or not description:
        raise CheckFileError(f"sql/checks/{table}/{name}.sql needs a description and a severity of error or warning")
    reads = tuple(part.strip() for part in fields.get("reads", "").split(",") if part.strip())
    return Check(table, name, description, "error" if severity == "error" else "warning", reads, text)
