"""Models of which only a part was read, beside those of the same shapes that were read whole.

Some quantisations keep neurons as columns, so that a model gives only the rows of a few small matrices: the anchors of
its plan. Such models form a group of their own and cannot be measured against the others on all columns, but on these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.distances.arithmetic import Arithmetic, fastest
from atlas_pipeline.distances.rows import chunks, magnitude_of

PARTIAL: Final = "-anchors"
"""Ends the name of a group whose models have only the anchors of the group without it."""

_BLOCK_NUMBERS: Final = 1 << 22
"""Float64 numbers of a block of whole models: 32 MiB."""

_SPARE: Final = 8
"""Candidates beyond those wanted, which may change places with them when all are measured from their differences."""


def anchor_columns(plan: Mapping[str, Any]) -> NDArray[np.int64]:
    """Find the columns of a whole vector that a partial one consists of, in order.

    Args:
        plan: of the whole group, with ``anchors`` and ``tensors``: each with ``canonical``, ``rows`` and ``n_columns``.

    Returns:
        int64 [columns of a partial vector].
    """
    lengths = np.array([len(tensor["rows"]) * tensor["n_columns"] for tensor in plan["tensors"]], dtype=np.int64)
    is_anchor = np.array([tensor["canonical"] in plan["anchors"] for tensor in plan["tensors"]], dtype=bool)
    return np.flatnonzero(np.repeat(is_anchor, lengths))


def nearest_whole(
    partial: NDArray[np.float32],
    whole: NDArray[np.float32],
    columns: NDArray[np.int64],
    *,
    k: int,
    arithmetic: Arithmetic | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the nearest models that were read whole, for each that was not.

    Args:
        partial: float32 [p, a].
        whole: float32 [n, d]; may be a memory map.
        columns: int64 [a], the columns of ``whole`` that the others have, ascending.
        k: Neighbours wanted; at most ``n`` are returned.
        arithmetic: What multiplies; the fastest there is if None.

    Returns:
        Rows of ``whole`` int64 [p, min(k, n)], nearest first, equal distances in the order of the rows; and squared
        distances on the columns, float64, measured from differences.

    Raises:
        ValueError: If the numbers of columns differ, or a vector is not finite.
    """
    if partial.ndim != 2 or partial.shape[1] != len(columns):
        raise ValueError(f"vectors of shape {partial.shape} do not have the {len(columns)} columns of the anchors")
    magnitude_of(partial)
    p, n = len(partial), len(whole)
    k = min(k, n)
    if not p or not k:
        return np.empty((p, k), dtype=np.int64), np.empty((p, k))
    multiplier = arithmetic or fastest()
    origin = partial[0].astype(np.float64)
    ours = partial.astype(np.float64) - origin
    our_lengths = np.vecdot(ours, ours)
    index, nearest = np.zeros((p, 0), dtype=np.int64), np.zeros((p, 0))
    for rows, theirs in _blocks(whole, columns, origin):
        squared = our_lengths[:, None] + np.vecdot(theirs, theirs) - 2.0 * multiplier.product(ours, theirs)
        index = np.concatenate([index, np.broadcast_to(np.arange(rows.start, rows.stop), squared.shape)], axis=1)
        nearest = np.concatenate([nearest, squared], axis=1)
        if index.shape[1] > k + _SPARE:
            kept = np.argpartition(nearest, k + _SPARE - 1, axis=1)[:, : k + _SPARE]
            index, nearest = np.take_along_axis(index, kept, axis=1), np.take_along_axis(nearest, kept, axis=1)
    for row in range(p):
        difference = whole[index[row][:, None], columns].astype(np.float64)
        difference -= partial[row]
        nearest[row] = np.vecdot(difference, difference)
    order = np.lexsort((index, nearest), axis=1)[:, :k]
    return np.take_along_axis(index, order, axis=1), np.take_along_axis(nearest, order, axis=1)


def _blocks(
    whole: NDArray[np.float32], columns: NDArray[np.int64], origin: NDArray[np.float64]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Rows of the whole models, and their anchors around the origin, float64 [b, a]."""
    for rows in chunks(len(whole), max(_BLOCK_NUMBERS // max(len(columns), 1), 64)):
        yield rows, whole[rows, columns] - origin
