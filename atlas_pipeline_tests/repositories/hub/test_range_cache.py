"""What was read is kept, by threads and processes, whatever becomes of them or of the file."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlas_pipeline.repositories import RangeCache

MODEL, COMMIT, FILE = "birch/leaf", "a" * 40, "model.safetensors"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "hub.sqlite"


def filled(path: Path) -> RangeCache:
    cache = RangeCache(path)
    cache.keep_ranges(MODEL, COMMIT, FILE, {(0, 3): b"abc", (5, 7): b"xy"})
    return cache


def test_ranges_are_kept_by_model_commit_and_file(path: Path) -> None:
    filled(path).close()
    cache = RangeCache(path)
    assert cache.ranges(MODEL, COMMIT, FILE, [(5, 7), (0, 3), (0, 2)]) == {(0, 3): b"abc", (5, 7): b"xy"}
    assert cache.ranges(MODEL, "b" * 40, FILE, [(0, 3)]) == {}
    assert cache.ranges(MODEL, COMMIT, "other", [(0, 3)]) == {}
    assert cache.ranges("birch/other", COMMIT, FILE, [(0, 3)]) == {}
    assert RangeCache(path, origin="https://other").ranges(MODEL, COMMIT, FILE, [(0, 3)]) == {}


@given(st.dictionaries(st.integers(0, 2**40), st.binary(min_size=1, max_size=40), max_size=6))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_kept_comes_back(tmp_path: Path, parts: dict[int, bytes]) -> None:
    cache = RangeCache(tmp_path / "hub.sqlite")
    ranges = {(start, start + len(data)): data for start, data in parts.items()}
    cache.keep_ranges(MODEL, COMMIT, FILE, ranges)
    assert cache.ranges(MODEL, COMMIT, FILE, ranges) == ranges
    cache.close()


def test_listings_grow_old(path: Path) -> None:
    now = [1000.0]
    cache = RangeCache(path, clock=lambda: now[0])
    assert cache.listing(MODEL, max_age_s=100) is None
    cache.keep_listing(MODEL, "first")
    cache.keep_listing(MODEL, "second")
    now[0] = 1099.0
    assert cache.listing(MODEL, max_age_s=100) == "second"
    now[0] = 1100.0
    assert cache.listing(MODEL, max_age_s=100) is None
    assert cache.listing(MODEL, max_age_s=float("inf")) == "second"
    now[0] = 999.0
    assert cache.listing(MODEL, max_age_s=100) is None, "from the future"
    now[0] = 1000.0
    cache.forget_listing(MODEL)
    assert cache.listing(MODEL, max_age_s=100) is None


@pytest.mark.parametrize(
    "damage", ["data = x'6162'", "data = x'616263616263'", "data = x'616264'", "data = 'abc'", "crc32 = 1"]
)
def test_ranges_that_are_not_what_was_kept_are_ignored(path: Path, damage: str) -> None:
    filled(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"update ranges set {damage} where start = 0")
    connection.close()
    assert RangeCache(path).ranges(MODEL, COMMIT, FILE, [(0, 3), (5, 7)]) == {(5, 7): b"xy"}


def test_threads_share_a_cache(path: Path) -> None:
    cache, second = RangeCache(path), RangeCache(path)

    def work(i: int) -> bool:
        mine = second if i % 2 else cache
        ranges = {(i * 10 + k, i * 10 + k + 2): bytes([i, k]) for k in range(8)}
        mine.keep_ranges(MODEL, COMMIT, FILE, ranges)
        return cache.ranges(MODEL, COMMIT, FILE, ranges) == ranges

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(40)))


WRITER = """
import itertools, sys
from pathlib import Path
from atlas_pipeline.repositories import RangeCache
cache = RangeCache(Path(sys.argv[1]))
for i in itertools.count():
    ranges = {(i * 1000 + k, i * 1000 + k + 4): (i * 100 + k).to_bytes(4, "big") for k in range(100)}
    cache.keep_ranges("birch/leaf", "a" * 40, sys.argv[2], ranges)
    print(i, flush=True)
"""


def test_processes_may_be_killed_at_any_moment(path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], stdout=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    last = []
    for writer in writers:
        for line in writer.stdout:
            if int(line) >= 5:
                break
        os.kill(writer.pid, signal.SIGKILL)
        last.append(int([line, *writer.communicate()[0].split()][-1]))
    cache = RangeCache(path)
    for name, n_kept in zip(("one", "two"), last, strict=True):
        ranges = [(i * 1000 + k, i * 1000 + k + 4) for i in range(n_kept + 1) for k in range(100)]
        found = cache.ranges(MODEL, COMMIT, name, ranges)
        assert len(found) == len(ranges), "what was said to be kept is"
        assert all(data == (each[0] // 1000 * 100 + each[0] % 1000).to_bytes(4, "big") for each, data in found.items())


def test_one_transaction_for_each_call(path: Path) -> None:
    """Many rows a commit: keeping rows costs microseconds each, not a wait for the disk."""
    cache = RangeCache(path)
    statements: list[str] = []
    cache._connection.set_trace_callback(statements.append)
    cache.keep_ranges(MODEL, COMMIT, FILE, {(i, i + 8): bytes(8) for i in range(500)})
    assert [s for s in statements if s in ("begin immediate", "commit")] == ["begin immediate", "commit"]
    (synchronous,) = cache._connection.execute("pragma synchronous").fetchone()
    (mode,) = cache._connection.execute("pragma journal_mode").fetchone()
    assert (synchronous, mode) == (1, "wal")


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table precious (x)")
        connection.execute("insert into precious values (42)")
    connection.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"no database at all" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:100] + os.urandom(4000)),
        foreign,
    ],
    ids=["text", "damaged", "foreign"],
)
def test_what_is_no_cache_is_set_aside(path: Path, spoil: object, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2):
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        if spoil is not foreign:
            filled(path).close()
        spoil(path)
        before = path.read_bytes()
        cache = filled(path)
        assert cache.ranges(MODEL, COMMIT, FILE, [(0, 3)]) == {(0, 3): b"abc"}
        cache.close()
        aside = path.with_name(f"hub.sqlite.set-aside-{number}")
        assert aside.read_bytes() == before
        assert f"set aside as {aside.name}" in caplog.text


def test_damage_that_shows_later(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = RangeCache(path)
    for i in range(50):
        cache.keep_ranges(MODEL, COMMIT, FILE, {(k, k + 900): os.urandom(900) for k in range(i * 100, i * 100 + 20)})
    cache.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    cache = RangeCache(path)
    wanted = [(k, k + 900) for i in range(50) for k in range(i * 100, i * 100 + 20)]
    assert cache.ranges(MODEL, COMMIT, FILE, wanted) == {}
    cache.keep_ranges(MODEL, COMMIT, FILE, {(0, 3): b"abc"})
    assert cache.ranges(MODEL, COMMIT, FILE, [(0, 3)]) == {(0, 3): b"abc"}
    assert caplog.text.count("set aside") == 1


def test_a_cache_that_cannot_be_opened_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "file" / "hub.sqlite"):
        cache = filled(path)
        assert cache.ranges(MODEL, COMMIT, FILE, [(0, 3)]) == {}
        assert cache.listing(MODEL, max_age_s=1) is None
        assert "cannot be used" in caplog.text
        caplog.clear()
        cache.close()


def test_a_closed_cache_has_nothing(path: Path) -> None:
    cache = filled(path)
    cache.close()
    cache.close()
    cache.keep_listing(MODEL, "text")
    assert cache.ranges(MODEL, COMMIT, FILE, [(0, 3)]) == {}


def test_a_busy_cache_is_waited_for_and_then_done_without(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("atlas_pipeline.repositories.hub.range_cache._BUSY_S", 0.2)
    cache = filled(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    began = time.monotonic()
    cache.keep_ranges(MODEL, COMMIT, FILE, {(8, 9): b"z"})
    assert 0.1 < time.monotonic() - began < 5
    assert "database is locked" in caplog.text
    assert cache.ranges(MODEL, COMMIT, FILE, [(0, 3), (8, 9)]) == {(0, 3): b"abc"}, "readers are not blocked"
    other.execute("rollback")
    other.close()
    cache.keep_ranges(MODEL, COMMIT, FILE, {(8, 9): b"z"})
    assert cache.ranges(MODEL, COMMIT, FILE, [(8, 9)]) == {(8, 9): b"z"}
    cache.close()
