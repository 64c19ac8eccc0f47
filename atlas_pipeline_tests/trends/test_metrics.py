"""Trend tables: shares of what is there, and who is counted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.schema import contract_of
from atlas_pipeline.trends.metrics import trend
from atlas_pipeline_tests.components.listings import SNAPSHOT, connected, table_of

DATES = [
    None,
    datetime(2024, 1, 31, 23, 59, tzinfo=UTC),
    datetime(2024, 2, 1, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
]
MODEL = st.tuples(
    st.sampled_from([None, "nlp", "vision"]), st.integers(0, 4), st.booleans(), st.sampled_from(DATES), st.booleans()
)
EDGE = st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from(["finetune", "merge", "unknown"]), st.booleans())


def measured(name, models, edges=()) -> list[dict]:
    ids = [f"m/{i}" for i in range(len(models))]
    tables = {
        "components.models": table_of(
            "components.models",
            [
                {"model_id": i, "modality": modality, "created_at": at, "created_at_is_floor": is_floor}
                for i, (modality, _, _, at, is_floor) in zip(ids, models, strict=True)
            ],
        ),
        "components.impact": table_of(
            "components.impact",
            [
                {"model_id": i, "depth": depth, "is_leaf": leaf}
                for i, (_, depth, leaf, _, _) in zip(ids, models, strict=True)
            ],
        ),
        "components.parents": table_of(
            "components.parents",
            [
                {"child_id": ids[c], "parent_id": ids[p], "relation": relation, "sources": ["tag"], "is_kept": is_kept}
                for c, p, relation, is_kept in edges
                if max(c, p) < len(ids)
            ],
        ),
    }
    contract = contract_of(f"trends.{name}")
    with connected(tables) as connection:
        rows = trend(connection, name, SNAPSHOT)
    rows = rows.select(contract.arrow_schema.names).cast(contract.arrow_schema).to_pylist()
    keys = [tuple(row[k] for k in contract.key) for row in rows]
    assert len(set(keys)) == len(keys)
    return rows


@settings(max_examples=25, deadline=None)
@given(st.lists(MODEL, max_size=10), st.lists(EDGE, max_size=20))
def test_shares_of_every_group_add_up_to_one_and_nobody_is_counted_twice(models, edges):
    depths = measured("depth_by_modality", models)
    counted = [(modality or "unknown", depth) for modality, depth, is_leaf, _, _ in models if depth or not is_leaf]
    assert {(r["modality"], r["depth"]): r["n_models"] for r in depths} == {k: counted.count(k) for k in counted}
    months = measured("relations_by_month", models, edges)
    assert sum(r["n_edges"] for r in months) == sum(kept for c, p, _, kept in edges if max(c, p) < len(models))
    for rows, group, part in ((depths, "modality", "n_models"), (months, "month_at", "n_edges")):
        for value in {r[group] for r in rows}:
            own = [r for r in rows if r[group] == value]
            assert sum(r["share"] for r in own) == pytest.approx(1)
            assert all(r["share"] == pytest.approx(r[part] / sum(o[part] for o in own)) for r in own)


def test_a_month_is_that_of_the_childs_creation_in_utc_and_a_floor_is_no_month():
    models = [("nlp", 0, False, DATES[2], False), *(("nlp", 1, True, at, at is DATES[3]) for at in DATES)]
    edges = [(child, 0, "finetune", True) for child in range(1, 5)] + [(1, 0, "merge", False)]
    rows = measured("relations_by_month", models, edges)
    assert {row["month_at"]: row["n_edges"] for row in rows} == {
        datetime(2024, 1, 1, tzinfo=UTC): 1,
        datetime(2024, 2, 1, tzinfo=UTC): 1,
        None: 2,
    }
