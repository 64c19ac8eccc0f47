import dagster as dg
import pyarrow as pa
import pytest

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.definitions import build_defs
from atlas_pipeline.orchestration import asset_key, execute_step, materialized, table_asset
from atlas_pipeline.planning import Step
from atlas_pipeline.schema import TABLES
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage import TableNotMaterialized

SNAPSHOT = "2025-12-01"

EMPTY = {"edges.arrivals", "release.model_changes", "release.edge_changes"}
"""Nothing arrives after a region that was charted just now, and a first release is compared with none."""


@pytest.fixture(scope="module")
def materialised(tmp_path_factory, demo_hub):
    """Every asset once through ``materialize()``, in the order of the stages."""
    home = tmp_path_factory.mktemp("materialised")
    settings = Settings(
        home=str(home / "atlas"),
        hub_stats=str(demo_hub.hub_stats),
        weights=str(demo_hub.weights),
        truth=str(demo_hub.truth),
    )
    defs, atlas = build_defs(settings), Atlas(settings)
    results = {}
    (home / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(home / "dagster")) as instance:
        instance.add_dynamic_partitions("snapshot", ["2025-06-01", SNAPSHOT])
        for table, contract in TABLES.items():
            partitions = {
                "snapshot": lambda: ["2025-06-01", SNAPSHOT],
                "region": lambda: instance.get_dynamic_partitions("region"),
                None: lambda: [None],
            }[contract.partitioned_by]()
            for partition in partitions:
                results[table, partition] = dg.materialize(
                    list(defs.assets),
                    selection=dg.AssetSelection.assets(asset_key(table)).without_checks(),
                    partition_key=partition,
                    resources=defs.resources,
                    instance=instance,
                )
    return atlas, results


def test_each_asset_writes_its_table(materialised, subtests):
    # One test: its set-up is a whole run, which each process that has a part of it would repeat.
    for table in TABLES:
        with subtests.test(table):
            atlas, results = materialised
            contract = TABLES[table]
            rows = atlas.store.read(table)
            assert rows.schema.equals(contract.arrow_schema)
            assert (rows.num_rows > 0) == (table not in EMPTY)
            made = {partition: result for (name, partition), result in results.items() if name == table}
            for partition, result in made.items():
                (event,) = result.asset_materializations_for_node("__".join(table.split(".")))
                key = "dagster/row_count" if partition is None else "dagster/partition_row_count"
                receipt = atlas.store.receipt(table, partition)
                assert event.metadata[key].value == receipt.rows
                assert event.metadata["sha256"].value == receipt.sha256
                assert event.metadata["bytes"].value == receipt.bytes
                assert atlas.is_current(table, partition)


def test_charting_finds_what_the_demo_hub_hides(materialised):
    atlas, _ = materialised
    edges = atlas.store.read("edges.charted").to_pylist()
    rules = {edge["rule"] for edge in edges if edge["origin"] == "charted"}
    assert {"duplicate", "quantized", "nearest"} <= rules
    scores = {
        (row["method"], row["documentation"], row["subset"], row["region_id"]): row["accuracy"]
        for row in atlas.store.read("edges.scores").to_pylist()
        if row["breakdown"] == "all"
    }
    for (method, documentation, subset, region), accuracy in scores.items():
        if method == "algorithm1_resolved" and accuracy is not None:
            assert accuracy > scores["random_earlier", documentation, subset, region]
            assert accuracy > 0.5


def test_duplicates_and_quantised_models_are_found_exactly(materialised):
    atlas, _ = materialised
    by_pattern = {}
    for row in atlas.store.read("edges.scores").to_pylist():
        if (row["method"], row["documentation"], row["breakdown"]) == ("algorithm1_resolved", "hidden", "pattern"):
            by_pattern.setdefault(row["breakdown_value"], []).append(row["accuracy"])
    for pattern in ("reupload", "int8", "cast"):
        assert set(by_pattern[pattern]) == {1.0}


def test_a_failed_step_says_which_table_and_why(tmp_path, instance):
    defs = build_defs(Settings(home=str(tmp_path / "home"), hub_stats=str(tmp_path / "nothing")))
    instance.add_dynamic_partitions("snapshot", [SNAPSHOT])
    failures = execute_step(defs, instance, Step(SNAPSHOT, ("raw.hub_stats",)))
    assert len(failures) == 1
    assert failures[0].startswith("raw.hub_stats: ")
    assert "no such file or folder" in failures[0]


def test_a_missing_input_names_the_asset_to_materialise(tmp_path, instance):
    defs = build_defs(Settings(home=str(tmp_path / "home")))
    instance.add_dynamic_partitions("snapshot", [SNAPSHOT])
    (failure,) = execute_step(defs, instance, Step(SNAPSHOT, ("components.regions",)))
    assert "materialise the asset components/models first" in failure


def test_metadata_shows_data_as_text(tmp_path, instance):
    hostile = "<img src=x onerror=alert(1)>|`[a](javascript:b)`"

    @table_asset("release.published")
    def published(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
        row = {"version": hostile, "repo_id": None, "revision": None, "is_dry_run": True, "n_files": 0, "bytes": 0}
        return materialized(context, atlas, pa.Table.from_pylist([row], TABLES["release.published"].arrow_schema))

    result = dg.materialize(
        [published], resources={"atlas": Atlas(Settings(home=str(tmp_path / "home")))}, instance=instance
    )
    (event,) = result.asset_materializations_for_node("release__published")
    shown = event.metadata["sample"].value
    assert hostile not in shown
    assert "<img" not in shown
    assert shown.count("\n") == 2


def test_tables_of_vanished_region_partitions_go(materialised, tmp_path):
    atlas, _ = materialised
    gone = atlas.store.partitions("features.models")
    assert set(gone) == set(atlas.region_partitions())
    with pytest.raises(TableNotMaterialized):
        Atlas(Settings(home=str(tmp_path / "empty"))).region_partitions()
