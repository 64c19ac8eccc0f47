"""Fixtures that all tests share: a clean environment, the demo hub, and one finished run on it."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from filelock import FileLock

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.repositories.demo import DemoHub, ensure_demo_hub
from atlas_pipeline.settings import Settings

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Finished:
    """A home in which ``atlas run`` has finished, and what it printed."""

    home: Path
    stdout: str
    atlas: Atlas


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """No setting of the person who runs the tests reaches them."""
    for name in list(os.environ):
        if name.startswith(("ATLAS_", "DAGSTER_", "HF_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """A folder that all test processes of this session share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def demo_hub(shared_folder) -> DemoHub:
    """The demo hub, built once."""
    return ensure_demo_hub(shared_folder / "demo_hub")


def new_home(path: Path, demo_hub: DemoHub) -> Path:
    """A home that has the demo hub and nothing else."""
    path.mkdir(parents=True)
    shutil.copytree(demo_hub.root, path / "demo_hub")
    return path


def run_atlas(home: Path, *arguments: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    """The ``atlas`` command in a process of its own, with nothing but the given ATLAS_* variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATLAS_", "DAGSTER_", "HF_"))}
    environment = kept | {"ATLAS_HOME": str(home), "COLUMNS": "120"} | variables
    command = [sys.executable, "-m", "atlas_pipeline.cli", *arguments]
    done = subprocess.run(
        command, env=environment, cwd=home.parent, capture_output=True, text=True, timeout=300, check=False
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="session")
def finished(shared_folder, demo_hub) -> Finished:
    """One whole run on the demo hub; tests read it and never change it."""
    home, log = shared_folder / "finished", shared_folder / "finished.log"
    with FileLock(shared_folder / "finished.lock"):
        if not log.exists():
            done = run_atlas(new_home(home, demo_hub), "run")
            log.write_text(done.stdout)
    return Finished(home, log.read_text(), Atlas(Settings.from_environment({"ATLAS_HOME": str(home)})))


@pytest.fixture
def instance(tmp_path):
    """An orchestrator's instance of the test's own, closed afterwards."""
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as made:
        yield made
