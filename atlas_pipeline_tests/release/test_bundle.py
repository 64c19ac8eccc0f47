from __future__ import annotations

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atlas_pipeline.release import bundle
from atlas_pipeline.release.bundle import DATABASE, DATAPACKAGE, make_bundle
from atlas_pipeline.release.gate import ReleaseRefused
from atlas_pipeline.schema import RELEASED, contract_of
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage import TableStore
from atlas_pipeline.storage.files import FileStore
from atlas_pipeline_tests.quality.sound_tables import loose_table, partition_of, sound_rows

NO_CHECKS = contract_of("release.checks").arrow_schema.empty_table()


def bundled(store, settings):
    return make_bundle(store, settings, NO_CHECKS)


def contents(home):
    """sha256 of every file of the release folder, hidden ones included."""
    root = home / "release"
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def datapackage(home):
    return json.loads((home / "release" / DATAPACKAGE).read_text())


def described_files(package):
    return [file for part in [*package["resources"], package] for file in part["files"]]


def agrees(home):
    """Whether the folder is what its datapackage says: the files, no others, with their checksums and sizes."""
    if not (home / "release" / DATAPACKAGE).exists():
        return False
    described = {file["path"]: file for file in described_files(datapackage(home))}
    found = contents(home)
    return set(found) == {*described, DATAPACKAGE} and all(
        path == DATABASE or (found[path], (home / "release" / path).stat().st_size) == (file["sha256"], file["bytes"])
        for path, file in described.items()
    )


def test_checksums_sizes_and_rows_are_those_of_the_files_on_disk(home, store, settings):
    files = bundled(store, settings)
    assert files.schema.equals(contract_of("release.files").arrow_schema)
    rows = {row["path"]: row for row in files.to_pylist()}
    found = contents(home)
    assert set(rows) == set(found)
    assert {path for path, row in rows.items() if row["sha256"] is None} == {DATABASE}
    for path, row in rows.items():
        size = (home / "release" / path).stat().st_size
        assert (row["sha256"], row["bytes"]) == ((None, None) if path == DATABASE else (found[path], size))
        if path.endswith(".parquet"):
            assert row["rows"] == pq.read_metadata(home / "release" / path).num_rows
            assert path.startswith(f"tables/{row['table'].replace('.', '/')}/")
        else:
            assert (row["table"], row["rows"]) == (None, None)
    assert agrees(home)
    described = {file["path"]: file for file in described_files(datapackage(home))}
    assert "sha256" not in described.pop(DATABASE)
    assert all(file["sha256"] == rows[path]["sha256"] for path, file in described.items())
    assert {(row["table"]) for row in rows.values()} == {*RELEASED, None}


def test_released_tables_are_the_stored_ones(home, store, settings):
    bundled(store, settings)
    released = TableStore(str(home / "release"))
    for table in RELEASED:
        assert released.partitions(table) == store.partitions(table)
        assert released.read(table).equals(store.read(table))


def test_two_builds_give_the_same_bytes_but_for_the_database(home, store, settings):
    first, before = bundled(store, settings), contents(home)
    second, after = bundled(store, settings), contents(home)
    assert first.equals(second)
    assert {path for path in before | after if before.get(path) != after.get(path)} <= {DATABASE}


def test_strays_are_removed(home, store, settings):
    for name in (
        "tables/edges/charted/bucket-99.parquet",
        "tables/gone/table/data.parquet",
        "tables/edges/charted/bucket-00.json",
        "tables/edges/charted/.writing-killed",
        "index.html",
    ):
        path = home / "release" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("stray")
    beside = home / "release.txt"
    beside.write_text("not in the folder")
    bundled(store, settings)
    assert agrees(home)
    assert beside.exists()


class Killed(BaseException):
    """What no handler of the program catches."""


@pytest.mark.parametrize("n_written", [0, 13, 28, 29])
def test_kill_leaves_a_folder_that_is_known_to_be_incomplete_and_can_be_finished(
    home, store, settings, monkeypatch, n_written
):
    bundled(store, settings)
    before = contents(home)
    rows = [r for r in sound_rows()["edges.charted"] if partition_of("edges.charted", r) == "bucket-00"]
    for r in rows:
        r["confidence"] = 0.5
    store.write("edges.charted", loose_table("edges.charted", rows), partition="bucket-00")
    n_calls, write_with = 0, FileStore.write_with

    def killed(self, name, produce):
        nonlocal n_calls
        n_calls += 1
        if n_calls > n_written:
            raise Killed
        return write_with(self, name, produce)

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "write_with", killed)
        with pytest.raises(Killed):
            bundled(store, settings)
    changed = "tables/edges/charted/bucket-00.parquet"
    assert not agrees(home) or contents(home) == before | {DATABASE: contents(home)[DATABASE]}
    finished = bundled(store, settings)
    assert agrees(home)
    assert contents(home)[changed] != before[changed]
    assert {row["path"]: row["sha256"] for row in finished.to_pylist()} == contents(home) | {DATABASE: None}


@pytest.mark.parametrize("is_same_size", [True, False])
def test_file_that_is_not_the_one_that_was_written_is_not_released(home, store, settings, is_same_size):
    bundled(store, settings)
    before = contents(home)
    path = home / "tables/edges/charted/bucket-00.parquet"
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content if is_same_size else content + b"\0")
    with pytest.raises(ReleaseRefused, match=r"edges\.charted, partition bucket-00"):
        bundled(store, settings)
    assert contents(home) == before


def test_datapackage_is_one_of_frictionless_data_with_the_contracts_constraints(home, store, settings):
    bundled(store, settings)
    package = datapackage(home)
    assert package["version"] == "2026.02.01"
    resources = {resource["name"]: resource for resource in package["resources"]}
    assert list(resources) == list(RELEASED)
    kinds = {"string", "integer", "number", "boolean", "datetime", "array", "object"}
    for table, resource in resources.items():
        fields = {field["name"]: field for field in resource["schema"]["fields"]}
        assert list(fields) == [column.name for column in contract_of(table).columns]
        assert {field["type"] for field in fields.values()} <= kinds
        assert resource["path"] == [file["path"] for file in resource["files"]]
        released = TableStore(str(home / "release")).read(table)
        assert resource["rows"] == released.num_rows
        keys = released.select(resource["schema"]["primaryKey"]).to_pylist()
        assert len({tuple(key.values()) for key in keys}) == len(keys)
    charted = {field["name"]: field for field in resources["edges.charted"]["schema"]["fields"]}
    assert charted["confidence"]["constraints"] == {"required": True, "minimum": 0, "maximum": 1}
    assert charted["origin"]["constraints"]["enum"] == ["documented", "charted"]
    assert charted["evidence"]["type"] == "object"


def test_no_path_of_this_machine_is_released(home, store, settings):
    far = Settings(home=settings.home, hub_stats="/secret/place", weights="/secret/weights", truth="/secret/truth")
    bundled(store, far)
    for path in (p for p in (home / "release").rglob("*") if p.is_file()):
        content = path.read_bytes()
        assert str(home).encode() not in content, path
        assert b"/secret/" not in content, path


def test_every_arrow_type_of_the_contracts_has_a_field_type():
    kinds = {column.type for table in RELEASED for column in contract_of(table).columns}
    assert all(bundle._field_type(kind) for kind in [*kinds, pa.map_(pa.string(), pa.int64())])
