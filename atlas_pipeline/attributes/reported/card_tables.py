"""What the pipe tables and result lists of a model's card say of that model.

A cell counts where it is told which benchmark or metric it stands for, and that it is this model's: its row or column
bears the model's name, or "this model" or "ours", or there is but one column of values. Whatever is left open gives no
result: a comparison with other models is no result of this one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from atlas_pipeline.attributes.reported.benchmark_names import Names, fold
from atlas_pipeline.attributes.reported.pipe_tables import (
    Cell,
    PipeTable,
    ResultList,
    bounded_lines,
    pipe_tables,
    result_lists,
)
from atlas_pipeline.attributes.reported.table_labels import (
    Label,
    as_benchmark,
    is_number,
    label_of,
    metric_of,
    with_second_header,
    words,
)

CARD_SCHEMA: Final = pa.schema(
    {
        "model_id": pa.string(),
        "position": pa.int64(),
        "reported_benchmark": pa.string(),
        "reported_config": pa.string(),
        "reported_metric": pa.string(),
        "reported_value": pa.string(),
        "is_self_reported": pa.bool_(),
        "source_url": pa.string(),
        "problem": pa.string(),
    }
)
MOST_RESULTS: Final = 2_000
"""Results read of one card."""

_EVALUATED = re.compile(r"^(?:validation|eval)[ _]", re.IGNORECASE)
_LEADERBOARD = re.compile(
    r"https?://(?:www\.)?huggingface\.co/spaces/[\w.-]{1,96}/[\w.-]{0,96}leaderboard", re.IGNORECASE
)


@dataclass(frozen=True)
class CardContext:
    """What is known of a card besides its text.

    Attributes:
        model_id: the model.
        benchmark: the one data set of its model-index, or None.
        config: that data set's configuration.
        dataset: the one data set that the front matter names, or None.
    """

    model_id: str
    benchmark: str | None = None
    config: str | None = None
    dataset: str | None = None


@dataclass(frozen=True)
class CardResult:
    """A result as it stands in a card.

    Attributes:
        benchmark: as written, None where none is named.
        config: configuration of the data set, where the model-index names it.
        metric: as written, None where none is named.
        value: as written.
        source_url: the leaderboard that the text before a table links to.
    """

    benchmark: str | None
    config: str | None
    metric: str | None
    value: str
    source_url: str | None = None


def read_cards(cards: Iterable[pa.RecordBatch], names: Names) -> pa.Table:
    """Results of many cards: columns of ``CARD_SCHEMA``.

    Args:
        cards: model_id, card, and benchmark, config, dataset as in ``CardContext``.
        names: known benchmarks and metrics.
    """
    batches = [CARD_SCHEMA.empty_table()]
    for batch in cards:
        rows = []
        for card in batch.to_pylist():
            text = card.pop("card")
            for position, found in enumerate(card_results(text, CardContext(**card), names), start=1):
                rows.append(_row(card["model_id"], position, found))
        batches.append(pa.Table.from_pylist(rows, CARD_SCHEMA))
    return pa.concat_tables(batches)


def card_results(card: str, context: CardContext, names: Names) -> list[CardResult]:
    """Results that a card gives for its model, lists before tables, at most ``MOST_RESULTS``.

    Args:
        card: the card's Markdown, front matter included.
        context: what is known besides.
        names: known benchmarks and metrics.
    """
    lines = bounded_lines(card)
    found: list[CardResult] = []
    for listed in result_lists(lines):
        found += _of_list(listed, context, names)
    for table in pipe_tables(lines):
        found += _of_table(table, context, names)
    return found[:MOST_RESULTS]


def _row(model_id: str, position: int, found: CardResult) -> dict[str, object]:
    return {
        "model_id": model_id,
        "position": position,
        "reported_benchmark": found.benchmark,
        "reported_config": found.config,
        "reported_metric": found.metric,
        "reported_value": found.value,
        "is_self_reported": found.source_url is None,
        "source_url": found.source_url,
    }


def _of_list(listed: ResultList, context: CardContext, names: Names) -> Iterator[CardResult]:
    """The Trainer writes a list and a model-index from one evaluation: the model-index says which configuration."""
    benchmark = context.benchmark or listed.dataset or context.dataset
    config = context.config if context.benchmark else None
    for written, value in listed.items:
        metric = _EVALUATED.sub("", written)
        known = names.known_metric(metric)
        if known is None or known.unit is not None:
            yield CardResult(benchmark, config, metric, value)


def _of_table(table: PipeTable, context: CardContext, names: Names) -> Iterator[CardResult]:
    folded = [fold(cell.text) for cell in table.header]
    if not table.rows or words("training") & set(folded):
        return
    page = next((match[0] for line in reversed(table.before) if (match := _LEADERBOARD.search(line))), None)
    # A model may be trained on a corpus and tested elsewhere; a benchmark is there for both.
    trained_on = context.dataset if context.dataset and names.known_benchmark(context.dataset) else None
    found = _of_long_table(folded, table.rows) if _is_long(folded) else _of_matrix(table, context.model_id, names)
    for benchmark, metric, value in found:
        known = metric_of(metric, names) if metric else None
        if not is_number(value) or (known is not None and known.unit is None):
            continue
        if benchmark is None and context.benchmark is not None:
            yield CardResult(context.benchmark, context.config, metric, value, page)
        else:
            yield CardResult(benchmark or trained_on, None, metric, value, page)


def _is_long(folded: list[str]) -> bool:
    """Whether each row says benchmark, metric and value, as evaluation harnesses write it."""
    rest = set(folded[1:])
    return bool(folded[0] in words("benchmark") and words("metric") & rest and words("value") & rest)


def _of_long_table(
    folded: list[str], rows: tuple[tuple[Cell, ...], ...]
) -> Iterator[tuple[str | None, str | None, str]]:
    if words("model") & set(folded):
        return
    metric_at = next(place for place, name in enumerate(folded) if name in words("metric"))
    value_at = next(place for place, name in enumerate(folded) if name in words("value"))
    filter_at = folded.index("filter") if "filter" in folded else None
    benchmark = ""
    for row in rows:
        # A blank cell repeats the one above; a dash before a task marks it as part of the group above.
        benchmark = row[0].text.lstrip("- ") or benchmark
        metric = row[metric_at].text
        if filter_at is not None and row[filter_at].text not in ("", "none"):
            metric = f"{metric} {row[filter_at].text}"
        if benchmark and fold(benchmark) not in words("summary"):
            yield benchmark, metric, row[value_at].text


def _of_matrix(table: PipeTable, model_id: str, names: Names) -> Iterator[tuple[str | None, str | None, str]]:
    header, rows = table.header, table.rows
    if all(is_number(row[0].text) for row in rows):
        # No column of labels: the header alone says what the values are.
        header, rows = (Cell("", ""), *header), tuple((Cell("", ""), *row) for row in rows)
    corner = fold(header[0].text)
    columns = [Label("ignored"), *(label_of(cell, model_id, names) for cell in header[1:])]
    if len(rows) > 1 and (labelled := with_second_header(columns, rows[0], names)):
        columns, rows = labelled, rows[1:]
    labels = [label_of(row[0], model_id, names) for row in rows]
    own = [row for row, label in zip(rows, labels, strict=True) if label.role == "self"]
    if own or words("model") & set(corner.split("_")) or (len(rows) == 1 and not rows[0][0].text):
        # Models are rows; two rows of this model, or none, do not tell which one holds.
        chosen = own or [row for row in rows if len(rows) == 1 and not row[0].text]
        for row in chosen if len(chosen) == 1 else ():
            for cell, label in zip(row, columns, strict=True):
                if label.role in ("benchmark", "metric"):
                    yield label.benchmark, label.metric, cell.text
        return
    if corner in words("benchmark"):
        labels = [as_benchmark(row[0], label, names) for row, label in zip(rows, labels, strict=True)]
    for column, label in _value_columns(columns, rows, labels):
        for row, of_row in zip(rows, labels, strict=True):
            if _can_meet(of_row, label):
                yield of_row.benchmark or label.benchmark, of_row.metric or label.metric, row[column].text


def _value_columns(
    columns: list[Label], rows: tuple[tuple[Cell, ...], ...], labels: list[Label]
) -> list[tuple[int, Label]]:
    """The columns that hold this model's values, where rows are benchmarks or metrics."""
    numeric = [
        (place, label)
        for place, label in enumerate(columns)
        if label.role != "ignored" and any(is_number(row[place].text) for row in rows)
    ]
    own = [each for each in numeric if each[1].role == "self"]
    if own:
        return own if len(own) == 1 else []
    named = [each for each in numeric if each[1].role in ("benchmark", "metric")]
    others = [each for each in numeric if each[1].role in ("value", "other")]
    if named:
        return named if not others else []
    n_known = sum(label.role in ("benchmark", "metric") for label in labels)
    is_told = len(others) == 1 and (others[0][1].role == "value" or 2 * n_known >= len(labels))
    return others if is_told and n_known else []


def _can_meet(row: Label, column: Label) -> bool:
    """Whether a row and a column say benchmark and metric of a cell, each at most once."""
    if row.role not in ("benchmark", "metric"):
        return False
    is_twice = (row.benchmark and column.benchmark) or (row.metric and column.metric)
    return not is_twice and row.role != column.role
