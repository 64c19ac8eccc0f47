"""The tree as it is believed at the moment: one parent a model, and who descends from whom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.edges.candidates import NOBODY


@dataclass(frozen=True, eq=False)
class Forest:
    """Models with at most one parent each, without cycles.

    Attributes:
        parent: int64 [n], row of the parent; ``NOBODY`` for a root.
    """

    parent: NDArray[np.int64]

    @cached_property
    def depth(self) -> NDArray[np.int64]:
        """Edges from the root, int64 [n]."""
        depth = np.zeros(len(self.parent), dtype=np.int64)
        above = self.parent
        while (has := above >= 0).any():
            depth += has
            above = np.where(has, self.parent[above], NOBODY)
        return depth

    @cached_property
    def n_children(self) -> NDArray[np.int64]:
        """Children of each model, int64 [n]."""
        return np.bincount(self.parent[self.parent >= 0], minlength=len(self.parent)).astype(np.int64)

    @cached_property
    def _intervals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Position of each model in a walk through the forest, and the position behind its last descendant."""
        n = len(self.parent)
        size = np.ones(n, dtype=np.int64)
        levels = [np.flatnonzero(self.depth == level) for level in range(int(self.depth.max(initial=0)) + 1)]
        for rows in reversed(levels[1:]):
            np.add.at(size, self.parent[rows], size[rows])
        first = np.zeros(n, dtype=np.int64)
        for level, unordered in enumerate(levels):
            parents = self.parent[unordered] if level else np.zeros(len(unordered), dtype=np.int64)
            order = np.argsort(parents, kind="stable")
            rows, above = unordered[order], parents[order]
            before = np.cumsum(size[rows]) - size[rows]
            starts = np.r_[True, above[1:] != above[:-1]] if len(rows) else np.zeros(0, dtype=bool)
            base = np.maximum.accumulate(np.where(starts, before, 0))
            first[rows] = before - base + (first[above] + 1 if level else 0)
        return first, first + size

    def descends(self, model: NDArray[np.int64], ancestor: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether models descend from others or are the same, bool in the broadcast shape; False for ``NOBODY``."""
        first, last = self._intervals
        place = first[model]
        return (first[ancestor] <= place) & (place < last[ancestor]) & (model >= 0) & (ancestor >= 0)

    def lineages(self, rows: NDArray[np.int64], *, n_levels: int) -> NDArray[np.int64]:
        """Parent, grandparent and so on of models, int64 [..., n_levels]; ``NOBODY`` above a root."""
        found = []
        above = rows
        for _ in range(n_levels):
            above = np.where(above >= 0, self.parent[above], NOBODY)
            found.append(above)
        return np.stack(found, axis=-1)


def acyclic(parent: NDArray[np.int64], position: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cut cycles, which only parents that came later can close, at those.

    Args:
        parent: int64 [n], row of the parent; ``NOBODY`` for a root.
        position: int64 [n], place of each model in the order of creation.

    Returns:
        int64 [n], the parents, ``NOBODY`` where a cycle was cut.
    """
    above = parent.copy()
    for _ in range(len(parent).bit_length()):
        above = np.where(above >= 0, above[above], NOBODY)
    while len(on_cycle := np.flatnonzero(above >= 0)):
        late = on_cycle[position[parent[on_cycle]] > position[on_cycle]]
        parent = parent.copy()
        parent[late if len(late) else on_cycle] = NOBODY
        above = parent.copy()
        for _ in range(len(parent).bit_length()):
            above = np.where(above >= 0, above[above], NOBODY)
    return parent
