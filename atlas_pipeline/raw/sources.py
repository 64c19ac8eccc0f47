"""Finds the snapshots that ``ATLAS_HUB_STATS`` names, and says which revision each one is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date
from pathlib import Path
from typing import Final

import duckdb
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HTTPError

from atlas_pipeline.raw.folder_dates import misplaced_weights, newest_day
from atlas_pipeline.repositories import RepositoryError
from atlas_pipeline.repositories.demo import ensure_demo_hub
from atlas_pipeline.settings import DEMO, FOLDER, Settings
from atlas_pipeline.storage.files import sha256_of
from atlas_pipeline.storage.table_store import parquet_scan

LIVE_DATA_SET: Final = "hf://datasets/cfahlgren1/hub-stats/models.parquet"
"""What ``hub`` stands for: the data set that the paper and the Hub's own pages use."""

FILE_NAME: Final = "models.parquet"

_TIMES: Final = ("lastModified", "createdAt")
_SNAPSHOT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
HUB_ADDRESS: Final = re.compile(r"hf://datasets/(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?/(?P<path>.+\.parquet)")


class SourceError(Exception):
    """A source that cannot be read; the message names it and says what to do."""


@dataclass(frozen=True)
class SnapshotSource:
    """One snapshot at its source.

    Attributes:
        snapshot: its date, YYYY-MM-DD.
        path: local hub-stats file; None while it still lies on the Hub, or where there is none.
        repo_id: Hub data set, for a source on the Hub.
        path_in_repo: file in that data set.
        revision: commit of that data set.
        folder: folder of weights of which the listing is made, where there is no hub-stats file at all.
    """

    snapshot: str
    path: Path | None
    repo_id: str = ""
    path_in_repo: str = ""
    revision: str = ""
    folder: Path | None = None

    def fetch(self, cache: Path) -> Path:
        """The local file; a source on the Hub is downloaded into ``cache`` once per revision.

        Raises:
            SourceError: the Hub does not give the file.
        """
        if self.path is not None:
            return self.path
        try:
            found = hf_hub_download(
                self.repo_id, self.path_in_repo, repo_type="dataset", revision=self.revision, cache_dir=cache / "hub"
            )
        except (HTTPError, OSError, ValueError) as error:
            raise SourceError(f"{self.path_in_repo} of the data set {self.repo_id}: {_first_line(error)}") from error
        return Path(found)

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
    if location == FOLDER:
        return [_of_weights(Path(settings.weights))]
    if location == "hub":
        location = LIVE_DATA_SET
    if location.startswith("hf://"):
        return [_on_the_hub(location)]
    path = Path(location)
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        return [_local(path)]
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
    dated = sorted(path for path in folder.glob(f"*/{FILE_NAME}") if _SNAPSHOT.fullmatch(path.parent.name))
    if dated:
        return [SnapshotSource(_calendar_day(path.parent.name, str(path.parent)), path) for path in dated]
    if (single := folder / FILE_NAME).is_file():
        return [_local(single)]
    raise SourceError(f"ATLAS_HUB_STATS={folder}: no {FILE_NAME} and no YYYY-MM-DD/{FILE_NAME} in it")


def _local(path: Path) -> SnapshotSource:
    """A single file: its snapshot is the date that its folder is named after, or else that of the last change."""
    is_dated = _SNAPSHOT.fullmatch(path.parent.name)
    day = _calendar_day(path.parent.name, str(path.parent)) if is_dated else _last_change(path)
    return SnapshotSource(day, path)


def _of_weights(folder: Path) -> SnapshotSource:
    """The folder of weights itself, as it is today: its snapshot is the day of its newest file."""
    try:
        day = newest_day(folder)
        misplaced = [] if day else misplaced_weights(folder)
    except (RepositoryError, OSError) as error:
        raise SourceError(f"ATLAS_WEIGHTS={folder}: {error}") from error
    if day:
        return SnapshotSource(day, None, folder=folder)
    message = f"ATLAS_WEIGHTS={folder}: there is no model in it; a model is a folder <org>/<name>/ with its weights."
    if misplaced:
        message += f" {_printable(misplaced[0])} lies too high: {_remedy(misplaced[0])}"
    raise SourceError(message)


def _remedy(path: str) -> str:
    """What brings a weight file, or the model that it is a part of, to where models are."""
    name, slash, _ = path.partition("/")
    stem = _printable(name if slash else name.rpartition(".")[0])
    if slash:
        return f"move its folder, or link it in there: mkdir mine && ln -s ../{stem} mine/{stem}"
    return f"move it, or link it in there: mkdir -p mine/{stem} && ln -s ../../{_printable(name)} mine/{stem}/"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:200])


def _on_the_hub(location: str) -> SnapshotSource:
    match = HUB_ADDRESS.fullmatch(location)
    if match is None:
        raise SourceError(f"ATLAS_HUB_STATS={location}: expected hf://datasets/ORG/NAME[@REVISION]/PATH.parquet")
    try:
        info = HfApi().dataset_info(match["repo"], revision=match["revision"], timeout=30)
    except (HTTPError, OSError, ValueError) as error:
        raise SourceError(f"ATLAS_HUB_STATS={location}: {_first_line(error)}") from error
    if info.sha is None or info.last_modified is None:
        raise SourceError(f"ATLAS_HUB_STATS={location}: the Hub gives no revision of it")
    folder = Path(match["path"]).parent.name
    if _SNAPSHOT.fullmatch(folder):
        day = _calendar_day(folder, location)
    else:
        day = info.last_modified.astimezone(UTC).date().isoformat()
    return SnapshotSource(day, None, match["repo"], match["path"], info.sha)


def _calendar_day(text: str, place: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise SourceError(f"{place}: {text} is no day of the calendar") from error


def _last_change(path: Path) -> str:
    """Day of the last change (UTC) of any model in a file."""
    try:
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            described = connection.execute(f"describe from {parquet_scan([str(path)])}").fetchall()
            dated = [n for n, kind, *_ in described if str(kind).startswith(("TIMESTAMP", "DATE", "VARCHAR"))]
            for name in [n for n in _TIMES if n in dated]:
                # Infinity, and years that no calendar of Python has, are no dates.
                query = f"""select strftime(max(change), '%Y-%m-%d')
                    from (select try_cast(try_cast("{name}" as timestamptz) as timestamp) as change
                        from {parquet_scan([str(path)])})
                    where change < timestamp '9999-12-31'"""
                row = connection.execute(query).fetchone()
                if row is not None and row[0] is not None:
                    return str(row[0])
    except duckdb.Error as error:
        raise SourceError(f"{path} cannot be read as Parquet: {_first_line(error)}") from error
    raise SourceError(f"{path} has no dates: put it in a folder named after its date, YYYY-MM-DD/{FILE_NAME}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
