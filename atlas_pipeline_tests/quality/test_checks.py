from __future__ import annotations

import dagster as dg
import pytest

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.orchestration import PARTITIONS, asset_key
from atlas_pipeline.quality.checks import all_table_checks, release_checks, table_checks, views_for
from atlas_pipeline.quality.invariants import checks_of
from atlas_pipeline.schema import RELEASED, TABLES, contract_of
from atlas_pipeline.settings import Settings
from atlas_pipeline_tests.quality.sound_tables import SNAPSHOTS, loose_table, row, sound_rows

OLD, LATEST = SNAPSHOTS


@pytest.fixture
def atlas(home):
    return Atlas(Settings(home=str(home)))


def evaluations(atlas, instance, table, checks, partition):
    """Evaluations of the checks of a table whose asset does nothing."""
    definition = PARTITIONS[contract_of(table).partitioned_by]

    @dg.asset(key=asset_key(table), partitions_def=definition)
    def nothing() -> None:
        pass

    if partition is not None:
        instance.add_dynamic_partitions(definition.name, [partition])
    defs = dg.Definitions(assets=[nothing], asset_checks=[checks], resources={"atlas": atlas})
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=instance,
        partition_key=partition,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    return {e.check_name: e for e in result.get_asset_check_evaluations()}


def test_every_check_is_an_asset_check_and_only_errors_block():
    specs = {(*spec.asset_key.path, spec.name): spec for checks in all_table_checks() for spec in checks.check_specs}
    expected = {(*table.split("."), check.name): check for table in TABLES for check in checks_of(table)}
    assert set(expected) < set(specs)
    assert {key: specs[key].blocking for key in expected} == {k: c.severity == "error" for k, c in expected.items()}
    assert {spec.name for spec in release_checks().check_specs} == {
        f"{table.replace('.', '__')}_is_sound" for table in RELEASED
    }


def test_check_looks_at_the_partition_of_the_run_and_says_how_many_rows_fail(atlas, instance):
    rows = sound_rows()["components.regions"]
    latest = [r for r in rows if r["snapshot"] == LATEST]
    for r in latest:
        r["region_size"] = 99
    atlas.store.write("components.regions", loose_table("components.regions", latest), partition=LATEST)
    checks = table_checks("components.regions")
    found = evaluations(atlas, instance, "components.regions", checks, OLD)
    assert set(found) == {check.name for check in checks_of("components.regions")}
    assert all(e.passed and e.metadata["n_failing"].value == 0 for e in found.values())
    found = evaluations(atlas, instance, "components.regions", checks, LATEST)
    assert {name for name, e in found.items() if not e.passed} == {"sizes_add_up"}
    red = found["sizes_add_up"]
    assert (red.severity, red.metadata["n_failing"].value) == (dg.AssetCheckSeverity.ERROR, 3)
    assert [LATEST in record.data["row"] for record in red.metadata["sample"].records] == [True] * 3


def test_views_are_those_of_the_same_snapshot_and_all_of_tables_partitioned_otherwise(atlas):
    assert views_for(atlas, "components.regions", LATEST, ["components.models"]) == {
        "components.regions": [LATEST],
        "components.models": [LATEST],
    }
    assert views_for(atlas, "edges.charted", "bucket-00", ["components.models"]) == {
        "edges.charted": ["bucket-00"],
        "components.models": None,
    }


def test_soundness_of_a_released_table_has_the_severity_of_its_worst_check(atlas, instance):
    def found(table, check, severity, is_passed):
        values = {"check": check, "severity": severity, "is_passed": is_passed, "n_failing": 2 * (not is_passed)}
        return row("release.checks", **{"table": table} | values)

    rows = [
        found("edges.charted", "one", "error", False),
        found("edges.charted", "two", "warning", False),
        found("components.models", "one", "warning", False),
        found("components.parents", "one", "error", True),
    ]
    atlas.store.write("release.checks", loose_table("release.checks", rows))
    evaluated = evaluations(atlas, instance, "release.checks", release_checks(), None)
    red = {name: e for name, e in evaluated.items() if not e.passed}
    assert {name: e.severity.value for name, e in red.items()} == {
        "edges__charted_is_sound": "ERROR",
        "components__models_is_sound": "WARN",
    }
    assert red["edges__charted_is_sound"].metadata["failed"].value == "one (2), two (2)"
