"""Which models can be among the nearest of which: pairs that estimates from sketches cannot rule out.

Every estimate stands between bounds that the true distance leaves about three times in a thousand. A model is a
candidate while its lower bound is below the k-th upper bound of the list, so a thousand siblings at one distance, which
no sketch can put in order, stay candidates of each other. Models are given by positions here: those of a cluster follow
each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.distances.arithmetic import Arithmetic

BOUND: Final = 3.0
"""Standard errors of a sketch on either side of an estimate. A true neighbour is lost only if its estimate is further
off than the upper bound of the k-th, which stands three errors above an estimate of its own: five errors or more."""

MAX_CANDIDATES: Final = 4096
"""The longest list of one model. Of more siblings at one distance, the nearest are the nearest by chance."""

PRODUCT_NOISE: Final = 2e-6
"""What a float32 product of sketches may err by, relative to the squared lengths."""

_BLOCK_PAIRS: Final = 1 << 22
"""Pairs whose estimates are held at once."""

_FEWEST_BLOCK_ROWS: Final = 64
"""BLAS multiplies fewer rows at less than its full speed."""

_ENDLESS: Final = 3e38
"""Near the greatest float32."""

_GROUPS_PER_NEIGHBOR: Final = 16
"""Groups of columns whose minima stand for all columns, for each neighbour wanted: with fewer, too many of the nearest
fall into one group, and lists become longer than they must be."""


@dataclass(frozen=True, eq=False)
class Clustered:
    """The distinct models that are compared, cluster by cluster.

    Attributes:
        label: int64 [m], the cluster of each position, ascending.
        centre: int64 [m], the position of the model at the centre of its cluster.
        lengths: float64 [m], squared distance to that model, measured on all columns.
        floor: float64 [m], what float32 may have lost of a sketch's squared length.
    """

    label: NDArray[np.int64]
    centre: NDArray[np.int64]
    lengths: NDArray[np.float64]
    floor: NDArray[np.float64]

    def of(self, order: NDArray[np.int64]) -> Clustered:
        """The same models in another order."""
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        return Clustered(self.label[order], place[self.centre[order]], self.lengths[order], self.floor[order])


@dataclass(frozen=True, eq=False)
class Pairs:
    """Unordered pairs of positions.

    Attributes:
        left: int64 [p], ascending.
        right: int64 [p], each greater than the left one.
        squared: float64 [p], their squared distances as far as they are known.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    squared: NDArray[np.float64]

    def of(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Some of the pairs."""
        return Pairs(self.left[chosen], self.right[chosen], self.squared[chosen])


def coarse_pairs(
    models: Clustered, sketches: NDArray[np.float32], *, error: float, k: int, arithmetic: Arithmetic
) -> Pairs:
    """Compare all models of each cluster by their coarse sketches.

    Args:
        models: m of them.
        sketches: float32 [m, s], around the centres of the clusters.
        error: Relative standard error of a squared distance between two sketches.
        k: Neighbours wanted.
        arithmetic: What multiplies.

    Returns:
        The pairs of which one model can be among the k nearest of the other.
    """
    m = len(models.label)
    lengths = np.vecdot(sketches, sketches).astype(np.float64)
    first = np.searchsorted(models.label, models.label)
    end = np.searchsorted(models.label, models.label, side="right")
    keys, found = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    start = 0
    while start < m:
        stop = min(start + max(_BLOCK_PAIRS // max(int(end[start] - start), 1024), _FEWEST_BLOCK_ROWS), m)
        block = _Block(slice(start, stop), slice(int(first[start]), int(end[stop - 1])))
        products = arithmetic.product(sketches[block.rows], sketches[block.columns])
        row, column, squared = block.near(models, lengths, products, error=error, k=k)
        keys.append(np.minimum(row, column) * m + np.maximum(row, column))
        found.append(squared)
        start = stop
    key, once = np.unique(np.concatenate(keys), return_index=True)
    return Pairs(key // m, key % m, np.concatenate(found)[once])


def bounds(
    models: Clustered,
    lengths: NDArray[np.float64],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    estimate: NDArray[np.float64],
    *,
    error: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Say between what the squared distances of some pairs lie.

    Two estimates are there. Between sketches alone, the error is in proportion to the distance. With the lengths around
    the centre known exactly, only the scalar product is estimated: better for a model that lies further from all others
    than they from each other, which would otherwise have half its cluster as candidates.

    Args:
        models: m of them.
        lengths: float64 [m], squared lengths of their sketches.
        row: int64 [p], positions.
        column: int64 [p], positions.
        estimate: float64 [p], squared distances of the sketches.
        error: Relative standard error of such an estimate.

    Returns:
        Lower and upper bounds, float64 [p].
    """
    floor = models.floor[row] + models.floor[column]
    noise = PRODUCT_NOISE * (lengths[row] + lengths[column]) + floor + 2.0 * np.sqrt(floor * np.maximum(estimate, 0.0))
    lower, upper = estimate / (1.0 + BOUND * error), estimate / max(1.0 - BOUND * error, 1e-9)
    if error:
        left, right = models.lengths[row], models.lengths[column]
        corrected = estimate + (left - lengths[row]) + (right - lengths[column])
        product = 0.5 * (left + right - corrected)
        # A count sketch of width s errs by sqrt((|a|^2 |b|^2 + (ab)^2) / s), and error is sqrt(2 / s).
        spread = BOUND * error * np.sqrt(2.0 * (left * right + product * product))
        lower, upper = np.maximum(lower, corrected - spread), np.minimum(upper, corrected + spread)
    return lower - noise, upper + noise


def within_reach(
    row: NDArray[np.int64], lower: NDArray[np.float64], upper: NDArray[np.float64], *, k: int
) -> NDArray[np.bool_]:
    """Say which candidates can be among the k nearest of their row.

    Args:
        row: int64 [p], the row of each candidate.
        lower: float64 [p], lower bounds of their distances.
        upper: float64 [p], upper bounds.
        k: Neighbours wanted.

    Returns:
        bool [p]; at most ``MAX_CANDIDATES`` of a row, the ones with the least lower bounds.
    """
    can_be = lower <= kth_least(row, upper, k)[row]
    if len(row) and np.bincount(row[can_be], minlength=1).max() > MAX_CANDIDATES:
        chosen = np.flatnonzero(can_be)
        can_be[chosen] = rank_within(row[chosen], lower[chosen]) < MAX_CANDIDATES
    return can_be


def kth_least(row: NDArray[np.int64], values: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Find the k-th least value of each row, rounded up to a float32 that is not negative.

    Args:
        row: int64 [p], the row of each value, from 0.
        values: float64 [p].
        k: From 1.

    Returns:
        float64 [rows]; infinite where a row has fewer than k values.
    """
    rounded = np.nextafter(np.clip(values, 0.0, _ENDLESS).astype(np.float32), np.float32(np.inf))
    # Positive floats sort like their bits, and whole numbers sort many times as fast as pairs.
    key = (row.astype(np.uint64) << np.uint64(32)) | rounded.view(np.uint32)
    key.sort()
    n_values = np.bincount(row, minlength=1)
    place = np.cumsum(n_values) - n_values + k - 1
    has_k = n_values >= k
    kth = np.full(len(n_values), np.inf)
    kth[has_k] = (key[place[has_k]] & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.float32)
    kth[kth >= _ENDLESS] = np.inf
    return kth


def rank_within(row: NDArray[np.int64], *values: NDArray[np.generic]) -> NDArray[np.int64]:
    """Rank the entries of each row by their values, from 0; equal ones by the values after, then in order."""
    order = np.lexsort((*values[::-1], row))
    sorted_row = row[order]
    rank = np.empty(len(row), dtype=np.int64)
    rank[order] = np.arange(len(row)) - np.searchsorted(sorted_row, sorted_row)
    return rank


@dataclass(frozen=True)
class _Block:
    """Some positions, and the stretch of positions in which all models of their clusters lie."""

    rows: slice
    columns: slice

    def near(
        self, models: Clustered, lengths: NDArray[np.float64], products: NDArray[np.float32], *, error: float, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Candidates of each row: row, column, estimated squared distance. Overwrites the products."""
        estimate = self._estimates(models, lengths, products)
        minima = estimate
        n_groups = _GROUPS_PER_NEIGHBOR * k
        if estimate.shape[1] >= 2 * n_groups:
            # The k-th least of minima of groups is no less than the k-th least of all, and found much sooner.
            whole = estimate.shape[1] // n_groups * n_groups
            minima = estimate[:, :whole].reshape(len(estimate), -1, n_groups).min(axis=1)
        kth = np.partition(minima, min(k, minima.shape[1]) - 1, axis=1)[:, min(k, minima.shape[1]) - 1]
        reach = self._reach(models, lengths, kth.astype(np.float64), error=error)
        row, column = np.nonzero((estimate <= reach[:, None]) & (estimate < np.inf))
        squared = estimate[row, column].astype(np.float64)
        lower, upper = bounds(models, lengths, row + self.rows.start, column + self.columns.start, squared, error=error)
        keep = within_reach(row, lower, upper, k=k)
        return row[keep] + self.rows.start, column[keep] + self.columns.start, squared[keep]

    def _estimates(
        self, models: Clustered, lengths: NDArray[np.float64], products: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Squared distances of sketches; infinite between clusters and of a model to itself."""
        products *= np.float32(-2.0)
        products += lengths[self.columns].astype(np.float32)
        products += lengths[self.rows].astype(np.float32)[:, None]
        label = models.label
        if label[self.columns.start] != label[self.columns.stop - 1]:
            products[label[self.rows, None] != label[None, self.columns]] = np.inf
        here = np.arange(self.rows.stop - self.rows.start)
        products[here, here + self.rows.start - self.columns.start] = np.inf
        return products

    def _reach(
        self, models: Clustered, lengths: NDArray[np.float64], kth: NDArray[np.float64], *, error: float
    ) -> NDArray[np.float32]:
        """Estimates up to which a model can be among the k nearest: float32 [rows], by bounds wider than `bounds`."""
        # With |b| <= |a| + |a - b|, the noise of a pair is bounded by what is known of the row and by the estimate.
        noise = 3.0 * PRODUCT_NOISE * lengths[self.rows] + 310.0 * models.floor[self.rows]
        upper = (1.02 * kth + noise) / max(1.0 - BOUND * error, 1e-9)
        return np.nextafter(((upper + noise) * (1.0 + BOUND * error) / 0.98).astype(np.float32), np.float32(np.inf))
