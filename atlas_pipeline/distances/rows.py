"""What is asked of every row before models are compared: is it finite, how long is it, does another one equal it."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.distances.threads import for_each

SQUARABLE: Final = (1e-8, 1e12)
"""Magnitudes whose squares, and sums of a million of them, are ordinary float32 numbers."""

_PROBED_COLUMNS: Final = 1024
"""Columns by which rows are told apart before they are compared whole."""

_PIECE: Final = (16, 4096)
"""Rows and columns that are worked on at once: half a megabyte of float64, which stays in a core's cache."""


def chunks(n_rows: int, step: int) -> Iterator[slice]:
    """Cut rows into pieces of ``step``; the last one may be shorter."""
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def magnitude_of(vectors: NDArray[np.float32]) -> float:
    """Find the greatest absolute number, and refuse what cannot be measured.

    Args:
        vectors: float32 [n, d].

    Returns:
        The magnitude; 0 for an empty matrix.

    Raises:
        ValueError: If ``vectors`` is not a matrix of finite numbers.
    """
    if vectors.ndim != 2:
        raise ValueError(f"vectors must be a matrix with one row per model, got shape {vectors.shape}")
    peaks = np.zeros(len(vectors))

    def look(chunk: slice) -> None:
        here = vectors[chunk]
        peaks[chunk] = np.maximum(here.max(axis=1, initial=0.0), -here.min(axis=1, initial=0.0))

    for_each(look, list(chunks(len(vectors), _PIECE[0])))
    if not np.isfinite(peaks).all():
        row = int(np.argmin(np.isfinite(peaks)))
        raise ValueError(f"the vector in row {row} holds a number that is not finite")
    return float(peaks.max(initial=0.0))


def is_squarable(magnitude: float) -> bool:
    """Whether float32 can square and add numbers of this magnitude; nothing is lost of a matrix of zeros either."""
    return magnitude == 0 or SQUARABLE[0] <= magnitude <= SQUARABLE[1]


def squared_norms(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Measure the squared length of every row, in float64.

    Args:
        vectors: float32 [n, d].

    Returns:
        float64 [n].
    """
    norms = np.zeros(len(vectors), dtype=np.float64)

    def add(chunk: slice) -> None:
        for start in range(0, vectors.shape[1], _PIECE[1]):
            wide = vectors[chunk, start : start + _PIECE[1]].astype(np.float64)
            norms[chunk] += np.vecdot(wide, wide)

    for_each(add, list(chunks(len(vectors), _PIECE[0])))
    return norms


def centred_rows(
    vectors: NDArray[np.float32], rows: NDArray[np.int64], origins: NDArray[np.int64], kind: type
) -> NDArray[Any]:
    """Subtract from rows the rows at their origins.

    Args:
        vectors: float32 [n, d].
        rows: int64 [m].
        origins: int64 [m], for each of them the row to subtract.
        kind: float32 or float64, in which it is done.

    Returns:
        Numbers of that type, [m, d].
    """
    different, which = np.unique(origins, return_inverse=True)
    subtracted: NDArray[Any] = vectors[different].astype(kind)
    centred: NDArray[Any] = np.empty((len(rows), vectors.shape[1]), dtype=kind)

    def fill(chunk: slice) -> None:
        # What is gathered stays in a core's cache until it is widened.
        here = centred[chunk]
        here[...] = vectors[rows[chunk]]
        here -= subtracted[which[chunk]] if len(different) > 1 else subtracted

    for_each(fill, list(chunks(len(rows), 2 * _PIECE[0])))
    return centred


def differences(vectors: NDArray[np.float32], left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Measure pairs of rows one by one, from their differences in float64.

    Args:
        vectors: float32 [n, d].
        left: int64 [p], rows.
        right: int64 [p], rows.

    Returns:
        float64 [p], squared distances.
    """
    squared = np.zeros(len(left), dtype=np.float64)

    def measure(chunk: slice) -> None:
        for start in range(0, vectors.shape[1], _PIECE[1]):
            slab = slice(start, start + _PIECE[1])
            difference = vectors[left[chunk], slab].astype(np.float64)
            difference -= vectors[right[chunk], slab]
            squared[chunk] += np.vecdot(difference, difference)

    for_each(measure, list(chunks(len(left), _PIECE[0])))
    return squared


def distinct_rows(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find equal rows.

    Args:
        vectors: float32 [n, d] of finite numbers; -0.0 and 0.0 are equal.

    Returns:
        The first row of each distinct vector, ascending, int64 [m]; and which of those m every row equals, int64 [n].
    """
    n, d = vectors.shape
    columns = np.unique(np.linspace(0, max(d - 1, 0), _PROBED_COLUMNS).astype(np.int64))[:d]
    probes = np.array([_digest(vectors[row, columns]) for row in range(n)], dtype="V16")
    _, first, suspected, counts = np.unique(probes, return_index=True, return_inverse=True, return_counts=True)
    representative = first[suspected]
    # Only rows that agree on all probed columns are read whole.
    doubtful = np.flatnonzero(counts[suspected] > 1)
    digests = np.array([_digest(vectors[row]) for row in doubtful], dtype="V16")
    _, first, equal = np.unique(digests, return_index=True, return_inverse=True)
    representative[doubtful] = doubtful[first[equal]]
    return np.unique(representative, return_inverse=True)


def _digest(row: NDArray[np.float32]) -> bytes:
    # Adding zero turns -0.0 into 0.0: equal numbers, equal bytes.
    return blake2b((row + np.float32(0)).tobytes(), digest_size=16).digest()
