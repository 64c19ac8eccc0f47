"""When the models of a folder were made: what the times of their files say, and what somebody wrote down.

The folder is looked at, no weight file is opened.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from atlas_pipeline.repositories import FileEntry, FolderRepository, RepositoryError
from atlas_pipeline.weights.opening import ADAPTER_FILES, FORMATS, UNREAD_SUFFIXES

DATES_FILE: Final = "models.csv"
"""File beside the models with their dates, as far as somebody knows them: model_id, created_at."""

MAX_DATES_BYTES: Final = 100 << 20
"""A file of dates is never larger; what is larger is a mistake."""

COPY_PAUSE_SECONDS: Final = 60.0
"""What may lie between two models that are copied one after the other, beside the time that their bytes take."""

COPY_BYTES_PER_SECOND: Final = 50e6
"""A slow copy; a model of 14 GB takes less than five minutes."""

_WEIGHT_ENDINGS: Final = (*(ending for endings in FORMATS.values() for ending in endings), *UNREAD_SUFFIXES)
_LAST_SECOND: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


@dataclass(frozen=True)
class ListedModel:
    """A model of a folder as its files tell.

    Attributes:
        model_id: its id, ``org/name``.
        files: its files, sorted by path.
        times: time of the last change of each file, seconds since 1970 (UTC); NaN where it cannot be told.
        problem: why its files could not be listed.
    """

    model_id: str
    files: tuple[FileEntry, ...] = ()
    times: tuple[float, ...] = ()
    problem: str | None = None

    @property
    def paths(self) -> list[str]:
        """Paths of its files, sorted."""
        return [file.path for file in self.files]

    @property
    def made_at(self) -> float:
        """Time of the oldest weight file, in seconds since 1970; NaN without weight files."""
        times = [time for path, time in zip(self.paths, self.times, strict=True) if is_weight_file(path)]
        return min((time for time in times if not np.isnan(time)), default=np.nan)

    @property
    def changed_at(self) -> float:
        """Time of the newest file, in seconds since 1970; NaN without files."""
        return max((time for time in self.times if not np.isnan(time)), default=np.nan)

    @property
    def n_bytes(self) -> int:
        """Size of all its files."""
        return sum(file.size_bytes for file in self.files)


def is_weight_file(path: str) -> bool:
    """Whether a file's name says that it holds weights, in a format that is read or another."""
    return path.endswith(_WEIGHT_ENDINGS) or path.rpartition("/")[2] in ADAPTER_FILES


def listed_models(repository: FolderRepository) -> list[ListedModel]:
    """Every model of a folder, sorted by id; one whose files cannot be listed has the problem.

    Raises:
        RepositoryError: the folder itself cannot be listed.
    """
    return [_listed(repository, model_id) for model_id in repository.models()]


def newest_day(folder: Path) -> str:
    """Day (UTC) of the newest file of all models of a folder, YYYY-MM-DD.

    The first of 1970 where no file has a time that can be told; empty where no model of the folder has weights.

    Raises:
        RepositoryError: the folder cannot be listed.
    """
    models = listed_models(FolderRepository(folder))
    if not any(model.problem is not None or any(map(is_weight_file, model.paths)) for model in models):
        return ""
    newest = max((model.changed_at for model in models if not np.isnan(model.changed_at)), default=0.0)
    return datetime.fromtimestamp(newest, UTC).date().isoformat()


def misplaced_weights(folder: Path) -> list[str]:
    """Weight files that lie where no model can be: in the folder itself or one level below it; sorted.

    They are paths relative to the folder. Links are not followed.
    """
    found: list[str] = []
    for place in (folder, *sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink())):
        if place == folder or not place.name.startswith("."):
            with suppress(OSError):
                files = [p for p in place.iterdir() if p.is_file() and not p.name.startswith(".")]
                found += [p.relative_to(folder).as_posix() for p in files if is_weight_file(p.name)]
    return sorted(found)


def storable(name: str) -> str:
    """A name of a file as text that a table can hold: bytes that are no UTF-8 are written as escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def creation_times(models: list[ListedModel]) -> NDArray[np.float64]:
    """When each model was made, float64 [n], seconds since 1970: the time of its oldest weight file.

    NaN throughout where the times are rather those of a copy: where at least half of the models follow the one before
    within the time that copying both takes. One model alone tells nothing either.
    """
    times = np.array([model.made_at for model in models], dtype=np.float64)
    sizes = np.array([model.n_bytes for model in models], dtype=np.float64)
    order = np.argsort(times, kind="stable")[: np.count_nonzero(~np.isnan(times))]
    copying = COPY_PAUSE_SECONDS + (sizes[order][:-1] + sizes[order][1:]) / COPY_BYTES_PER_SECOND
    follows = np.diff(times[order]) <= copying
    is_copy = not len(follows) or np.mean(follows) >= 0.5
    return np.full_like(times, np.nan) if is_copy else times


def written_dates(repository: FolderRepository) -> tuple[dict[str, datetime], tuple[str, ...]]:
    """Dates (UTC) by model id from ``models.csv`` in the folder, and a note on each row that was passed over.

    Its columns are model_id and created_at: a day or an instant in ISO 8601, UTC where it names no zone. Of two rows
    for one model the first counts.

    Raises:
        RepositoryError: the file is there and cannot be read, is far too large, lacks a column, or is a link that
            leads out of the folder.
    """
    path = repository.root / DATES_FILE
    if not path.exists() and not path.is_symlink():
        return {}, ()
    if not path.resolve().is_relative_to(repository.root):
        raise RepositoryError(f"{DATES_FILE} is a link that leads out of the folder; it is not read.")
    rows = _read_csv(path)
    dates: dict[str, datetime] = {}
    notes: list[str] = []
    for number, row in enumerate(rows, start=2):
        date, model_id = _instant(row["created_at"]), row["model_id"]
        if date is None or model_id is None or model_id in dates:
            why = "names no model" if not model_id else "repeats a model" if model_id in dates else "has no date"
            notes.append(f"{DATES_FILE}, row {number}, {why} and was passed over")
        else:
            dates[model_id] = date
    return dates, tuple(notes)


def _listed(repository: FolderRepository, model_id: str) -> ListedModel:
    try:
        files = tuple(repository.files(model_id))
    except RepositoryError as error:
        return ListedModel(model_id, problem=str(error))
    return ListedModel(model_id, files, tuple(_changed(repository.root / model_id / file.path) for file in files))


def _changed(path: Path) -> float:
    try:
        status = path.stat()
    except OSError:
        return np.nan
    return status.st_mtime if stat.S_ISREG(status.st_mode) and 0 <= status.st_mtime < _LAST_SECOND else np.nan


def _read_csv(path: Path) -> list[Mapping[str, str | None]]:
    try:
        if path.stat().st_size > MAX_DATES_BYTES:
            raise RepositoryError(f"{DATES_FILE} is larger than {MAX_DATES_BYTES >> 20} MB and was not read.")
        names = ("model_id", "created_at")
        options = pacsv.ConvertOptions(strings_can_be_null=True, column_types=dict.fromkeys(names, pa.string()))
        table = pacsv.read_csv(path, convert_options=options)
    except (pa.ArrowInvalid, OSError) as error:
        raise RepositoryError(f"{DATES_FILE} cannot be read as CSV: {str(error).splitlines()[0]}") from error
    if missing := [name for name in names if name not in table.column_names]:
        raise RepositoryError(f"{DATES_FILE} has no column {missing[0]}; it needs model_id and created_at.")
    return table.select(list(names)).to_pylist()


def _instant(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat((text or "").strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
