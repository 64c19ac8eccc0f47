"""Imputed attributes and results: what stands in the tables, and what a model's own label has to do with it."""

from __future__ import annotations

import numpy as np
import pytest

from atlas_pipeline.attributes.imputation.evaluated import LEAST_MODELS, N_NEIGHBORS
from atlas_pipeline.attributes.imputation.imputing import FARTHEST, imputed, imputed_evaluations
from atlas_pipeline.schema import contract_of
from atlas_pipeline_tests.attributes.imputation.lineages import families, lineage_tables
from atlas_pipeline_tests.components.listings import SNAPSHOT


def by_key(models, *, seed=0):
    with lineage_tables(models) as connection:
        rows = imputed(connection, SNAPSHOT, seed=seed)
    assert rows.schema == contract_of("attributes.imputed").arrow_schema
    found = {(row["model_id"], row["attribute"]): row for row in rows.to_pylist()}
    assert len(found) == rows.num_rows
    return found


def results_of(models, values, *, seed=0, **more):
    reported = [
        {"model_id": model, "benchmark": "b", "metric": "accuracy", "value": value, **more}
        for model, value in values.items()
    ]
    with lineage_tables(models, reported) as connection:
        rows = imputed_evaluations(connection, SNAPSHOT, seed=seed)
    assert rows.schema == contract_of("attributes.imputed_evaluations").arrow_schema
    return {row["model_id"]: row for row in rows.to_pylist()}


def evaluated_families(n=15, *, seed=3):
    """Families whose members' results lie near one another, and the results of half of their children."""
    models, rng = families(n, seed=seed), np.random.default_rng(seed)
    level = {f"{family:03}": rng.uniform(0.2, 0.8) for family in range(n)}
    values = {
        model: float(np.clip(level[model.split("/m")[1][:3]] + rng.normal(0, 0.02), 0, 1))
        for i, model in enumerate(sorted(model for model in models if "/m" in model))
        if i % 2
    }
    return models, values


def test_a_reported_value_stands_beside_the_imputed_one():
    models = families(20, seed=0)
    models["lab000/source"].pop("license")
    rows = by_key(models)
    assert rows["lab000/source", "license"]["reported_value"] is None
    children = [
        columns["license"] for columns in models.values() if columns.get("parents") == [("lab000/source", "finetune")]
    ]
    assert rows["lab000/source", "license"]["value"] == max(set(children), key=children.count)
    for (model, attribute), row in rows.items():
        if attribute in ("license", "model_type", "library_name"):
            assert row["reported_value"] == models[model].get(attribute)
    told = [row for row in rows.values() if row["attribute"] == "license" and row["reported_value"]]
    assert np.mean([row["value"] == row["reported_value"] for row in told]) > 0.75


def test_only_models_with_an_edge_are_told_and_only_children_have_a_relation():
    models = families(10, seed=0) | {
        "z/alone": {"license": "license-1"},
        "z/mixed": {"parents": [("lab000/source", "merge"), ("lab001/source", "finetune")]},
        "z/unknown": {"parents": [("lab000/source", "unknown")]},
    }
    rows = by_key(models)
    assert not any(model == "z/alone" for model, _ in rows)
    with_relation = {model for model, attribute in rows if attribute == "relation"}
    assert with_relation == {model for model in models if "parents" in models[model]} - {"z/mixed"}
    assert rows["z/unknown", "relation"]["reported_value"] is None
    assert ("z/mixed", "license") in rows


def test_a_models_own_label_never_tells_it():
    # Two siblings and a parent that contradict each other: each hears the others only.
    models = {
        "a/base": {"license": "x"},
        "a/one": {"license": "y", "parents": [("a/base", "finetune")]},
        "a/two": {"parents": [("a/base", "finetune")]},
    }
    rows = by_key(models)
    assert rows["a/base", "license"]["value"] == "y"
    assert rows["a/one", "license"]["value"] == "x"
    assert rows["a/two", "license"]["value"] in ("x", "y")
    assert rows["a/one", "license"]["n_votes"] == 1 and rows["a/one", "license"]["confidence"] < 0.6
    only = by_key({"a/base": {"license": "x"}, "a/one": {"parents": [("a/base", "finetune")]}})
    assert [key for key in only if key[1] == "license"] == [("a/one", "license")], "nobody else tells a/base"


def test_the_authors_own_habit_beats_the_set_of_siblings():
    models = families(40, seed=2)
    rows = by_key(models)
    told = [row for row in rows.values() if row["attribute"] == "library_name" and row["reported_value"]]
    assert np.mean([row["value"] == row["reported_value"] for row in told]) > 0.9
    assert {row["decided_by"] for row in told} <= {
        f"{kind}{rest}"
        for kind in ("author_parent", "author_region", "hub", "sibling", "copies", "parent", "child", "region", "graph")
        for rest in ("", "_relation")
    }
    assert sum(row["decided_by"].startswith("author") for row in told) > len(told) / 2


def test_shuffled_labels_are_told_no_better_than_by_chance():
    models, rng = families(60, seed=4), np.random.default_rng(0)
    licenses = rng.permutation([columns["license"] for columns in models.values()])
    for columns, license_name in zip(models.values(), licenses, strict=True):
        columns["license"] = str(license_name)
    rows = [row for (_, attribute), row in by_key(models).items() if attribute == "license"]
    share = np.mean([row["value"] == row["reported_value"] for row in rows])
    most = max(np.mean(licenses == name) for name in set(licenses))
    assert share < most + 2 * np.sqrt(most * (1 - most) / len(rows))
    assert np.mean([row["confidence"] for row in rows]) < most + 0.1


def test_the_same_seed_gives_the_same_bytes_whatever_the_order():
    models = families(12, seed=5)
    backwards = dict(reversed(models.items()))
    assert list(by_key(models).items()) == list(by_key(backwards).items())
    assert by_key(models, seed=0) != by_key(models, seed=1), "other folds"
    evaluated, values = evaluated_families()
    assert results_of(evaluated, values) == results_of(dict(reversed(evaluated.items())), values)


def test_no_models_and_no_labels_give_no_rows():
    assert by_key({}) == {} and by_key({"a/alone": {"license": "x"}}) == {}
    assert {a for _, a in by_key({"a/base": {}, "a/one": {"parents": [("a/base", "finetune")]}})} == set()
    assert results_of({}, {}) == {}


def test_a_result_is_told_by_near_models():
    models, values = evaluated_families()
    rows = results_of(models, values)
    assert len(values) >= LEAST_MODELS and set(rows) == set(models), "each family has evaluated children"
    for model, row in rows.items():
        assert row["reported_value"] == values.get(model)
        assert row["nearest"] == (1 if model.endswith("source") else 2)
        assert 1 <= row["n_votes"] <= N_NEIGHBORS and row["unit"] == "share"
    errors = [abs(rows[model]["value"] - value) for model, value in values.items()]
    everything = np.mean(list(values.values()))
    assert np.mean(errors) < 0.04 < np.mean([abs(everything - value) for value in values.values()])
    assert np.mean([rows[model]["expected_error"] for model in values]) == pytest.approx(np.mean(errors), rel=0.2)


def test_benchmarks_that_few_report_are_not_imputed():
    models, values = evaluated_families()
    few = dict(sorted(values.items())[: LEAST_MODELS - 1])
    assert results_of(models, few) == {}
    alone = {f"z/alone{i}": {} for i in range(20)}
    assert results_of(models | alone, few | dict.fromkeys(alone, 0.5)) == {}, "models without an edge do not count"


def test_a_model_far_from_all_evaluated_ones_is_not_told():
    models, values = evaluated_families()
    chain = ["lab000/source"]
    for step in range(FARTHEST + 1):
        models[f"z/step{step}"] = {"parents": [(chain[-1], "finetune")]}
        chain.append(f"z/step{step}")
    rows = results_of(models, values)
    assert [rows[model]["nearest"] for model in chain[:FARTHEST]] == list(range(1, FARTHEST + 1))
    assert not set(chain[FARTHEST:]) & set(rows)


def test_results_in_another_unit_than_most_are_not_mixed_in():
    models, values = evaluated_families()
    odd = next(iter(sorted(models)))
    reported = [
        {"model_id": model, "benchmark": "b", "metric": "accuracy", "value": value} for model, value in values.items()
    ]
    reported.append(
        {"model_id": "lab000/source", "benchmark": "b", "metric": "accuracy", "value": 7e9, "unit": "points"}
    )
    with lineage_tables(models, reported) as connection:
        rows = imputed_evaluations(connection, SNAPSHOT, seed=0).to_pylist()
    assert odd in {row["model_id"] for row in rows} and all(0 <= row["value"] <= 1 for row in rows)
    (source,) = [row for row in rows if row["model_id"] == "lab000/source"]
    assert source["reported_value"] is None and {row["unit"] for row in rows} == {"share"}
