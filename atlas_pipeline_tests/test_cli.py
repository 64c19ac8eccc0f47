import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atlas_pipeline.schema import TABLES
from atlas_pipeline_tests.conftest import new_home, run_atlas


def tables_of(home: Path) -> dict[str, tuple[str, int]]:
    """sha256 and time of change of every stored table by its path."""
    paths = sorted((home / "tables").rglob("*.parquet"))
    return {
        str(path.relative_to(home)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in paths
    }


def checksums(home: Path) -> dict[str, str]:
    return {name: digest for name, (digest, _) in tables_of(home).items()}


@pytest.fixture
def copied(tmp_path, finished):
    """A finished home of the test's own."""
    home = tmp_path / "home"
    shutil.copytree(finished.home, home)
    return home


def test_a_run_makes_every_table_and_says_what_it_found(finished):
    made = {"/".join(name.split("/")[1:3]) for name in tables_of(finished.home)}
    assert made == {table.replace(".", "/") for table in TABLES}
    for phrase in ("models", "documented edges", "charted edges", "checks passed", "atlas sql", "make ui", "Release:"):
        assert phrase in finished.stdout
    released = {path.name for path in (finished.home / "release").iterdir()}
    assert {"README.md", "atlas.duckdb", "data_dictionary.md", "datapackage.json"} <= released


def test_nothing_is_written_outside_the_home(tmp_path, demo_hub):
    home = new_home(tmp_path / "place" / "home", demo_hub)
    run_atlas(home, "run", "--select", "raw")
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["home"]
    assert sorted(path.name for path in home.iterdir()) == ["dagster", "demo_hub", "tables"]


def test_a_second_run_does_nothing(copied):
    before = tables_of(copied)
    done = run_atlas(copied, "run")
    assert done.stderr.count("up to date") == 5
    assert tables_of(copied) == before


def test_a_changed_setting_redoes_what_depends_on_it(copied):
    before = tables_of(copied)
    run_atlas(copied, "run", ATLAS_N_NEIGHBORS="4")
    after = tables_of(copied)
    changed = {name.split("/")[1] for name in after if after[name] != before[name]}
    assert changed == {"distances", "edges", "release"}


def test_a_killed_run_goes_on_where_it_stopped_and_gives_the_same_bytes(tmp_path, demo_hub, finished):
    home = new_home(tmp_path / "killed", demo_hub)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ATLAS_", "DAGSTER_"))}
    command = [sys.executable, "-m", "atlas_pipeline.cli", "run"]
    process = subprocess.Popen(
        command,
        env=environment | {"ATLAS_HOME": str(home)},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(tables_of(home)) < 9 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    whole = {name: mark for name, mark in tables_of(home).items() if (home / name).with_suffix(".json").exists()}
    assert 8 <= len(whole) < len(tables_of(finished.home))
    run_atlas(home, "run")
    after = tables_of(home)
    # The partition that was being written and the checks of its run may be made again; nothing else is.
    again = [name for name, mark in whole.items() if after[name][1] != mark[1]]
    assert again == []
    assert checksums(home) == checksums(finished.home)


def test_a_broken_snapshot_fails_alone_and_by_name(tmp_path, demo_hub):
    home = new_home(tmp_path / "home", demo_hub)
    stats = tmp_path / "stats"
    shutil.copytree(demo_hub.hub_stats, stats)
    broken = stats / "2025-09-01" / "models.parquet"
    broken.parent.mkdir()
    whole = (stats / "2025-12-01" / "models.parquet").read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    done = run_atlas(home, "run", "--select", "raw,components", ATLAS_HUB_STATS=str(stats), check=False)
    assert done.returncode == 1
    assert "2025-09-01/models.parquet cannot be read as Parquet" in done.stderr
    assert "Traceback" not in done.stderr
    there = {Path(name).stem for name in tables_of(home) if Path(name).parent.name != "cards"}
    assert there == {"2025-06-01", "2025-12-01"}


@pytest.mark.parametrize(
    ("arguments", "variables", "sentence"),
    [
        (["run", "--select", "edgse"], {}, "'edgse' is no stage and no table"),
        (["run", "--snapshot", "2020-01-01"], {}, "there is no snapshot 2020-01-01; there are 2025-06-01, 2025-12-01"),
        (["run"], {"ATLAS_SEED": "many"}, "ATLAS_SEED takes a whole number"),
        (["run"], {"ATLAS_HUBSTATS": "x"}, "ATLAS_HUBSTATS is no setting"),
        (["walk"], {}, "No such command"),
    ],
)
def test_a_wrong_use_is_one_sentence_and_exit_code_2(copied, arguments, variables, sentence):
    done = run_atlas(copied, *arguments, check=False, **variables)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_source_that_is_not_there_is_exit_code_1(tmp_path):
    (tmp_path / "home").mkdir()
    done = run_atlas(tmp_path / "home", "run", check=False, ATLAS_HUB_STATS="/nowhere/at/all")
    assert done.returncode == 1
    assert "ATLAS_HUB_STATS=/nowhere/at/all: no such file or folder" in done.stderr


def test_select_and_snapshot_narrow_a_run(tmp_path, demo_hub):
    home = new_home(tmp_path / "home", demo_hub)
    run_atlas(home, "run", "--select", "raw", "--snapshot", "2025-06-01")
    made = {Path(name).as_posix() for name in tables_of(home)}
    assert made == {f"tables/raw/{table}/2025-06-01.parquet" for table in ("cards", "hub_stats")}


def test_the_plan_says_what_would_be_done_and_does_nothing(tmp_path, demo_hub):
    home = new_home(tmp_path / "home", demo_hub)
    done = run_atlas(home, "run", "--plan")
    assert "raw: 2025-06-01 raw.hub_stats" in done.stdout
    assert not (home / "tables").exists()


def test_sql_answers_as_text_and_as_json(finished):
    query = "select count(*) as n from components.models where snapshot = '2025-12-01'"
    rows = json.loads(run_atlas(finished.home, "sql", "--json", query).stdout)
    assert rows == {"n": 100}
    assert "100" in run_atlas(finished.home, "sql", query).stdout


def test_sql_reads_a_file_and_standard_input(finished, tmp_path):
    file = tmp_path / "query.sql"
    file.write_text("select count(*) as n from atlas_edges where origin = 'documented'")
    assert json.loads(run_atlas(finished.home, "sql", "--json", "-f", str(file)).stdout)["n"] > 0


def test_a_mistake_in_sql_is_shown_and_is_exit_code_1(finished):
    done = run_atlas(finished.home, "sql", "select * from nothing_at_all", check=False)
    assert done.returncode == 1
    assert "nothing_at_all" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_the_commands(finished):
    shown = run_atlas(finished.home, "--help").stdout
    assert all(name in shown for name in ("run", "chart", "sql", "ui", "release"))


def test_release_makes_the_release_alone(copied):
    shutil.rmtree(copied / "tables" / "release")
    shutil.rmtree(copied / "tables" / "trends")
    done = run_atlas(copied, "release", check=False)
    assert (copied / "tables" / "release" / "checks").is_dir()
    assert not (copied / "tables" / "trends").exists()
    assert "charting" not in done.stderr
