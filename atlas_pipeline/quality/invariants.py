"""Invariants: SQL files that return failing rows, and the ones that need a graph.

A file ``sql/checks/<table>/<name>.sql`` begins with a comment: what it means, then ``reads:`` and ``severity:`` lines.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

import duckdb
import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from atlas_pipeline.graph import EdgeList, strong_components
from atlas_pipeline.quality.contracts import check_contract, contract_check
from atlas_pipeline.quality.results import SAMPLE_ROWS, Check, CheckResult
from atlas_pipeline.schema import TABLES
from atlas_pipeline.storage import project_file

ACYCLIC: Final = {"components.parents": "is_kept", "edges.charted": "true"}
"""Tables of edges that must form a DAG, with the condition on the edges that count."""


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
        checks.append(Check(table, "edges_are_acyclic", text))
    return tuple(checks)


def all_checks() -> tuple[Check, ...]:
    """The checks of all tables, in the order of the stages."""
    return tuple(check for table in TABLES for check in checks_of(table))


def run_check(connection: duckdb.DuckDBPyConnection, check: Check) -> CheckResult:
    """Run one check on what the connection's views show.

    Args:
        connection: with the check's table and those that it reads as views.
        check: the check.
    """
    if check.query:
        rows = connection.sql(check.query).to_arrow_table()
        sample = tuple(str(row) for row in rows.slice(0, SAMPLE_ROWS).to_pylist())
        return CheckResult(check, rows.num_rows, sample)
    if check.name == "edges_are_acyclic":
        return _check_acyclic(connection, check)
    return check_contract(connection, check.table)


def _check_acyclic(connection: duckdb.DuckDBPyConnection, check: Check) -> CheckResult:
    """Each snapshot is a graph of its own; the charted atlas is one."""
    has_snapshot = TABLES[check.table].partitioned_by == "snapshot"
    snapshot = "snapshot" if has_snapshot else "''"
    edges = connection.sql(
        f"select {snapshot} as snapshot, parent_id, child_id from {check.table} where {ACYCLIC[check.table]}"
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
            sample.append(f"{name} {_one_cycle(graph.keep(on_cycle), ids)}".strip())
    return CheckResult(check, failing, tuple(sample))


def _one_cycle(graph: EdgeList, ids: pa.Array) -> str:
    cycle = nx.find_cycle(nx.DiGraph(np.column_stack((graph.parent, graph.child)).tolist()))
    return " -> ".join(ids[node].as_py() for node in [cycle[0][0], *(edge[1] for edge in cycle)])


def _parse(table: str, name: str, text: str) -> Check:
    header = [line[2:].strip() for line in text.splitlines() if line.startswith("--")]
    matches = [match for line in header if (match := re.fullmatch(r"(reads|severity): *(.*)", line))]
    fields = {match[1]: match[2] for match in matches}
    description = " ".join(line for line in header if not re.match(r"(reads|severity):", line))
    severity = fields.get("severity", "error")
    if severity not in ("error", "warning") or not description:
        raise CheckFileError(f"sql/checks/{table}/{name}.sql needs a description and a severity of error or warning")
    reads = tuple(part.strip() for part in fields.get("reads", "").split(",") if part.strip())
    return Check(table, name, description, "error" if severity == "error" else "warning", reads, text)
