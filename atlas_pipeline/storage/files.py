"""Whole files in a folder or an object store: written so that a reader sees the old or the new one, never half."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from atlas_pipeline.storage.errors import StorageError

TEMPORARY: Final = ".writing-"
"""How the names of files begin that are being written; ``list`` does not show them."""

ABANDONED_SECONDS: Final = 24 * 3600
"""A temporary file that nobody has written to for so long belongs to a process that was killed."""


@dataclass(frozen=True)
class StagedFile:
    """A file that is written but not yet in its place.

    Attributes:
        size: in bytes.
        sha256: checksum, in hexadecimal.
        put: puts it in its place at once.
    """

    size: int
    sha256: str
    put: Callable[[], None]


class FileStore:
    """Files under one root, which may be a folder or any URL that fsspec knows.

    Attributes:
        filesystem: the fsspec file system.
        root: the root's path in it.
        is_local: whether it is a folder of this machine.

    Raises:
        StorageError: no tables could be read from there.
    """

    def __init__(self, location: str) -> None:
        if "://" in location:
            self.filesystem, root = fsspec.core.url_to_fs(location)
        else:  # a folder's name may hold what means something in a URL
            self.filesystem, root = LocalFileSystem(), Path(location).expanduser().absolute().as_posix()
        self.root = root.rstrip("/")
        if "\\" in root and set("*?[") & set(root):
            raise StorageError(f"{root} cannot be a home: DuckDB reads no path with a backslash and one of * ? [")
        self.is_local = isinstance(self.filesystem, LocalFileSystem)

    def path(self, name: str) -> str:
        """Full path of a file, in the form that the file system takes."""
        return f"{self.root}/{name}"

    def url(self, name: str) -> str:
        """Full path of a file, with the protocol of an object store."""
        return self.path(name) if self.is_local else self.filesystem.unstrip_protocol(self.path(name))

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        return bool(self.filesystem.exists(self.path(name)))

    def size(self, name: str) -> int | None:
        """A file's size in bytes; None where there is no such file."""
        self.filesystem.invalidate_cache()
        try:
            return int(self.filesystem.size(self.path(name)))
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None where there is no such file."""
        try:
            return bytes(self.filesystem.cat_file(self.path(name)))
        except FileNotFoundError:
            return None

    def list(self, folder: str, suffix: str) -> list[str]:
        """Names in a folder that end with the suffix, without it, sorted; hidden files left out."""
        self.filesystem.invalidate_cache()
        try:
            paths = self.filesystem.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return []
        names = (path.rstrip("/").rsplit("/", 1)[-1] for path in paths)
        return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix) and not name.startswith("."))

    def delete(self, name: str) -> None:
        """Remove a file if it is there."""
        with suppress(FileNotFoundError):
            self.filesystem.rm_file(self.path(name))

    def write(self, name: str, content: bytes) -> tuple[int, str]:
        """Write a file at once; returns its size and sha256."""
        return self.write_with(name, lambda stream: stream.write(content))

    def write_with(self, name: str, produce: Callable[[IO[bytes]], object]) -> tuple[int, str]:
        """Let ``produce`` fill a local temporary file, then put it in place at once.

        Args:
            name: the file's path under the root.
            produce: writes to the binary stream that it is given; if it raises, nothing changes.

        Returns:
            size in bytes and sha256.
        """
        with self.staged(name, produce) as staged:
            staged.put()
        return staged.size, staged.sha256

    @contextmanager
    def staged(self, name: str, produce: Callable[[IO[bytes]], object]) -> Iterator[StagedFile]:
        """Let ``produce`` fill a local temporary file that ``put`` puts in place; without ``put`` nothing changes.

        Args:
            name: the file's path under the root.
            produce: writes to the binary stream that it is given.
        """
        folder = Path(self.path(name)).parent if self.is_local else Path(tempfile.gettempdir())
        if self.is_local:
            folder.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(folder)
        handle, temporary_name = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
        temporary = Path(temporary_name)
        try:
            with os.fdopen(handle, "wb") as stream:
                produce(stream)
                stream.flush()
                os.fsync(stream.fileno())
            yield StagedFile(temporary.stat().st_size, sha256_of(temporary), lambda: self._put(temporary, name))
        finally:
            temporary.unlink(missing_ok=True)

    def _put(self, temporary: Path, name: str) -> None:
        if self.is_local:
            temporary.chmod(0o644)
            temporary.replace(self.path(name))
            _sync_folder(temporary.parent)
        else:
            self.filesystem.put_file(str(temporary), self.path(name))


def sha256_of(path: Path) -> str:
    """sha256 of a local file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _remove_abandoned(folder: Path) -> None:
    """Free the space of files that were being written when their process was killed."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - ABANDONED_SECONDS:
                path.unlink()


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
