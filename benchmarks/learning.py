"""Grows the small tree ensembles with which charting weighs its evidence, on zoos and ponds with known lineage.

python -m benchmarks.learning HOME=TRUTH [HOME=TRUTH ...] --ponds 12 --out atlas_pipeline/edges/charting

Every prediction that training uses as an input is made for a region that the predicting ensemble has not seen, so that
what is learnt is what will be met. The result is two CSV files beside the charting method.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.isotonic import IsotonicRegression

from atlas_pipeline.edges.charting.deciding import MODELS, Measured, measure, verdicts
from atlas_pipeline.edges.charting.forest import Forest, acyclic
from atlas_pipeline.edges.charting.method import Findings, Work
from atlas_pipeline.edges.region import Region
from benchmarks.figures import Home

N_FOLDS = 5
N_STATES = 3
GROWTH: dict[str, Any] = {
    "max_iter": 160,
    "max_depth": 5,
    "learning_rate": 0.06,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
    "random_state": 0,
}


@dataclass
class Lesson:
    """A region with its true parents, and the tree believed of it so far.

    Attributes:
        work: the prepared region.
        parents: rows of the true parents of each model.
        fold: regions of one fold are held out together.
        found: what is proven.
        believed: one parent a model.
    """

    work: Work
    parents: Sequence[tuple[int, ...]]
    fold: int
    found: Findings
    believed: np.ndarray
    first: Forest

    @classmethod
    def of(cls, region: Region, parents: Sequence[tuple[int, ...]], fold: int) -> Lesson:
        """Prove and decompose what can be; merges need a first tree, for which the nearest earlier models stand."""
        work = Work(region)
        found = work.proofs()
        found.merges.update(work.merges(found, Forest(work.believed(found))))
        believed = work.believed(found)
        return cls(work, parents, fold, found, believed, Forest(believed))

    def measured(self) -> Measured:
        """The candidates of the open models against the believed tree."""
        return measure(self.work.evidence, Forest(self.believed), self.work.open_rows(self.found), first=self.first)

    def ancestors(self) -> list[set[int]]:
        """All true ancestors of each model."""
        known: dict[int, set[int]] = {}

        def above(row: int) -> set[int]:
            if row not in known:
                known[row] = set()
                known[row] = set(self.parents[row]).union(*(above(parent) for parent in self.parents[row]))
            return known[row]

        return [above(row) for row in range(len(self.parents))]


@dataclass
class Table:
    """Candidates of many children, a row each."""

    measures: np.ndarray
    is_ancestor: np.ndarray
    is_parent: np.ndarray
    has_reference: np.ndarray
    fold: np.ndarray
    parts: list[tuple[Lesson, Measured, np.ndarray]]

    @classmethod
    def of(cls, lessons: Iterable[Lesson]) -> Table:
        """Measure the open models of all lessons and say which of their candidates are parents and ancestors."""
        rows: list[tuple[np.ndarray, ...]] = []
        parts = []
        for lesson in lessons:
            measured = lesson.measured()
            exists = measured.around.candidate >= 0
            above = lesson.ancestors()
            child, place = np.nonzero(exists)
            children, candidates = measured.children[child], measured.around.candidate[child, place]
            pairs = list(zip(children.tolist(), candidates.tolist(), strict=True))
            rows.append(
                (
                    measured.measures[exists],
                    np.array([q in above[c] for c, q in pairs], dtype=bool),
                    np.array([q in lesson.parents[c] for c, q in pairs], dtype=bool),
                    measured.around.reference[exists] >= 0,
                    np.full(len(pairs), lesson.fold),
                )
            )
            parts.append((lesson, measured, exists))
        return cls(*(np.concatenate(column) for column in zip(*rows, strict=True)), parts=parts)

    def spread(self, values: np.ndarray) -> list[np.ndarray]:
        """Values of the rows as one array [children, candidates] for each lesson, NaN where there is no candidate."""
        spread, first = [], 0
        for _, _, exists in self.parts:
            array = np.full(exists.shape, np.nan)
            array[exists] = values[first : first + int(exists.sum())]
            first += int(exists.sum())
            spread.append(array)
        return spread


def learn(lessons: Sequence[Lesson]) -> tuple[dict[str, HistGradientBoostingClassifier], np.ndarray, np.ndarray]:
    """Grow the ensembles.

    Returns:
        The ensembles by name; the winners' scores and whether they were right, each predicted by folds that had not
        seen the region.
    """
    grown: dict[str, HistGradientBoostingClassifier] = {}
    tables: list[Table] = []
    score = right = np.zeros(0)
    for turn in range(N_STATES):
        table = Table.of(lessons)
        tables = [table] if turn <= 1 else [*tables, table]
        state = "first" if turn == 0 else "later"
        pooled = _pool(tables)
        inherits = np.where(
            pooled.has_reference, _held_out(pooled.measures, pooled.is_ancestor, pooled.fold, pooled.has_reference), 1.0
        )
        grown[f"ancestry_{state}"] = _grow(
            pooled.measures[pooled.has_reference], pooled.is_ancestor[pooled.has_reference]
        )
        both = np.hstack([pooled.measures, _verdicts(pooled, inherits)])
        likely = _held_out(both, pooled.is_parent, pooled.fold, np.ones(len(both), dtype=bool))
        grown[f"parentage_{state}"] = _grow(both, pooled.is_parent)
        newest = likely[len(likely) - len(table.measures) :]
        score, right = _believe(table, newest)
        print(f"state {turn}: {len(right)} open models, {right.mean():.3f} of held-out parents right")
    return grown, score, right


def _pool(tables: Sequence[Table]) -> Table:
    names = ("measures", "is_ancestor", "is_parent", "has_reference", "fold")
    columns = [np.concatenate([getattr(table, name) for table in tables]) for name in names]
    return Table(*columns, parts=[part for table in tables for part in table.parts])


def _grow(features: np.ndarray, label: np.ndarray) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(**GROWTH).fit(features, label)


def _held_out(features: np.ndarray, label: np.ndarray, fold: np.ndarray, usable: np.ndarray) -> np.ndarray:
    likely = np.full(len(label), np.nan)
    for each in np.unique(fold):
        seen, unseen = (fold != each) & usable, (fold == each) & usable
        likely[unseen] = _grow(features[seen], label[seen]).predict_proba(features[unseen])[:, 1]
    return likely


def _verdicts(table: Table, inherits: np.ndarray) -> np.ndarray:
    parts = [
        verdicts(measured, array)[exists]
        for (_, measured, exists), array in zip(table.parts, table.spread(inherits), strict=True)
    ]
    return np.concatenate(parts)


def _believe(table: Table, likely: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, rights = [], []
    for (lesson, measured, _), array in zip(table.parts, table.spread(likely), strict=True):
        known = np.nan_to_num(array)
        best = np.argmax(known, axis=1)
        rows = np.arange(len(best))
        chosen = measured.around.candidate[rows, best]
        believed = lesson.believed.copy()
        believed[measured.children] = chosen
        lesson.believed = acyclic(believed, lesson.work.position)
        scores.append(known[rows, best] / np.maximum(known.sum(axis=1), 1.0))
        pairs = zip(measured.children.tolist(), chosen.tolist(), strict=True)
        rights.append(np.array([(q,) == tuple(lesson.parents[c]) for c, q in pairs], dtype=float))
    return np.concatenate(scores), np.concatenate(rights)


def write(folder: Path, grown: dict[str, HistGradientBoostingClassifier], score: np.ndarray, right: np.ndarray) -> None:
    """Write ``trees.csv`` and ``calibration.csv``."""
    rows: list[dict[str, Any]] = []
    for name, model in sorted(grown.items()):
        rows.append(_row(name, -1, 0, value=float(model._baseline_prediction.ravel()[0])))
        for number, (tree,) in enumerate(model._predictors):
            rows.extend(_row(name, number, place, **_values(node)) for place, node in enumerate(tree.nodes))
    pacsv.write_csv(pa.Table.from_pylist(rows), folder / "trees.csv", pacsv.WriteOptions(quoting_style="none"))
    fitted = IsotonicRegression(y_min=0.01, y_max=0.99, out_of_bounds="clip").fit(score, right)
    knots = np.linspace(0, 1, 41)
    smooth = np.convolve(np.pad(fitted.predict(knots), 2, mode="edge"), np.ones(5) / 5, mode="valid")
    table = pa.table({"score": knots.round(4), "confidence": np.maximum.accumulate(smooth).round(4)})
    pacsv.write_csv(table, folder / "calibration.csv", pacsv.WriteOptions(quoting_style="none"))


def _values(node: Any) -> dict[str, float]:
    if node["is_leaf"]:
        return {"value": float(f"{node['value']:.6g}")}
    return {
        "feature": int(node["feature_idx"]),
        "threshold": float(f"{node['num_threshold']:.7g}"),
        "left": int(node["left"]),
        "right": int(node["right"]),
        "missing_left": int(node["missing_go_to_left"]),
    }


def _row(model: str, tree: int, node: int, **values: float) -> dict[str, Any]:
    empty = {"feature": -1, "threshold": 0.0, "left": 0, "right": 0, "missing_left": 0, "value": 0.0}
    return {"model": model, "tree": tree, "node": node, **empty, **values}


def lessons_of_homes(homes: Sequence[Home]) -> Iterator[Lesson]:
    """Two lessons of every group of a home: with what is documented, and with all documentation hidden."""
    for home in homes:
        parents: dict[str, list[str]] = {}
        for edge in home.truth:
            parents.setdefault(edge.child_id, []).append(edge.parent_id)
        for number, place in enumerate(place for group in home.partitions for place in group):
            region = place.region
            row = {model_id: at for at, model_id in enumerate(region.model_ids)}
            true = [tuple(row[q] for q in parents.get(model_id, []) if q in row) for model_id in region.model_ids]
            yield Lesson.of(region, true, number % N_FOLDS)
            yield Lesson.of(replace(region, known_parents={}, known_sources={}), true, number % N_FOLDS)


def lessons_of_ponds(n_ponds: int) -> Iterator[Lesson]:
    """A lesson of every region of the ponds with the seeds from 1."""
    from benchmarks.ponds import ponds  # noqa: PLC0415 - PyTorch is an extra

    for seed in range(1, n_ponds + 1):
        for region, parents in ponds(seed):
            yield Lesson.of(region, parents, seed % N_FOLDS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn from finished runs with known truth, and from ponds that are made on the way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("homes", nargs="+", type=Home.from_argument, metavar="HOME=TRUTH")
    parser.add_argument("--ponds", type=int, default=12, help="ponds to learn from besides, half a minute each")
    parser.add_argument("--out", type=Path, default=MODELS.parent, help="folder of trees.csv and calibration.csv")
    given = parser.parse_args(arguments)
    lessons = [*lessons_of_homes(given.homes), *lessons_of_ponds(given.ponds)]
    write(given.out, *learn(lessons))


if __name__ == "__main__":
    main()
