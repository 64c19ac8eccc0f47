"""Each check of the imputed tables passes on what the stage makes, and sees what it is for."""

from __future__ import annotations

import pytest

from atlas_pipeline.attributes.imputation.imputing import imputed, imputed_evaluations
from atlas_pipeline.attributes.imputation.scoring import scores
from atlas_pipeline.quality.invariants import checks_of, run_check
from atlas_pipeline_tests.attributes.imputation.lineages import lineage_tables
from atlas_pipeline_tests.attributes.imputation.test_imputation import evaluated_families
from atlas_pipeline_tests.components.listings import SNAPSHOT

IMPUTED, EVALUATED, SCORES = "attributes.imputed", "attributes.imputed_evaluations", "attributes.scores"
MADE = {IMPUTED: imputed, EVALUATED: imputed_evaluations, SCORES: scores}

SOURCE = "model_id = 'lab001/source'"
LICENSE = f"{SOURCE} and attribute = 'license'"
BY_HUB = "attribute = 'license' and protocol = 'by_time' and method = 'hub_majority'"
BY_MEAN = "attribute = 'b/accuracy' and protocol = 'by_time' and method = 'mean'"

BREAKAGES = {
    (IMPUTED, "reported_values_stay"): [
        f"update attributes.imputed set reported_value = 'gpl' where {LICENSE}",
        f"update attributes.imputed set model_id = 'no/model' where {LICENSE}",
        "update attributes.imputed set reported_value = null where model_id = (select min(model_id) from "
        "attributes.imputed where attribute = 'relation') and attribute = 'relation'",
    ],
    (IMPUTED, "models_have_an_edge"): [
        f"update attributes.imputed set model_id = 'z/alone' where {LICENSE}",
        f"update attributes.imputed set attribute = 'relation' where {LICENSE}",
    ],
    (IMPUTED, "values_are_somebodys"): [f"update attributes.imputed set value = 'nobody-says-so' where {LICENSE}"],
    (EVALUATED, "reported_values_stay"): [
        f"update attributes.imputed_evaluations set reported_value = 0.1 where {SOURCE}",
        "update attributes.imputed_evaluations set reported_value = null where model_id = (select min(model_id) from "
        "attributes.imputed_evaluations where reported_value is not null)",
    ],
    (EVALUATED, "values_lie_between_reported_ones"): [
        f"update attributes.imputed_evaluations set value = 1.5 where {SOURCE}",
        f"update attributes.imputed_evaluations set value = 'nan' where {SOURCE}",
        f"update attributes.imputed_evaluations set benchmark = 'none' where {SOURCE}",
    ],
    (EVALUATED, "models_are_connected"): [
        f"update attributes.imputed_evaluations set model_id = 'z/alone' where {SOURCE}"
    ],
    (SCORES, "accuracy_is_the_ratio"): [
        f"update attributes.scores set accuracy = accuracy / 2 where {BY_HUB}",
        f"update attributes.scores set mae = null where {BY_MEAN}",
        f"update attributes.scores set n_correct = 3, accuracy = 3 / n_models where {BY_MEAN}",
        f"update attributes.scores set n_correct = null, accuracy = null where {BY_HUB}",
    ],
    (SCORES, "methods_share_models"): [f"update attributes.scores set n_models = n_models + 1 where {BY_HUB}"],
    (SCORES, "ours_is_no_worse"): [
        "update attributes.scores set n_models = 200, accuracy = if(method = 'lineage_vote', 0.5, 0.9) "
        "where attribute = 'license' and protocol = 'by_time'",
        "update attributes.scores set n_models = 200, mse = if(method = 'lineage_kernel', 25, 16) "
        "where attribute = 'b/accuracy' and protocol = 'by_time'",
    ],
}


@pytest.fixture(scope="module")
def made():
    models, values = evaluated_families()
    models["z/alone"] = {"license": "license-1"}
    reported = [{"model_id": m, "benchmark": "b", "metric": "accuracy", "value": v} for m, v in values.items()]
    with lineage_tables(models, reported) as connection:
        for table, make in MADE.items():
            connection.register("given", make(connection, SNAPSHOT, seed=0))
            connection.execute(f"create table {table} as from given")
        yield connection


def own_checks():
    return [check for table in MADE for check in checks_of(table) if check.query]


def test_every_check_has_a_breakage():
    assert {(check.table, check.name) for check in own_checks()} == set(BREAKAGES)
    warnings = {check.name for check in own_checks() if check.severity == "warning"}
    assert warnings == {"ours_is_no_worse"}


@pytest.mark.parametrize("check", own_checks(), ids=lambda check: f"{check.table}/{check.name}")
def test_what_is_made_passes_and_what_is_broken_does_not(made, check):
    assert run_check(made, check).n_failing == 0
    for breakage in BREAKAGES[check.table, check.name]:
        made.execute("begin")
        made.execute(breakage)
        assert run_check(made, check).n_failing == 1, breakage
        made.execute("rollback")
