"""One name for each benchmark and metric, however a source spells it; what is known of a metric's unit and bounds.

The names stand in data files beside this module. ``benchmark_names.csv``: a benchmark, the metric that it is usually
reported in, and further spellings. ``metric_names.csv`` and ``metric_patterns.csv``: metrics with spellings, and
patterns for metrics that come in many variants; unit, least and greatest value. A metric without a unit is no result at
all (epochs, run times). ``benchmark_metrics.csv``: where a metric's name means something else, given the benchmark and
whose page on the Hub the result stands on. A name that no rule knows is folded and kept.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv as pacsv

GREATEST_NAME: Final = 120
"""Characters of a name; what is longer is cut."""

WHOLE: Final = frozenset(
    {"default", "main", "all", "none", "null", "plain_text", "full", "train", "test", "validation"}
)
"""Configurations that mean the whole data set."""

_FOLDER = Path(__file__).parent
_SHOTS = re.compile(r"[(\[]?\b(?:[0-9]{1,3}|zero|one|few|five)[- _]?shots?\b[)\]]?", re.IGNORECASE)
_OWNER = re.compile(r"[A-Za-z0-9_.-]{3,96}/(?=[A-Za-z0-9_.-]{3,96}( |$))")
_GAPS = re.compile(r"[\W_]+")
_VERSION = re.compile(r"v?[0-9]+(_[0-9]+)*")
_PREFIXES: Final = ("test_", "eval_", "evaluation_")
_VALIDATION = re.compile(r"^(?:val|valid|dev|development)_")

BENCHMARK_SCHEMA: Final = pa.schema(
    {
        "reported_benchmark": pa.string(),
        "reported_config": pa.string(),
        "benchmark": pa.string(),
        "usual_metric": pa.string(),
        "usual_unit": pa.string(),
        "usual_least": pa.float64(),
        "usual_greatest": pa.float64(),
    }
)
METRIC_SCHEMA: Final = pa.schema(
    {
        "reported_metric": pa.string(),
        "metric_type": pa.string(),
        "metric": pa.string(),
        "unit": pa.string(),
        "least": pa.float64(),
        "greatest": pa.float64(),
    }
)
_RULES: Final = {"place": pa.string(), "benchmark": pa.string(), "metric": pa.string(), "means": pa.string()}


@dataclass(frozen=True)
class Metric:
    """A metric as it is understood.

    Attributes:
        name: its one name.
        unit: share or points; None for what is no result, as a run time.
        least: least value in the unit, None where there is none.
        greatest: greatest value in the unit, None where there is none, as for error rates.
        is_known: whether a rule names it; False where the name is only folded.
    """

    name: str
    unit: str | None
    least: float | None
    greatest: float | None
    is_known: bool


@dataclass(frozen=True, eq=False)
class Names:
    """All rules.

    Attributes:
        benchmarks: names by folded spelling.
        usual: the metric that a benchmark is usually reported in, by name.
        metrics: metrics by folded spelling.
        patterns: what is known of metrics whose folded name a pattern matches, the first that does.
    """

    benchmarks: dict[str, str]
    usual: dict[str, str]
    metrics: dict[str, Metric]
    patterns: tuple[tuple[re.Pattern[str], Metric], ...]

    def known_benchmark(self, text: str) -> str | None:
        """The benchmark that a text names, None where no rule knows it."""
        return self.benchmarks.get(fold_benchmark(text))

    def benchmark(self, name: str | None, config: str | None = None) -> str | None:
        """One name for a benchmark, and for its configuration where that is not the whole.

        Args:
            name: as reported.
            config: configuration of the data set as reported: a language, a task of a collection.
        """
        base, part = fold_benchmark(name or ""), fold(config or "")
        if not base:
            return None
        if part == base:
            part = ""
        elif part and base.endswith("_" + part):
            base = base.removesuffix("_" + part)
            part = "" if part in WHOLE else part
        elif part.startswith(base + "_"):
            part = part.removeprefix(base + "_")
        elif part in WHOLE or _VERSION.fullmatch(part):
            part = ""
        known = self.benchmarks.get(base, base)
        if not part or self.benchmarks.get(part) == known:
            return known
        full = f"{known}_{part}"[:GREATEST_NAME]
        return self.benchmarks.get(f"{base}_{part}") or self.benchmarks.get(full) or full

    def known_metric(self, text: str) -> Metric | None:
        """The metric that a text names, None where no rule knows it."""
        return _known_metric(self, fold(text))

    def metric(self, name: str | None, kind: str | None = None) -> Metric | None:
        """One name for a metric.

        Args:
            name: as reported; it tells variants apart.
            kind: the metric's type where the source gives both; it tells the unit where the name is unknown.
        """
        given = name if fold(name or "") else kind
        folded = fold(given or "")
        if not folded:
            return None
        if found := self.known_metric(folded):
            return found
        about = self.known_metric(kind or "")
        if about is None or about.unit is None:
            return Metric(folded, "points", None, None, is_known=False)
        return Metric(folded, about.unit, about.least, about.greatest, is_known=False)

    def benchmark_table(self, reported: Iterable[tuple[str | None, str | None]]) -> pa.Table:
        """Names of distinct (benchmark, configuration), and their usual metric: columns of ``BENCHMARK_SCHEMA``."""
        rows = []
        for name, config in reported:
            found = self.benchmark(name, config)
            usual = self.metric(self.usual.get(found or ""))
            about = (usual.name, usual.unit, usual.least, usual.greatest) if usual else (None,) * 4
            rows.append(dict(zip(BENCHMARK_SCHEMA.names, (name, config, found, *about), strict=True)))
        return pa.Table.from_pylist(rows, BENCHMARK_SCHEMA)

    def metric_table(self, reported: Iterable[tuple[str | None, str | None]]) -> pa.Table:
        """Names and units of distinct (metric, type): columns of ``METRIC_SCHEMA``. What is no result has points."""
        rows = []
        for name, kind in reported:
            found = self.metric(name, kind)
            values = (found.name, found.unit or "points", found.least, found.greatest) if found else (None,) * 4
            rows.append(dict(zip(METRIC_SCHEMA.names, (name, kind, *values), strict=True)))
        return pa.Table.from_pylist(rows, METRIC_SCHEMA)


def fold(text: str) -> str:
    """A text in lower case with one underscore for whatever is no letter and no digit; @ reads "at"."""
    text = unicodedata.normalize("NFKC", text[: 2 * GREATEST_NAME]).casefold().replace("@", "_at_")
    return _GAPS.sub("_", text).strip("_")[:GREATEST_NAME].strip("_")


def fold_benchmark(text: str) -> str:
    """``fold`` without the number of shots, and without the owner of a data set that is given by its id."""
    text = text[: 2 * GREATEST_NAME].strip()
    if owner := _OWNER.match(text):
        text = text[owner.end() :]
    return (fold(_SHOTS.sub(" ", text)) or fold(text)).removesuffix("_default")


@lru_cache(maxsize=65_536)
def _known_metric(names: Names, folded: str) -> Metric | None:
    """Card after card has the same labels: each is matched with the patterns once."""
    name = next((folded.removeprefix(p) for p in _PREFIXES if folded.startswith(p)), folded)
    for each in (folded, name):
        if each in names.metrics:
            return names.metrics[each]
    name = _VALIDATION.sub("validation_", name, count=1)
    for pattern, about in names.patterns:
        if pattern.fullmatch(name):
            return Metric(name, about.unit, about.least, about.greatest, is_known=True)
    return None


@cache
def load_names() -> Names:
    """The rules of the data files."""
    benchmarks: dict[str, str] = {}
    usual: dict[str, str] = {}
    for row in _rows("benchmark_names.csv"):
        benchmarks |= dict.fromkeys((row["benchmark"], *row["names"].split()), row["benchmark"])
        if row["metric"]:
            usual[row["benchmark"]] = row["metric"]
    metrics: dict[str, Metric] = {}
    for row in _rows("metric_names.csv"):
        metrics |= dict.fromkeys((row["metric"], *row["names"].split()), _metric(row["metric"], row))
    patterns = tuple((re.compile(row["pattern"]), _metric("", row)) for row in _rows("metric_patterns.csv"))
    return Names(benchmarks, usual, metrics, patterns)


def load_benchmark_metrics() -> pa.Table:
    """Rows of ``benchmark_metrics.csv``: place (part of the page's address), benchmark, metric, means."""
    options = pacsv.ConvertOptions(column_types=_RULES, strings_can_be_null=False)
    return pacsv.read_csv(_FOLDER / "benchmark_metrics.csv", convert_options=options)


def _metric(name: str, row: dict[str, str]) -> Metric:
    least, greatest = (float(row[end]) if row[end] else None for end in ("least", "greatest"))
    return Metric(name, row["unit"] or None, least, greatest, is_known=True)


def _rows(name: str) -> list[dict[str, str]]:
    with (_FOLDER / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
