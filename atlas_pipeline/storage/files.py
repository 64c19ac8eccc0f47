"""Whole files in a folder or an object store: written so that a reader sees the old or the new one, never half."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import fsspec
from fsspec.implementations.local import LocalFileSystem

CHUNK = 1 << 20


class FileStore:
    """Files under one root, which may be a folder or any URL that fsspec knows.

    Attributes:
        filesystem: the fsspec file system.
        root: the root's path in it.
        is_local: whether it is a folder of this machine.
    """

    def __init__(self, location: str) -> None:
        self.filesystem, root = fsspec.core.url_to_fs(location)
        self.root = root.rstrip("/")
        self.is_local = isinstance(self.filesystem, LocalFileSystem)

    def path(self, name: str) -> str:
        """Full path of a file, in the form that the file system takes."""
        return f"{self.root}/{name}"

    def url(self, name: str) -> str:
        """Full path of a file, in the form that DuckDB takes."""
        return self.path(name) if self.is_local else self.filesystem.unstrip_protocol(self.path(name))

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        return bool(self.filesystem.exists(self.path(name)))

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
        if self.exists(name):
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
        folder = Path(self.path(name)).parent if self.is_local else Path(tempfile.gettempdir())
        if self.is_local:
            folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=folder)
        try:
            with os.fdopen(handle, "wb") as stream:
                produce(stream)
                stream.flush()
                os.fsync(stream.fileno())
            size, digest = os.stat(temporary).st_size, sha256_of(Path(temporary))  # noqa: PTH116
            if self.is_local:
                Path(temporary).chmod(0o644)
                Path(temporary).replace(self.path(name))
                _sync_folder(folder)
            else:
                self.filesystem.put_file(temporary, self.path(name))
        finally:
            Path(temporary).unlink(missing_ok=True)
        return size, digest


def sha256_of(path: Path) -> str:
    """sha256 of a local file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
