"""A home whose tables are sound, made once and copied for each test."""

import shutil

import pytest

from atlas_pipeline_tests.quality.sound_tables import sound_rows, write_home


@pytest.fixture(scope="session")
def sound_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("sound")
    write_home(str(home), sound_rows())
    return home


@pytest.fixture
def home(sound_home, tmp_path):
    return shutil.copytree(sound_home, tmp_path / "home")
