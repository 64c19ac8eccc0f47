"""What the numbers themselves say: floats that take only a few values were once a quantisation.

Whoever dequantises a model and saves it in 16 bits leaves a file that looks like any other, but a block of its rows
holds no more values than the codes could tell apart. Trained weights differ from each other nearly everywhere, even in
bfloat16.
"""

from __future__ import annotations

from typing import Final

import ml_dtypes
import numpy as np
import numpy.typing as npt

from atlas_pipeline.weights.tensors import Float32Array

BLOCK: Final = 32
"""Columns that share a scale in nearly every 4-bit scheme: groups are multiples of 32."""

MIN_NONZERO: Final = 16
"""Zeros say nothing (pruning makes them too), so a block counts only if this many of its numbers are not zero."""

MIN_BLOCKS: Final = 8
"""Fewer blocks than this prove nothing."""

MIN_ROW: Final = 256
"""Numbers other than zero that a row needs before its distinct values mean something."""

MAX_DISTINCT_SHARE: Final = 0.6
"""Trained weights in blocks or rows of this size repeat far less: in bfloat16 at least 0.95 of 32 numbers differ, and
0.65 of a row of 1,024."""

MIN_GRID_SHARE: Final = 2.0
"""Numbers of one sign that take every value of their own float type between the smallest and the largest (weights
around one in bfloat16) are no quantisation: the type must have at least twice as many values there."""

MIN_SHARE: Final = 0.95
"""Share of the blocks or rows that must look quantised; the rest may straddle two groups."""

_MAX_2_BIT: Final = 3
_MAX_4_BIT: Final = 16
_MAX_8_BIT: Final = 256
_TYPES: Final = (np.dtype(ml_dtypes.bfloat16), np.dtype(np.float16), np.dtype(np.float32))


def distinct_values(rows: Float32Array) -> npt.NDArray[np.int64]:
    """Number of different values in each row; 0.0 and -0.0 are one value, every NaN is one of its own.

    Args:
        rows: float32 [k, n].

    Returns:
        int64 [k]; 0 for rows without columns.
    """
    if not rows.shape[1]:
        return np.zeros(rows.shape[0], dtype=np.int64)
    ordered = np.sort(rows, axis=1)
    return np.asarray(1 + (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1, dtype=np.int64), dtype=np.int64)


def hidden_quantization(rows: Float32Array) -> str | None:
    """The quantisation that floats once went through, as far as their values show it.

    Four bits and fewer show in blocks of 32 columns, eight bits in whole rows with one scale each; eight bits with a
    scale for each small group do not show. Zeros are left out everywhere, so pruning is no quantisation. Constant
    blocks and numbers that fill their float type's own grid prove nothing.

    Args:
        rows: float32 [k, n], as read from a matrix: whole rows.

    Returns:
        `2-bit values in floats` (also ternary ones), `4-bit values in floats`, `8-bit values in floats`, or None.
    """
    n_blocks = rows.shape[1] // BLOCK
    blocks = np.ascontiguousarray(rows[:, : n_blocks * BLOCK]).reshape(-1, BLOCK)
    counts = _few_values(blocks, min_nonzero=MIN_NONZERO)
    if counts.size >= MIN_BLOCKS:
        for bits, most in ((2, _MAX_2_BIT), (4, _MAX_4_BIT)):
            if (counts <= most).mean() >= MIN_SHARE:
                return f"{bits}-bit values in floats"
    counts = _few_values(rows, min_nonzero=MIN_ROW)
    if counts.size and (counts <= _MAX_8_BIT).mean() >= MIN_SHARE:
        return "8-bit values in floats"
    return None


def _few_values(rows: Float32Array, *, min_nonzero: int) -> npt.NDArray[np.int64]:
    """Distinct values other than zero in each row that can tell; those that are no evidence count as many.

    Returns:
        int64 [m], one for each row with enough numbers other than zero and more than one value.
    """
    if rows.shape[1] < min_nonzero:
        return np.zeros(0, dtype=np.int64)
    nonzero = np.count_nonzero(rows, axis=1)
    distinct = distinct_values(rows) - (nonzero < rows.shape[1])
    can_tell = (nonzero >= min_nonzero) & (distinct > 1)
    nonzero, distinct, rows = nonzero[can_tell], distinct[can_tell], rows[can_tell]
    is_few = (distinct <= MAX_DISTINCT_SHARE * nonzero) & np.isfinite(rows).all(axis=1)
    is_few[is_few] = _grid_sizes(rows[is_few]) >= MIN_GRID_SHARE * distinct[is_few]
    return np.where(is_few, distinct, np.iinfo(np.int64).max)


def _grid_sizes(rows: Float32Array) -> npt.NDArray[np.int64]:
    """How many values the coarsest float type that holds a row has in the row's range: int64 [k].

    A row of both signs has the whole range around zero, which no trained row fills.
    """
    sizes = np.full(rows.shape[0], np.iinfo(np.int64).max)
    is_open = np.asarray((rows >= 0).all(axis=1) | (rows <= 0).all(axis=1))
    for kind in _TYPES:
        with np.errstate(over="ignore"):
            stored = np.abs(rows[is_open]).astype(kind)
        fits = (stored.astype(np.float32) == np.abs(rows[is_open])).all(axis=1)
        # Magnitudes are in the order of their bit patterns.
        bits = stored[fits].view(f"u{kind.itemsize}").astype(np.int64)
        smallest = np.where(bits, bits, np.iinfo(np.int64).max).min(axis=1)
        chosen = np.flatnonzero(is_open)[fits]
        sizes[chosen] = bits.max(axis=1) - smallest + 1
        is_open[chosen] = False
    return sizes
