"""Files of ``ATLAS_EVALUATIONS``: what leaderboards measured."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from atlas_pipeline.storage.table_store import sql_path

GIVEN: Final = pa.schema(
    {"model_id": pa.string(), "leaderboard": pa.string(), "benchmark": pa.string(), "value": pa.string()}
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


def read_leaderboards(connection: duckdb.DuckDBPyConnection, folder: str) -> pa.Table:
    """Rows of all files of the folder, as text: columns of ``GIVEN``.

    Args:
        connection: any.
        folder: files with the columns model_id, leaderboard, benchmark, value; empty for none.

    Raises:
        EvaluationsError: a file cannot be read, lacks a column, or has values and not one number among them.
    """
    return pa.concat_tables([GIVEN.empty_table(), *(_read(connection, path) for path in evaluation_files(folder))])


def _read(connection: duckdb.DuckDBPyConnection, path: Path) -> pa.Table:
    """One file's rows; a value that is missing is null."""
    options = "all_varchar = true, header = true, " if path.suffix == ".csv" else ""
    reader = "read_csv" if path.suffix == ".csv" else "read_parquet"
    try:
        found = connection.sql(
            f"""select model_id::varchar as model_id, leaderboard::varchar as leaderboard,
                benchmark::varchar as benchmark, value::varchar as value, try_cast(value as double) as number
            from {reader}({sql_path(str(path))}, {options}hive_partitioning = false)"""
        ).to_arrow_table()
    except duckdb.Error as error:
        raise EvaluationsError(f"{path}: {str(error).splitlines()[0]}") from error
    if found["value"].null_count < found.num_rows and found["number"].null_count == found.num_rows:
        raise EvaluationsError(f"{path}: not one of its values is a number")
    return found.select(GIVEN.names).cast(GIVEN)
