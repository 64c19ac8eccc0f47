"""Where models live: one interface for every repository, read by byte range."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from atlas_pipeline.repositories.folder import FolderRepository
from atlas_pipeline.repositories.hub import Count, HubRepository, RangeCache, RetryPolicy, Traffic
from atlas_pipeline.repositories.interface import (
    BudgetSpent,
    FileEntry,
    FileNotInModel,
    InvalidModelId,
    ModelDisabled,
    ModelGated,
    ModelNotFound,
    Repository,
    RepositoryError,
    ShortRead,
    UnsafeLink,
    validate_model_id,
)

__all__ = [
    "HUB",
    "BudgetSpent",
    "Count",
    "FileEntry",
    "FileNotInModel",
    "FolderRepository",
    "HubRepository",
    "InvalidModelId",
    "ModelDisabled",
    "ModelGated",
    "ModelNotFound",
    "RangeCache",
    "Repository",
    "RepositoryError",
    "RetryPolicy",
    "ShortRead",
    "Traffic",
    "UnsafeLink",
    "open_repository",
    "validate_model_id",
]

HUB: Final = "hub"
"""The location that stands for the Hugging Face Hub."""


def open_repository(location: str, *, cache: Path | None = None, budget_bytes: int | None = None) -> Repository:
    """Opens the repository at a location.

    Args:
        location: `hub` for the Hugging Face Hub, or path of a folder `<org>/<name>/<files>`.
        cache: File that keeps what is read from the Hub (`RangeCache`); None for none. A folder needs none.
        budget_bytes: Bytes that may be fetched from the Hub; None for as many as it takes.

    Raises:
        RepositoryError: If the location is neither, or the Hub's endpoint is no web address.
    """
    if location == HUB:
        return HubRepository(cache=cache, budget_bytes=budget_bytes)
    if "://" in location:
        raise RepositoryError(
            f"The model repository {location!r} is not a folder; only folders and {HUB!r} can be opened."
        )
    return FolderRepository(location)
