"""Who can be whose parent: the nearest models that are allowed to be one, and the typical step between relatives.

Distances are read a block of rows at a time, so a memory-mapped matrix larger than memory will do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.edges.region import Region

NOBODY: Final = -1
"""Stands for a missing row number."""

_BLOCK_ROWS: Final = 512
"""Rows of the distance matrix read at once: 40 MB for ten thousand models."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The nearest allowed models of every model.

    Attributes:
        index: int64 [n, k], their rows, nearest first, equal distances in the order of creation; ``NOBODY`` where a
            model has fewer than k.
        squared: float64 [n, k], their squared distances; infinite where a model has fewer.
    """

    index: NDArray[np.int64]
    squared: NDArray[np.float64]


def nearest_candidates(region: Region, *, k: int, can_be_parent: NDArray[np.bool_], only_earlier: bool) -> Candidates:
    """Find the ``k`` nearest models of the same weight cluster that are allowed to be a parent.

    Args:
        region: The models.
        k: Candidates wanted for each model.
        can_be_parent: bool [n], the models that may be one.
        only_earlier: Whether a candidate must be created before the model (in the order of ``region.chronology``).

    Returns:
        Up to ``k`` candidates per model.
    """
    n = region.n_models
    index = np.full((n, k), NOBODY, dtype=np.int64)
    squared = np.full((n, k), np.inf, dtype=np.float64)
    width = min(k, n)
    order = region.chronology
    allowed = can_be_parent[order]
    for first, rows, block in _blocks_in_order(region):
        block[:, ~allowed] = np.inf
        if only_earlier:
            block[np.arange(n)[None, :] >= first + np.arange(len(rows))[:, None]] = np.inf
        kth = np.partition(block, width - 1, axis=1)[:, width - 1 : width]
        row, column = np.nonzero((block <= kth) & np.isfinite(block))
        found = block[row, column]
        by_distance = np.lexsort((column, found, row))
        row, column, found = row[by_distance], column[by_distance], found[by_distance]
        rank = np.arange(len(row)) - np.searchsorted(row, row)
        listed = rank < k
        index[rows[row[listed]], rank[listed]] = order[column[listed]]
        squared[rows[row[listed]], rank[listed]] = found[listed]
    return Candidates(index, squared)


def cluster_scales(region: Region) -> NDArray[np.float64]:
    """Find the typical step of each weight cluster: its median squared distance to the nearest model not a copy.

    Returns:
        float64 [n], the scale of each model's cluster; NaN where the cluster holds only copies of one model.
    """
    nearest = np.full(region.n_models, np.inf, dtype=np.float64)
    for _, rows, block in _blocks_in_order(region):
        block[block == 0] = np.inf
        nearest[rows] = block.min(axis=1)
    scales = np.full(region.n_models, np.nan, dtype=np.float64)
    for cluster in np.unique(region.clusters):
        members = region.clusters == cluster
        steps = nearest[members & np.isfinite(nearest)]
        scales[members] = np.median(steps) if len(steps) else np.nan
    return scales


def _blocks_in_order(region: Region) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float64]]]:
    """Yield (position of the first row, rows, distances to all models), rows and columns in order of creation.

    The distances are a copy; a model itself and the models of other clusters are at infinity.
    """
    order = region.chronology
    clusters = region.clusters[order]
    for first in range(0, region.n_models, _BLOCK_ROWS):
        rows = order[first : first + _BLOCK_ROWS]
        block = np.asarray(region.squared_distances[rows], dtype=np.float64)[:, order]
        block[clusters[first : first + len(rows), None] != clusters[None, :]] = np.inf
        block[np.arange(len(rows)), first + np.arange(len(rows))] = np.inf
        yield first, rows, block
