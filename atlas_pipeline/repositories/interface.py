"""What every place that keeps models has in common: names, files, and bytes by range.

Here belong the interface, its values and its errors. How one kind of place is read belongs in a module of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Protocol

MAX_MODEL_ID_LENGTH: Final = 256
"""Hub ids end at 96 characters a part; twice that and a slash leaves room for other hubs and is still one line of a
log."""

MAX_READ_BYTES: Final = 1 << 30
"""One read never asks for more than 1 GiB: a lying size must not become an allocation."""

MAX_FILES_PER_MODEL: Final = 100_000
"""A model with more files than this is a data set or an attack; listing it would only fill memory."""

SHA256: Final = re.compile(r"[0-9a-f]{64}")
"""A digest as hubs and caches write it."""

_LAST_CONTROL_CHARACTER: Final = 0x1F
_DELETE_CHARACTER: Final = 0x7F


class RepositoryError(Exception):
    """A repository, model or file could not be used; the sentence names it."""


class InvalidModelId(RepositoryError):
    """The text is not the id of a model."""


class ModelNotFound(RepositoryError):
    """The repository has no such model."""


class FileNotInModel(RepositoryError):
    """The model has no such file, or the path leads out of the model's folder."""


class ModelGated(RepositoryError):
    """The model is there, and its author has to let one in."""


class ModelDisabled(RepositoryError):
    """The model is there, and its host has closed it."""


class UnsafeLink(RepositoryError):
    """A symbolic link leads out of the repository."""


class ShortRead(RepositoryError):
    """Fewer bytes exist than were asked for."""


class BudgetSpent(RepositoryError):
    """The repository has read as many bytes as this run may."""


@dataclass(frozen=True, slots=True, order=True)
class FileEntry:
    """One file of a model.

    Attributes:
        path: POSIX path relative to the model.
        size_bytes: Size in bytes.
        sha256: Hex digest of the content where the listing knows it without reading the file, else None.
    """

    path: str
    size_bytes: int
    sha256: str | None = None


class Repository(Protocol):
    """Where models live. Every method may raise RepositoryError, and may be called from several threads at once."""

    @property
    def gap_bytes(self) -> int:
        """Unwanted bytes worth reading to save one more request: 0 for a disk, tens of kilobytes over a network."""
        ...

    @property
    def n_parallel(self) -> int:
        """Models worth reading at the same time: about the cores for a disk, more where reading is mostly waiting."""
        ...

    def models(self) -> list[str]:
        """Ids of all models, sorted."""
        ...

    def files(self, model_id: str) -> list[FileEntry]:
        """Files of a model, sorted by path; raises ModelNotFound, ModelGated, ModelDisabled."""
        ...

    def revision(self, model_id: str) -> str | None:
        """The commit that all reads of a model come from; None where there are no commits."""
        ...

    def read(self, model_id: str, path: str, start: int, stop: int) -> bytes:
        """Exactly the bytes [start, stop) of a file; raises ShortRead if the file ends earlier."""
        ...

    def read_ranges(self, model_id: str, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of several ranges of a file, in their order; errors as in `read`."""
        ...

    def sha256(self, model_id: str, path: str) -> str | None:
        """Hex SHA-256 of a file's content; None where only a download could tell."""
        ...

    def costs(self) -> Mapping[str, int]:
        """What reading has cost so far beside time, by name; empty for a disk."""
        ...

    def close(self) -> None:
        """Ends connections; nothing is read afterwards."""
        ...


def validate_model_id(model_id: str) -> str:
    """Returns the id unchanged if it is one that a hub could have given.

    An id is `name` or `org/name`. No part is empty, hidden (leading dot) or contains `..`, a backslash or a control
    character.

    Raises:
        InvalidModelId: If it is anything else.
    """
    parts = model_id.split("/")
    flaw = None
    if len(model_id) > MAX_MODEL_ID_LENGTH:
        flaw = f"is longer than {MAX_MODEL_ID_LENGTH} characters"
    elif not all(parts):
        flaw = "has an empty part"
    elif len(parts) > 2:
        flaw = "has more than one slash"
    elif ".." in model_id or any(part.startswith(".") for part in parts):
        flaw = "has a part that is hidden or leads out of the repository"
    elif "\\" in model_id or _has_control_character(model_id):
        flaw = "has a backslash or a control character"
    if flaw:
        raise InvalidModelId(f"{model_id[:MAX_MODEL_ID_LENGTH]!r} is no model id: it {flaw}.")
    return model_id


def validate_file_path(model_id: str, path: str) -> str:
    """Returns the path unchanged if it stays inside the model's folder.

    Raises:
        FileNotInModel: If it is empty, absolute, not in normal form, or has a `..`, backslash or control character.
    """
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or str(pure) != path or path == ".":
        raise FileNotInModel(f"{path[:MAX_MODEL_ID_LENGTH]!r} is no path inside model {model_id}.")
    if "\\" in path or _has_control_character(path):
        raise FileNotInModel(
            f"{path[:MAX_MODEL_ID_LENGTH]!r} in model {model_id} has a backslash or a control character."
        )
    return path


def _has_control_character(text: str) -> bool:
    return any(ord(character) <= _LAST_CONTROL_CHARACTER or ord(character) == _DELETE_CHARACTER for character in text)
