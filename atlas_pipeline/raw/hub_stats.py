"""Reads a hub-stats file of any age into the one superset of columns.

The source's columns and types changed over time. Each column that the contract knows is taken by name and turned into
its type by the type that it is found with; what cannot be turned is null, and ``problem`` says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from atlas_pipeline.raw.sources import SourceError
from atlas_pipeline.schema import contract_of
from atlas_pipeline.schema.contract import FLAG, INSTANT, INTEGER, REAL, TEXT
from atlas_pipeline.storage.table_store import duckdb_type, sql_literal

JSON_COLUMNS = ("gguf", "config", "cardData")
MODEL_ID_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}(/[A-Za-z0-9_.-]{1,199})?"
"""Names as the Hub has them, older and longer ones included; ``..`` is refused apart."""

_ADDED = ("snapshot", "row_number", "source_revision", "is_rejected", "problem")


@dataclass(frozen=True)
class RawSnapshot:
    """A snapshot in the superset of columns.

    Attributes:
        rows: rows of ``raw.hub_stats``.
        notes: columns of the source that were ignored or could not be read, one sentence each.
    """

    rows: pa.Table
    notes: tuple[str, ...]


def read_hub_stats(path: Path, *, snapshot: str, source_revision: str) -> RawSnapshot:
    """Read one hub-stats file.

    Args:
        path: Parquet file.
        snapshot: the snapshot's date.
        source_revision: what the file is a revision of, kept in every row.

    Raises:
        SourceError: the file is no readable Parquet file or has no ``id`` column.
    """
    try:
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'; set preserve_insertion_order = true")
            described = connection.execute("describe from read_parquet(?)", [str(path)]).fetchall()
            found = {str(row[0]): str(row[1]) for row in described}
            if "id" not in found:
                raise SourceError(f"{path} has no column id, so it is no hub-stats file")
            query, notes = normalising_query(found, path)
            rows = connection.sql(query, params={"snapshot": snapshot, "revision": source_revision}).to_arrow_table()
    except (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException):
        raise
    except duckdb.Error as error:
        raise SourceError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    return RawSnapshot(rows, notes)


def normalising_query(found: dict[str, str], path: Path) -> tuple[str, tuple[str, ...]]:
    """The query that turns a file's columns into the contract's.

    Args:
        found: DuckDB type by column name, as ``describe`` gives them.
        path: the file.

    Returns:
        the query, with parameters snapshot and revision, and a note on each column that was ignored or unreadable.
    """
    wanted = [column for column in contract_of("raw.hub_stats").columns if column.name not in _ADDED]
    notes = [
        f"column {name} ({kind[:60]}) is not known and was ignored"
        for name, kind in found.items()
        if name not in {c.name for c in wanted}
    ]
    selected, problems = [], []
    for column in wanted:
        kind = found.get(column.name)
        expression = None if kind is None else _expression(column.name, column.type, kind)
        if kind is not None and expression is None:
            notes.append(f"column {column.name} has the unreadable type {kind[:60]} and is null throughout")
        selected.append(f'{expression or f"null::{duckdb_type(column.type)}"} as "{column.name}"')
        if expression is not None and kind == "VARCHAR" and column.type != TEXT:
            problems.append(f"""case when source."{column.name}" is not null and made."{column.name}" is null
                then '{column.name} cannot be read' end""")
    problems += [
        f"case when not json_valid(made.\"{name}\") then '{name} is not JSON' end"
        for name in JSON_COLUMNS
        if name in found
    ]
    query = f"""
        with source as (select row_number() over () as row_number, * from read_parquet({sql_literal(str(path))})),
        made as (select row_number, {", ".join(selected)} from source),
        judged as (
            select made.*,
                case
                    when made.id is null then 'id is missing'
                    when not regexp_full_match(made.id, '{MODEL_ID_PATTERN}') or contains(made.id, '..')
                        then 'id is no model id: ' || left(made.id, 100)
                    when row_number() over (partition by made.id order by made.row_number) > 1 then 'id stands twice'
                end as rejection,
                {"concat_ws('; ', " + ", ".join(problems) + ")" if problems else "''"} as complaints
            from made join source using (row_number)
        )
        select $snapshot as snapshot, $revision as source_revision, * exclude (rejection, complaints),
            rejection is not null as is_rejected,
            nullif(concat_ws('; ', rejection, nullif(complaints, '')), '') as problem
        from judged order by row_number
    """
    return query, tuple(notes)


def _expression(name: str, wanted: pa.DataType, kind: str) -> str | None:
    """SQL that turns a column of the DuckDB type ``kind`` into the wanted type; None where none is known."""
    column = f'"{name}"'
    if name == "safetensors":
        return _safetensors(column, kind)
    if name == "baseModels":
        return _base_models(column, kind)
    if wanted == INSTANT:
        return _instant(column, kind)
    if wanted in (INTEGER, REAL):
        numeric = re.fullmatch(r"(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL.*|VARCHAR)", kind)
        return f"try_cast({column} as {duckdb_type(wanted)})" if numeric else None
    if wanted == FLAG:
        return f"try_cast({column} as boolean)" if kind in ("BOOLEAN", "VARCHAR") else None
    if wanted == TEXT:
        if kind in ("VARCHAR", "JSON", "BOOLEAN"):
            return f"{column}::varchar"
        return f"to_json({column})::varchar" if kind.startswith(("STRUCT", "MAP")) else None
    return _texts(column, kind)


def _texts(column: str, kind: str) -> str | None:
    if kind == "VARCHAR[]":
        return column
    if re.fullmatch(r"STRUCT\((.*\s)?rfilename VARCHAR(,.*)?\)\[\]", kind):
        return f"list_transform({column}, lambda x: x.rfilename)"
    if kind == "VARCHAR":
        return f"try_cast(try_cast({column} as json) as varchar[])"
    return None


def _instant(column: str, kind: str) -> str | None:
    if kind.startswith("TIMESTAMP WITH TIME ZONE"):
        return column
    if kind.startswith(("TIMESTAMP", "DATE")):
        return f"{column}::timestamp::timestamptz"
    return f"try_cast({column} as timestamptz)" if kind == "VARCHAR" else None


def _safetensors(column: str, kind: str) -> str | None:
    made = duckdb_type(contract_of("raw.hub_stats").arrow_schema.field("safetensors").type)
    if kind == "VARCHAR" or (kind.startswith("STRUCT") and "parameters" in kind and "total" in kind):
        text = f"try_cast({column} as json)" if kind == "VARCHAR" else f"to_json({column})"
        counts = f"try_cast(json_extract({text}, '$.parameters') as map(varchar, bigint))"
        return f"""case when {column} is not null then struct_pack(
            parameters := map_from_entries(list_filter(map_entries({counts}), lambda x: x.value is not null)),
            total := try_cast(json_extract({text}, '$.total') as bigint))::{made} end"""
    return None


def _base_models(column: str, kind: str) -> str | None:
    made = duckdb_type(contract_of("raw.hub_stats").arrow_schema.field("baseModels").type)
    if kind.startswith("STRUCT") and "relation" in kind and "models" in kind:
        return f"{column}::{made}"
    return f"try_cast(try_cast({column} as json) as {made})" if kind == "VARCHAR" else None
