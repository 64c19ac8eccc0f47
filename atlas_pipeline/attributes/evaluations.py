"""Evaluation results as reported: model-index of the cards, and leaderboards from ``ATLAS_EVALUATIONS``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from atlas_pipeline.storage import run_query
from atlas_pipeline.storage.table_store import sql_path

_GIVEN: Final = pa.schema(
    {"model_id": pa.string(), "leaderboard": pa.string(), "benchmark": pa.string(), "value": pa.float64()}
)


class EvaluationsError(Exception):
    """A file of evaluations that cannot be read; the message names it."""


def evaluation_files(folder: str) -> list[Path]:
    """Parquet and CSV files of the folder, sorted; none for an empty setting.

    Raises:
        EvaluationsError: the folder is not there.
    """
    if not folder:
        return []
    if not Path(folder).is_dir():
        raise EvaluationsError(f"ATLAS_EVALUATIONS={folder}: no such folder")
    return sorted(path for path in Path(folder).iterdir() if path.is_file() and path.suffix in (".parquet", ".csv"))


def evaluations_digest(folder: str) -> str:
    """Changes when a file of evaluations does: names, sizes and times."""
    return " ".join(f"{p.name} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in evaluation_files(folder))


def evaluations(connection: duckdb.DuckDBPyConnection, snapshot: str, folder: str) -> pa.Table:
    """Rows of ``attributes.evaluations``.

    Args:
        connection: with raw.hub_stats and components.models of the snapshot.
        snapshot: YYYY-MM-DD.
        folder: files with the columns model_id, leaderboard, benchmark, value; empty for none. Of several values of
            one model on one benchmark of one leaderboard the greatest counts, whichever file it stands in. Models that
            are not listed and values that are no finite number are left out.

    Raises:
        EvaluationsError: a file cannot be read, lacks a column, or has values and not one number among them.
    """
    given = [_read(connection, path) for path in evaluation_files(folder)]
    connection.register("given", pa.concat_tables([_GIVEN.empty_table(), *given]))
    parts = [run_query(connection, f"attributes/{name}", snapshot=snapshot) for name in ("model_index", "leaderboards")]
    return pa.concat_tables([part.select(parts[0].column_names) for part in parts], promote_options="permissive")


def _read(connection: duckdb.DuckDBPyConnection, path: Path) -> pa.Table:
    """One file's rows, names as text and values as numbers, null where they are none."""
    options = "all_varchar = true, header = true, " if path.suffix == ".csv" else ""
    reader = "read_csv" if path.suffix == ".csv" else "read_parquet"
    try:
        found = connection.sql(
            f"""select model_id::varchar as model_id, leaderboard::varchar as leaderboard,
                benchmark::varchar as benchmark, try_cast(value as double) as value, value is not null as is_given
            from {reader}({sql_path(str(path))}, {options}hive_partitioning = false)"""
        ).to_arrow_table()
    except duckdb.Error as error:
        raise EvaluationsError(f"{path}: {str(error).splitlines()[0]}") from error
    if pc.any(found["is_given"]).as_py() and found["value"].null_count == found.num_rows:
        raise EvaluationsError(f"{path}: not one of its values is a number")
    return found.select(_GIVEN.names).cast(_GIVEN)
