"""Provenance is true, and each change makes exactly the partitions stale that it concerns."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from atlas_pipeline import schema
from atlas_pipeline.atlas import Atlas, stamp
from atlas_pipeline.planning import phases, steps
from atlas_pipeline.schema import TABLES, contract_of
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage import Attachment, TableNotMaterialized
from atlas_pipeline_tests.storage.contract_rows import some_rows

EARLY, LATE = SNAPSHOTS = ("2025-06-01", "2025-12-01")
BUCKETS = ("bucket-00", "bucket-01")
REGION_TABLES = (
    "features.models",
    "features.tensors",
    "distances.neighbors",
    "edges.charted",
    "edges.arrivals",
    "edges.audit",
    "edges.scores",
)
FOLDERS = ("hub_stats", "weights", "annotations", "cards", "evaluations")
Made = tuple[str, str | None]


def make(atlas: Atlas, table: str, partition: str | None, marker: str = "as it was") -> None:
    """Write a table as an asset does: connect to its inputs, then write rows."""
    partitions = {"region_partition": list(BUCKETS)} if table == "components.regions" else {}
    with atlas.connect(table, partition):
        rows = some_rows(table, f"{marker} {partition}", **partitions)
    atlas.write(table, rows, partition, attachment=Attachment({"x": np.zeros(2)}, {"of": marker}))


def make_all(atlas: Atlas, snapshots: tuple[str, ...] = SNAPSHOTS) -> list[Made]:
    """Do all that is planned; returns what was made."""
    made = []
    for phase in phases(atlas, snapshots, tuple(TABLES)):
        for step in steps(atlas, phase):
            for table in step.tables:
                make(atlas, table, step.partition)
                made.append((table, step.partition))
    return made


def stale(atlas: Atlas) -> set[Made]:
    """Partitions that are there and not current."""
    return {
        (table, None if contract_of(table).partitioned_by is None else partition)
        for table in TABLES
        for partition in atlas.store.partitions(table)
        if not atlas.is_current(table, None if contract_of(table).partitioned_by is None else partition)
    }


def atlas_in(folder: Path) -> Atlas:
    locations = {name: str(folder / name) for name in ("home", *FOLDERS)}
    return Atlas(Settings(truth=str(folder / "truth.csv"), **locations))


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an atlas of two snapshots in which everything has been made, and the files it was made from."""
    folder = tmp_path_factory.mktemp("made")
    places = {name: folder / name for name in FOLDERS}
    for snapshot in SNAPSHOTS:
        (places["hub_stats"] / snapshot).mkdir(parents=True)
        (places["hub_stats"] / snapshot / "models.parquet").write_bytes(b"PAR1")
    for name in FOLDERS[1:]:
        (places[name] / "org" / "model").mkdir(parents=True)
        (places[name] / "org" / "model" / "file").write_bytes(b"content")
    (folder / "truth.csv").write_text("child_id,parent_id\n")
    make_all(atlas_in(folder))
    return folder


@pytest.fixture
def atlas(made_once: Path, tmp_path: Path) -> Atlas:
    """The atlas that has been made, in a folder of the test's own; times are kept, so that everything is current."""
    shutil.copytree(made_once, tmp_path, dirs_exist_ok=True)
    return atlas_in(tmp_path)


def test_a_plan_right_after_a_run_is_empty(atlas: Atlas) -> None:
    assert stale(atlas) == set()
    assert make_all(atlas) == []
    assert make_all(Atlas(atlas.settings)) == []


def each(*tables: str, of: tuple[str | None, ...]) -> set[Made]:
    return {(table, partition) for table in tables for partition in of}


CHANGED_SETTINGS = {
    "seed": (
        1,
        each("features.models", "edges.charted", "edges.audit", "edges.scores", of=BUCKETS)
        | each("attributes.imputed", "attributes.imputed_evaluations", "attributes.scores", of=SNAPSHOTS)
        | {("release.files", None)},
    ),
    "n_neurons": (7, each("features.models", of=BUCKETS) | {("release.files", None)}),
    "leaves_per_node": (3, each("features.models", of=BUCKETS) | {("release.files", None)}),
    "model_read_limit": ("1MB", each("features.models", of=BUCKETS)),
    "run_read_limit": ("1MB", each("features.models", of=BUCKETS)),
    "n_neighbors": (
        7,
        each("distances.neighbors", "edges.charted", "edges.audit", "edges.scores", of=BUCKETS)
        | {("release.files", None)},
    ),
    "large_region_models": (7, each("components.regions", of=SNAPSHOTS) | {("release.files", None)}),
    "release_repo": ("org/atlas", each("release.files", "release.published", of=(None,))),
    "release_fix": (1, each("release.editions", "release.files", "release.published", of=(None,))),
    "truth": ("", each("edges.scores", of=BUCKETS)),
    "weights": ("", each("features.models", of=BUCKETS) | each("raw.cards", of=SNAPSHOTS)),
    "annotations": ("", each("components.claims", of=SNAPSHOTS)),
    "cards": ("", each("raw.cards", of=SNAPSHOTS)),
    "evaluations": ("", each("attributes.results", of=SNAPSHOTS)),
    "llm_endpoint": ("http://localhost/v1", each("attributes.results", of=SNAPSHOTS)),
    "llm_model": ("reader", each("attributes.results", of=SNAPSHOTS)),
    "hub_stats": ("hf://datasets/org/name/models.parquet", each("raw.hub_stats", of=SNAPSHOTS)),
    "threads": (3, set()),
    "memory_limit": ("3GB", set()),
}


def test_each_setting_is_tried() -> None:
    assert {"home", *CHANGED_SETTINGS} == {field.name for field in dataclasses.fields(Settings)}


@pytest.mark.parametrize("name", CHANGED_SETTINGS)
def test_a_changed_setting_makes_stale_what_it_changes(atlas: Atlas, name: str) -> None:
    value, expected = CHANGED_SETTINGS[name]
    assert stale(Atlas(dataclasses.replace(atlas.settings, **{name: value}))) == expected


CHANGED_FILES = {
    "hub_stats/2025-06-01/models.parquet": {("raw.hub_stats", EARLY)},
    "hub_stats/2025-12-01/models.parquet": {("raw.hub_stats", LATE)},
    "weights/org/model/file": each("features.models", of=BUCKETS) | each("raw.cards", of=SNAPSHOTS),
    "weights/org/another": each("features.models", of=BUCKETS) | each("raw.cards", of=SNAPSHOTS),
    "annotations/org/model/file": each("components.claims", of=SNAPSHOTS),
    "cards/org/model/file": each("raw.cards", of=SNAPSHOTS),
    "evaluations/org/model/file": each("attributes.results", of=SNAPSHOTS),
    "truth.csv": each("edges.scores", of=BUCKETS),
    "hub_stats/2026-01-01/models.parquet": set(),
}


@pytest.mark.parametrize("name", CHANGED_FILES)
def test_a_changed_file_makes_stale_what_reads_it(atlas: Atlas, tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"other content")
    assert stale(atlas) == CHANGED_FILES[name]


OF_MODELS = (
    *("components.regions", "components.impact"),
    *(name for name in TABLES if name.startswith("attributes.") and name != "attributes.evaluations"),
    *(name for name in TABLES if name.startswith("trends.") and name != "trends.growth"),
)
OF_ROWS = ("components.claims", "components.parents", "components.models")
OF_LATEST = tuple(name for name in REGION_TABLES if name != "features.tensors")
RELEASE = each("release.checks", "release.files", of=(None,))
GONE = {("release.tombstones", None)}
MAP = {("release.positions", None), ("release.figures", None)}
SAID = {("release.editions", None)}
CHANGED_INPUTS = {
    ("raw.hub_stats", EARLY): each(*OF_ROWS, of=SNAPSHOTS) | {("attributes.results", EARLY)} | GONE,
    ("raw.hub_stats", LATE): each(*OF_ROWS, "attributes.results", of=(LATE,)) | GONE,
    ("raw.cards", EARLY): each("components.cards", "attributes.results", of=(EARLY,)),
    ("components.cards", EARLY): each("components.claims", of=SNAPSHOTS) | {("attributes.results", EARLY)},
    ("components.models", EARLY): each(*OF_MODELS, of=(EARLY,)) | each("trends.growth", of=SNAPSHOTS) | RELEASE | GONE,
    ("components.models", LATE): each(*OF_MODELS, "trends.growth", of=(LATE,))
    | each(*OF_LATEST, of=BUCKETS)
    | RELEASE
    | GONE
    | MAP
    | SAID,
    ("features.models", "bucket-01"): each(*REGION_TABLES[1:], of=("bucket-01",)) | RELEASE,
    ("distances.neighbors", "bucket-00"): each(*REGION_TABLES[3:], of=("bucket-00",)) | RELEASE,
    ("edges.charted", "bucket-00"): {("edges.arrivals", "bucket-00")} | RELEASE | GONE | MAP | SAID,
    ("release.checks", None): {("release.files", None)},
    ("release.files", None): {("release.published", None)},
}


@pytest.mark.parametrize("made", CHANGED_INPUTS, ids=str)
def test_a_changed_input_makes_stale_what_is_made_from_it(atlas: Atlas, made: Made) -> None:
    make(atlas, *made, marker="changed")
    assert stale(atlas) == CHANGED_INPUTS[made]
    make(atlas, *made)
    assert stale(atlas) == set(), "the same rows again are no change"


def test_arrays_beside_a_table_count_as_its_content(atlas: Atlas) -> None:
    rows = atlas.store.read("features.models", "bucket-00")
    atlas.write("features.models", rows, "bucket-00", attachment=Attachment({"x": np.ones(2)}, {}))
    assert stale(atlas) == CHANGED_INPUTS["features.models", "bucket-01"] - each(
        *REGION_TABLES, of=("bucket-01",)
    ) | each(*REGION_TABLES[1:], of=("bucket-00",))


def test_a_changed_contract_makes_its_own_table_stale(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    raised = dataclasses.replace(contract_of("components.impact"), version="2")
    monkeypatch.setitem(schema.TABLES, "components.impact", raised)
    assert stale(atlas) == each("components.impact", of=SNAPSHOTS)


def test_a_later_snapshot_is_what_regions_are_charted_from(atlas: Atlas, tmp_path: Path) -> None:
    later = tmp_path / "hub_stats" / "2026-01-01"
    later.mkdir()
    (later / "models.parquet").write_bytes(b"PAR1")
    made = make_all(atlas, (*SNAPSHOTS, "2026-01-01"))
    of_a_snapshot = {t for t, c in TABLES.items() if c.partitioned_by == "snapshot"}
    assert set(made) == (
        each(*of_a_snapshot, of=("2026-01-01",))
        | each(*REGION_TABLES, of=BUCKETS)
        | each(*(t for t in TABLES if t.startswith("release.")), of=(None,))
    )
    assert make_all(atlas, (*SNAPSHOTS, "2026-01-01")) == []


def damage(atlas: Atlas, table: str, partition: str, suffix: str) -> None:
    path = Path(atlas.store.files.path(atlas.store.file_name(table, partition))).with_suffix(suffix)
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("suffix", [".parquet", ".json", ".safetensors"])
def test_what_is_damaged_is_made_again_and_nothing_else(atlas: Atlas, suffix: str) -> None:
    damage(atlas, "features.models", "bucket-00", suffix)
    assert not atlas.is_current("features.models", "bucket-00")
    assert set(make_all(atlas)) == each(*REGION_TABLES, of=("bucket-00",)), "what is fed is made with it"
    assert stale(atlas) == set()


# -- what is read, and when ------------------------------------------------------------------------------------------


def change_input(atlas: Atlas, tmp_path: Path) -> None:
    make(atlas, "components.models", LATE, marker="changed")


def change_setting_file(atlas: Atlas, tmp_path: Path) -> None:
    (tmp_path / "weights" / "org" / "model" / "file").write_bytes(b"other content")


@pytest.mark.parametrize("change", [change_input, change_setting_file])
def test_a_receipt_never_claims_an_input_that_came_after_it_was_read(
    atlas: Atlas, tmp_path: Path, change: Callable[[Atlas, Path], None]
) -> None:
    before = atlas.provenance("features.models", "bucket-00")
    with atlas.connect("features.models", "bucket-00"):
        change(atlas, tmp_path)
    receipt = atlas.write("features.models", some_rows("features.models"), "bucket-00")
    assert receipt.inputs == before
    assert not atlas.is_current("features.models", "bucket-00")
    make(atlas, "features.models", "bucket-00")
    assert atlas.is_current("features.models", "bucket-00")


def test_what_is_begun_and_not_finished_does_not_count_for_the_next_time(atlas: Atlas) -> None:
    atlas.connect("components.impact", LATE).close()
    make(atlas, "components.models", LATE, marker="changed")
    make(atlas, "components.impact", LATE)
    assert atlas.is_current("components.impact", LATE)
    make(atlas, "components.models", LATE)
    atlas.write("components.impact", some_rows("components.impact"), LATE)
    assert atlas.is_current("components.impact", LATE), "without a beginning, what is there now counts"


def test_a_connection_sees_the_inputs_and_no_other_partitions(atlas: Atlas) -> None:
    def seen(table: str, partition: str | None, **options: object) -> dict[str, int]:
        with atlas.connect(table, partition, **options) as connection:
            views = connection.execute(
                "select schema_name || '.' || view_name from duckdb_views() where not internal order by 1"
            ).fetchall()
            return {view: connection.execute(f"select count(*) from {view}").fetchall()[0][0] for (view,) in views}

    assert seen("components.parents", LATE) == {"raw.hub_stats": 4, "components.claims": 2}
    assert seen("components.parents", EARLY) == {"raw.hub_stats": 2, "components.claims": 2}
    assert seen("components.impact", EARLY) == {"components.models": 2, "components.parents": 2}
    assert seen("edges.charted", "bucket-01") == dict.fromkeys(
        ["components.models", "components.parents", "components.regions", "distances.neighbors", "features.models"], 2
    )
    assert seen("release.published", None, also=("release.published", "components.impact")) == {
        "release.files": 2,
        "release.published": 2,
        "components.impact": 4,
    }


def test_a_snapshot_is_not_made_from_earlier_ones_alone(atlas: Atlas) -> None:
    atlas.store.delete("raw.hub_stats", LATE)
    with pytest.raises(TableNotMaterialized, match=r"raw\.hub_stats, partition 2025-12-01, is not there"):
        atlas.connect("components.parents", LATE)
    assert not atlas.is_current("components.parents", LATE)
    assert atlas.is_current("components.parents", EARLY)


def test_an_input_that_is_missing_is_named(tmp_path: Path) -> None:
    atlas = Atlas(Settings(home=str(tmp_path), weights="", truth=""))
    for table, partition, missing in (
        ("components.models", EARLY, "raw.hub_stats"),
        ("edges.charted", "bucket-00", "distances.neighbors"),
        ("release.published", None, "release.files"),
    ):
        with pytest.raises(TableNotMaterialized, match=rf"^{missing}\W"):
            atlas.connect(table, partition)
    with pytest.raises(TableNotMaterialized, match=r"components\.regions"):
        atlas.region_partitions()


def test_regions_are_those_of_the_latest_snapshot(atlas: Atlas) -> None:
    rows = some_rows("components.regions", region_partition=["type-bert", "bucket-07"])
    atlas.store.write("components.regions", rows, partition=EARLY)
    assert atlas.region_partitions() == list(BUCKETS)
    atlas.store.write("components.regions", rows, partition=LATE)
    assert atlas.region_partitions() == ["bucket-07", "type-bert"]


def test_an_atlas_in_an_object_store_is_current_too() -> None:
    atlas = Atlas(Settings(home="memory://test_atlas", weights="", truth="", hub_stats="hub"))
    make_all(atlas, (EARLY,))
    assert stale(atlas) == set()
    assert atlas.region_partitions() == list(BUCKETS)
    make(atlas, "components.models", EARLY, marker="changed")
    assert ("features.models", "bucket-00") in stale(atlas)
    atlas.store.files.filesystem.rm("/test_atlas", recursive=True)


# -- stamps ----------------------------------------------------------------------------------------------------------


def test_a_stamp_tells_what_changes_a_folder_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "x").write_bytes(b"1")
    os.utime(folder / "a" / "x", ns=(1, 1))
    stamps = [stamp(str(folder))]
    (folder / "empty").mkdir()
    assert stamp(str(folder)) == stamps[0]
    (folder / "a" / "x").write_bytes(b"2")
    os.utime(folder / "a" / "x", ns=(1, 1))
    assert stamp(str(folder)) == stamps[0], "names, sizes and times, not contents"
    changes = [
        lambda: os.utime(folder / "a" / "x", ns=(1, 2)),
        lambda: (folder / "a" / "x").write_bytes(b"22") and os.utime(folder / "a" / "x", ns=(1, 2)),
        lambda: (folder / "a" / "x").rename(folder / "a" / "y"),
        lambda: (folder / "a" / "y").rename(folder / "y"),
        (folder / "y").unlink,
    ]
    for change in changes:
        change()
        stamps.append(stamp(str(folder)))
    assert len(set(stamps)) == len(stamps)


def test_a_stamp_of_a_folder_that_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(b"1")
    whole = stamp(str(tmp_path))
    there = list(tmp_path.rglob("*"))
    gone = tmp_path / "gone"
    monkeypatch.setattr(Path, "rglob", lambda *_: [*there, gone])
    monkeypatch.setattr(Path, "is_file", lambda path: path != tmp_path)
    assert stamp(str(tmp_path)) == whole


@pytest.mark.skipif(os.name == "nt", reason="names are bytes on POSIX only")
def test_a_file_name_that_is_no_text_has_a_stamp(tmp_path: Path) -> None:
    before = stamp(str(tmp_path))
    (tmp_path / os.fsdecode(b"\xff.safetensors")).write_bytes(b"1")
    assert stamp(str(tmp_path)) != before


@pytest.mark.parametrize("location", ["", "hub", "hf://datasets/a/b", "s3://x/y", "/no/such/place"])
def test_what_is_no_file_is_its_own_stamp(location: str) -> None:
    assert stamp(location) == location


def test_one_plan_looks_at_a_folder_once(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr("atlas_pipeline.atlas.stamp", lambda location: looked.append(location) or stamp(location))
    (phase,) = [p for p in phases(atlas, SNAPSHOTS, tuple(TABLES)) if p.name == "charting"]
    assert steps(atlas, phase) == []
    assert sorted(looked) == sorted([atlas.settings.weights, atlas.settings.truth])


def test_an_empty_table_is_made_and_current(atlas: Atlas) -> None:
    empty = pa.Table.from_pylist([], contract_of("edges.charted").arrow_schema)
    receipt = atlas.write("edges.charted", empty, "bucket-00")
    assert (receipt.rows, atlas.is_current("edges.charted", "bucket-00")) == (0, True)
    assert atlas.store.read("edges.charted", "bucket-00").equals(empty)
