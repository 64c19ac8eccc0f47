"""Where models live: one interface for every repository, read by byte range."""

from __future__ import annotations

from atlas_pipeline.repositories.folder import FolderRepository
from atlas_pipeline.repositories.interface import (
    FileEntry,
    FileNotInModel,
    InvalidModelId,
    ModelNotFound,
    Repository,
    RepositoryError,
    ShortRead,
    UnsafeLink,
    validate_model_id,
)

__all__ = [
    "FileEntry",
    "FileNotInModel",
    "FolderRepository",
    "InvalidModelId",
    "ModelNotFound",
    "Repository",
    "RepositoryError",
    "ShortRead",
    "UnsafeLink",
    "open_repository",
    "validate_model_id",
]


def open_repository(location: str) -> Repository:
    """Opens the repository at a location.

    Args:
        location: Path of a folder `<org>/<name>/<files>`.

    Raises:
        RepositoryError: If the location is not an existing folder.
    """
    if "://" in location:
        raise RepositoryError(f"The model repository {location!r} is not a folder; only folders can be opened.")
    return FolderRepository(location)
