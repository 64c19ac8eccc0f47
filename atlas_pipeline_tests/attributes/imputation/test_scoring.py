"""Scores of imputation: the paper's methods by brute force, protocols, errors, calibration."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from atlas_pipeline.attributes.imputation import scoring
from atlas_pipeline.attributes.imputation.lineage import read_lineage
from atlas_pipeline.attributes.imputation.scoring import calibration_error, scores
from atlas_pipeline.schema import contract_of
from atlas_pipeline.schema.attributes import ATTRIBUTES, PROTOCOLS
from atlas_pipeline_tests.attributes.imputation.lineages import families, lineage_tables
from atlas_pipeline_tests.attributes.imputation.test_imputation import evaluated_families
from atlas_pipeline_tests.components.listings import SNAPSHOT, day

LABEL_METHODS = ["graph_majority", "hub_majority", "lineage_vote", "region_majority"]
RESULT_METHODS = ["lineage_kernel", "mean", "nearest_1", "nearest_2", "nearest_3", "nearest_5"]


def scored(models, reported=()):
    with lineage_tables(models, reported) as connection:
        rows = scores(connection, SNAPSHOT, seed=0)
    assert rows.schema == contract_of("attributes.scores").arrow_schema
    found = {(row["attribute"], row["protocol"], row["method"]): row for row in rows.to_pylist()}
    assert len(found) == rows.num_rows
    return found


def majority(votes):
    counts = Counter(votes)
    return min(counts, key=lambda value: (-counts[value], value)) if counts else None


def test_majorities_are_scored_as_brute_force_says():
    models = families(9, seed=6)
    ids = sorted(models)
    parent = {m: models[m]["parents"][0][0] if "parents" in models[m] else None for m in ids}
    hidden = set(ids[::4])
    for model in hidden:
        models[model].pop("license")
    region = {m: parent[m] or m for m in ids}
    groups = {"hub_majority": parent, "region_majority": region, "graph_majority": dict.fromkeys(ids, "")}
    told = {
        (method, m): majority(
            models[o]["license"] for o in ids if o != m and o not in hidden and group[o] == group[m] is not None
        )
        for method, group in groups.items()
        for m in ids
        if group[m] is not None
    }
    population = [m for m in ids if m not in hidden and told.get(("hub_majority", m)) is not None]
    rows = scored(models)
    assert sorted({(a, p) for a, p, _ in rows}) == sorted((a, p) for a in ATTRIBUTES for p in PROTOCOLS)
    for method in groups:
        row = rows["license", "leave_one_out", method]
        right = sum(told[method, m] == models[m]["license"] for m in population)
        assert (row["n_models"], row["n_correct"]) == (len(population), right)
        assert row["accuracy"] == pytest.approx(right / len(population))
        assert row["calibration_error"] is None
    assert rows["license", "leave_one_out", "lineage_vote"]["calibration_error"] is not None


def test_all_methods_are_scored_on_the_same_models():
    models, values = evaluated_families()
    reported = [{"model_id": m, "benchmark": "b", "metric": "accuracy", "value": v} for m, v in values.items()]
    rows = scored(models, reported)
    for attribute, methods in [(a, LABEL_METHODS) for a in ATTRIBUTES] + [("b/accuracy", RESULT_METHODS)]:
        for protocol in PROTOCOLS:
            own = {method: row for (a, p, method), row in rows.items() if (a, p) == (attribute, protocol)}
            assert sorted(own) == methods
            assert len({row["n_models"] for row in own.values()}) == 1


def test_ours_beats_the_set_of_siblings_where_authors_differ():
    rows = scored(families(60, seed=7))
    for protocol in PROTOCOLS:
        ours, hub = (rows["library_name", protocol, method] for method in ("lineage_vote", "hub_majority"))
        assert ours["n_models"] > 200 and ours["accuracy"] > hub["accuracy"] + 0.2
        assert ours["calibration_error"] < 0.1


def test_copies_are_left_out():
    # Every child is a quantised copy with a license of its own family: without copies nobody is left to ask in a hub.
    models = families(30, seed=8)
    for columns in models.values():
        columns["parents"] = [(parent, "quantized") for parent, _ in columns.get("parents", [])]
    rows = scored(models)
    assert rows["license", "leave_one_out", "hub_majority"]["n_models"] == 240
    assert rows["license", "without_copies", "hub_majority"]["n_models"] == 0
    assert rows["license", "without_copies", "lineage_vote"]["accuracy"] is None
    assert rows["license", "without_copies", "lineage_vote"]["calibration_error"] is None


def test_by_time_scores_only_dated_models_that_have_an_earlier_sibling():
    models = families(10, seed=9)
    rows = scored(models)
    assert rows["license", "by_time", "hub_majority"]["n_models"] == 10 * 7, "not the first child of each"
    for columns in models.values():
        columns["created_at_is_floor"] = True
        columns.setdefault("created_at", day(1))
    assert scored(models)["license", "by_time", "hub_majority"]["n_models"] == 0


def test_errors_are_in_percentage_points_where_the_unit_is_share():
    models, values = evaluated_families()
    shares = [{"model_id": m, "benchmark": "b", "metric": "x", "value": v} for m, v in values.items()]
    points = [{**row, "value": row["value"] * 100, "unit": "points"} for row in shares]
    of_shares, of_points = scored(models, shares), scored(models, points)
    for method in RESULT_METHODS:
        one, other = (rows["b/x", "leave_one_out", method] for rows in (of_shares, of_points))
        for figure in ("mse", "mae", "correlation"):
            assert one[figure] == pytest.approx(other[figure], rel=1e-3)
        assert one["n_correct"] is one["accuracy"] is None


def test_nearest_and_mean_are_what_they_say():
    models = {"a/base": {}}
    models |= {f"a/{i:02}": {"parents": [("a/base", "finetune")]} for i in range(30)}
    models |= {"b/base": {}} | {f"b/{i:02}": {"parents": [("b/base", "finetune")]} for i in range(30)}
    values = {m: (0.2 if m[0] == "a" else 0.6) for m in models if m[2:] != "base"}
    reported = [{"model_id": m, "benchmark": "b", "metric": "x", "value": v} for m, v in values.items()]
    rows = scored(models, reported)
    for method in ("mean", "nearest_1", "nearest_5"):
        row = rows["b/x", "leave_one_out", method]
        assert row["n_models"] == 60 and row["mse"] == pytest.approx(0, abs=1e-18)
        assert row["correlation"] == pytest.approx(1)


def test_a_constant_has_no_correlation():
    models, values = evaluated_families()
    reported = [{"model_id": m, "benchmark": "b", "metric": "x", "value": 0.5} for m in values]
    row = scored(models, reported)["b/x", "leave_one_out", "nearest_3"]
    assert row["correlation"] is None and row["mse"] == 0


def test_calibration_error_by_hand():
    assert calibration_error(np.array([0.95, 0.95, 0.15, 0.15]), np.array([True, False, False, False])) == (
        pytest.approx(0.5 * 0.45 + 0.5 * 0.15)
    )
    assert calibration_error(np.array([1.0]), np.array([True])) == 0
    assert calibration_error(np.zeros(0), np.zeros(0, dtype=bool)) is None


def test_of_many_children_siblings_are_drawn_together_and_results_use_all(monkeypatch):
    models, values = evaluated_families(60)
    reported = [{"model_id": m, "benchmark": "b", "metric": "accuracy", "value": v} for m, v in values.items()]
    everybody = scored(models, reported)
    monkeypatch.setattr(scoring, "MOST_CHILDREN", 120)
    drawn = scored(models, reported)
    key = ("license", "leave_one_out", "hub_majority")
    assert 0 < drawn[key]["n_models"] < everybody[key]["n_models"] / 2
    assert drawn[key]["accuracy"] == pytest.approx(everybody[key]["accuracy"], abs=0.25)
    results = [each for each in everybody if each[2] in RESULT_METHODS]
    assert results and all(drawn[each] == everybody[each] for each in results)
    with lineage_tables(models) as connection:
        lineage = read_lineage(connection, seed=0, most_children=120)
        assert lineage.is_drawn and not read_lineage(connection, seed=0).is_drawn
    left = set(lineage.model_ids.to_pylist())
    siblings = {}
    for model, columns in models.items():
        for parent, *_ in columns.get("parents", []):
            siblings.setdefault(parent, set()).add(model)
    assert all(children & left in (set(), children) for children in siblings.values())
