"""Whole files: nothing half, nothing left behind, nothing shown that is not finished."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path

import pytest

from atlas_pipeline.storage.files import ABANDONED_SECONDS, FileStore


def test_a_reader_keeps_the_old_file_until_the_new_one_is_put(tmp_path: Path) -> None:
    files = FileStore(str(tmp_path))
    assert files.write("a/b.txt", b"old") == (3, hashlib.sha256(b"old").hexdigest())
    with (tmp_path / "a/b.txt").open("rb") as reader, files.staged("a/b.txt", lambda s: s.write(b"newer")) as staged:
        assert (staged.size, staged.sha256) == (5, hashlib.sha256(b"newer").hexdigest())
        assert files.read("a/b.txt") == b"old"
        assert files.list("a", "") == ["b.txt"]
        staged.put()
        assert files.read("a/b.txt") == b"newer"
        assert reader.read() == b"old"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_content_is_on_the_disk_before_the_name_and_the_name_before_write_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: done.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"))
    monkeypatch.setattr(Path, "replace", lambda path, target: done.append("rename") or replace(path, target))
    FileStore(str(tmp_path)).write("a/b.txt", b"1")
    assert done == ["file", "rename", "folder"]


def test_nothing_is_left_of_what_was_not_put(tmp_path: Path) -> None:
    files = FileStore(str(tmp_path))

    def broken(stream: object) -> None:
        stream.write(b"half")
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        files.write_with("a.txt", broken)
    with files.staged("a.txt", lambda stream: stream.write(b"x")):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_removed_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    for name, age in (
        (".writing-dead", ABANDONED_SECONDS + 60),
        (".writing-alive", 60),
        ("other", ABANDONED_SECONDS * 2),
    ):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    FileStore(str(tmp_path)).write("new", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".writing-alive", "new", "other"]


@pytest.mark.parametrize("location", ["", "memory://test_files"])
def test_absence_is_an_answer(tmp_path: Path, location: str) -> None:
    files = FileStore(location or str(tmp_path / "none"))
    assert files.read("a") is None
    assert files.size("a") is None
    assert not files.exists("a")
    assert files.list("folder", ".parquet") == []
    files.delete("a")
    files.write("folder/a.parquet", b"12345")
    assert (files.size("folder/a.parquet"), files.list("folder", ".parquet")) == (5, ["a"])
    files.delete("folder/a.parquet")
    assert files.list("folder", ".parquet") == []


def test_a_folder_keeps_its_place_when_the_working_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = FileStore("home")
    monkeypatch.chdir("/")
    files.write("a", b"1")
    assert (tmp_path / "home" / "a").read_bytes() == b"1"
    assert FileStore(f"file://{tmp_path}/home").read("a") == b"1"
