"""Parents that the stored numbers prove, without dates and without a threshold on distances.

* A copy has its original's numbers.
* A cast has its original's numbers rounded to 16 bits; rounding cannot be undone, so it also says who came first.
* A pruned model has its original's numbers or zero.
* A quantisation has for every weight of its original the nearest of the levels that it can hold: no weight lies further
  from its level than half way to the next. Of two near originals the wrong one breaks that for one weight in some
  hundred, the right one for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Rule = Literal["cast", "pruned", "quantized"]

GLANCE: Final = 1024
"""Columns compared first; almost every wrong pair differs there."""

PRUNED_SHARE: Final = 0.02
"""Zeros that a model must have beyond its original to count as pruned."""

PROVEN_SHARE: Final = 0.9995
"""Weights that must fit: float16 scales move a level by some millionths, and a weight on the border goes either way."""

QUANTIZED_SHARE: Final = 0.98
"""Weights within half a step below which a quantiser did more than round to the nearest level."""

LEVELS_GROUP: Final = 32
"""Neighbouring weights that share their levels: no common format has smaller blocks but those that cut these in two."""

FEW_LEVELS: Final = 17
"""A group with so few values may have levels at uneven steps (NF4); with more, the least step is every step."""

FLOATS_SHARE: Final = 0.97
"""Weights of a neuron whose mantissas must be those of 8-bit floats."""

SCALE_ROUNDING: Final = 5e-4
"""Relative error of a scale stored in float16, rounded up."""

ON_LEVELS: Final = 0.1
"""Mean distance from a level, in widths of its interval, below which a model sits on the levels: chance gives 0.25."""

PRECISIONS: Final = ("float32", "float16", "bfloat16")
_FLOAT16, _BFLOAT16 = 1, 2


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What the numbers of a model prove about its origin.

    Attributes:
        parent: row of the original.
        rule: how it was made from it.
        share: share of the weights that fit.
        rivals: rows of other candidates that fit as well.
    """

    parent: int
    rule: Rule
    share: float
    rivals: tuple[int, ...] = ()


def precisions(vectors: NDArray[np.float32], *, n_columns: int = 8192) -> NDArray[np.int8]:
    """Find which of ``PRECISIONS`` holds all numbers of each model, int8 [n], whatever type they are stored in.

    Args:
        vectors: float32 [n, d].
        n_columns: columns looked at.
    """
    found = np.zeros(len(vectors), dtype=np.int8)
    for start in range(0, len(vectors), 512):
        part = np.ascontiguousarray(vectors[start : start + 512, :n_columns])
        in_float16 = (to_precision(part, _FLOAT16) == part).all(axis=1)
        in_bfloat16 = (part.view(np.uint32) & 0xFFFF == 0).all(axis=1)
        found[start : start + 512] = np.where(in_bfloat16, _BFLOAT16, np.where(in_float16, _FLOAT16, 0))
    return found


def to_precision(values: NDArray[np.float32], precision: int) -> NDArray[np.float32]:
    """Round numbers to one of ``PRECISIONS``, to nearest and ties to even, as float32 in the same shape."""
    if precision == _FLOAT16:
        with np.errstate(over="ignore"):
            return values.astype(np.float16).astype(np.float32)
    if precision == _BFLOAT16:
        return values.astype(ml_dtypes.bfloat16).astype(np.float32)
    return values


def prove_rounded(
    vectors: NDArray[np.float32], child: int, candidates: NDArray[np.int64], precision: NDArray[np.int8]
) -> Proof | None:
    """Find the model of which a model is a cast, or a pruned or cast and pruned version.

    Args:
        vectors: float32 [n, d].
        child: its row.
        candidates: int64 [k], rows of near models, none of them equal to it.
        precision: int8 [n], as ``precisions`` gives them.

    Returns:
        The proof, the first candidate winning among equals, or None.
    """
    own = vectors[child]
    zeros = own == 0
    fits: list[tuple[float, int]] = []
    for row in candidates.tolist():
        is_finer = precision[row] == 0 != precision[child]
        rounded = to_precision(vectors[row, :GLANCE], int(precision[child]) if is_finer else 0)
        if not ((rounded == own[:GLANCE]) | zeros[:GLANCE]).mean() >= PROVEN_SHARE:
            continue
        whole = to_precision(vectors[row], int(precision[child]) if is_finer else 0)
        share = float(((whole == own) | zeros).mean())
        n_more_zeros = zeros.mean() - (whole == 0).mean()
        if share >= PROVEN_SHARE and (is_finer or n_more_zeros >= PRUNED_SHARE) and zeros.mean() < 1:
            fits.append((share, row))
    if not fits:
        return None
    best = max(share for share, _ in fits)
    rows = [row for share, row in fits if share == best]
    is_pruned = zeros.mean() - (vectors[rows[0]] == 0).mean() >= PRUNED_SHARE
    return Proof(parent=rows[0], rule="pruned" if is_pruned else "cast", share=best, rivals=tuple(rows[1:]))


def prove_quantized(
    vectors: NDArray[np.float32],
    child: int,
    candidates: NDArray[np.int64],
    layout: Sequence[tuple[int, int]],
) -> Proof | None:
    """Find the model of which a quantised model holds the nearest levels.

    Quantisers often round to 16 bits first. A candidate therefore fits as it is or so rounded, whichever fits better;
    its own casts then fit as well as it does.

    Args:
        vectors: float32 [n, d].
        child: row of the quantised model, its levels as numbers.
        candidates: int64 [k], rows of near models that hold finer numbers, the likelier original before others.
        layout: neurons and weights of each sampled matrix.

    Returns:
        The proof, the first candidate winning among those that fit alike, or None where none fits.
    """
    own = vectors[child].astype(np.float64)
    low, high = level_bounds(vectors[child], layout)
    width = np.where(np.isfinite(high - low), high - low, np.nan)
    if np.isnan(width).all():
        # Constant numbers have no levels, and anything lies between none.
        return None
    fits: list[tuple[float, int]] = []
    for row in candidates.tolist():
        values = vectors[row]
        # What lies on the levels was made from the quantised model, not the other way round.
        if np.nanmean(np.abs(values - own) / width) < ON_LEVELS:
            continue
        forms = (values, to_precision(values, _FLOAT16), to_precision(values, _BFLOAT16))
        fits.append((max(float(((form >= low) & (form <= high)).mean()) for form in forms), row))
    best = max((share for share, _ in fits), default=0.0)
    if best < QUANTIZED_SHARE:
        return None
    # Candidates whose misfits differ by chance alone fit alike.
    n = vectors.shape[1]
    allowed = (1 - best) * n + 3 * np.sqrt((1 - best) * n) + 2
    alike = [row for share, row in fits if (1 - share) * n <= allowed]
    return Proof(parent=alike[0], rule="quantized", share=best, rivals=tuple(alike[1:]))


def level_bounds(
    values: NDArray[np.float32], layout: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find between which numbers each weight lay before it was rounded to a level.

    The border lies half way to the next level that the group of neighbouring weights holds. Where a group holds many
    levels, half of the least step bounds the way, for not every level occurs in it. Levels of 8-bit floats grow with
    the weight; a neuron that holds such is recognised by its mantissas.

    Args:
        values: float32 [d], levels as numbers.
        layout: neurons and weights of each sampled matrix.

    Returns:
        Lower and upper bounds, float64 [d] each.
    """
    low, high = np.empty(len(values)), np.empty(len(values))
    first = 0
    for neurons, width in layout:
        part = slice(first, first + neurons * width)
        first = part.stop
        low[part], high[part] = _bounds_of_groups(values[part])
        for row in range(neurons):
            neuron = slice(part.start + row * width, part.start + (row + 1) * width)
            if (step := _steps_of_floats(values[neuron].astype(np.float64))) is not None:
                low[neuron], high[neuron] = values[neuron] - step / 2, values[neuron] + step / 2
    # Scales are stored in 16 bits after the weights were divided by them.
    slack = SCALE_ROUNDING * np.abs(values)
    return low - slack, high + slack


def _steps_of_floats(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Distance between levels at each weight if all are 8-bit floats (E4M3) times one scale; None if they are not."""
    magnitude = np.abs(values)
    usable = magnitude > magnitude.max(initial=0.0) * 2.0**-8
    if len(np.unique(magnitude[usable])) <= FEW_LEVELS:
        return None
    logarithm = np.log2(magnitude[usable])
    mantissas = np.log2(1 + np.arange(8) / 8)
    phases = (logarithm[0] - mantissas)[:, None, None]
    off = (logarithm[None, :, None] - phases - mantissas[None, None, :] + 0.5) % 1.0 - 0.5
    fits = (np.abs(off).min(axis=2) < 2e-3).mean(axis=1)
    best = int(np.argmax(fits))
    if fits[best] < FLOATS_SHARE:
        return None
    phase = float(phases[best, 0, 0])
    with np.errstate(divide="ignore"):
        exponent = np.floor(np.log2(magnitude) - phase + 1e-3)
    exponent = np.maximum(exponent, np.floor(logarithm.max() - phase) - 14)
    return 2.0 ** (exponent + phase) / 8


def _bounds_of_groups(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    d = len(values)
    padded = np.pad(values.astype(np.float64), (0, -d % LEVELS_GROUP), mode="edge").reshape(-1, LEVELS_GROUP)
    order = np.argsort(padded, axis=1)
    ordered = np.take_along_axis(padded, order, axis=1)
    step = np.diff(ordered, axis=1)
    resolution = 1e-6 * np.abs(ordered).max(axis=1, keepdims=True)
    step = np.where(step > resolution, step, 0.0)
    least = np.where(step > 0, step, np.inf).min(axis=1, keepdims=True)
    # The next level up from each place: the first positive step at or after it, and likewise down.
    up = np.full(ordered.shape, np.inf)
    down = np.full(ordered.shape, np.inf)
    for place in range(LEVELS_GROUP - 2, -1, -1):
        up[:, place] = np.where(step[:, place] > 0, step[:, place], up[:, place + 1])
    for place in range(1, LEVELS_GROUP):
        down[:, place] = np.where(step[:, place - 1] > 0, step[:, place - 1], down[:, place - 1])
    is_many = (step > 0).sum(axis=1, keepdims=True) + 1 > FEW_LEVELS
    limit = np.where(is_many, least, np.inf)
    widest = step.max(axis=1, keepdims=True)
    outer = np.where(is_many, least, np.where(widest > 0, widest, np.inf))
    up = np.where(np.isinf(up), outer, np.minimum(up, limit))
    down = np.where(np.isinf(down), outer, np.minimum(down, limit))
    low, high = np.empty_like(padded), np.empty_like(padded)
    np.put_along_axis(low, order, ordered - 0.5 * down - resolution, axis=1)
    np.put_along_axis(high, order, ordered + 0.5 * up + resolution, axis=1)
    return low.reshape(-1)[:d], high.reshape(-1)[:d]
