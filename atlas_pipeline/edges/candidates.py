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

_BLOCK_ROWS: Final = 64
"""Rows of the distance matrix read at once: 5 MB for ten thousand models, which stay in the processor's cache."""


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


class NoDistanceMatrix(ValueError):
    """A region too large for a matrix of all distances was given to a method that needs one."""


def dense_distances(region: Region) -> NDArray[np.float64]:
    """Hand out the matrix of all squared distances of a region, for methods that cannot do without.

    Returns:
        float64 [n, n].

    Raises:
        NoDistanceMatrix: If the region was too large for one.
    """
    if region.squared_distances is None:
        raise NoDistanceMatrix(
            f"a region of {region.n_models} models has no distance matrix, and this method needs one"
        )
    return region.squared_distances


def nearest_candidates(region: Region, *, k: int, can_be_parent: NDArray[np.bool_], only_earlier: bool) -> Candidates:
    """Find the ``k`` nearest models of the same weight cluster that are allowed to be a parent.

    Args:
        region: The models.
        k: Candidates wanted for each model.
        can_be_parent: bool [n], the models that may be one.
        only_earlier: Whether a candidate must be created before the model (in the order of ``region.chronology``).

    Returns:
        Up to ``k`` candidates per model.

    Raises:
        ValueError: If the region has no distance matrix.
    """
    n = region.n_models
    index = np.full((n, k), NOBODY, dtype=np.int64)
    squared = np.full((n, k), np.inf, dtype=np.float64)
    order = region.chronology
    is_forbidden = ~can_be_parent[order]
    for first, rows, block in _blocks_in_order(region, only_earlier=only_earlier):
        here = np.arange(len(rows))
        block[:, is_forbidden[: block.shape[1]]] = np.inf
        if only_earlier:
            block[:, first:][here[None, :] >= here[:, None]] = np.inf
        # Few are wanted of many, and the first of equals: passes over the block are faster than any sorting of it.
        for rank in range(min(k, n)):
            column = np.argmin(block, axis=1)
            nearest = block[here, column]
            found = np.isfinite(nearest)
            if not found.any():
                break
            index[rows[found], rank] = order[column[found]]
            squared[rows[found], rank] = nearest[found]
            block[here, column] = np.inf
    return Candidates(index, squared)


def cluster_scales(region: Region) -> NDArray[np.float64]:
    """Find the typical step of each weight cluster: its median squared distance to the nearest model not a copy.

    Returns:
        float64 [n], the scale of each model's cluster; NaN where the cluster holds only copies of one model.

    Raises:
        ValueError: If the region has no distance matrix.
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


def _blocks_in_order(
    region: Region, *, only_earlier: bool = False
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float64]]]:
    """Yield (position of the first row, rows, their distances), rows and columns in order of creation.

    The columns are all models, or those up to the last row where later ones do not matter. The distances are a copy; a
    model itself and the models of other clusters are at infinity.
    """
    order = region.chronology
    clusters = region.clusters[order]
    is_one_cluster = bool((clusters == clusters[:1]).all())
    squared = dense_distances(region)
    for first in range(0, region.n_models, _BLOCK_ROWS):
        rows = order[first : first + _BLOCK_ROWS]
        last = first + len(rows) if only_earlier else region.n_models
        # take gives rows that lie together in memory, which indexing by columns does not.
        block = np.take(np.asarray(squared[rows], dtype=np.float64), order[:last], axis=1)
        if not is_one_cluster:
            block[clusters[first : first + len(rows), None] != clusters[None, :last]] = np.inf
        block[np.arange(len(rows)), first + np.arange(len(rows))] = np.inf
        yield first, rows, block
