"""Evaluation results as reported: model-index of the cards, and leaderboards from ``ATLAS_EVALUATIONS``."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from atlas_pipeline.storage import run_query
from atlas_pipeline.storage.table_store import sql_literal


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
    return sorted(path for path in Path(folder).iterdir() if path.suffix in (".parquet", ".csv"))


def evaluations_digest(folder: str) -> str:
    """Changes when a file of evaluations does: names, sizes and times."""
    return " ".join(f"{p.name} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in evaluation_files(folder))


def evaluations(connection: duckdb.DuckDBPyConnection, snapshot: str, folder: str) -> pa.Table:
    """Rows of ``attributes.evaluations``.

    Args:
        connection: with raw.hub_stats and components.models of the snapshot.
        snapshot: YYYY-MM-DD.
        folder: files with the columns model_id, leaderboard, benchmark, value; empty for none. Of several values of
            one model on one benchmark of one leaderboard the greatest counts, models that are not listed are left out.

    Raises:
        EvaluationsError: a file cannot be read or lacks a column.
    """
    parts = [run_query(connection, "attributes/model_index", snapshot=snapshot)]
    for path in evaluation_files(folder):
        reader = "read_parquet" if path.suffix == ".parquet" else "read_csv"
        query = f"""
            select getvariable('snapshot') as snapshot, models.model_id, benchmark, 'score' as metric,
                max(value)::double as value, 'leaderboard' as source, leaderboard
            from {reader}({sql_literal(str(path))}) as given
            join components.models as models on models.model_id = given.model_id
            where isfinite(value::double) and benchmark is not null and leaderboard is not null
            group by models.model_id, benchmark, leaderboard
        """
        try:
            parts.append(connection.sql(query).to_arrow_table())
        except duckdb.Error as error:
            raise EvaluationsError(f"{path}: {str(error).splitlines()[0]}") from error
    columns = parts[0].column_names
    return pa.concat_tables([part.select(columns) for part in parts], promote_options="permissive")
