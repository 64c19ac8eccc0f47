"""Evaluation results as reported, under one name and in one unit, and the one that counts of each.

Sources: files of leaderboards, the model-index of cards, tables and lists in their text, and, where a service is set, a
language model that reads the rest (paper, section 3.2 and appendix D).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import duckdb
import pyarrow as pa

from atlas_pipeline.attributes.reported.benchmark_names import Names, load_benchmark_metrics, load_names
from atlas_pipeline.attributes.reported.card_tables import read_cards
from atlas_pipeline.attributes.reported.leaderboards import read_leaderboards
from atlas_pipeline.attributes.reported.llm_results import (
    LLM_SCHEMA,
    LanguageModel,
    ask_for_results,
    benchmark_and_number,
)
from atlas_pipeline.storage import load_query, run_query

MOST_RESULTS: Final = 20_000
"""Results read of one model-index; embedding models report some thousands."""

_CARDS_AT_ONCE: Final = 2_000


@dataclass(frozen=True)
class Results:
    """Rows of ``attributes.results``, and sentences on what could not be placed in them.

    Attributes:
        rows: the rows.
        notes: the sentences.
    """

    rows: pa.Table
    notes: tuple[str, ...]


def reported_results(
    connection: duckdb.DuckDBPyConnection,
    snapshot: str,
    *,
    folder: str = "",
    service: LanguageModel | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Rows of ``attributes.results``.

    Args:
        connection: with raw.hub_stats, raw.cards, components.cards and components.models of the snapshot.
        snapshot: YYYY-MM-DD.
        folder: files of leaderboards; empty for none.
        service: reads cards of which no other source has a result; None for nobody.
        progress: called with cards asked of the service, and cards in all.

    Raises:
        EvaluationsError: a file of a leaderboard cannot be read.
        LlmError: the service is not reached.
    """
    names = load_names()
    connection.register("given", read_leaderboards(connection, folder))
    run_query(connection, "attributes/model_index", most_results=MOST_RESULTS)
    n_strangers = run_query(connection, "attributes/leaderboards")["n_strangers"][0].as_py()
    cards = connection.sql(load_query("attributes/results_cards")).to_arrow_reader(_CARDS_AT_ONCE)
    connection.register("card_results", read_cards(cards, names))
    connection.register("llm_results", LLM_SCHEMA.empty_table())
    run_query(connection, "attributes/results_reported")
    if service is not None:
        pattern = benchmark_and_number(names)
        asked = run_query(connection, "attributes/results_to_ask", benchmark_and_number=pattern)
        texts = list(zip(asked["model_id"].to_pylist(), asked["card"].to_pylist(), strict=True))
        connection.register("llm_results", ask_for_results(texts, service, names, progress=progress))
        run_query(connection, "attributes/results_reported")
    _register_names(connection, names)
    rows = run_query(connection, "attributes/results", snapshot=snapshot)
    note = f"{n_strangers} models of the leaderboards in {folder} are not in this snapshot: their results are left out"
    return Results(rows, (note,) if n_strangers else ())


def reconciled_results(connection: duckdb.DuckDBPyConnection, snapshot: str) -> pa.Table:
    """Rows of ``attributes.evaluations``, given attributes.results of the snapshot (YYYY-MM-DD)."""
    return run_query(connection, "attributes/evaluations", snapshot=snapshot)


def _register_names(connection: duckdb.DuckDBPyConnection, names: Names) -> None:
    """Tables of what each distinct name stands for: far fewer than results."""

    def distinct(columns: str) -> list[tuple[str | None, str | None]]:
        return connection.execute(f"select distinct {columns} from reported order by all").fetchall()

    benchmarks = names.benchmark_table(distinct("reported_benchmark, reported_config"))
    connection.register("benchmark_names", benchmarks)
    connection.register("metric_names", names.metric_table(distinct("reported_metric, metric_type")))
    connection.register("benchmark_metrics", load_benchmark_metrics())
