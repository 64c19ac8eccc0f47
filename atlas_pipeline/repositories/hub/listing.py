"""What a hub says about one model: its commit and its files. Nothing in it is taken on trust."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from atlas_pipeline.repositories.interface import (
    MAX_FILES_PER_MODEL,
    SHA256,
    FileEntry,
    FileNotInModel,
    InvalidModelId,
    ModelDisabled,
    RepositoryError,
    validate_file_path,
    validate_model_id,
)

MAX_LISTING_BYTES: Final = 1 << 25
"""A listing of the most files that a model may have takes about 30 MB."""

MAX_FILE_BYTES: Final = 1 << 50
"""A petabyte; hubs end at half a terabyte."""

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listing:
    """A model at one commit.

    Attributes:
        model_id: The name under which the hub has it, which is another than was asked for after a renaming.
        revision: The commit, as hex SHA.
        files: Sorted by path; without hidden ones.
    """

    model_id: str
    revision: str
    files: tuple[FileEntry, ...]

    def to_json(self) -> str:
        """The listing as JSON, for `from_json`."""
        files = [[entry.path, entry.size_bytes, entry.sha256] for entry in self.files]
        return json.dumps({"model_id": self.model_id, "revision": self.revision, "files": files})

    @classmethod
    def from_json(cls, text: str) -> Listing | None:
        """The listing in a JSON text; None if it is none."""
        try:
            stored = json.loads(text)
            return _listing(stored["model_id"], stored["revision"], stored["files"])
        except (ValueError, TypeError, KeyError, RecursionError, RepositoryError):
            return None


def parse_listing(model_id: str, body: bytes) -> Listing:
    """Reads the answer to `/api/models/<id>?blobs=true`.

    A file whose path leads out of the model is left out with a warning.

    Args:
        model_id: The model that was asked for.
        body: JSON with `id`, `sha` and `siblings` [{`rfilename`, `size`, `lfs`: {`sha256`}}].

    Raises:
        ModelDisabled: If the hub says so.
        RepositoryError: If the answer is anything else.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise RepositoryError(f"The listing of model {model_id} cannot be read: it is no JSON object.")
    if answer.get("disabled") is True:
        raise ModelDisabled(f"Model {model_id} is disabled by the Hub.")
    siblings = answer.get("siblings")
    if not isinstance(siblings, list) or not all(isinstance(sibling, dict) for sibling in siblings):
        raise RepositoryError(f"The listing of model {model_id} names no files.")
    files = ((each.get("rfilename"), each.get("size"), _digest(each.get("lfs"))) for each in siblings)
    return _listing(answer.get("id", model_id), answer.get("sha"), files, asked=model_id)


def _digest(lfs: Any) -> Any:
    return lfs.get("sha256") if isinstance(lfs, dict) else None


def _listing(model_id: Any, revision: Any, files: Iterable[Any], asked: str | None = None) -> Listing:
    what = f"The listing of model {asked or model_id}"
    try:
        validate_model_id(model_id if isinstance(model_id, str) else "")
    except InvalidModelId as error:
        raise RepositoryError(f"{what} gives the model another name: {error}") from error
    if not isinstance(revision, str) or not _COMMIT.fullmatch(revision):
        raise RepositoryError(f"{what} names no commit.")
    entries: dict[str, FileEntry] = {}
    unsafe = []
    for n_files, (path, size, sha256) in enumerate(files, start=1):
        if n_files > MAX_FILES_PER_MODEL:
            raise RepositoryError(f"Model {model_id} has more than {MAX_FILES_PER_MODEL} files.")
        if not isinstance(path, str) or path in entries:
            raise RepositoryError(f"{what} names the file {str(path)[:100]!r} twice, or not at all.")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_FILE_BYTES:
            raise RepositoryError(f"{what} gives the file {path[:100]!r} no size in bytes.")
        try:
            validate_file_path(model_id, path)
        except FileNotInModel:
            unsafe.append(path)
            continue
        if not any(part.startswith(".") for part in path.split("/")):
            is_digest = isinstance(sha256, str) and SHA256.fullmatch(sha256)
            entries[path] = FileEntry(path, size, sha256 if is_digest else None)
    if unsafe:
        _logger.warning("%s has %d paths that lead out of it, as %r; left out.", what, len(unsafe), unsafe[0][:100])
    return Listing(model_id, revision, tuple(sorted(entries.values())))
