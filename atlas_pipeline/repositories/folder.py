"""A folder of checkpoints, `<root>/<org>/<name>/<files>`, as a repository."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from atlas_pipeline.repositories.interface import (
    MAX_FILES_PER_MODEL,
    MAX_READ_BYTES,
    SHA256,
    FileEntry,
    FileNotInModel,
    InvalidModelId,
    ModelNotFound,
    RepositoryError,
    ShortRead,
    UnsafeLink,
    validate_file_path,
    validate_model_id,
)

_logger = logging.getLogger(__name__)


class FolderRepository:
    """Reads models from a local folder and never outside it.

    A symbolic link may point to another place under the root (as download caches do); one that leads out of the root is
    refused with an error that names it. Links to folders inside a model are not followed. Errors about models name the
    model and file and never the place of the folder, for they end up in published tables.
    """

    gap_bytes: Final = 0
    n_parallel: Final = 2

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Opens the folder.

        Args:
            root: The folder that holds one folder per organisation.

        Raises:
            RepositoryError: If it is not an existing folder.
        """
        try:
            self.root = Path(root).resolve(strict=True)
        except (OSError, ValueError) as error:
            raise RepositoryError(f"The model folder {os.fspath(root)!r} cannot be opened: {error}.") from error
        if not self.root.is_dir():
            raise RepositoryError(f"The model repository {os.fspath(root)!r} is not a folder.")
        self._targets: dict[tuple[str, str], str] = {}

    def models(self) -> list[str]:
        """Ids `org/name` of all folders two levels below the root, sorted.

        Hidden folders and names that are no model ids are left out. A model behind a link that leads out is listed (so
        that its absence is explained when it is read); an organisation behind such a link is left out with a warning.
        """
        found = []
        for organisation in self._subfolders(self.root):
            if not organisation.resolve().is_relative_to(self.root):
                _logger.warning(
                    "The folder %s is a link that leads out of the repository; it is left out.", organisation
                )
                continue
            for folder in self._subfolders(organisation):
                try:
                    found.append(validate_model_id(f"{organisation.name}/{folder.name}"))
                except InvalidModelId as error:
                    _logger.warning("The folder %s is left out: %s", folder, error)
        return sorted(found)

    def files(self, model_id: str) -> list[FileEntry]:
        """Regular files of a model, sorted by path; hidden files and folders are left out.

        A file that is a link into a cache of huggingface_hub has the digest that the cache knows it by.

        Raises:
            InvalidModelId: If the id is not one.
            ModelNotFound: If there is no such folder.
            UnsafeLink: If the model or one of its files is a link that leads out of the repository.
            RepositoryError: If the folder cannot be listed or has too many files.
        """
        folder = self._model_folder(model_id)
        entries: list[FileEntry] = []
        try:
            for relative, found in self._walk(folder):
                digest = None
                if found.is_symlink():
                    target = self._inside(Path(found.path), f"The file {relative!r} of model {model_id}")
                    digest = _digest_of_link(target)
                status = found.stat()
                if stat.S_ISREG(status.st_mode):
                    entries.append(FileEntry(relative, status.st_size, digest))
                if len(entries) > MAX_FILES_PER_MODEL:
                    raise RepositoryError(f"Model {model_id} has more than {MAX_FILES_PER_MODEL} files.")
        except OSError as error:
            raise RepositoryError(f"The files of model {model_id} cannot be listed: {error.strerror}.") from error
        return sorted(entries)

    def read(self, model_id: str, path: str, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file.

        Raises:
            ShortRead: If the file ends before `stop`.
            RepositoryError: If the range is not one, is longer than MAX_READ_BYTES, or the file cannot be read; its
                subclasses as in `files`.
        """
        return self.read_ranges(model_id, path, [(start, stop)])[0]

    def read_ranges(self, model_id: str, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of several ranges of a file, in their order; errors as in `read`."""
        for start, stop in ranges:
            if not 0 <= start <= stop or stop - start > MAX_READ_BYTES:
                raise RepositoryError(
                    f"The byte range [{start}, {stop}) of {path!r} in model {model_id} cannot be read."
                )
        target = self._file(model_id, path)
        try:
            # The path is resolved already: a link that has taken the file's place since is not followed.
            descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                size = os.fstat(descriptor).st_size
                # The size is checked before a buffer is allocated.
                parts = [os.pread(descriptor, stop - start, start) if stop <= size else b"" for start, stop in ranges]
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RepositoryError(f"The file {path!r} of model {model_id} cannot be read: {error.strerror}.") from error
        for part, (start, stop) in zip(parts, ranges, strict=True):
            if stop > size or len(part) != stop - start:
                raise ShortRead(f"The file {path!r} of model {model_id} ends before byte {stop}.")
        return parts

    def revision(self, model_id: str) -> str | None:
        """A folder has no commits."""
        return None

    def sha256(self, model_id: str, path: str) -> str:
        """Hex SHA-256 of a file, computed by reading all of it; errors as in `read`."""
        target = self._file(model_id, path)
        try:
            with open(target, "rb") as stream:  # noqa: PTH123 - a resolved path, as it is kept
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise RepositoryError(f"The file {path!r} of model {model_id} cannot be read: {error.strerror}.") from error

    def costs(self) -> Mapping[str, int]:
        """Nothing is counted."""
        return {}

    def close(self) -> None:
        """Nothing is open between reads."""

    def _model_folder(self, model_id: str) -> Path:
        validate_model_id(model_id)
        folder = self.root / model_id
        # A single-part id would name an organisation's folder, which is no model here.
        if "/" not in model_id or not folder.is_dir():
            raise ModelNotFound(f"Model {model_id} is not in the repository {self.root.name!r}.")
        return self._inside(folder, f"Model {model_id}")

    def _file(self, model_id: str, path: str) -> str:
        """Resolved path of a file; resolving costs more than a read, so it is done once."""
        known = self._targets.get((model_id, path))
        if known is not None:
            return known
        folder = self._model_folder(model_id)
        validate_file_path(model_id, path)
        target = self._inside(folder / path, f"The file {path!r} of model {model_id}")
        # A pipe or device under a file's name would block or never end.
        if not target.is_file():
            raise FileNotInModel(f"Model {model_id} has no file {path!r}.")
        if len(self._targets) >= MAX_FILES_PER_MODEL:
            self._targets.clear()
        self._targets[model_id, path] = str(target)
        return str(target)

    def _inside(self, path: Path, what: str) -> Path:
        try:
            target = path.resolve()
        except (OSError, RuntimeError) as error:
            raise UnsafeLink(f"{what} is a link that leads nowhere.") from error
        if not target.is_relative_to(self.root):
            raise UnsafeLink(f"{what} is a link that leads out of the repository; it is not read.")
        return target

    @staticmethod
    def _subfolders(folder: Path) -> Iterator[Path]:
        try:
            with os.scandir(folder) as entries:
                yield from (Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        except OSError as error:
            raise RepositoryError(f"The folder {folder} cannot be listed: {error}.") from error

    @classmethod
    def _walk(cls, folder: Path, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Files of a folder and its folders with their relative paths; links to folders are not entered."""
        with os.scandir(folder) as entries:
            found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from cls._walk(Path(entry.path), f"{prefix}{entry.name}/")
            elif not (entry.is_symlink() and entry.is_dir()):
                yield f"{prefix}{entry.name}", entry


def _digest_of_link(target: Path) -> str | None:
    """The SHA-256 in the name of a link's target: caches keep large files as `blobs/<sha256>`."""
    is_blob = target.parent.name == "blobs" and SHA256.fullmatch(target.name) is not None
    return target.name if is_blob else None
