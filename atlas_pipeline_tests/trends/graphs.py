"""Small hubs as tables of the components stage, their structure worked out by networkx, and what trends say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
import networkx as nx
import pyarrow as pa

from atlas_pipeline.quality.invariants import checks_of, run_check
from atlas_pipeline.schema import contract_of
from atlas_pipeline.trends.metrics import trend

SNAPSHOT = "2025-01-01"
EMPTY = {pa.string(): "", pa.int64(): 0, pa.float64(): 0.0, pa.bool_(): False}

Row = dict[str, Any]
Edge = tuple[str, str, str]
"""Child, parent, relation."""


def table_of(name: str, rows: Iterable[Mapping[str, Any]], *, snapshot: str = SNAPSHOT) -> pa.Table:
    """Rows under a table's contract; what a row leaves out is null, or empty where null is not allowed."""
    contract = contract_of(name)
    rows = list(rows)
    blank: Row = {}
    for column in contract.columns:
        is_list = pa.types.is_list(column.type)
        empty = [] if is_list else column.values[0] if column.values else EMPTY.get(column.type)
        blank[column.name] = None if column.nullable else empty
    blank["snapshot"] = snapshot
    assert not {key for row in rows for key in row} - set(blank), "a column that the contract does not know"
    return pa.Table.from_pylist([{**blank, **row} for row in rows], contract.arrow_schema)


def hub(
    models: Mapping[str, Mapping[str, Any]],
    edges: Iterable[Edge] = (),
    *,
    dropped: Iterable[Edge] = (),
    evaluated: Mapping[str, list[str]] | None = None,
    snapshot: str = SNAPSHOT,
) -> dict[str, pa.Table]:
    """Tables of one snapshot.

    Args:
        models: columns of components.models by id.
        edges: kept edges; they must form a DAG.
        dropped: edges that are not kept.
        evaluated: sources that report a result, by model.
        snapshot: the snapshot.
    """
    edges, dropped = list(edges), list(dropped)
    graph = nx.DiGraph()
    graph.add_nodes_from(models)
    graph.add_edges_from((parent, child) for child, parent, _ in edges)
    places = _impact(graph, {name: row.get("downloads_30d") or 0 for name, row in models.items()})
    edge_rows = [
        {"child_id": c, "parent_id": p, "relation": r, "is_kept": is_kept}
        for given, is_kept in ((edges, True), (dropped, False))
        for c, p, r in given
    ]
    evaluations = [
        {"model_id": name, "benchmark": "mmlu", "metric": "acc", "source": sources[0], "sources": sorted(sources)}
        for name, sources in (evaluated or {}).items()
    ]
    return {
        name: table_of(name, rows, snapshot=snapshot)
        for name, rows in {
            "components.models": [{"model_id": m, "presence": "present", **row} for m, row in models.items()],
            "components.parents": edge_rows,
            "components.impact": places,
            "components.regions": _regions(graph),
            "attributes.evaluations": evaluations,
        }.items()
    }


def _impact(graph: nx.DiGraph, downloads: Mapping[str, int]) -> list[Row]:
    depth: dict[str, int] = {}
    shortest: dict[str, int] = {}
    for node in nx.topological_sort(graph):
        parents = list(graph.predecessors(node))
        depth[node] = max((depth[p] + 1 for p in parents), default=0)
        shortest[node] = min((shortest[p] + 1 for p in parents), default=0)
    counted: dict[str, float] = {}
    for node in reversed(list(nx.topological_sort(graph))):
        counted[node] = downloads[node] + sum(counted[child] for child in graph.successors(node))
    family = {n: " + ".join(sorted(graph.predecessors(n))) for n in graph if not graph.out_degree(n)}
    sizes = Counter(name for name in family.values() if name)
    rows = []
    for node in graph:
        below = nx.descendants(graph, node)
        total = sum(downloads[d] for d in below)
        rows.append(
            {
                "model_id": node,
                "depth": depth[node],
                "shortest_depth": shortest[node],
                "is_leaf": not graph.out_degree(node),
                "hub_id": family[node] if sizes[family.get(node, "")] > 1 else None,
                "n_children": graph.out_degree(node),
                "n_descendants": len(below),
                "descendant_downloads": total,
                "sub_tree_downloads": total + downloads[node],
                "merge_share_downloads": float(total + downloads[node]),
                "path_counted_downloads": float(counted[node]),
            }
        )
    return rows


def _regions(graph: nx.DiGraph) -> list[Row]:
    rows = []
    for members in nx.weakly_connected_components(graph):
        name = min(m for m in members if not graph.in_degree(m))
        rows += [
            {
                "model_id": m,
                "region_id": name.replace("/", "--"),
                "region_name": name,
                "region_size": len(members),
                "is_source": not graph.in_degree(m),
                "region_partition": "bucket-00",
            }
            for m in members
        ]
    return rows


def connected(*snapshots: Mapping[str, pa.Table]) -> duckdb.DuckDBPyConnection:
    """A connection that sees the tables of some snapshots by their names."""
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'; set threads = 1")
    for name in snapshots[0]:
        connection.execute(f"create schema if not exists {name.split('.')[0]}")
        connection.register("given", pa.concat_tables([tables[name] for tables in snapshots]))
        connection.execute(f"create table {name} as from given")
    return connection


def measured(name: str, *snapshots: Mapping[str, pa.Table], snapshot: str = SNAPSHOT) -> list[Row]:
    """Rows of a trend, which have the contract's columns and types and pass all checks of their table."""
    schema = contract_of(f"trends.{name}").arrow_schema
    with connected(*snapshots) as connection:
        made = trend(connection, name, snapshot)
        assert sorted(made.column_names) == sorted(schema.names)
        made = made.select(schema.names).cast(schema)
        connection.execute("create schema trends")
        connection.register("given", made)
        connection.execute(f"create table trends.{name} as from given")
        for check in checks_of(f"trends.{name}"):
            assert run_check(connection, check).sample == ()
    return made.to_pylist()
