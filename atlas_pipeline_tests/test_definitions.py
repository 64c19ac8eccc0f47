import subprocess
import sys
import threading

import dagster as dg
import pytest
import yaml

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.definitions import build_defs
from atlas_pipeline.raw.sources import find_snapshots
from atlas_pipeline.schema import STAGES, TABLES, contract_of
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage import project_file


@pytest.fixture(scope="module")
def defs(tmp_path_factory):
    return build_defs(Settings(home=str(tmp_path_factory.mktemp("home"))))


def partitions_name(node):
    return None if node.partitions_def is None else node.partitions_def.name


def test_there_is_one_asset_for_each_table_and_nothing_else(defs):
    graph = defs.resolve_asset_graph()
    assert {".".join(key.path) for key in graph.get_all_asset_keys()} == set(TABLES)
    assert {".".join(key.path) for key in graph.executable_asset_keys} == set(TABLES)


def test_the_code_location_loads(defs):
    dg.Definitions.validate_loadable(defs)


def test_dependencies_are_those_of_the_contracts(defs):
    graph = defs.resolve_asset_graph()
    for table, contract in TABLES.items():
        node = graph.get(dg.AssetKey(table.split(".")))
        assert {".".join(key.path) for key in node.parent_keys} == {given.table for given in contract.inputs}
        assert node.group_name == contract.stage
        assert partitions_name(node) == contract.partitioned_by
        assert node.owners
        assert contract.grain in node.description


def test_the_graph_is_as_reviewed(defs, snapshot):
    """A change of the graph shows as a change of the stored text: keys, inputs, partitions, checks, jobs."""
    graph = defs.resolve_asset_graph()
    lines = []
    for table in TABLES:
        key = dg.AssetKey(table.split("."))
        node = graph.get(key)
        lines.append(f"{table} by {partitions_name(node)} kinds {sorted(node.kinds)}")
        lines += [f"  from {'.'.join(parent.path)}" for parent in sorted(node.parent_keys)]
        checks = sorted((c for c in graph.asset_check_keys if c.asset_key == key), key=lambda c: c.name)
        lines += [f"  check {check.name}" for check in checks]
    lines += [f"job {job.name}" for job in defs.resolve_all_job_defs() if not job.name.startswith("__")]
    assert "\n".join(lines) == snapshot


def test_weekly_schedule_is_off_and_asks_for_the_snapshots_that_are_new(tmp_path, demo_hub, instance):
    made = Atlas(Settings(home=str(tmp_path / "home"), hub_stats=str(demo_hub.hub_stats)))
    (schedule,) = build_defs(made.settings).schedules
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    names = [source.snapshot for source in find_snapshots(made.settings)]

    def asked():
        with dg.build_schedule_context(instance, resources={"atlas": made}) as context:
            return schedule(context)

    assert [request.partition_key for request in asked()] == names
    assert set(names) <= set(instance.get_dynamic_partitions("snapshot"))
    for name in names:
        empty = contract_of("raw.hub_stats").arrow_schema.empty_table()
        made.store.write("raw.hub_stats", empty, partition=name)
    assert isinstance(asked(), dg.SkipReason)


def test_every_table_has_a_blocking_contract_check(defs):
    specs = {
        (".".join(spec.asset_key.path), spec.name): spec for checks in defs.asset_checks for spec in checks.check_specs
    }
    for table in TABLES:
        assert specs[table, "contract_is_kept"].blocking


def test_stages_stand_in_the_order_of_the_design():
    assert list(dict.fromkeys(contract.stage for contract in TABLES.values())) == list(STAGES)


def test_loading_imports_nothing_heavy():
    code = (
        "import sys, atlas_pipeline.definitions; "
        "print([m for m in ('sklearn', 'great_expectations', 'matplotlib.pyplot', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def configured(tmp_path):
    text = project_file("dagster.yaml").read_text()
    (tmp_path / "dagster.yaml").write_text(text)
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


def test_the_instance_limits_runs_and_keeps_its_state_in_one_folder(configured, tmp_path):
    assert configured.get_concurrency_config().run_queue_config.max_concurrent_runs == 2
    assert not configured.telemetry_enabled
    assert not configured.nux_enabled
    configured.add_dynamic_partitions("snapshot", ["2025-01-01"])
    assert configured.root_directory == str(tmp_path)


def test_the_weights_pool_holds_a_second_run_back(configured):
    """The limit is one that the executor of this project really keeps, and not only one that can be set."""

    @dg.asset(pool="weights")
    def reads_weights() -> None:
        pass

    storage = configured.event_log_storage
    storage.initialize_concurrency_limit_to_default("weights")
    other = "1" * 36
    assert storage.claim_concurrency_slot("weights", run_id=other, step_key="other").is_claimed
    results = []
    run = threading.Thread(target=lambda: results.append(dg.materialize([reads_weights], instance=configured)))
    run.start()
    run.join(timeout=4)
    assert run.is_alive()
    storage.free_concurrency_slots_for_run(other)
    run.join(timeout=120)
    assert results[0].success


def test_the_weights_pool_is_used(defs):
    node = defs.resolve_asset_graph().get(dg.AssetKey(["features", "models"]))
    assert node.pools == {"weights"}


def test_workspace_names_the_code_location():
    loaded = yaml.safe_load(project_file("workspace.yaml").read_text())
    assert loaded["load_from"][0]["python_module"]["module_name"] == "atlas_pipeline.definitions"
