"""The nearest other models of every model, each given by the vector of its sampled neurons.

Here belong neighbours and what is derived from their distances. What a distance says about who was made from whom
belongs to the stage that charts edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.distances.arithmetic import Arithmetic, fastest
from atlas_pipeline.distances.candidates import Clustered, Pairs, coarse_pairs, kth_least, rank_within
from atlas_pipeline.distances.dense import RELATIVE_ERROR, squared_distances
from atlas_pipeline.distances.kinship import KIN_THRESHOLD, relative_squared, weight_clusters
from atlas_pipeline.distances.refinement import exact_pairs, fine_pairs, reordered, walk
from atlas_pipeline.distances.rows import chunks, differences, squared_norms
from atlas_pipeline.distances.sketches import Sketches, sketch
from atlas_pipeline.distances.threads import for_each

__all__ = [
    "KIN_THRESHOLD",
    "NOBODY",
    "Neighbors",
    "nearest_in_matrix",
    "nearest_neighbors",
    "relative_squared",
    "scales",
    "squared_distances",
    "squared_norms",
    "weight_clusters",
]

NOBODY: Final = -1
"""Stands where a model has fewer neighbours than others."""

_SPARE: Final = 8
"""Entries after the last neighbour wanted that may change places with it when they are measured again."""

_CHUNK_ROWS: Final = 8
"""Rows whose lengths are measured at once."""

_SLAB_COLUMNS: Final = 4096
"""Columns widened at once."""


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The nearest other models of every model.

    Attributes:
        index: int64 [n, k], row numbers of the neighbours, nearest first; equal distances in the order of the rows;
            ``NOBODY`` where a model has fewer.
        squared: float64 [n, k], their squared distances; infinite where a model has fewer.
    """

    index: NDArray[np.int64]
    squared: NDArray[np.float64]


def nearest_neighbors(
    vectors: NDArray[np.float32],
    *,
    k: int,
    labels: NDArray[np.int64] | None = None,
    sketches: Sketches | None = None,
    arithmetic: Arithmetic | None = None,
) -> Neighbors:
    """Find the nearest other models of every model without a matrix of all pairs.

    Equal rows are measured once, so a thousand copies cost what one costs. Sketches of all pairs say who can be among
    the nearest, wider sketches rule most of them out, and what remains is measured on all columns in float64. A pair
    has one distance, whichever of the two it is a neighbour of.

    Args:
        vectors: float32 [n, d], one row per model; may be a memory map.
        k: Neighbours wanted; at most ``n - 1`` are returned.
        labels: int64 [n], the cluster of each model: only models of the same one are neighbours. One cluster if None.
        sketches: The sketches of the vectors where they are already made.
        arithmetic: What multiplies; the fastest there is if None.

    Returns:
        ``min(k, n - 1)`` neighbours per model, nearest first, equal distances in the order of the rows.

    Raises:
        ValueError: If ``vectors`` is not a matrix of finite numbers, ``k`` is below 1, or there are not as many labels
            as models.
    """
    sketches = sketch(vectors) if sketches is None else sketches
    n = len(vectors)
    labels = np.zeros(n, dtype=np.int64) if labels is None else labels
    _require(n, k, labels)
    k = max(min(k, n - 1), 0)
    if k == 0:
        return Neighbors(np.empty((n, 0), dtype=np.int64), np.empty((n, 0)))
    multiplier = arithmetic or fastest()
    order = np.argsort(labels[sketches.rows], kind="stable")
    rows, coarse = sketches.rows[order], sketches.coarse[order]
    centre = _central_rows(coarse, labels[rows])
    lengths = _lengths_around(vectors, rows, rows[centre]) / sketches.unit
    models = Clustered(labels[rows], centre, lengths, sketches.floor[order])
    coarse -= coarse[centre]
    pairs = coarse_pairs(models, coarse, error=sketches.coarse_error, k=k, arithmetic=multiplier)
    del coarse
    path = walk(pairs, len(rows))
    pairs, models = reordered(pairs, path), models.of(path)
    if sketches.fine is not sketches.coarse:
        pairs = fine_pairs(
            models, sketches.fine, order[path], pairs, error=sketches.fine_error, k=k, arithmetic=multiplier
        )
    pairs = exact_pairs(models, vectors, rows[path], pairs, arithmetic=multiplier)
    distinct = _nearest_of_pairs(pairs, order[path], len(rows), k)
    return _with_copies(distinct, sketches.copy_of, sketches.rows, k)


def nearest_in_matrix(
    squared: NDArray[np.float64], vectors: NDArray[np.float32], *, k: int, labels: NDArray[np.int64] | None = None
) -> Neighbors:
    """Read the nearest other models of every model from the distances of all pairs.

    Where two distances are so nearly equal that ``squared_distances`` may have put them in the wrong order, the pairs
    are measured again from their differences, in ``squared`` too.

    Args:
        squared: float64 [n, n], as ``squared_distances`` gives them; corrected where the order was in doubt.
        vectors: float32 [n, d] that they belong to.
        k: Neighbours wanted; at most ``n - 1`` are returned.
        labels: int64 [n], the cluster of each model: only models of the same one are neighbours. One cluster if None.

    Returns:
        As ``nearest_neighbors`` does.

    Raises:
        ValueError: If ``k`` is below 1, or there are not as many labels or distances as models.
    """
    n = len(vectors)
    labels = np.zeros(n, dtype=np.int64) if labels is None else labels
    _require(n, k, labels)
    if squared.shape != (n, n):
        raise ValueError(f"distances of shape {squared.shape} do not belong to {n} models")
    k = max(min(k, n - 1), 0)
    if k == 0:
        return Neighbors(np.empty((n, 0), dtype=np.int64), np.empty((n, 0)))
    first_rows, copy_of = np.unique(np.argmax(squared == 0, axis=1), return_inverse=True)
    m = len(first_rows)
    among = squared if m == n else squared[np.ix_(first_rows, first_rows)]
    n_listed = min(k + _SPARE, m)
    index, nearest = _least_of_rows(among, labels[first_rows], n_listed)
    in_doubt = np.zeros(nearest.shape, dtype=bool)
    is_close = nearest[:, 1:] <= (1.0 + 2.0 * RELATIVE_ERROR) * nearest[:, :-1]
    is_close &= np.isfinite(nearest[:, 1:])
    in_doubt[:, 1:] |= is_close
    in_doubt[:, :-1] |= is_close
    row, place = np.nonzero(in_doubt)
    if len(row):
        left, right = np.unique(np.sort(np.stack([row, index[row, place]], axis=1), axis=1), axis=0).T
        among[left, right] = among[right, left] = differences(vectors, first_rows[left], first_rows[right])
        index, nearest = _least_of_rows(among, labels[first_rows], n_listed)
        if m < n:
            squared[...] = among[np.ix_(copy_of, copy_of)]
    return _with_copies(Neighbors(index[:, :k], nearest[:, :k]), copy_of, first_rows, k)


def scales(neighbors: Neighbors, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Find the typical step in each cluster: the median squared distance to the nearest neighbour that is not a copy.

    Squared distances grow with the width of the models and the size of their weights. Divided by this number they
    compare between regions.

    Args:
        neighbors: The nearest neighbours of every model. A model whose listed neighbours are all copies does not count.
        labels: int64 [n], the cluster of each model, from 0.

    Returns:
        float64 [clusters], positive; NaN for a cluster in which every listed neighbour is a copy or there is none.
    """
    distant = np.where(neighbors.squared > 0, neighbors.squared, np.inf)
    nearest = distant.min(axis=1, initial=np.inf)
    n_clusters = int(labels.max(initial=-1)) + 1
    counted = np.flatnonzero(np.isfinite(nearest))
    counted = counted[np.lexsort((nearest[counted], labels[counted]))]
    count = np.bincount(labels[counted], minlength=n_clusters)
    has_any = count > 0
    first = (np.cumsum(count) - count)[has_any]
    low, high = first + (count[has_any] - 1) // 2, first + count[has_any] // 2
    medians = np.full(n_clusters, np.nan)
    medians[has_any] = 0.5 * (nearest[counted[low]] + nearest[counted[high]])
    return medians


def _central_rows(sketches: NDArray[np.float32], label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Position of a model in the middle of each model's cluster, int64 [m]; labels ascend.

    It is the one nearest to the mean of the inner half of its cluster, which a few far ones do not move.
    """
    starts = np.flatnonzero(np.diff(label, prepend=label[0] - 1))
    which = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(label)))
    distance = np.zeros(len(label))
    is_inner = np.ones(len(label), dtype=bool)
    for _ in range(2):
        means = np.add.reduceat(sketches * is_inner[:, None], starts, axis=0)
        means /= np.bincount(which[is_inner], minlength=len(starts)).astype(np.float32)[:, None]
        for chunk in chunks(len(label), 256):
            offset = sketches[chunk] - means[which[chunk]]
            distance[chunk] = np.vecdot(offset, offset)
        rank = rank_within(which, distance)
        is_inner = 2 * rank < np.bincount(which)[which]
    return np.flatnonzero(rank == 0)[which]


def _require(n: int, k: int, labels: NDArray[np.int64]) -> None:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if labels.shape != (n,):
        raise ValueError(f"labels of shape {labels.shape} do not belong to {n} models")


def _lengths_around(
    vectors: NDArray[np.float32], rows: NDArray[np.int64], centres: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Squared distance of each row to the row at its centre, on all columns."""
    lengths = np.zeros(len(rows))

    def measure(chunk: slice) -> None:
        own = centres[chunk]
        here = vectors[rows[chunk]]
        here -= vectors[own[:1]] if (own == own[0]).all() else vectors[own]
        for start in range(0, here.shape[1], _SLAB_COLUMNS):
            wide = here[:, start : start + _SLAB_COLUMNS].astype(np.float64)
            lengths[chunk] += np.vecdot(wide, wide)

    for_each(measure, list(chunks(len(rows), _CHUNK_ROWS)))
    return lengths


def _nearest_of_pairs(pairs: Pairs, number: NDArray[np.int64], n_models: int, k: int) -> Neighbors:
    """Neighbour lists from measured pairs; positions are named by their numbers, which also order equal distances."""
    left, right = number[pairs.left], number[pairs.right]
    row, other, squared = np.concatenate([left, right]), np.concatenate([right, left]), np.tile(pairs.squared, 2)
    can_be = squared <= kth_least(row, squared, k)[row]
    row, other, squared = row[can_be], other[can_be], squared[can_be]
    rank = rank_within(row, squared, other)
    index, nearest = np.full((n_models, k), NOBODY, dtype=np.int64), np.full((n_models, k), np.inf)
    listed = rank < k
    index[row[listed], rank[listed]] = other[listed]
    nearest[row[listed], rank[listed]] = squared[listed]
    return Neighbors(index, nearest)


def _with_copies(distinct: Neighbors, copy_of: NDArray[np.int64], first_rows: NDArray[np.int64], k: int) -> Neighbors:
    """Neighbour lists of all rows from those of distinct rows: every copy is a neighbour of its own."""
    n, m = len(copy_of), len(first_rows)
    if n == m:
        return distinct
    # For each distinct row: itself at no distance, and its neighbours, each with as many copies as a list can hold.
    row = np.repeat(np.arange(m), 1 + distinct.index.shape[1])
    other = np.column_stack([np.arange(m), distinct.index]).reshape(-1)
    squared = np.column_stack([np.zeros(m), distinct.squared]).reshape(-1)
    row, other, squared = (values[other != NOBODY] for values in (row, other, squared))
    by_copy = np.argsort(copy_of, kind="stable")
    first_copy = np.searchsorted(copy_of[by_copy], np.arange(m))
    n_copies = np.minimum(np.bincount(copy_of, minlength=m), k + 1)[other]
    which = np.arange(n_copies.sum()) - np.repeat(np.cumsum(n_copies) - n_copies, n_copies)
    row, squared = np.repeat(row, n_copies), np.repeat(squared, n_copies)
    other = by_copy[np.repeat(first_copy[other], n_copies) + which]
    rank = rank_within(row, squared, other)
    index, nearest = np.full((m, k + 1), NOBODY, dtype=np.int64), np.full((m, k + 1), np.inf)
    listed = rank <= k
    index[row[listed], rank[listed]] = other[listed]
    nearest[row[listed], rank[listed]] = squared[listed]
    index, nearest = index[copy_of], nearest[copy_of]
    # A model itself goes to the end of its list, which is then one too long.
    kept = np.argsort(index == np.arange(n)[:, None], axis=1, kind="stable")[:, :k]
    return Neighbors(np.take_along_axis(index, kept, axis=1), np.take_along_axis(nearest, kept, axis=1))


def _least_of_rows(
    squared: NDArray[np.float64], labels: NDArray[np.int64], n_least: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Columns and values of the least distances of each row within its label, ascending, ties by column.

    ``NOBODY`` and infinite where there are fewer; a row is none of its own.
    """
    n = len(squared)
    index, nearest = np.full((n, n_least), NOBODY, dtype=np.int64), np.full((n, n_least), np.inf)
    for chunk in chunks(n, 256):
        rows = np.arange(chunk.start, chunk.stop)
        block = np.where(labels[rows, None] == labels[None, :], squared[rows], np.inf)
        block[np.arange(len(rows)), rows] = np.inf
        kth = np.partition(block, n_least - 1, axis=1)[:, n_least - 1 : n_least]
        row, column = np.nonzero((block <= kth) & (block < np.inf))
        values = block[row, column]
        rank = rank_within(row, values, column)
        listed = rank < n_least
        index[rows[row[listed]], rank[listed]] = column[listed]
        nearest[rows[row[listed]], rank[listed]] = values[listed]
    return index, nearest
