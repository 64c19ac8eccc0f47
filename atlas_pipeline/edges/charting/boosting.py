"""Boosted regression trees as tables of numbers: evaluated here, grown in ``benchmarks.zoo``.

A learnt model is data, never a pickle: one CSV row a node, so that it can be read, compared and queried.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.csv as pacsv
from numpy.typing import NDArray

LEAF: Final = -1
"""Feature number of a leaf."""

_BLOCK: Final = 1 << 14


@dataclass(frozen=True, eq=False)
class BoostedTrees:
    """A sum of regression trees that gives log-odds.

    Attributes:
        roots: int64 [t], node at which each tree begins.
        feature: int64 [k], feature that a node asks for; ``LEAF`` in a leaf.
        threshold: float64 [k], values up to this go left.
        left: int64 [k], node for those; in a leaf the leaf itself.
        right: int64 [k], node for greater ones; in a leaf the leaf itself.
        missing_left: bool [k], whether NaN goes left.
        value: float64 [k], what a leaf adds.
        baseline: where the sum begins.
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    value: NDArray[np.float64]
    baseline: float

    def log_odds(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate the trees.

        Args:
            features: float64 [n, f]; NaN where a feature is not known.

        Returns:
            float64 [n].
        """
        total = np.full(len(features), self.baseline)
        depth = self._depth()
        for start in range(0, len(features), _BLOCK):
            part = features[start : start + _BLOCK]
            rows = np.arange(len(part))[:, None]
            node = np.broadcast_to(self.roots, (len(part), len(self.roots)))
            for _ in range(depth):
                asked = part[rows, np.maximum(self.feature[node], 0)]
                goes_left = np.where(np.isnan(asked), self.missing_left[node], asked <= self.threshold[node])
                node = np.where(goes_left, self.left[node], self.right[node])
            total[start : start + _BLOCK] += self.value[node].sum(axis=1)
        return total

    def probability(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate the trees as probabilities, float64 [n]."""
        return 1.0 / (1.0 + np.exp(-self.log_odds(features)))

    def _depth(self) -> int:
        node, depth = self.roots, 0
        while (inner := self.feature[node] != LEAF).any():
            node = np.unique(np.concatenate([self.left[node[inner]], self.right[node[inner]]]))
            depth += 1
        return depth


def read_trees(path: Path) -> dict[str, BoostedTrees]:
    """Read learnt models by name.

    Args:
        path: CSV with the columns model, tree, node, feature, threshold, left, right, missing_left, value; a row of
            tree -1 holds the baseline of its model.
    """
    table = pacsv.read_csv(path)
    names = np.array(table["model"].to_pylist())
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names if name != "model"}
    return {str(name): _trees({key: column[names == name] for key, column in columns.items()}) for name in set(names)}


def _trees(rows: dict[str, NDArray[np.float64]]) -> BoostedTrees:
    baseline = float(rows["value"][rows["tree"] < 0][0])
    rows = {name: column[rows["tree"] >= 0] for name, column in rows.items()}
    roots = np.flatnonzero(rows["node"] == 0)
    offset = roots[np.cumsum(rows["node"] == 0) - 1]
    is_leaf = rows["feature"] < 0
    own = np.arange(len(offset))
    return BoostedTrees(
        roots=roots.astype(np.int64),
        feature=rows["feature"].astype(np.int64),
        threshold=rows["threshold"].astype(np.float64),
        left=np.where(is_leaf, own, offset + rows["left"].astype(np.int64)),
        right=np.where(is_leaf, own, offset + rows["right"].astype(np.int64)),
        missing_left=rows["missing_left"].astype(bool),
        value=np.where(is_leaf, rows["value"], 0.0),
        baseline=baseline,
    )
