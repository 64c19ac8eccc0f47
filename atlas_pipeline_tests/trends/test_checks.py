"""The checks of the trend tables: green on what is measured, red on rows that are wrong, which they name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from atlas_pipeline.quality.invariants import checks_of, run_check
from atlas_pipeline.schema import TABLES
from atlas_pipeline_tests.trends.graphs import SNAPSHOT, Row, connected, hub, measured, table_of

EARLIER = "2024-06-01"
MODELS = {
    "lab/base": {"modality": "nlp", "downloads_30d": 9, "license": "mit"},
    "lab/tuned": {"modality": "nlp", "downloads_30d": 2},
    "lab/mix": {"modality": "nlp", "downloads_30d": 3},
    "old/gone": {"presence": "removed"},
}
EDGES = [("lab/tuned", "lab/base", "finetune"), ("lab/mix", "lab/base", "merge"), ("lab/mix", "old/gone", "merge")]
TABLES_NOW = hub(MODELS, EDGES)
TABLES_BEFORE = hub({"lab/base": {}, "old/gone": {}}, snapshot=EARLIER)

Rows = list[Row]


def change(name: str, value: object, *, at: int = 0) -> Callable[[Rows], object]:
    return lambda rows: rows[at].update({name: value})


BROKEN = [
    ("depth_by_modality", "shares_add_up", change("share", 0.9), 2),
    ("depth_by_modality", "shares_add_up", change("n_models", 7), 2),
    ("documentation_levels", "shares_add_up", change("share", 0.123), 1),
    ("relation_types", "shares_add_up", change("share", 0.0), 2),
    ("relations_by_month", "shares_add_up", change("share", 0.5), 2),
    ("documentation_items", "shares_are_ratios", change("share", 0.5), 1),
    ("documentation_items", "shares_are_ratios", change("n_documented", 3, at=3), 1),
    ("technique_rates", "shares_are_ratios", change("share", 0.25), 1),
    ("technique_rates", "shares_are_ratios", lambda rows: rows.pop(), 1),
    ("technique_rates", "shares_are_ratios", change("n_models", 3), 1),
    ("statistics", "values_are_ratios", lambda rows: _named(rows, "hub_members").update(value=0.5), 1),
    ("statistics", "values_are_ratios", lambda rows: _named(rows, "hub_members").update(n_cases=5), 1),
    ("statistics", "values_are_ratios", lambda rows: _named(rows, "depth_1_vision").update(value=0.0), 1),
    ("statistics", "values_are_ratios", lambda rows: _named(rows, "merge_rate_nlp_over_vision").update(value=3.0), 1),
    ("statistics", "values_are_ratios", lambda rows: _named(rows, "models").update(value=4.0), 1),
    ("merge_influence", "ratios_are_of_the_means", change("ratio", 0.1), 1),
    ("merge_influence", "ratios_are_of_the_means", change("n_siblings", 0), 1),
    ("top_impact", "ranks_are_sorted", lambda rows: _swap(rows, "sub_tree_downloads"), 2),
    ("top_impact", "ranks_are_sorted", lambda rows: rows.pop(0), 3),
    ("top_impact", "ranks_are_sorted", change("downloads_30d", 10**6), 1),
    ("growth", "counts_balance", change("n", 99), 1),
    ("growth", "counts_balance", lambda rows: [row.update(previous_snapshot=SNAPSHOT) for row in rows], 2),
    ("removed_models", "models_are_removed", change("model_id", "lab/base"), 1),
    ("removed_models", "models_are_removed", change("model_id", "no/body"), 1),
]


def _named(rows: Rows, statistic: str) -> Row:
    return next(row for row in rows if row["statistic"] == statistic)


def _swap(rows: Rows, name: str) -> None:
    rows[0][name], rows[1][name] = rows[1][name], rows[0][name]


@pytest.mark.parametrize(("name", "check", "break_rows", "n_failing"), BROKEN)
def test_a_check_is_green_on_what_is_measured_and_red_on_what_is_broken(name, check, break_rows, n_failing):
    table = f"trends.{name}"
    (found,) = [each for each in checks_of(table) if each.name == check]
    rows = measured(name, TABLES_BEFORE, TABLES_NOW) if name == "growth" else measured(name, TABLES_NOW)
    assert rows, "there is something to break"
    break_rows(rows)
    with connected(TABLES_NOW | {table: table_of(table, rows)}) as connection:
        result = run_check(connection, found)
    assert result.n_failing == n_failing
    assert SNAPSHOT in result.sample[0]


def test_every_trend_has_a_check_of_its_own_that_can_fail():
    written = {
        (table.split(".")[1], check.name)
        for table in TABLES
        if table.startswith("trends.")
        for check in checks_of(table)
        if check.query
    }
    assert {name for name, _ in written} == {table.split(".")[1] for table in TABLES if table.startswith("trends.")}
    assert {(name, check) for name, check, _, _ in BROKEN} == written
