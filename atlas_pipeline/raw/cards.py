"""Reads the texts of model cards: from Parquet files of them, or from the README.md files in a folder of weights.

Cards come as a stream, for a file may hold a million of them, several gigabytes. They are untouched but for their
length; a card that cannot be read becomes a row that says why.
"""

from __future__ import annotations

import codecs
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from atlas_pipeline.raw.folder_dates import storable
from atlas_pipeline.raw.hub_stats import MODEL_ID_PATTERN
from atlas_pipeline.raw.sources import HUB_ADDRESS, SnapshotSource, SourceError
from atlas_pipeline.repositories import FolderRepository, RepositoryError
from atlas_pipeline.repositories.demo import ensure_demo_hub
from atlas_pipeline.schema import contract_of
from atlas_pipeline.settings import DEMO, Settings
from atlas_pipeline.storage import load_query
from atlas_pipeline.storage.files import sha256_of
from atlas_pipeline.storage.table_store import open_database

FILE_NAME: Final = "cards.parquet"
README: Final = "README.md"

MAX_CARD_BYTES: Final = 200_000
"""Texts are cut here; of 3,601 real cards one is longer, and its end is a table of labels."""

BATCH_CARDS: Final = 1000
UNREAD: Final = "unread"
"""Revision of a card whose file could not be opened."""

_ID_COLUMNS: Final = ("id", "modelId", "model_id")
_TEXT_COLUMNS: Final = ("card", "text")
_TEXT_TYPES: Final = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
)


def read_cards(settings: Settings, snapshot: str) -> pa.RecordBatchReader:
    """Rows of ``raw.cards``, by model_id, as they are read.

    ATLAS_CARDS says where cards are; a snapshot for which it has no file has no cards. Without it they are the
    README.md files in the folder of weights, which are those of today for every snapshot.

    Args:
        settings: cards, weights, and where the demo hub lies.
        snapshot: YYYY-MM-DD.

    Raises:
        SourceError: the location does not exist or its file is no Parquet file of cards; while rows are read, too.
    """
    if settings.cards:
        path = find_cards(settings, snapshot)
        return _empty() if path is None else read_card_file(path, snapshot=snapshot, settings=settings)
    if settings.weights == DEMO:
        ensure_demo_hub(settings.demo_folder, seed=settings.seed)
    folder = settings.location("weights")
    return read_card_folder(Path(folder), snapshot=snapshot) if folder and Path(folder).is_dir() else _empty()


def find_cards(settings: Settings, snapshot: str) -> Path | None:
    """The Parquet file that ATLAS_CARDS names for a snapshot; None where its folder has none.

    Raises:
        SourceError: there is no such location, or the Hub does not give the file.
    """
    location = settings.cards
    if location.startswith("hf://"):
        match = HUB_ADDRESS.fullmatch(location)
        if match is None:
            raise SourceError(f"ATLAS_CARDS={location}: expected hf://datasets/ORG/NAME[@REVISION]/PATH.parquet")
        source = SnapshotSource(snapshot, None, match["repo"], match["path"], match["revision"] or "main")
        return source.fetch(settings.state_folder)
    path = Path(location)
    if path.is_file():
        return path
    if not path.is_dir():
        raise SourceError(f"ATLAS_CARDS={location}: no such file or folder")
    candidates = (path / f"{snapshot}.parquet", path / snapshot / FILE_NAME)
    return next((each for each in candidates if each.is_file()), None)


def read_card_file(path: Path, *, snapshot: str, settings: Settings) -> pa.RecordBatchReader:
    """Cards of a Parquet file with the columns id (modelId, model_id) and card (text).

    Args:
        path: the file.
        snapshot: YYYY-MM-DD.
        settings: threads and memory of the engine, which sorts by id and spills to disk.

    Raises:
        SourceError: it is no Parquet file, or lacks a column; while rows are read, too.
    """
    try:
        schema = pq.read_schema(path)
        id_column, text_column = _column(schema, _ID_COLUMNS, path), _column(schema, _TEXT_COLUMNS, path)
        revision = f"sha256:{sha256_of(path)}"
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    given = {
        "ids": _positioned(path, id_column, "id"),
        "contents": _positioned(path, text_column, "content"),
    }
    variables = {
        "snapshot": snapshot,
        "source_revision": revision,
        "id_pattern": MODEL_ID_PATTERN,
        "max_bytes": MAX_CARD_BYTES,
    }

    def batches() -> Iterator[pa.RecordBatch]:
        with (
            tempfile.TemporaryDirectory(prefix="cards-") as spill,
            open_database(threads=settings.threads, memory_limit=settings.memory_limit) as connection,
        ):
            connection.execute("set temp_directory = ?", [spill])
            for name, value in variables.items():
                connection.execute(f"set variable {name} = ?", [value])
            for name, reader in given.items():
                connection.register(name, reader)
            try:
                for batch in connection.sql(load_query("raw/cards")).to_arrow_reader(BATCH_CARDS):
                    yield _conformed(batch)
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                raise _unreadable(path, error) from error

    return pa.RecordBatchReader.from_batches(_schema(), batches())


def read_card_folder(folder: Path, *, snapshot: str) -> pa.RecordBatchReader:
    """Cards of a folder ``<org>/<name>/README.md``.

    A model without one has no row; one whose files cannot be listed has a row with the problem.

    Args:
        folder: the folder of weights; nothing outside it is read.
        snapshot: YYYY-MM-DD.

    Raises:
        SourceError: the folder cannot be listed.
    """
    try:
        repository = FolderRepository(folder)
        models = sorted(repository.models(), key=storable)
    except RepositoryError as error:
        raise SourceError(str(error)) from error

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(models), BATCH_CARDS):
            rows = [_read_readme(repository, model_id) for model_id in models[start : start + BATCH_CARDS]]
            found = [{"snapshot": snapshot, **row} for row in rows if row is not None]
            yield pa.RecordBatch.from_pylist(found, _schema())

    return pa.RecordBatchReader.from_batches(_schema(), batches())


def _read_readme(repository: FolderRepository, model_id: str) -> dict[str, object] | None:
    row: dict[str, object] = {
        "model_id": storable(model_id),
        "source_revision": UNREAD,
        "card": None,
        "n_bytes": 0,
        "is_truncated": False,
        "problem": None,
    }
    if re.fullmatch(MODEL_ID_PATTERN, model_id) is None:
        return {**row, "problem": "id is no model id"}
    try:
        size = next((file.size_bytes for file in repository.files(model_id) if file.path == README), None)
        if size is None:
            return None
        content = repository.read(model_id, README, 0, min(size, MAX_CARD_BYTES))
        row |= {"source_revision": f"sha256:{repository.sha256(model_id, README)}", "n_bytes": size}
        is_truncated = size > MAX_CARD_BYTES
        # Where the text is cut, half a character at its end is no error.
        text = codecs.getincrementaldecoder("utf-8")().decode(content, final=not is_truncated)
    except RepositoryError as error:
        return {**row, "problem": storable(str(error))}
    except UnicodeDecodeError:
        return {**row, "problem": "card is no UTF-8 text"}
    return {**row, "card": text, "is_truncated": is_truncated}


def _positioned(path: Path, column: str, name: str) -> pa.RecordBatchReader:
    """A column as bytes, with each value's position in the file, batch by batch."""
    schema = pa.schema([("position", pa.int64()), (name, pa.large_binary())])

    def batches() -> Iterator[pa.RecordBatch]:
        position = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_CARDS, columns=[column]):
                # As bytes, so that one text that is no UTF-8 does not make the whole file unreadable.
                given = batch.column(0)
                decoded = given.dictionary_decode() if pa.types.is_dictionary(given.type) else given
                values = decoded.cast(pa.large_binary())
                positions = pa.array(range(position, position + len(values)), pa.int64())
                yield pa.RecordBatch.from_arrays([positions, values], schema=schema)
                position += len(values)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _column(schema: pa.Schema, names: tuple[str, ...], path: Path) -> str:
    for name in names:
        if name in schema.names:
            kind = schema.field(name).type
            held = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not any(is_one(held) for is_one in _TEXT_TYPES):
                raise SourceError(f"{path}: the column {name} holds {kind}, not texts")
            return name
    raise SourceError(f"{path} has no column {' or '.join(names)}, so it is no file of cards")


def _conformed(batch: pa.RecordBatch) -> pa.RecordBatch:
    schema = _schema()
    return pa.RecordBatch.from_arrays([batch.column(f.name).cast(f.type) for f in schema], schema=schema)


def _schema() -> pa.Schema:
    return contract_of("raw.cards").arrow_schema


def _empty() -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(_schema(), iter(()))


def _unreadable(path: Path, error: Exception) -> SourceError:
    return SourceError(f"{path} cannot be read as Parquet: {(str(error).splitlines() or [type(error).__name__])[0]}")
