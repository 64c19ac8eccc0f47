"""When the models of a folder were made: file times that can be believed, dates written down."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.raw.folder_dates import (
    COPY_BYTES_PER_SECOND,
    COPY_PAUSE_SECONDS,
    ListedModel,
    creation_times,
    is_weight_file,
    listed_models,
    misplaced_weights,
    newest_day,
    storable,
    written_dates,
)
from atlas_pipeline.repositories import FileEntry, FolderRepository, RepositoryError
from atlas_pipeline_tests.raw.folders import HOUR, NOON, put, put_model


def model(name: str, *times: float, size: int = 10) -> ListedModel:
    """A model whose weight files were last changed at these times."""
    files = tuple(FileEntry(f"model-{i}.safetensors", size) for i in range(len(times)))
    return ListedModel(name, files, times)


def made(*models: ListedModel) -> list[float | None]:
    return [None if np.isnan(time) else time for time in creation_times(list(models))]


def test_a_model_is_as_old_as_its_oldest_weight_file(tmp_path):
    for name, shift in (("a/one", 0), ("a/two", 5 * HOUR)):
        put(tmp_path / name / "config.json", {}, time=NOON + shift - HOUR)
        put(tmp_path / name / "model-1.safetensors", time=NOON + shift)
        put(tmp_path / name / "nested/model-2.gguf", time=NOON + shift + 60)
    models = listed_models(FolderRepository(tmp_path))
    assert [m.model_id for m in models] == ["a/one", "a/two"]
    assert made(*models) == [NOON, NOON + 5 * HOUR]
    assert [m.changed_at for m in models] == [NOON + 60, NOON + 5 * HOUR + 60]


@pytest.mark.parametrize(
    "times",
    [
        [NOON],
        [NOON, NOON],
        [NOON, NOON + 59],
        [NOON + 3, NOON, NOON + 30, NOON + 10 * HOUR],
        [NOON, NOON + HOUR, NOON + HOUR + 1, NOON + 2 * HOUR, NOON + 2 * HOUR + 1],
    ],
)
def test_times_of_files_that_were_copied_in_one_go_are_no_dates(times):
    assert made(*(model(f"a/{i}", time) for i, time in enumerate(times))) == [None] * len(times)


@pytest.mark.parametrize("times", [[NOON, NOON + 61], [NOON + 9 * HOUR, NOON, NOON + 1, NOON + HOUR]])
def test_times_that_lie_apart_are_dates(times):
    assert made(*(model(f"a/{i}", time) for i, time in enumerate(times))) == times


def test_what_a_copy_may_take_grows_with_what_is_copied():
    size = int(100 * COPY_BYTES_PER_SECOND)
    slow = COPY_PAUSE_SECONDS + 200
    assert made(model("a/1", NOON, size=size), model("a/2", NOON + slow, size=size)) == [None, None]
    assert made(model("a/1", NOON, size=size), model("a/2", NOON + slow + 1, size=size)) == [NOON, NOON + slow + 1]


def test_a_model_without_weights_or_times_has_no_date_and_takes_nobody_elses():
    bare = ListedModel("a/bare", (FileEntry("README.md", 3),), (NOON,))
    unknown = model("a/unknown", np.nan)
    assert made(bare, unknown, model("b/1", NOON), model("b/2", NOON + HOUR)) == [None, None, NOON, NOON + HOUR]
    assert made(bare, unknown) == [None, None]
    assert np.isnan(unknown.changed_at)
    assert bare.changed_at == NOON


@given(st.lists(st.floats(0, 4e9) | st.just(np.nan), max_size=12), st.randoms())
def test_dates_are_all_times_or_none_in_any_order(times, random):
    models = [model(f"a/{i}", time) for i, time in enumerate(times)]
    found = dict(zip(models, creation_times(models), strict=True))
    assert all(np.isnan(time) for time in found.values()) or all(
        np.array_equal(time, m.times[0], equal_nan=True) for m, time in found.items()
    )
    shuffled = random.sample(models, len(models))
    assert np.array_equal([found[m] for m in shuffled], creation_times(shuffled), equal_nan=True)


def test_the_newest_file_of_any_model_dates_the_folder(tmp_path):
    put_model(tmp_path, "a/one")
    put(tmp_path / "a/two/notes.txt", "x", time=NOON + 12 * HOUR)
    put(tmp_path / "loose.txt", "x", time=NOON + 100 * HOUR)
    put(tmp_path / ".cache/a/b.safetensors", time=NOON + 100 * HOUR)
    assert newest_day(tmp_path) == "2025-01-02"


@pytest.mark.parametrize(("time", "day"), [(0, "1970-01-01"), (-5 * HOUR, "1970-01-01"), (4e9, "2096-10-02")])
def test_times_that_no_calendar_has_are_passed_over(tmp_path, time, day):
    put_model(tmp_path, "a/one", time=time)
    assert newest_day(tmp_path) == day


def test_a_folder_whose_models_have_no_weights_has_no_day(tmp_path):
    put(tmp_path / "a/one/README.md", "x")
    assert newest_day(tmp_path) == ""
    assert newest_day(tmp_path / "a") == ""


def test_weights_that_lie_too_high_are_found(tmp_path):
    put(tmp_path / "base.gguf")
    put(tmp_path / "run/pytorch_model.bin")
    put(tmp_path / "run/config.json", {})
    put(tmp_path / "org/name/model.safetensors")
    put(tmp_path / ".hidden/model.safetensors")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert misplaced_weights(tmp_path) == ["base.gguf", "run/pytorch_model.bin"]


def test_weight_files_are_known_by_their_names():
    assert all(map(is_weight_file, ["model.safetensors", "a/b.gguf", "x.pth", "tf_model.h5", "adapter_model.bin"]))
    assert not any(map(is_weight_file, ["config.json", "README.md", "safetensors", "notes.txt"]))


def dates_of(folder, text: str | bytes):
    put(folder / "models.csv", text)
    return written_dates(FolderRepository(folder))


def test_dates_written_down_are_read_in_utc(tmp_path):
    found, notes = dates_of(
        tmp_path,
        "created_at,model_id,note\n2024-05-01,a/day,x\n2024-05-01T10:00:00+02:00,a/zone,\n2024-05-01 10:00,007,\n",
    )
    assert found == {
        "a/day": datetime(2024, 5, 1, tzinfo=UTC),
        "a/zone": datetime(2024, 5, 1, 8, tzinfo=UTC),
        "007": datetime(2024, 5, 1, 10, tzinfo=UTC),
    }
    assert notes == ()
    (tmp_path / "models.csv").unlink()
    assert written_dates(FolderRepository(tmp_path)) == ({}, ())


def test_rows_that_say_nothing_are_passed_over_with_a_note(tmp_path):
    found, notes = dates_of(
        tmp_path,
        "model_id,created_at\na/b,yesterday\n,2024-01-01\na/c,2024-01-01\na/c,2024-02-02\na/d,\n"
        "a/e,0001-01-01T00:00:00+14:00\n",
    )
    assert found == {"a/c": datetime(2024, 1, 1, tzinfo=UTC)}
    assert [note.split(", ")[1] for note in notes] == ["row 2", "row 3", "row 5", "row 6", "row 7"]
    assert "repeats a model" in notes[2] and "names no model" in notes[1] and "has no date" in notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model_id,day\na/b,2024-01-01\n", "has no column created_at"),
        ("", "cannot be read as CSV"),
        (b"model_id,created_at\na/\xff,2024-01-01\n", "cannot be read as CSV"),
        ("model_id,created_at\na/b\n", "cannot be read as CSV"),
    ],
)
def test_a_file_of_dates_that_cannot_be_read_is_one_sentence(tmp_path, content, message):
    with pytest.raises(RepositoryError, match=message):
        dates_of(tmp_path, content)


def test_a_file_of_dates_outside_the_folder_is_not_read(tmp_path):
    secret = put(tmp_path / "secret.csv", "model_id,created_at\n")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/models.csv").symlink_to(secret)
    with pytest.raises(RepositoryError, match="leads out"):
        written_dates(FolderRepository(tmp_path / "models"))


def test_a_file_of_dates_that_is_a_folder_or_far_too_large_is_refused(tmp_path, monkeypatch):
    (tmp_path / "models.csv").mkdir()
    with pytest.raises(RepositoryError, match="cannot be read as CSV"):
        written_dates(FolderRepository(tmp_path))
    (tmp_path / "models.csv").rmdir()
    monkeypatch.setattr("atlas_pipeline.raw.folder_dates.MAX_DATES_BYTES", 20)
    with pytest.raises(RepositoryError, match="larger than"):
        dates_of(tmp_path, "model_id,created_at\na/b,2024-01-01\n")


def test_names_that_are_no_text_can_be_stored():
    assert storable(os.fsdecode(b"a/\xff")) == "a/\\udcff"
    assert storable("org/näme") == "org/näme"
