"""All distances of a group at once, and the nearest models read from them.

A child differs from its parent by a thousandth of the weights or less, so ``|a|^2 + |b|^2 - 2ab`` loses most of its
digits unless the origin lies near both. Rows are therefore centred on one of them, pairs that cancel nevertheless are
measured again around a model of their own, and so on until none is left. Float32 products serve as long as they leave a
pair six digits, float64 products where they do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from atlas_pipeline.distances.arithmetic import Arithmetic, fastest
from atlas_pipeline.distances.rows import centred_rows, distinct_rows, is_squarable, magnitude_of

RELATIVE_ERROR: Final = 1e-6
"""What a squared distance may be off by, relative to itself."""

_SLAB_COLUMNS: Final = 4096
"""Columns whose products are added in float32; sums of such slabs are added in float64."""

_SLAB_NOISE: Final = 1.5e-7
"""Standard error of a float32 product of one slab, relative to the squared lengths: measured on vectors that share 0 to
99 % of their energy. It falls with the root of the number of slabs."""

_SLAB_NUMBERS: Final = 1 << 22
"""Float64 numbers of a slab: 32 MiB."""

_WIDEST_ERROR: Final = 6.0
"""Standard errors to stay within: of the pairs of five thousand models, none is expected outside."""

_FLOAT64_CANCELLATION: Final = 1e-8
"""A pair closer than this share of the squared lengths is measured again in float64 too: what remains has lost eight of
the sixteen digits."""

_FEWEST_ROWS: Final = 128
"""Fewer rows are multiplied in float64 at once: a second round around another origin would cost more."""

_FEWEST_COLUMNS: Final = 50_000
"""With fewer, float32 products keep six digits of so few distances that most would be measured again."""

_LARGEST_SHARE: Final = 0.6
"""A set of rows that keeps more than this share of its rows after a round will not fall apart in float32."""

_VANISHING: Final = 1e-18
"""Squared lengths below this share of the longest may have lost everything in float32."""


def squared_distances(vectors: NDArray[np.float32], *, arithmetic: Arithmetic | None = None) -> NDArray[np.float64]:
    """Measure every pair: ``|a - b|^2`` (equation 1 of the paper, which squares the Euclidean distance).

    Args:
        vectors: float32 [n, d], one row per model.
        arithmetic: What multiplies; the fastest there is if None.

    Returns:
        float64 [n, n], symmetric, zero on the diagonal and between equal rows, positive elsewhere; relative error at
        most 1e-6, and 1e-8 where vectors are too short or models too few for float32.

    Raises:
        ValueError: If ``vectors`` is not a matrix of finite numbers.
    """
    magnitude = magnitude_of(vectors)
    first_rows, copy_of = distinct_rows(vectors)
    n = len(first_rows)
    squared = np.zeros((n, n), dtype=np.float64)
    multiplier = arithmetic or fastest()
    is_coarse = _suits_float32(vectors, first_rows, magnitude)
    pending = [(np.arange(n), _central(vectors, first_rows, multiplier), is_coarse)] if n > 1 else []
    while pending:
        rows, origin, is_coarse = pending.pop()
        is_coarse = is_coarse and len(rows) >= _FEWEST_ROWS
        measured, least = _measured(vectors, first_rows[rows], origin, multiplier, is_coarse=is_coarse)
        cancelled = measured < least[:, None] + least[None, :]
        np.fill_diagonal(cancelled, val=False)
        squared[np.ix_(rows, rows)] = measured
        _, labels = connected_components(csr_array(cancelled), directed=False)
        for group in _groups(labels):
            if len(group) > 1:
                among = measured[np.ix_(group, group)]
                nearest_all = int(np.argmin(np.sqrt(np.maximum(among, 0.0)).sum(axis=1)))
                falls_apart = is_coarse and len(group) <= _LARGEST_SHARE * len(rows)
                pending.append((rows[group], nearest_all, falls_apart))
    return squared if n == len(vectors) else squared[np.ix_(copy_of, copy_of)]


def _measured(
    vectors: NDArray[np.float32], rows: NDArray[np.int64], origin: int, arithmetic: Arithmetic, *, is_coarse: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared distances of some rows around one of them, and what a distance must exceed to be trusted.

    Returns:
        float64 [m, m]; and float64 [m], to be added up over the two rows of a pair.
    """
    kind = np.float32 if is_coarse else np.float64
    squared_energy = np.zeros(len(rows), dtype=np.float64)

    def slabs() -> Iterator[tuple[NDArray[np.floating], NDArray[np.floating]]]:
        width = _SLAB_COLUMNS if is_coarse else max(_SLAB_NUMBERS // len(rows), 64)
        for slab in _equal_slabs(vectors.shape[1], width):
            centred = centred_rows(vectors[:, slab], rows, np.full(len(rows), rows[origin]), kind)
            if is_coarse:
                squared_energy[...] += np.square(np.vecdot(centred, centred), dtype=np.float64)
            yield centred, centred

    products = arithmetic.sum_of_products(slabs(), (len(rows), len(rows)))
    lengths = products.diagonal().copy()
    products *= -2.0
    products += lengths[:, None] + lengths[None, :]
    np.fill_diagonal(products, 0.0)
    if not is_coarse:
        return products, _FLOAT64_CANCELLATION * lengths
    # Slabs err independently, so the fewer of them hold a row's length, the more of it is in doubt.
    least = _WIDEST_ERROR * _SLAB_NOISE / RELATIVE_ERROR * np.sqrt(squared_energy)
    return products, np.maximum(least, _VANISHING * lengths.max())


def _suits_float32(vectors: NDArray[np.float32], rows: NDArray[np.int64], magnitude: float) -> bool:
    """Whether float32 would leave most distances their six digits, as far as a sample of rows can tell."""
    if len(rows) < _FEWEST_ROWS or vectors.shape[1] < _FEWEST_COLUMNS or not is_squarable(magnitude):
        return False
    sample = rows[np.linspace(0, len(rows) - 1, 64).astype(np.int64)]
    energy = np.array(
        [np.square(vectors[sample, s] - vectors[rows[0], s]).sum() for s in _equal_slabs(vectors.shape[1])],
        dtype=np.float64,
    )
    return bool(energy.sum() ** 2 >= _FEWEST_COLUMNS / _SLAB_COLUMNS * np.square(energy).sum() > 0)


def _equal_slabs(n_columns: int, width: int = _SLAB_COLUMNS) -> Iterator[slice]:
    return (slice(start, start + width) for start in range(0, n_columns, width))


def _central(vectors: NDArray[np.float32], rows: NDArray[np.int64], arithmetic: Arithmetic) -> int:
    """Position of the row that is nearest to the others, by every so-manieth column."""
    columns = np.unique(np.linspace(0, max(vectors.shape[1] - 1, 0), 512).astype(np.int64))[: vectors.shape[1]]
    probed = np.array([vectors[row, columns] for row in rows], dtype=np.float64)
    probed -= probed[0].copy()
    products = arithmetic.product(probed, probed)
    lengths = products.diagonal()
    return int(np.argmin(np.sqrt(np.maximum(lengths[:, None] + lengths[None, :] - 2.0 * products, 0.0)).sum(axis=1)))


def _groups(labels: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """List the positions of each label, labels ascending."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
