"""Finds the hub-stats snapshots that ``ATLAS_HUB_STATS`` names, and says which revision each one is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb
from huggingface_hub import HfApi, hf_hub_download

from atlas_pipeline.repositories.demo import ensure_demo_hub
from atlas_pipeline.settings import DEMO, Settings
from atlas_pipeline.storage.files import sha256_of

LIVE_DATA_SET: Final = "hf://datasets/cfahlgren1/hub-stats/models.parquet"
"""What ``hub`` stands for: the data set that the paper and the Hub's own pages use."""

FILE_NAME: Final = "models.parquet"

_SNAPSHOT = re.compile(r"\d{4}-\d{2}-\d{2}")
_ON_THE_HUB = re.compile(r"hf://datasets/(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?/(?P<path>.+\.parquet)")


class SourceError(Exception):
    """A source that cannot be read; the message names it and says what to do."""


@dataclass(frozen=True)
class SnapshotSource:
    """One hub-stats snapshot at its source.

    Attributes:
        snapshot: its date, YYYY-MM-DD.
        path: local file, or None while it still lies on the Hub.
        repo_id: Hub data set, for a source on the Hub.
        path_in_repo: file in that data set.
        revision: commit of that data set.
    """

    snapshot: str
    path: Path | None
    repo_id: str = ""
    path_in_repo: str = ""
    revision: str = ""

    def fetch(self, cache: Path) -> Path:
        """The local file; a source on the Hub is downloaded into ``cache`` once per revision."""
        if self.path is not None:
            return self.path
        return Path(
            hf_hub_download(
                self.repo_id, self.path_in_repo, repo_type="dataset", revision=self.revision, cache_dir=cache / "hub"
            )
        )

    def revision_of(self, path: Path) -> str:
        """What the rows are a revision of: the data set's commit, or the sha256 of the file."""
        return self.revision or f"sha256:{sha256_of(path)}"


def find_snapshots(settings: Settings) -> list[SnapshotSource]:
    """The snapshots that the settings name, oldest first.

    Raises:
        SourceError: there are none, or the location cannot be read.
    """
    location = settings.hub_stats
    if location == DEMO:
        return _in_folder(ensure_demo_hub(settings.demo_folder, seed=settings.seed).hub_stats)
    if location == "hub":
        location = LIVE_DATA_SET
    if location.startswith("hf://"):
        return [_on_the_hub(location)]
    path = Path(location)
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        return [_local(_date_of(path), path)]
    raise SourceError(f"ATLAS_HUB_STATS={location}: no such file or folder")


def find_snapshot(settings: Settings, snapshot: str) -> SnapshotSource:
    """The source of one snapshot.

    Raises:
        SourceError: the source has no such snapshot; the message names those it has.
    """
    found = {source.snapshot: source for source in find_snapshots(settings)}
    if snapshot not in found:
        raise SourceError(f"ATLAS_HUB_STATS has no snapshot {snapshot}; it has {', '.join(found)}")
    return found[snapshot]


def _in_folder(folder: Path) -> list[SnapshotSource]:
    named = sorted(path for path in folder.glob(f"*/{FILE_NAME}") if _SNAPSHOT.fullmatch(path.parent.name))
    if named:
        return [_local(path.parent.name, path) for path in named]
    if (single := folder / FILE_NAME).is_file():
        return [_local(_date_of(single), single)]
    raise SourceError(f"ATLAS_HUB_STATS={folder}: no {FILE_NAME} and no YYYY-MM-DD/{FILE_NAME} in it")


def _local(snapshot: str, path: Path) -> SnapshotSource:
    return SnapshotSource(snapshot, path)


def _on_the_hub(location: str) -> SnapshotSource:
    match = _ON_THE_HUB.fullmatch(location)
    if match is None:
        raise SourceError(f"ATLAS_HUB_STATS={location}: expected hf://datasets/ORG/NAME[@REVISION]/PATH.parquet")
    info = HfApi().dataset_info(match["repo"], revision=match["revision"], timeout=30)
    if info.sha is None or info.last_modified is None:
        raise SourceError(f"ATLAS_HUB_STATS={location}: the Hub gives no revision of it")
    day = info.last_modified.astimezone(UTC).date().isoformat()
    return SnapshotSource(day, None, match["repo"], match["path"], info.sha)


def _date_of(path: Path) -> str:
    """Date of a snapshot that no folder name tells: the last change of any model in it."""
    if _SNAPSHOT.fullmatch(path.parent.name):
        return path.parent.name
    try:
        with duckdb.connect() as connection:
            columns = {row[0] for row in connection.execute("describe from read_parquet(?)", [str(path)]).fetchall()}
            times = [name for name in ("lastModified", "createdAt") if name in columns]
            newest = [
                connection.execute(
                    f'select max(try_cast("{n}" as timestamp)) from read_parquet(?)', [str(path)]
                ).fetchall()
                for n in times
            ]
    except duckdb.Error as error:
        raise SourceError(f"{path} cannot be read as Parquet: {error}") from error
    found = [rows[0][0] for rows in newest if isinstance(rows[0][0], datetime)]
    if not found:
        raise SourceError(f"{path} has no dates: put it in a folder named after its date, YYYY-MM-DD/{FILE_NAME}")
    return max(found).date().isoformat()
