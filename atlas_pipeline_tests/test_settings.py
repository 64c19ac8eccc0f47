"""Settings come from ATLAS_* variables, all of them and nothing else; what cannot be used is refused by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.settings import DEMO, FOLDER, GREATEST, Settings, SettingsError

PATHS = ("home", "hub_stats", "weights", "annotations", "evaluations", "truth")


def read(**variables: str) -> Settings:
    return Settings.from_environment({f"ATLAS_{name.upper()}": value for name, value in variables.items()})


def test_everything_has_a_default_that_works_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = Settings.from_environment({"PATH": "/bin", "HF_TOKEN": "x"})
    assert found == Settings(home=str(tmp_path / ".atlas"))
    assert (found.hub_stats, found.weights, found.truth, found.release_repo) == (DEMO, DEMO, DEMO, "")
    empty = {f"ATLAS_{f.name.upper()}": " " for f in dataclasses.fields(Settings) if f.name not in ("weights", "truth")}
    assert Settings.from_environment(empty) == found


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_SEED", "7")
    assert Settings.from_environment().seed == 7


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().seed = 1


@pytest.mark.parametrize("name", ["ATLAS_HOM", "ATLAS_", "ATLAS_home", "ATLAS_HUB_STATS_"])
def test_a_variable_that_is_no_setting_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} is no setting; there are ATLAS_HOME, .*ATLAS_MEMORY_LIMIT$"):
        Settings.from_environment({name: "1"})


NUMBERS = [f.name for f in dataclasses.fields(Settings) if f.type == "int"]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_cannot_be_used_are_refused(name: str) -> None:
    bad = ["-1", "1.5", "1e3", "ten", "0x10", "1_000", "+1", "٣", "²", "9" * 5000, str(GREATEST + 1)]
    bad += ["0"] if name.startswith(("n_", "large")) else []
    for value in bad:
        with pytest.raises(SettingsError, match=rf"^ATLAS_{name.upper()} takes a whole number from [01] to .*, not '"):
            read(**{name: value})
    assert getattr(read(**{name: f" {GREATEST} "}), name) == GREATEST


@given(st.sampled_from(NUMBERS), st.text())
def test_any_text_is_a_number_or_a_settings_error(name: str, value: str) -> None:
    try:
        found = getattr(read(**{name: value}), name)
    except SettingsError:
        return
    assert found == (int(value) if value.strip() else getattr(Settings("x"), name))


@pytest.mark.parametrize("value", ["lots", "-1GB", "none", "4", "GB", "4GB; drop table", "1e3GB", "4 PB"])
def test_memory_that_duckdb_would_not_take_as_meant_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="ATLAS_MEMORY_LIMIT takes a size"):
        read(memory_limit=value)


@pytest.mark.parametrize("value", ["4GB", "1.5 GiB", "512mb", "50%"])
def test_memory_that_is_accepted_is_what_duckdb_takes(value: str, tmp_path: Path) -> None:
    from atlas_pipeline.storage import TableStore

    TableStore(str(tmp_path)).connect({}, memory_limit=read(memory_limit=value).memory_limit).close()


def test_an_own_listing_switches_the_demo_off_which_does_not_belong_to_it() -> None:
    own = read(hub_stats="/data/hub")
    assert (own.weights, own.truth) == ("", "")
    assert (read(hub_stats="hub").weights, read(hub_stats=DEMO).weights, read(hub_stats="").truth) == ("", DEMO, DEMO)
    both = read(hub_stats="/data/hub", weights="hub", truth=DEMO)
    assert (both.weights, both.truth) == ("hub", DEMO)
    assert (read(weights="").weights, read(truth="").truth) == ("", "")


@pytest.mark.parametrize("hub_stats", [{}, {"hub_stats": ""}, {"hub_stats": FOLDER}])
def test_a_folder_of_weights_without_a_listing_is_listed_itself(hub_stats: dict[str, str], tmp_path: Path) -> None:
    found = read(weights=str(tmp_path), **hub_stats)
    assert (found.hub_stats, found.weights, found.truth) == (FOLDER, str(tmp_path), "")
    assert found.location("hub_stats") == found.location("weights") == str(tmp_path)
    listed = read(weights=str(tmp_path), hub_stats="/data/hub")
    assert (listed.hub_stats, listed.location("hub_stats")) == ("/data/hub", "/data/hub")
    assert read(weights=str(tmp_path), hub_stats=DEMO).hub_stats == DEMO


@pytest.mark.parametrize("weights", [{}, {"weights": ""}, {"weights": "hub"}, {"weights": DEMO}])
def test_a_listing_of_the_folder_needs_a_folder(weights: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="ATLAS_HUB_STATS=folder lists the models of a folder: name that in ATLAS_"):
        read(hub_stats=FOLDER, **weights)


def test_locations_keep_their_meaning_when_the_working_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    for name in PATHS:
        assert getattr(read(**{name: "a/../b"}), name) == str(tmp_path / "a/../b")
        assert getattr(read(**{name: "~/b"}), name) == "/home/somebody/b"
        assert getattr(read(**{name: "s3://bucket/a b"}), name) == "s3://bucket/a b"
        assert getattr(read(**{name: f"file://{tmp_path}/x"}), name) == str(tmp_path / "x")
    with pytest.raises(SettingsError, match="ATLAS_WEIGHTS=~nobody-of-that-name/x"):
        read(weights="~nobody-of-that-name/x")


def test_words_are_words_only_where_they_mean_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    is_word = {(name, word): getattr(read(**{name: word}), name) == word for name in PATHS for word in ("demo", "hub")}
    words = {("hub_stats", "demo"), ("hub_stats", "hub"), ("weights", "demo"), ("weights", "hub"), ("truth", "demo")}
    assert {pair for pair, is_one in is_word.items() if is_one} == words
    assert read(home="demo").home == str(tmp_path / "demo")


def test_the_demo_stands_for_places_in_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    local, remote = read(home="h"), read(home="memory://h")
    assert (local.is_local, remote.is_local, read(home=f"file://{tmp_path}/h") == local) == (True, False, True)
    for settings, folder in ((local, tmp_path / "h"), (remote, tmp_path / ".atlas")):
        assert settings.location("hub_stats") == str(folder / "demo_hub" / "hub_stats")
        assert settings.location("weights") == str(folder / "demo_hub" / "models")
        assert settings.location("truth") == str(folder / "demo_hub" / "truth.parquet")
        assert settings.dagster_home == folder / "dagster"
    assert read(truth="/t.csv").location("truth") == "/t.csv"
    assert Settings("h", evaluations=DEMO).location("evaluations") == DEMO


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"ATLAS_LLM_ENDPOINT": "localhost:8000", "ATLAS_LLM_MODEL": "m"}, "begins with http"),
        ({"ATLAS_LLM_ENDPOINT": "http://localhost:8000/v1"}, "only of use together"),
        ({"ATLAS_LLM_MODEL": "m"}, "only of use together"),
    ],
)
def test_a_language_model_needs_an_address_and_a_name(variables, problem):
    with pytest.raises(SettingsError, match=problem):
        Settings.from_environment(variables)
    whole = {"ATLAS_LLM_ENDPOINT": "http://localhost:8000/v1", "ATLAS_LLM_MODEL": "m"}
    assert Settings.from_environment(whole).llm_model == "m"


@pytest.mark.parametrize(
    ("text", "size"), [("64MB", 64_000_000), ("1.5 GiB", 3 << 29), ("3kb", 3000), ("2TB", 2 * 10**12)]
)
def test_limits_of_reading_are_sizes(text: str, size: int) -> None:
    assert read(model_read_limit=text).size_bytes("model_read_limit") == size
    assert read(run_read_limit=text).size_bytes("run_read_limit") == size


@pytest.mark.parametrize("text", ["64", "MB", "-1MB", "5%", "1e3MB", "64MB;"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="ATLAS_RUN_READ_LIMIT takes a size"):
        read(run_read_limit=text)
