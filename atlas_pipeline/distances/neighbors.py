"""Squared Euclidean distances between models, each given by the vector of its sampled neurons.

Here belong distances, nearest neighbours and the clusters of models that can be kin at all. What a distance says about
who was made from whom belongs to the stage that charts edges.

A child differs from its parent by a thousandth of the weights or less, so ``|a|^2 + |b|^2 - 2ab`` loses most of its
digits. Everything here is therefore multiplied in float64, on vectors shifted so that a model of the region lies at the
origin, and pairs that still cancel are measured again from their differences. Equal vectors are at distance exactly 0,
different vectors are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

CANCELLATION: Final = 1e-3
"""A pair closer than this share of the two squared lengths is measured again around a nearer origin: what remains has
lost at most three of the sixteen digits of a float64."""

KIN_THRESHOLD: Final = 0.5
"""Relative squared distance below which two models can be kin. Independently initialised models lie near 1, fine-tuned
ones below 0.01, coarse quantisations near 0.01; half way leaves room for long training on either side."""

_SLAB_ELEMENTS: Final = 1 << 23
"""Float64 numbers held at once while vectors are widened or subtracted: 64 MiB."""


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The nearest other models of every model.

    Attributes:
        index: int64 [n, k], row numbers of the neighbours, nearest first; equal distances in the order of the rows.
        squared: float64 [n, k], their squared distances.
    """

    index: NDArray[np.int64]
    squared: NDArray[np.float64]


def squared_distances(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Measure every pair: ``|a - b|^2`` (equation 1 of the paper, which squares the Euclidean distance).

    The rows are centred on one of them and multiplied in float64. Groups of rows that lie so near to each other that
    the subtraction cancels are measured again, centred on one of their own, until no pair cancels. Each round sets its
    own centre apart, and float32 leaves room for a handful of rounds.

    Args:
        vectors: float32 [n, d], one row per model.

    Returns:
        float64 [n, n], symmetric, zero on the diagonal and between equal rows, positive elsewhere.

    Raises:
        ValueError: If ``vectors`` is not a matrix of finite numbers.
    """
    _require_finite_matrix(vectors)
    n = len(vectors)
    squared = np.zeros((n, n), dtype=np.float64)
    pending = [np.arange(n)] if n > 1 else []
    while pending:
        rows = pending.pop()
        gram = np.zeros((len(rows), len(rows)), dtype=np.float64)
        for slab in _slabs(vectors, n_rows=len(rows)):
            centred = vectors[rows, slab].astype(np.float64)
            centred -= centred[0].copy()
            gram += centred @ centred.T
        lengths = gram.diagonal()
        both = lengths[:, None] + lengths[None, :]
        measured = both - 2.0 * gram
        np.fill_diagonal(measured, 0.0)
        squared[np.ix_(rows, rows)] = measured
        cancelled = measured < CANCELLATION * both
        np.fill_diagonal(cancelled, False)
        _, labels = connected_components(csr_array(cancelled), directed=False)
        pending += [rows[group] for group in _groups(labels) if len(group) > 1]
    return squared


def nearest_neighbors(vectors: NDArray[np.float32], *, k: int, block_rows: int = 512) -> Neighbors:
    """Find the nearest other models of every model without holding a matrix of all pairs.

    A float64 product finds the models that can be among the nearest, within a bound on its rounding error; those are
    measured again from their differences. Equal rows are measured once, so a thousand copies cost what one costs.

    Args:
        vectors: float32 [n, d], one row per model.
        k: Neighbours wanted; at most ``n - 1`` are returned.
        block_rows: Rows measured at once. Memory is ``block_rows * n`` float64 numbers, a few times.

    Returns:
        ``min(k, n - 1)`` neighbours per model, nearest first, equal distances in the order of the rows.

    Raises:
        ValueError: If ``vectors`` is not a matrix of finite numbers, or ``k`` or ``block_rows`` is below 1.
    """
    _require_finite_matrix(vectors)
    if k < 1 or block_rows < 1:
        raise ValueError(f"k and block_rows must be at least 1, got k={k} and block_rows={block_rows}")
    n, width = vectors.shape
    k = max(min(k, n - 1), 0)
    index = np.empty((n, k), dtype=np.int64)
    squared = np.empty((n, k), dtype=np.float64)
    if k == 0:
        return Neighbors(index, squared)
    first_rows, copy_of = _distinct_rows(vectors)
    # Error of a dot product of this width, doubled for the three terms of the square.
    rounding = 2.0 * (width + 3) * np.finfo(np.float64).eps
    for start, approximate, both in _blocks(vectors, vectors[first_rows], block_rows=block_rows):
        rows = np.arange(start, start + len(approximate))
        here = np.arange(len(rows))
        spread_out = approximate[:, copy_of]
        spread_out[here, rows] = np.inf
        kth = np.partition(spread_out, k - 1, axis=1)[:, k - 1 : k]
        slack = rounding * both
        of_kth = rounding * both.max(axis=1, keepdims=True)
        contender, distinct = np.nonzero(approximate - slack <= kth + of_kth)
        exact = np.full_like(approximate, np.inf)
        exact[contender, distinct] = _pair_distances(vectors, rows[contender], first_rows[distinct])
        spread_out = exact[:, copy_of]
        spread_out[here, rows] = np.inf
        index[rows], squared[rows] = _k_smallest(spread_out, k)
    return Neighbors(index, squared)


def squared_norms(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Measure the squared length of every row, in float64.

    Args:
        vectors: float32 [n, d].

    Returns:
        float64 [n].
    """
    norms = np.zeros(len(vectors), dtype=np.float64)
    for slab in _slabs(vectors, n_rows=len(vectors)):
        wide = vectors[:, slab].astype(np.float64)
        norms += np.einsum("ij,ij->i", wide, wide)
    return norms


def relative_squared(
    squared: NDArray[np.float64], left_norms: NDArray[np.float64], right_norms: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Relate squared distances to the squared lengths: ``|a - b|^2 / (|a|^2 + |b|^2)``.

    0 for equal models, 1 for orthogonal ones such as independent initialisations, at most 2. It does not depend on the
    width or the scale of the weights.

    Args:
        squared: float64, squared distances.
        left_norms: float64, squared lengths of the first models, broadcast against ``squared``.
        right_norms: float64, squared lengths of the second models, broadcast against ``squared``.

    Returns:
        float64 in the broadcast shape; 0 where both models are all zeros.
    """
    both = left_norms + right_norms
    return np.divide(squared, both, out=np.zeros(np.broadcast(squared, both).shape), where=both > 0)


def weight_clusters(
    vectors: NDArray[np.float32],
    *,
    threshold: float = KIN_THRESHOLD,
    squared: NDArray[np.float64] | None = None,
    block_rows: int = 512,
) -> NDArray[np.int64]:
    """Group the models that can be kin: single linkage on the relative squared distance.

    Section 4 of the paper splits models into the connected components of the atlas by "a standard clustering
    algorithm" on weight distances. Single linkage keeps a long chain of fine-tunes together whose ends are far apart.

    Args:
        vectors: float32 [n, d], one row per model.
        threshold: Two models are linked when their relative squared distance is below this.
        squared: float64 [n, n], the distances of all pairs where they are already measured.
        block_rows: Rows measured at once.

    Returns:
        int64 [n], cluster numbers from 0 in the order in which the clusters first appear.

    Raises:
        ValueError: If ``vectors`` is not a matrix of finite numbers, or ``squared`` has another shape than [n, n].
    """
    _require_finite_matrix(vectors)
    n = len(vectors)
    if squared is not None and squared.shape != (n, n):
        raise ValueError(f"distances of shape {squared.shape} do not belong to {n} models")
    norms = squared_norms(vectors)
    measured: Iterator[tuple[int, NDArray[np.float64]]]
    if squared is None:
        measured = ((start, block) for start, block, _ in _blocks(vectors, vectors, block_rows=block_rows))
    else:
        measured = ((start, squared[start : start + block_rows]) for start in range(0, n, block_rows))
    labels = np.arange(n, dtype=np.int64)
    for start, block in measured:
        rows = slice(start, start + len(block))
        linked, other = np.nonzero(relative_squared(block, norms[rows, None], norms[None, :]) < threshold)
        # Each earlier cluster is a chain of links to its label, so memory stays at n links plus one block.
        left = np.concatenate([linked + start, np.arange(n)])
        right = np.concatenate([other, labels])
        links = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(n, n))
        _, component = connected_components(links, directed=False)
        _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
        labels = first[inverse]
    _, inverse = np.unique(labels, return_inverse=True)
    return inverse.astype(np.int64)


def scale(neighbors: Neighbors) -> float:
    """Find the typical step of a region: the median squared distance to the nearest neighbour that is not a copy.

    Squared distances grow with the width of the models and the size of their weights. Divided by this number they
    compare between regions.

    Args:
        neighbors: The nearest neighbours of every model of the region. A model whose listed neighbours are all copies
            does not count.

    Returns:
        The scale, positive; NaN when every listed neighbour is a copy or there is none.
    """
    distant = np.where(neighbors.squared > 0, neighbors.squared, np.inf)
    nearest = distant.min(axis=1, initial=np.inf)
    nearest = nearest[np.isfinite(nearest)]
    return float(np.median(nearest)) if len(nearest) else float("nan")


def _require_finite_matrix(vectors: NDArray[np.float32]) -> None:
    if vectors.ndim != 2:
        raise ValueError(f"vectors must be a matrix with one row per model, got shape {vectors.shape}")
    for slab in _slabs(vectors, n_rows=len(vectors)):
        finite = np.isfinite(vectors[:, slab]).all(axis=1)
        if not finite.all():
            raise ValueError(f"the vector in row {int(np.argmin(finite))} holds a number that is not finite")


def _slabs(vectors: NDArray[np.float32], *, n_rows: int) -> Iterator[slice]:
    """Cut the columns so that ``n_rows`` of them, widened to float64, fit the memory bound."""
    width = max(_SLAB_ELEMENTS // max(n_rows, 1), 64)
    return (slice(start, start + width) for start in range(0, vectors.shape[1], width))


def _blocks(
    vectors: NDArray[np.float32], others: NDArray[np.float32], *, block_rows: int
) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.float64]]]:
    """Yield (first row, squared distances [b, m], sums of the two squared lengths [b, m]) of blocks of rows."""
    for start in range(0, len(vectors), block_rows):
        n_rows = min(block_rows, len(vectors) - start)
        product = np.zeros((n_rows, len(others)), dtype=np.float64)
        left_lengths = np.zeros(n_rows, dtype=np.float64)
        right_lengths = np.zeros(len(others), dtype=np.float64)
        for slab in _slabs(vectors, n_rows=n_rows + len(others)):
            origin = vectors[0, slab].astype(np.float64)
            left = vectors[start : start + n_rows, slab] - origin
            right = others[:, slab] - origin
            product += left @ right.T
            left_lengths += np.einsum("ij,ij->i", left, left)
            right_lengths += np.einsum("ij,ij->i", right, right)
        both = left_lengths[:, None] + right_lengths[None, :]
        yield start, both - 2.0 * product, both


def _pair_distances(
    vectors: NDArray[np.float32], left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Measure the pairs (left[i], right[i]) from their differences."""
    squared = np.zeros(len(left), dtype=np.float64)
    slab_width = min(vectors.shape[1], 1 << 16)
    pairs_at_once = max(_SLAB_ELEMENTS // max(slab_width, 1), 1)
    for start in range(0, len(left), pairs_at_once):
        pairs = slice(start, start + pairs_at_once)
        for column in range(0, vectors.shape[1], slab_width):
            slab = slice(column, column + slab_width)
            difference = vectors[left[pairs], slab].astype(np.float64) - vectors[right[pairs], slab]
            squared[pairs] += np.einsum("ij,ij->i", difference, difference)
    return squared


def _distinct_rows(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the first row of each distinct vector [m], and which of those m every row equals [n]."""
    # Adding zero turns -0.0 into 0.0: equal numbers, equal bytes.
    digests = np.array([blake2b((row + np.float32(0)).tobytes(), digest_size=16).digest() for row in vectors], "V16")
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    return first.astype(np.int64), inverse.astype(np.int64)


def _k_smallest(values: NDArray[np.float64], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the columns and values of the ``k`` smallest of each row, ascending, ties in the order of the columns."""
    kth = np.partition(values, k - 1, axis=1)[:, k - 1 : k]
    row, column = np.nonzero(values <= kth)
    found = values[row, column]
    order = np.lexsort((column, found, row))
    row, column, found = row[order], column[order], found[order]
    starts = np.searchsorted(row, np.arange(len(values)))
    chosen = starts[:, None] + np.arange(k)[None, :]
    return column[chosen], found[chosen]


def _groups(labels: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """List the positions of each label, labels ascending."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
