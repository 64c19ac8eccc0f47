"""Reads a hub-stats file of any age into the one superset of columns.

The source's columns and types changed over time. Each column that the contract knows is taken by name and turned into
its type by the type that it is found with; what cannot be turned is null, and ``problem`` says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
from duckdb.sqltypes import DuckDBPyType

from atlas_pipeline.raw.sources import SourceError
from atlas_pipeline.schema import contract_of
from atlas_pipeline.schema.contract import FLAG, INSTANT, INTEGER, REAL, TEXT
from atlas_pipeline.storage.table_store import duckdb_type, open_database, parquet_scan

JSON_COLUMNS: Final = ("gguf", "config", "cardData")
MODEL_ID_PATTERN: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}(/[A-Za-z0-9_.-]{1,199})?"
"""Names as the Hub has them, older and longer ones included; ``..`` and ``/.`` are refused apart."""

ROWS_AT_ONCE: Final = 200_000
"""Rows that are in memory at a time."""

_ADDED = ("snapshot", "row_number", "source_revision", "is_rejected", "problem")
_WHOLE = ("tinyint", "smallint", "integer", "bigint", "hugeint")
_NUMBERS = (*_WHOLE, *(f"u{kind}" for kind in _WHOLE), "float", "double", "decimal", "varchar")
_PLAIN = ("varchar", "boolean", "enum", "uuid")


@dataclass(frozen=True)
class RawSnapshot:
    """A snapshot in the superset of columns.

    Attributes:
        rows: rows of ``raw.hub_stats``, in the source's order, read as they are asked for.
        notes: columns of the source that were ignored or could not be read, one sentence each.
    """

    rows: pa.RecordBatchReader
    notes: tuple[str, ...]


def read_hub_stats(
    path: Path, *, snapshot: str, source_revision: str, threads: int = 0, memory_limit: str = ""
) -> RawSnapshot:
    """Read one hub-stats file; at no time more than a part of it is in memory.

    Args:
        path: Parquet file.
        snapshot: the snapshot's date.
        source_revision: what the file is a revision of, kept in every row.
        threads: threads that DuckDB may use; 0 for all cores.
        memory_limit: memory that DuckDB may use; empty for its own default.

    Raises:
        SourceError: the file is no readable Parquet file or has no ``id`` column. Where only a later part of it
            cannot be read, the rows raise it.
    """
    connection = open_database(threads=threads, memory_limit=memory_limit)
    try:
        given = connection.sql(f"from {parquet_scan([str(path)])}")
        found = dict(zip(given.columns, given.types, strict=True))
        if "id" not in found:
            raise SourceError(f"{path} has no column id, so it is no hub-stats file")
        query, notes = normalising_query(found, path)
        connection.execute(_doubles_query(found["id"], path))
        n_rows = int(connection.execute(f"select count(*) from {parquet_scan([str(path)])}").fetchall()[0][0])
        given_once = {"snapshot": snapshot, "revision": source_revision}
        first = connection.sql(query, params={**given_once, "first": 0, "last": ROWS_AT_ONCE}).to_arrow_table()
    except duckdb.Error as error:
        raise _unreadable(path, error) from error

    def part(start: int) -> pa.Table:
        bounds = {**given_once, "first": start, "last": start + ROWS_AT_ONCE}
        return connection.sql(query, params=bounds).to_arrow_table()

    def batches() -> Iterator[pa.RecordBatch]:
        # Part by part: a stream out of DuckDB does not keep the file's order, and a sort of rows so wide is dear. The
        # next part is read while the one before is written.
        starts = range(ROWS_AT_ONCE, n_rows, ROWS_AT_ONCE)
        with connection, ThreadPoolExecutor(1) as reading:
            following = [reading.submit(part, start) for start in starts[:1]]
            yield from first.to_batches()
            for start in starts:
                try:
                    rows = following.pop().result()
                except duckdb.Error as error:
                    raise _unreadable(path, error) from error
                if start + ROWS_AT_ONCE < n_rows:
                    following.append(reading.submit(part, start + ROWS_AT_ONCE))
                yield from rows.to_batches()

    return RawSnapshot(pa.RecordBatchReader.from_batches(first.schema, batches()), notes)


def _unreadable(path: Path, error: Exception) -> SourceError:
    return SourceError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}")


def _doubles_query(kind: DuckDBPyType, path: Path) -> str:
    """SQL that notes the ids that stand in several rows, with the first of them."""
    return f"""
        create temp table doubles as
        select {_expression("id", TEXT, kind) or "null::varchar"} as id, min(file_row_number) + 1 as first_row
        from {parquet_scan([str(path)], row_numbers=True)}
        group by 1 having count(*) > 1 and id is not null
    """


def normalising_query(found: Mapping[str, DuckDBPyType], path: Path) -> tuple[str, tuple[str, ...]]:
    """The query that turns a file's columns into the contract's.

    Args:
        found: DuckDB type by column name.
        path: the file.

    Returns:
        the query, with parameters snapshot, revision, first and last (rows, from 0), and the table doubles(id,
        first_row); and a note on each column that was ignored or unreadable.
    """
    wanted = [column for column in contract_of("raw.hub_stats").columns if column.name not in _ADDED]
    notes = [
        f"column {_shown(name)} ({_shown(str(kind))}) is not known and was ignored"
        for name, kind in found.items()
        if name not in {c.name for c in wanted}
    ]
    made, problems = [], []
    for column in wanted:
        # A column of nothing but nulls has the type "NULL": it says as much as a column that is not there.
        kind = None if column.name not in found or found[column.name].id == "null" else found[column.name]
        expression = None if kind is None else _expression(column.name, column.type, kind)
        if kind is not None and expression is None:
            notes.append(f"column {column.name} has the unreadable type {_shown(str(kind))} and is null throughout")
        made.append(f'{expression or f"null::{duckdb_type(column.type)}"} as "{column.name}"')
        if kind is None or expression is None:
            continue
        if column.type != TEXT and kind.id not in ("struct", "list"):
            problems.append(
                f"""case when given."{column.name}" is not null and ({expression}) is null
                    then '{column.name} cannot be read' end"""
            )
        elif column.name in JSON_COLUMNS:
            problems.append(f"case when not json_valid({expression}) then '{column.name} is not JSON' end")
    complaints = f"concat_ws('; ', {', '.join(problems)})" if problems else "''"
    columns = ", ".join(f'"{column.name}"' for column in wanted if column.name in found)
    query = f"""
        with given as (
            select file_row_number + 1 as row_number, {columns} from {parquet_scan([str(path)], row_numbers=True)}
            where file_row_number >= $first and file_row_number < $last
        ),
        made as (select row_number, {", ".join(made)}, {complaints} as complaints from given),
        judged as (
            select made.*,
                case
                    when made.id is null then 'id is missing'
                    when not regexp_full_match(made.id, '{MODEL_ID_PATTERN}')
                        or contains(made.id, '..') or ends_with(made.id, '/.')
                        then 'id is no model id: ' || regexp_replace(left(made.id, 100), '[[:cntrl:]]', '?', 'g')
                    when made.row_number > doubles.first_row then 'id stands twice'
                end as rejection
            from made left join doubles on doubles.id = made.id
        )
        select $snapshot as snapshot, $revision as source_revision, * exclude (rejection, complaints),
            rejection is not null as is_rejected,
            nullif(concat_ws('; ', rejection, nullif(complaints, '')), '') as problem
        from judged order by row_number
    """
    return query, tuple(notes)


def _shown(text: str) -> str:
    """A name or type of the source, short and printable, for a note."""
    return re.sub(r"[^\x20-\x7e]", "?", text[:60])


def _expression(name: str, wanted: pa.DataType, kind: DuckDBPyType) -> str | None:
    """SQL that turns a column of the DuckDB type ``kind`` into the wanted type; None where none is known."""
    column = f'"{name}"'
    if name == "safetensors":
        return _safetensors(column, kind)
    if name == "baseModels":
        return _base_models(column, kind)
    if wanted == INSTANT:
        return _instant(column, kind)
    if wanted in (INTEGER, REAL):
        return f"try_cast({column} as {duckdb_type(wanted)})" if kind.id in _NUMBERS else None
    if wanted == FLAG:
        return f"try_cast({column} as boolean)" if kind.id in ("boolean", "varchar") else None
    if wanted == TEXT:
        if kind.id in _PLAIN:
            return f"{column}::varchar"
        return f"to_json({column})::varchar" if kind.id in ("struct", "map") else None
    return _texts(column, kind)


def _texts(column: str, kind: DuckDBPyType) -> str | None:
    if kind.id == "varchar":
        # A JSON list of texts, or of objects as the Hub's API gives a repository's files.
        return f"""list_transform(try_cast(try_cast({column} as json) as json[]), lambda x:
            case json_type(x) when 'OBJECT' then x ->> '$.rfilename' else x ->> '$' end)"""
    if kind.id != "list":
        return None
    element = _parts(kind)["child"]
    if element.id in ("varchar", "null"):
        return f"{column}::varchar[]"
    return f"list_transform({column}, lambda x: x.rfilename::varchar)" if "rfilename" in _fields(element) else None


def _instant(column: str, kind: DuckDBPyType) -> str | None:
    if kind.id in ("varchar", "timestamp with time zone"):
        instant = f"try_cast({column} as timestamptz)"
    elif kind.id == "date" or kind.id.startswith("timestamp"):
        instant = f"try_cast(try_cast({column} as timestamp) as timestamptz)"
    else:
        return None
    # Parquet and DuckDB know infinity and far years, Python's dates know neither.
    return f"""case when {instant} >= timestamptz '0001-01-01 00:00:00+00'
        and {instant} < timestamptz '9999-12-31 00:00:00+00' then {instant} end"""


def _safetensors(column: str, kind: DuckDBPyType) -> str | None:
    made = duckdb_type(contract_of("raw.hub_stats").arrow_schema.field("safetensors").type)
    if kind.id != "varchar" and not {"parameters", "total"} & set(_fields(kind)):
        return None
    text = f"try_cast({column} as json)" if kind.id == "varchar" else f"to_json({column})"
    counts = f"try_cast(json_extract({text}, '$.parameters') as map(varchar, bigint))"
    total = f"try_cast(json_extract({text}, '$.total') as bigint)"
    return f"""case when coalesce(cardinality({counts}), 0) > 0 or {total} is not null then struct_pack(
        parameters := map_from_entries(list_filter(map_entries({counts}), lambda x: x.value is not null)),
        total := {total})::{made} end"""


def _base_models(column: str, kind: DuckDBPyType) -> str | None:
    made = duckdb_type(contract_of("raw.hub_stats").arrow_schema.field("baseModels").type)
    if kind.id == "varchar":
        return f"try_cast(try_cast({column} as json) as {made})"
    models = _fields(kind).get("models")
    if models is None or models.id != "list" or "id" not in _fields(_parts(models)["child"]):
        return None
    return f"try_cast({column} as {made})"


def _fields(kind: DuckDBPyType) -> dict[str, DuckDBPyType]:
    """Types of a struct's fields by name; none for another type."""
    return _parts(kind) if kind.id == "struct" else {}


def _parts(kind: DuckDBPyType) -> dict[str, DuckDBPyType]:
    """Types that a nested type is made of, by name."""
    return {name: part for name, part in kind.children if isinstance(part, DuckDBPyType)}
