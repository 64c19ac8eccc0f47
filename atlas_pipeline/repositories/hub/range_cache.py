"""What was read from a hub, kept on disk: a run that was killed goes on where it stopped, and nothing is read twice.

The cache is one SQLite file. It may be deleted at any time, when nothing uses it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from filelock import FileLock, Timeout

MAX_CACHED_BYTES: Final = 1 << 28
"""A longer range is not kept; SQLite ends at four times as much."""

_APPLICATION_ID: Final = 0x41544C53
_VERSION: Final = 1
_BUSY_S: Final = 30.0
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SCHEMA: Final = f"""
create table if not exists listings (
    origin text not null, model_id text not null, fetched_at real not null, listing text not null,
    primary key (origin, model_id)
);
create table if not exists files (
    file integer primary key,
    origin text not null, model_id text not null, revision text not null, path text not null,
    unique (origin, model_id, revision, path)
);
create table if not exists ranges (
    file integer not null, start integer not null, stop integer not null, crc32 integer not null, data blob not null,
    primary key (file, start, stop)
);
pragma application_id = {_APPLICATION_ID};
pragma user_version = {_VERSION};
"""
_FILE: Final = "origin = ? and model_id = ? and revision = ? and path = ?"
_logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class _NotACache(Exception):
    """The file is a database of something else, or damaged."""


class RangeCache:
    """Listings and byte ranges by model, commit and file. Threads and processes may share one file.

    A process may be killed at any moment. Trouble with the cache never fails a read: it is warned of, and what cannot
    be kept is read again. A file that is damaged or no cache at all is set aside under another name.
    """

    def __init__(self, path: Path, *, origin: str = "", clock: Callable[[], float] = time.time) -> None:
        """Opens the cache, or makes it.

        Args:
            path: The file; its folder is made where it is missing.
            origin: The hub; what is read from different ones is kept apart.
            clock: Seconds since 1970.
        """
        self.path = path
        self._origin = origin
        self._clock = clock
        self._lock = threading.Lock()
        self._warned: set[str] = set()
        self._connection: sqlite3.Connection | None = None
        self._open()

    def listing(self, model_id: str, *, max_age_s: float) -> str | None:
        """The text that was kept for a model, unless it is older."""
        query = "select fetched_at, listing from listings where origin = ? and model_id = ?"
        row = self._run(lambda c: c.execute(query, (self._origin, model_id)).fetchone(), None)
        if row is None or not isinstance(row[1], str) or not isinstance(row[0], float):
            return None
        # One from the future was written by a wrong clock, and would never grow old.
        return row[1] if 0 <= self._clock() - row[0] < max_age_s else None

    def keep_listing(self, model_id: str, text: str) -> None:
        """Keeps a model's listing as of now, in place of an earlier one."""
        statement = "insert or replace into listings values (?, ?, ?, ?)"
        self._run(lambda c: c.execute(statement, (self._origin, model_id, self._clock(), text)), None)

    def forget_listing(self, model_id: str) -> None:
        """Drops a listing that turned out to be wrong."""
        statement = "delete from listings where origin = ? and model_id = ?"
        self._run(lambda c: c.execute(statement, (self._origin, model_id)), None)

    def ranges(
        self, model_id: str, revision: str, path: str, wanted: Iterable[tuple[int, int]]
    ) -> dict[tuple[int, int], bytes]:
        """Those of the ranges [start, stop) of a file that are kept, whole and unchanged."""
        query = f"""
            select crc32, data from ranges
            where file = (select file from files where {_FILE}) and start = ? and stop = ?"""
        key = (self._origin, model_id, revision, path)

        def read(connection: sqlite3.Connection) -> dict[tuple[int, int], bytes]:
            rows = ((each, connection.execute(query, (*key, *each)).fetchone()) for each in wanted)
            return {each: row[1] for each, row in rows if row is not None and _is_whole(each, *row)}

        return self._run(read, {})

    def keep_ranges(self, model_id: str, revision: str, path: str, found: Mapping[tuple[int, int], bytes]) -> None:
        """Keeps ranges of a file, in one transaction."""
        key = (self._origin, model_id, revision, path)
        rows = [
            (*each, zlib.crc32(data), data) for each, data in sorted(found.items()) if len(data) <= MAX_CACHED_BYTES
        ]

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("begin immediate")
            statement = "insert or ignore into files (origin, model_id, revision, path) values (?, ?, ?, ?)"
            connection.execute(statement, key)
            (file,) = connection.execute(f"select file from files where {_FILE}", key).fetchone()
            statement = "insert or replace into ranges values (?, ?, ?, ?, ?)"
            connection.executemany(statement, ((file, *row) for row in rows))
            connection.execute("commit")

        if rows:
            self._run(write, None)

    def close(self) -> None:
        """Closes the file; what is asked for afterwards is not there."""
        with self._lock:
            self._disconnect()

    def _run(self, action: Callable[[sqlite3.Connection], _Result], otherwise: _Result) -> _Result:
        with self._lock:
            connection = self._connection
            if connection is None:
                return otherwise
            try:
                try:
                    return action(connection)
                finally:
                    if connection.in_transaction:
                        connection.rollback()
            except sqlite3.Error as error:
                if _is_damage(error):
                    self._disconnect()
                    self._open(is_suspect=True)
                else:
                    self._warn(error)
                return otherwise

    def _open(self, *, is_suspect: bool = False) -> None:
        """Connects to the file; sets it aside first if it is no cache. Leaves no connection if that is impossible.

        Args:
            is_suspect: Whether all of it is to be looked through; another process may have replaced it by now.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Only one process at a time decides that a file is no cache.
            with FileLock(f"{self.path}.lock", timeout=_BUSY_S):
                try:
                    self._connection = _connect(self.path, is_suspect=is_suspect)
                except (_NotACache, sqlite3.DatabaseError) as error:
                    if isinstance(error, sqlite3.DatabaseError) and not _is_damage(error):
                        raise
                    self._set_aside()
                    self._connection = _connect(self.path)
        except (sqlite3.Error, OSError, Timeout, _NotACache) as error:
            self._warn(error)

    def _set_aside(self) -> None:
        number = 1
        while (target := self.path.with_name(f"{self.path.name}.set-aside-{number}")).exists():
            number += 1
        _logger.warning("The cache %s is damaged or no cache; it is set aside as %s.", self.path, target.name)
        for suffix in ("-wal", "-shm", ""):
            part = Path(f"{self.path}{suffix}")
            if part.exists():
                part.replace(f"{target}{suffix}")

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _warn(self, error: Exception) -> None:
        if (text := str(error)) not in self._warned:
            self._warned.add(text)
            _logger.warning("The cache %s cannot be used (%s); what it lacks is read from the hub.", self.path, text)


def _connect(path: Path, *, is_suspect: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        is_new = _check(connection, is_suspect=is_suspect)
        # A commit is then written without waiting for the disk; after a power cut the last ones may be gone, no more.
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        if is_new:
            connection.executescript(f"begin immediate;{_SCHEMA}commit;")
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, *, is_suspect: bool) -> bool:
    """Returns whether the database is empty; raises _NotACache if it is no cache and not empty."""
    (application_id,) = connection.execute("pragma application_id").fetchone()
    (version,) = connection.execute("pragma user_version").fetchone()
    (n_objects,) = connection.execute("select count(*) from sqlite_master").fetchone()
    is_new = (application_id, version, n_objects) == (0, 0, 0)
    if not is_new and (application_id, version) != (_APPLICATION_ID, _VERSION):
        raise _NotACache("it is a database of something else")
    if is_suspect and connection.execute("pragma integrity_check(1)").fetchone() != ("ok",):
        raise _NotACache("it is damaged")
    return is_new


def _is_damage(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _DAMAGED


def _is_whole(wanted: tuple[int, int], crc32: object, data: object) -> bool:
    return isinstance(data, bytes) and len(data) == wanted[1] - wanted[0] and zlib.crc32(data) == crc32
