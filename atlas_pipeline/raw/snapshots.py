"""Reads one snapshot, wherever it lies: a hub-stats file, or a listing made of the folder of weights."""

from __future__ import annotations

from atlas_pipeline.raw.folder_listing import list_folder
from atlas_pipeline.raw.hub_stats import RawSnapshot, read_hub_stats
from atlas_pipeline.raw.sources import SourceError, find_snapshot
from atlas_pipeline.repositories import RepositoryError
from atlas_pipeline.settings import Settings


def read_snapshot(settings: Settings, snapshot: str) -> RawSnapshot:
    """Rows of ``raw.hub_stats`` of one snapshot.

    Args:
        settings: where snapshots are, threads and memory of the engine.
        snapshot: YYYY-MM-DD.

    Raises:
        SourceError: there is no such snapshot, or it cannot be read.
    """
    source = find_snapshot(settings, snapshot)
    if source.folder is not None:
        try:
            return list_folder(source.folder, source.snapshot)
        except RepositoryError as error:
            raise SourceError(f"ATLAS_WEIGHTS={source.folder}: {error}") from error
    path = source.fetch(settings.state_folder)
    return read_hub_stats(
        path,
        snapshot=source.snapshot,
        source_revision=source.revision_of(path),
        threads=settings.threads,
        memory_limit=settings.memory_limit,
    )
