"""A small atlas of which every check is green, as rows that a test may break, in memory or in a home."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa

from atlas_pipeline.schema import RELEASED, TABLES, contract_of
from atlas_pipeline.schema.contract import Column
from atlas_pipeline.storage import TableStore

Row = dict[str, Any]
Rows = dict[str, list[Row]]

SNAPSHOTS = ("2026-01-01", "2026-02-01")
BORN = datetime(2024, 1, 1, tzinfo=UTC)

BASE, TUNED, SIBLING, GRANDCHILD, GONE, ORPHAN, SILENT = (
    "lab/base",
    "lab/tuned",
    "lab/sibling",
    "lab/grandchild",
    "old/gone",
    "old/orphan",
    "new/silent",
)
"""base has the children tuned and sibling, tuned the child grandchild; gone was removed but is orphan's parent; silent
documents nothing and was charted to come from orphan."""

REGIONS = {"lab--base": (BASE, TUNED, SIBLING, GRANDCHILD), "old--gone": (GONE, ORPHAN), "new--silent": (SILENT,)}
PARTITIONS = {"lab--base": "bucket-00", "old--gone": "bucket-01", "new--silent": "bucket-01"}
DOCUMENTED = ((TUNED, BASE), (SIBLING, BASE), (GRANDCHILD, TUNED), (ORPHAN, GONE))
DOWNLOADS = {BASE: 10, TUNED: 20, SIBLING: 30, GRANDCHILD: 40, GONE: None, ORPHAN: 50, SILENT: 60}
#        depth, children, descendants, downloads of descendants
PLACE = {
    BASE: (0, 2, 3, 90),
    TUNED: (1, 1, 1, 40),
    SIBLING: (1, 0, 0, 0),
    GRANDCHILD: (2, 0, 0, 0),
    GONE: (0, 1, 1, 50),
    ORPHAN: (1, 0, 0, 0),
    SILENT: (0, 0, 0, 0),
}


def row(table: str, /, **values: Any) -> Row:
    """The least row that a contract allows, with some values of one's own."""
    contract = contract_of(table)
    assert not (unknown := set(values) - {column.name for column in contract.columns}), unknown
    return {column.name: values.get(column.name, _least(column)) for column in contract.columns}


def _least(column: Column) -> Any:
    if column.nullable:
        return None
    if column.values:
        return column.values[0]
    if pa.types.is_list(column.type):
        return []
    if pa.types.is_struct(column.type):
        return {}
    if pa.types.is_timestamp(column.type):
        return BORN
    values = {pa.int64(): int(column.minimum or 0), pa.float64(): float(column.minimum or 0), pa.bool_(): False}
    return values.get(column.type, "text")


def sound_rows() -> Rows:
    """Rows by table; a table that is not told of here has none. Free to be changed."""
    rows: Rows = defaultdict(list, {table: [] for table in TABLES})
    for snapshot in SNAPSHOTS:
        _documented_atlas(rows, snapshot)
    _charting(rows)
    _audit(rows)
    return copy.deepcopy(rows)


def _documented_atlas(rows: Rows, snapshot: str) -> None:
    partition_of = {model: PARTITIONS[region] for region, models in REGIONS.items() for model in models}
    parent_of = dict(DOCUMENTED)
    for days, (model, downloads) in enumerate(DOWNLOADS.items()):
        rows["components.models"].append(
            row(
                "components.models",
                snapshot=snapshot,
                model_id=model,
                created_at=BORN + timedelta(days=days),
                last_modified_at=BORN + timedelta(days=100),
                downloads_30d=downloads,
                presence="removed" if model == GONE else "present",
                license=None if model in (GONE, SILENT) else "mit",
            )
        )
        region = next(region for region, models in REGIONS.items() if model in models)
        rows["components.regions"].append(
            row(
                "components.regions",
                snapshot=snapshot,
                model_id=model,
                region_id=region,
                region_name=REGIONS[region][0],
                region_size=len(REGIONS[region]),
                is_source=model not in parent_of,
                region_partition=partition_of[model],
            )
        )
        depth, n_children, n_descendants, below = PLACE[model]
        rows["components.impact"].append(
            row(
                "components.impact",
                snapshot=snapshot,
                model_id=model,
                depth=depth,
                shortest_depth=depth,
                is_leaf=n_children == 0,
                n_children=n_children,
                n_descendants=n_descendants,
                descendant_downloads=below,
                sub_tree_downloads=below + (downloads or 0),
                merge_share_downloads=float(below + (downloads or 0)),
                path_counted_downloads=float(below + (downloads or 0)),
            )
        )
    for child, parent in DOCUMENTED:
        claim = {"child_id": child, "parent_id": parent, "declared_parent": parent, "relation": "finetune"}
        rows["components.claims"].append(
            row("components.claims", snapshot=snapshot, **claim, source="tag", stated_in=snapshot, resolution="exact")
        )
        rows["components.parents"].append(
            row(
                "components.parents",
                snapshot=snapshot,
                child_id=child,
                parent_id=parent,
                declared_parent=parent,
                relation="finetune",
                sources=["tag"],
                stated_in=snapshot,
                child_is_older=False,
                is_kept=True,
                disagreeing_sources=["card_text"] if child == SIBLING else [],
            )
        )
    rows["attributes.imputed"].append(
        row(
            "attributes.imputed",
            snapshot=snapshot,
            model_id=SIBLING,
            attribute="license",
            value="mit",
            n_votes=1,
            confidence=1.0,
            reported_value="mit",
        )
    )
    rows["attributes.scores"].append(
        row("attributes.scores", snapshot=snapshot, attribute="license", n_models=2, n_correct=1, accuracy=0.5)
    )
    result = {"model_id": BASE, "benchmark": "b", "metric": "m", "value": 0.5, "unit": "share", "leaderboard": "board"}
    rows["attributes.results"].append(
        row("attributes.results", snapshot=snapshot, **result, position=1, reported_value="50", reported_benchmark="B")
    )
    rows["attributes.evaluations"].append(
        row("attributes.evaluations", snapshot=snapshot, **result, sources=["leaderboard"], least=0.5, greatest=0.5)
    )
    rows["attributes.license_lineage"].append(
        row(
            "attributes.license_lineage",
            snapshot=snapshot,
            model_id=TUNED,
            license="mit",
            ancestor_licenses=["cc-by-nc-4.0"],
            inherited_terms=["attribution", "non_commercial"],
            lost_terms=["non_commercial"],
            lost_at_child_id=TUNED,
            lost_at_parent_id=BASE,
        )
    )
    counted = {"statistic": "edges", "description": "Kept documented edges.", "unit": "count"}
    rows["trends.statistics"].append(
        row("trends.statistics", snapshot=snapshot, **counted, n_cases=4, value=4.0, paper_value=400000.0)
    )


def _charting(rows: Rows) -> None:
    rows["raw.hub_stats"].append(row("raw.hub_stats", snapshot=SNAPSHOTS[0], id=BASE))
    for region, models in REGIONS.items():
        for model in models:
            read = {"status": "ok", "n_neurons": 100, "vector_group": "g", "sampled_sha256": model, "format": "gguf"}
            failed = {"status": "no_weights", "error": "there are no weight files"}
            rows["features.models"].append(
                row(
                    "features.models",
                    model_id=model,
                    region_id=region,
                    bytes_read=10,
                    bytes_total=100,
                    **(failed if model == GONE else read),
                )
            )
            if model != GONE:
                sampled = {
                    "n_rows": 200,
                    "n_neurons": 100,
                    "n_columns": 8,
                    "min_distinct_values": 2,
                    "max_distinct_values": 8,
                }
                rows["features.tensors"].append(
                    row(
                        "features.tensors",
                        model_id=model,
                        region_id=region,
                        tensor="layers.0.weight",
                        rows_sha256="frozen" if model in (BASE, TUNED) else model,
                        **sampled,
                    )
                )
        scored = {"lab--base": (4, 0.5), "old--gone": (2, 1.0), "new--silent": (0, None)}
        n_models, accuracy = scored[region]
        rows["edges.scores"].append(
            row(
                "edges.scores",
                region_id=region,
                method="nearest",
                documentation="hidden",
                n_models=n_models,
                accuracy=accuracy,
                f1=None if accuracy is None else 0.5,
            )
        )
    for rank, neighbor in enumerate((SIBLING, GRANDCHILD), start=1):
        rows["distances.neighbors"].append(
            row(
                "distances.neighbors",
                model_id=TUNED,
                neighbor_id=neighbor,
                region_id="lab--base",
                rank=rank,
                squared_distance=float(rank),
            )
        )
    region_of = {model: region for region, models in REGIONS.items() for model in models}
    for child, parent in DOCUMENTED:
        edge = {"origin": "documented", "rule": "known", "relation": "finetune", "confidence": 1.0}
        rows["edges.charted"].append(
            row("edges.charted", child_id=child, parent_id=parent, region_id=region_of[child], **edge)
        )
    rows["edges.charted"].append(
        row(
            "edges.charted",
            child_id=SILENT,
            parent_id=ORPHAN,
            region_id="new--silent",
            origin="charted",
            rule="nearest",
            relation="finetune",
            confidence=0.7,
            is_ambiguous=True,
        )
    )
    rows["edges.arrivals"].append(row("edges.arrivals", **ARRIVED))
    for number, model in enumerate(DOWNLOADS):
        component, size = (BASE, 4) if model in REGIONS["lab--base"] else (GONE, 3)
        rows["release.positions"].append(
            row(
                "release.positions",
                model_id=model,
                x=2.0 * number,
                y=1.0,
                component_id=component,
                component_size=size,
            )
        )
    rows["release.figures"].append(
        row("release.figures", figure="07_neurons", paper_figure="7", title="Neurons", n_shown=0, reason="not here")
    )


ARRIVED = {
    "child_id": BASE,
    "parent_id": SILENT,
    "region_id": "lab--base",
    "origin": "charted",
    "rule": "snake",
    "relation": "finetune",
    "confidence": 0.6,
}


AUDITED = {
    TUNED: ("agrees", "parent_confirmed", 0.9, [BASE]),
    SIBLING: ("contradicts", "sibling_declared", 0.9, [TUNED]),
    GRANDCHILD: ("agrees", "parent_confirmed", 0.9, [TUNED]),
    ORPHAN: ("undecided", "not_comparable", None, []),
}


def _audit(rows: Rows) -> None:
    region_of = {model: region for region, models in REGIONS.items() for model in models}
    for child, parent in DOCUMENTED:
        verdict, finding, confidence, measured = AUDITED[child]
        rows["edges.audit"].append(
            row(
                "edges.audit",
                child_id=child,
                parent_id=parent,
                region_id=region_of[child],
                declared_relation="finetune",
                declared_sources=["tag"],
                verdict=verdict,
                finding=finding,
                confidence=confidence,
                measured_parent_ids=measured,
                measured_relation="finetune" if measured else None,
                declared_squared_distance=2.0,
                declared_relative_distance=0.2,
                measured_squared_distance=1.0,
                measured_relative_distance=0.1,
                explanation="They are what they are.",
                message="Have a look." if verdict == "contradicts" else None,
            )
        )


def find(rows: Rows, table: str, **values: Any) -> Row:
    """The first row with some values."""
    return next(r for r in rows[table] if all(r[name] == value for name, value in values.items()))


def loose_table(table: str, rows: Sequence[Row]) -> pa.Table:
    """Rows as Arrow with the contract's types; nulls are let through everywhere, so that a test can put one there."""
    schema = contract_of(table).arrow_schema
    return pa.Table.from_pylist(list(rows), pa.schema([field.with_nullable(True) for field in schema]))


def connect(rows: Mapping[str, Sequence[Row]]) -> duckdb.DuckDBPyConnection:
    """All tables in memory; those without rows are empty."""
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'; set threads = 2")
    for table in TABLES:
        connection.register(f"rows of {table}", loose_table(table, rows.get(table, ())))
        connection.execute(
            f'create schema if not exists {table.split(".")[0]}; create view {table} as from "rows of {table}"'
        )
    return connection


def partition_of(table: str, given: Row) -> str | None:
    """The partition that a row belongs to."""
    kind = contract_of(table).partitioned_by
    if kind is None:
        return None
    return str(given["snapshot"]) if kind == "snapshot" else PARTITIONS[given["region_id"]]


def write_home(home: str, rows: Mapping[str, Sequence[Row]]) -> TableStore:
    """Write the released tables to a home, with all their partitions."""
    store = TableStore(home)
    names = {"snapshot": SNAPSHOTS, "region": sorted(set(PARTITIONS.values())), None: (None,)}
    for table in TABLES:
        if table not in RELEASED:
            continue
        for partition in names[contract_of(table).partitioned_by]:
            own = [r for r in rows.get(table, ()) if partition_of(table, r) == partition]
            store.write(table, loose_table(table, own), partition=partition)
    return store
