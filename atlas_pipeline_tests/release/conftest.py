"""A home whose tables are sound, made once and copied for each test."""

import shutil

import pytest

from atlas_pipeline.release import gate
from atlas_pipeline.release.bundle import make_bundle
from atlas_pipeline.schema import contract_of
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage import TableStore
from atlas_pipeline_tests.quality.sound_tables import sound_rows, write_home


@pytest.fixture(scope="session")
def sound_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("sound")
    write_home(str(home), sound_rows())
    return home


@pytest.fixture(scope="session")
def bundled_home(sound_home, tmp_path_factory):
    """The same home with the release folder, and release.files in the store."""
    home = shutil.copytree(sound_home, tmp_path_factory.mktemp("bundled") / "home")
    store = TableStore(str(home))
    checks = contract_of("release.checks").arrow_schema.empty_table()
    store.write("release.files", make_bundle(store, Settings(home=str(home)), checks))
    return home


@pytest.fixture
def home(sound_home, tmp_path):
    return shutil.copytree(sound_home, tmp_path / "home")


@pytest.fixture
def store(home):
    return TableStore(str(home))


@pytest.fixture
def settings(home):
    return Settings(home=str(home))


@pytest.fixture
def without_plausibility(monkeypatch):
    """Great Expectations takes seconds to load; what it judges has tests of its own."""
    monkeypatch.setattr(gate, "check_plausibility", lambda *_: [])
