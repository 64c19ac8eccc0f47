"""What the rows and columns of a table in a model card stand for: a benchmark, a metric, this model, or something else.

The words by which that is told stand in ``table_words.csv``.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from atlas_pipeline.attributes.reported.benchmark_names import Metric, Names, fold
from atlas_pipeline.attributes.reported.pipe_tables import Cell

Role = Literal["benchmark", "metric", "self", "value", "ignored", "other"]

_WORDS = Path(__file__).with_name("table_words.csv")
_SELF = re.compile(r"\b(?:this model|our model|ours)\b|\((?:this|our|ours)\)", re.IGNORECASE)
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})? ?%?(?: ?(?:±|\+/?-).{0,40})?"
)
_PARENTHESIS = re.compile(r"^(.{1,160}?) ?[(\[]([^()\[\]]{1,60})[)\]]$")


@dataclass(frozen=True)
class Label:
    """What a row or a column stands for.

    Attributes:
        role: "value" is a blank, or a word as "score"; "ignored" holds no results; "other" may be another model.
        benchmark: as written.
        metric: as written; a benchmark's label may name one too.
    """

    role: Role
    benchmark: str | None = None
    metric: str | None = None


@cache
def words(kind: str) -> frozenset[str]:
    """Folded words of one kind."""
    with _WORDS.open(encoding="utf-8", newline="") as stream:
        return next(frozenset(row["words"].split()) for row in csv.DictReader(stream) if row["kind"] == kind)


def is_number(text: str) -> bool:
    """Whether a cell holds one number, with a percent sign or a spread after it at most."""
    return _NUMBER.fullmatch(text) is not None


def is_own(cell: Cell, model_id: str) -> bool:
    """Whether a cell names the model: by its id, its name, a link to it, or as this one."""
    folded = fold(_SELF.sub("", cell.text))
    if folded and folded in (fold(model_id), fold(model_id.rpartition("/")[2])):
        return True
    address = rf"huggingface\.co/{re.escape(model_id)}(?![\w.-])"
    return bool(_SELF.search(cell.text) or re.search(address, cell.source))


def label_of(cell: Cell, model_id: str, names: Names) -> Label:
    """What the header of a column, or the first cell of a row, stands for.

    Args:
        cell: the cell.
        model_id: the model whose card it is.
        names: known benchmarks and metrics.
    """
    text, folded = cell.text, fold(cell.text)
    if is_own(cell, model_id):
        return Label("self")
    if not folded or folded in words("value"):
        return Label("value")
    if folded in words("summary"):
        return Label("ignored")
    if (inner := _PARENTHESIS.match(text)) and metric_of(inner[2], names):
        if names.known_benchmark(inner[1]):
            return Label("benchmark", benchmark=inner[1], metric=inner[2])
        if metric_of(inner[1], names):
            return Label("metric", metric=text)
    if names.known_benchmark(text):
        return Label("benchmark", benchmark=text)
    first, _, last = text.rpartition(" ")
    ends_in_metric = bool(first and metric_of(last, names))
    if ends_in_metric and names.known_benchmark(first):
        return Label("benchmark", benchmark=first, metric=last)
    if metric := metric_of(text, names):
        if ends_in_metric and folded not in names.metrics and not words("variant") & set(fold(first).split("_")):
            # "BERT F1": the metric of somebody, most likely of another model.
            return Label("other")
        return Label("metric", metric=text) if metric.unit else Label("ignored")
    if words("no_result") & set(folded.split("_")) or text.startswith("#"):
        return Label("ignored")
    return Label("other")


def as_benchmark(cell: Cell, label: Label, names: Names) -> Label:
    """A row's label below a corner that says benchmark: a name that no rule knows is one too, a split is none."""
    folded = fold(cell.text)
    if folded in words("split") | words("summary"):
        return Label("ignored")
    is_name = label.role in ("other", "ignored") and folded and metric_of(cell.text, names) is None
    return Label("benchmark", benchmark=cell.text) if is_name else label


def with_second_header(columns: list[Label], row: tuple[Cell, ...], names: Names) -> list[Label] | None:
    """The columns' labels with the metrics that a first row holds; None where it holds anything else."""
    cells = {place: cell.text for place, cell in enumerate(row[1:], start=1) if cell.text}
    if not cells or any(is_number(text) for text in cells.values()):
        return None
    metrics = {place: text.strip("()") for place, text in cells.items() if metric_of(text, names)}
    if 2 * len(metrics) < len(cells):
        # Two metrics in a cell, as F1/EM, stand for two values in each cell below: those are no number.
        return None
    return [
        replace(label, metric=metrics[place]) if place in metrics and label.role == "benchmark" else label
        for place, label in enumerate(columns)
    ]


def metric_of(text: str, names: Names) -> Metric | None:
    """The metric that a label names, None where no rule knows it."""
    return names.known_metric(text.strip("#% []()"))
