"""A folder of checkpoints, `<root>/<org>/<name>/<files>`, as a repository."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from atlas_pipeline.repositories.interface import (
    MAX_READ_BYTES,
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

MAX_FILES_PER_MODEL: Final = 100_000
"""A model with more files than this is a data set or an attack; listing it would only fill memory."""

_logger = logging.getLogger(__name__)


class FolderRepository:
    """Reads models from a local folder and never outside it.

    A symbolic link may point to another place under the root (as download caches do); one that leads out of the root is
    refused with an error that names it. Links to folders inside a model are not followed. Errors about models name the
    model and file and never the place of the folder, for they end up in published tables.
    """

    gap_bytes: Final = 0

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

        Raises:
            InvalidModelId: If the id is not one.
            ModelNotFound: If there is no such folder.
            UnsafeLink: If the model or one of its files is a link that leads out of the repository.
            RepositoryError: If the folder cannot be listed or has too many files.
        """
        folder = self._model_folder(model_id)
        entries: list[FileEntry] = []
        try:
            for path in self._walk(folder):
                relative = path.relative_to(folder).as_posix()
                target = self._inside(path, f"The file {relative!r} of model {model_id}")
                status = target.stat()
                if stat.S_ISREG(status.st_mode):
                    entries.append(FileEntry(relative, status.st_size))
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
        if not 0 <= start <= stop or stop - start > MAX_READ_BYTES:
            raise RepositoryError(f"The byte range [{start}, {stop}) of {path!r} in model {model_id} cannot be read.")
        target = self._file(model_id, path)
        try:
            # The size is checked before the buffer is allocated.
            if target.stat().st_size < stop:
                raise ShortRead(f"The file {path!r} of model {model_id} ends before byte {stop}.")
            with target.open("rb", buffering=0) as stream:
                stream.seek(start)
                parts = []
                wanted = stop - start
                while wanted and (part := stream.read(wanted)):
                    parts.append(part)
                    wanted -= len(part)
        except OSError as error:
            raise RepositoryError(f"The file {path!r} of model {model_id} cannot be read: {error.strerror}.") from error
        if wanted:
            raise ShortRead(f"The file {path!r} of model {model_id} ends before byte {stop}.")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def sha256(self, model_id: str, path: str) -> str:
        """Hex SHA-256 of a file, computed by reading all of it; errors as in `read`."""
        target = self._file(model_id, path)
        try:
            with target.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise RepositoryError(f"The file {path!r} of model {model_id} cannot be read: {error.strerror}.") from error

    def _model_folder(self, model_id: str) -> Path:
        validate_model_id(model_id)
        folder = self.root / model_id
        # A single-part id would name an organisation's folder, which is no model here.
        if "/" not in model_id or not folder.is_dir():
            raise ModelNotFound(f"Model {model_id} is not in the repository {self.root.name!r}.")
        return self._inside(folder, f"Model {model_id}")

    def _file(self, model_id: str, path: str) -> Path:
        folder = self._model_folder(model_id)
        validate_file_path(model_id, path)
        target = self._inside(folder / path, f"The file {path!r} of model {model_id}")
        # A pipe or device under a file's name would block or never end.
        if not target.is_file():
            raise FileNotInModel(f"Model {model_id} has no file {path!r}.")
        return target

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

    @staticmethod
    def _walk(folder: Path) -> Iterator[Path]:
        def refuse(error: OSError) -> None:
            raise error

        for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=False):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(parent, name) for name in names if not name.startswith("."))
