"""Short stand-ins for long vectors, from which the distances of all pairs are estimated before any is measured.

A sketch adds the columns of a vector, with random signs, into far fewer buckets (count sketch). The squared distance of
two sketches has the expectation of the true one and a relative standard error of ``sqrt(2 / width)`` at most, wherever
in the vector the difference lies: a head swap or an adapter on two matrices cannot hide, as it could between sampled
columns. Equal vectors have equal sketches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.distances.rows import chunks, distinct_rows, is_squarable, magnitude_of
from atlas_pipeline.distances.threads import for_each

COARSE_WIDTH: Final = 2048
"""Buckets for all pairs: one standard error is 3 % of a squared distance. Twice as many shorten lists of candidates by
a fifth, which saves less than the product costs; a thousand siblings at one distance stay one list anyway. Recall of
the nearest 5 and 32 was 1.0000 on samples of all populations measured, of up to 10,000 models."""

FINE_WIDTH: Final = 16384
"""Buckets for candidates: one standard error is 1 %. A vector that is no longer is its own sketch, without error."""

_PROBED: Final = (1024, 256)
"""Rows and columns by which the origin is chosen."""

_CHUNK_ROWS: Final = 16
"""Rows folded at once, so that what is worked on stays in a core's cache."""


@dataclass(frozen=True, eq=False)
class Sketches:
    """The distinct rows of a matrix, and sketches of them, all around one origin.

    Attributes:
        rows: int64 [m], the first row of each distinct vector, ascending.
        copy_of: int64 [n], which of the m distinct vectors every row equals.
        norms: float64 [m], squared lengths of the vectors.
        fine: float32 [m, up to FINE_WIDTH].
        coarse: float32 [m, up to COARSE_WIDTH], made of ``fine``.
        fine_error: Relative standard error of a squared distance between fine sketches; 0 where they lose nothing.
        coarse_error: The same for coarse ones.
        floor: float64 [m], what float32 may have lost of a sketch's squared length.
        unit: Squared distances of sketches times this are squared distances of vectors; a power of two.
    """

    rows: NDArray[np.int64]
    copy_of: NDArray[np.int64]
    norms: NDArray[np.float64]
    fine: NDArray[np.float32]
    coarse: NDArray[np.float32]
    fine_error: float
    coarse_error: float
    floor: NDArray[np.float64]
    unit: float


def sketch(
    vectors: NDArray[np.float32],
    *,
    seed: int = 0,
    coarse_width: int = COARSE_WIDTH,
    fine_width: int = FINE_WIDTH,
) -> Sketches:
    """Sketch the distinct rows of a matrix.

    Args:
        vectors: float32 [n, d]; may be a memory map, which is read row by row.
        seed: Seed of signs and buckets.
        coarse_width: Buckets of the coarse sketches, at most as many as of the fine ones.
        fine_width: Buckets of the fine sketches.

    Returns:
        The sketches.

    Raises:
        ValueError: If ``vectors`` is not a matrix of finite numbers.
    """
    magnitude = magnitude_of(vectors)
    rows, copy_of = distinct_rows(vectors)
    generator = np.random.default_rng(seed)
    m, d = len(rows), vectors.shape[1]
    # A power of two changes no digit, and the squares of what is left neither overflow nor vanish.
    shrink = 1.0 if is_squarable(magnitude) else float(2.0 ** -np.clip(np.ceil(np.log2(magnitude)), -126, 126))
    to_fine = _Folding.drawn(d, fine_width, generator)
    fine, norms, lengths = np.zeros((m, to_fine.width), dtype=np.float32), np.zeros(m), np.zeros(m)
    origin = vectors[_origin(vectors, rows)] * np.float32(shrink)

    def fold(chunk: slice) -> None:
        here = rows[chunk]
        # Rows that follow each other are read in place, not copied.
        piece = vectors[here[0] : here[-1] + 1] if here[-1] - here[0] == len(here) - 1 else vectors[here]
        for number, start in enumerate(range(0, d, to_fine.width)):
            slab = slice(start, start + to_fine.width)
            wide = piece[:, slab].astype(np.float64)
            norms[chunk] += np.vecdot(wide, wide)
            centred = piece[:, slab] * np.float32(shrink)
            centred -= origin[:, slab]
            to_fine.add(number, centred, fine[chunk])
        lengths[chunk] = np.vecdot(fine[chunk], fine[chunk])

    pieces = list(chunks(m, _CHUNK_ROWS))
    for_each(fold, pieces)
    coarse = fine
    if fine.shape[1] > coarse_width:
        to_coarse = _Folding.drawn(fine.shape[1], coarse_width, generator)
        coarse = np.zeros((m, coarse_width), dtype=np.float32)

        def fold_again(chunk: slice) -> None:
            for number, start in enumerate(range(0, fine.shape[1], coarse_width)):
                to_coarse.add(number, fine[chunk, start : start + coarse_width].copy(), coarse[chunk])

        for_each(fold_again, pieces)
    return Sketches(
        rows,
        copy_of,
        norms,
        fine,
        coarse,
        fine_error=0.0 if fine.shape[1] == d else float(np.sqrt(2.0 / fine.shape[1])),
        coarse_error=0.0 if coarse.shape[1] == d else float(np.sqrt(2.0 / coarse.shape[1])),
        floor=lengths * (4.0 * np.finfo(np.float32).eps) ** 2,
        unit=shrink**-2,
    )


def _origin(vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """One row as an array [1], none if there is none: no outlier, whose length would cost all others their digits."""
    if not len(rows) or not vectors.shape[1]:
        return rows[:1]
    sample = rows[np.unique(np.linspace(0, len(rows) - 1, _PROBED[0]).astype(np.int64))]
    columns = np.unique(np.linspace(0, vectors.shape[1] - 1, _PROBED[1]).astype(np.int64))
    probes = vectors[sample[:, None], columns].astype(np.float64)
    probes -= np.median(probes, axis=0)
    return sample[[int(np.argmin(np.vecdot(probes, probes)))]]


@dataclass(frozen=True, eq=False)
class _Folding:
    """Signs of all columns, and the bucket at which each stretch of ``width`` columns begins."""

    width: int
    signs: NDArray[np.float32] | None
    starts: NDArray[np.int64]

    @classmethod
    def drawn(cls, d: int, width: int, generator: np.random.Generator) -> _Folding:
        if d <= width:
            return cls(max(d, 1), None, np.zeros(1, dtype=np.int64))
        signs = generator.choice(np.array([-1, 1], dtype=np.float32), d)
        # Drawn, because matrices repeat after a row: without it, one loud input of a layer would fill one bucket.
        return cls(width, signs, generator.integers(0, width, -(-d // width)))

    def add(self, number: int, columns: NDArray[np.float32], buckets: NDArray[np.float32]) -> None:
        """Add a stretch of columns [b, up to width], which are overwritten, to the buckets [b, width]."""
        if self.signs is not None:
            start = number * self.width
            columns *= self.signs[start : start + columns.shape[1]]
        first = int(self.starts[number])
        fits = min(columns.shape[1], self.width - first)
        buckets[:, first : first + fits] += columns[:, :fits]
        buckets[:, : columns.shape[1] - fits] += columns[:, fits:]
