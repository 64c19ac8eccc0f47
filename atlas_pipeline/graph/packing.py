"""Packs circles into the plane without overlap: large ones in the middle, small ones into the gaps, old ones in place.

Every circle gets a square of a grid whose side is a power of two, so that squares of all sizes nest. A square that a
circle leaves free at its corners is given to smaller ones. Sizes are taken one after the other, circles never.
"""

from __future__ import annotations

from typing import Final

import numpy as np

HALF: Final = 1 << 30
"""Squares are counted from here, so that a pair of them makes one non-negative number."""

FURTHEST: Final = 4.0
"""Places further out than so many sides of the square that would hold all circles' squares are not kept."""

CORNER: Final = 2.0**26 / 3.0
"""Where squares of all sizes have a common corner, seen from the origin. Thirds of powers of two: the origin then lies
well inside a square of every size, never at a corner, and the largest circle comes to lie in the middle."""

PARTS: Final = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.int64)


def packed(radius: np.ndarray, wanted: np.ndarray | None = None) -> np.ndarray:
    """Middles of circles that do not overlap.

    Args:
        radius: float64 [k], at least 0.5; larger ones come first where they compete, then those with lower numbers.
        wanted: float64 [k, 2], where each circle was; nan where it is new. It stays in the square that holds that
            place, unless a larger one needs it or it is far outside.

    Returns:
        float64 [k, 2].
    """
    center = np.zeros((len(radius), 2))
    if not len(radius):
        return center
    size = np.ceil(np.log2(2.0 * radius) - 1e-12).astype(np.int64)
    area = np.bincount(size, weights=4.0**size)
    wanted = np.full((len(radius), 2), np.nan) if wanted is None else wanted + CORNER
    wanted[~(np.abs(wanted - CORNER) <= FURTHEST * np.sqrt(area.sum())).all(axis=1)] = np.nan
    free = _around_origin(float(area.sum()) / 4.0 ** float(size.max()), 2.0 ** float(size.max()))
    partial, around = np.empty((0, 2), dtype=np.int64), np.empty(0, dtype=np.int64)
    taken: list[tuple[int, np.ndarray, np.ndarray]] = []
    for step in range(int(size.max()), int(size.min()) - 1, -1):
        side = 2.0**step
        members = np.flatnonzero(size == step)
        # Largest first, as far as they differ at all: the order does not matter to the others.
        members = members[np.lexsort((members, -radius[members]))]
        square = np.full((len(members), 2), HALF)
        stays = _staying(wanted[members], step, taken, center, radius)
        square[stays] = np.floor(wanted[members[stays]] / side).astype(np.int64)
        free = free[~np.isin(_number(free), _number(square[stays]))]
        away = (((free + 0.5) * side - CORNER) ** 2).sum(axis=1)
        # New ones go to squares that nobody smaller wants to stay in, as long as there are such.
        smaller = wanted[(size < step) & np.isfinite(wanted).all(axis=1)]
        is_wanted = np.isin(_number(free), _number(np.floor(smaller / side).astype(np.int64)))
        order = np.lexsort((free[:, 1], free[:, 0], away))
        free = free[order[np.argsort(is_wanted[order], kind="stable")]]
        comers = ~stays
        square[comers] = free[: comers.sum()]
        center[members] = (square + 0.5) * side
        if len(members):
            taken.append((step, *_sorted(_number(square), members)))
        if step == size.min():
            break
        free = free[comers.sum() :]
        away = (((free + 0.5) * side - CORNER) ** 2).sum(axis=1)
        free = free[np.lexsort((free[:, 1], free[:, 0], away))]
        still = int(np.ceil(area[:step].sum() / side**2)) + 1
        free = _quartered(free[:still])[0]
        parts, owner = _quartered(np.concatenate((partial, square)), np.concatenate((around, members)))
        near, far = _distances(parts, side / 2.0, center[owner])
        is_free = near >= radius[owner]
        is_partial = ~is_free & (far > radius[owner])
        free = np.concatenate((free, parts[is_free]))
        partial, around = parts[is_partial], owner[is_partial]
    return center - CORNER


def _around_origin(n_squares: float, side: float) -> np.ndarray:
    """Squares of one size around the origin, int64 [m, 2], more than twice as many as are needed."""
    half = int(np.ceil(np.sqrt(n_squares / 2.0))) + 1
    line = np.arange(-half, half + 1) + int(CORNER // side)
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)


def _staying(
    wanted: np.ndarray,
    step: int,
    taken: list[tuple[int, np.ndarray, np.ndarray]],
    center: np.ndarray,
    radius: np.ndarray,
) -> np.ndarray:
    """Which circles of one size can stay in the square that they want: bool [m].

    Args:
        wanted: float64 [m, 2], nan for new ones.
        step: logarithm of the side of their squares.
        taken: squares of larger circles: step, sorted numbers, circles.
        center: of all circles that are placed.
        radius: of all circles.
    """
    side = 2.0**step
    stays = np.isfinite(wanted).all(axis=1)
    square = np.floor(np.where(stays[:, None], wanted, 0.0) / side).astype(np.int64)
    for larger, numbers, circles in taken:
        number = _number(square >> (larger - step))
        at = np.minimum(np.searchsorted(numbers, number), len(numbers) - 1)
        met = numbers[at] == number
        near, _ = _distances(square, side, center[circles[at]])
        stays &= ~met | (near >= radius[circles[at]])
    number = np.where(stays, _number(square), -1 - np.arange(len(square)))
    _, first = np.unique(number, return_index=True)
    is_first = np.zeros(len(square), dtype=bool)
    is_first[first] = True
    return np.asarray(stays & is_first)


def _quartered(square: np.ndarray, owner: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The four quarters of each square, numbered at their own size, and the owner of each."""
    parts = (2 * square[:, None, :] + PARTS).reshape(-1, 2)
    return parts, np.repeat(np.zeros(len(square), dtype=np.int64) if owner is None else owner, 4)


def _distances(square: np.ndarray, side: float, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance from a point to the nearest and to the furthest place of a square; all aligned."""
    low, high = square * side - point, (square + 1) * side - point
    near = np.hypot(*np.maximum(np.maximum(low, -high), 0.0).T)
    return near, np.hypot(*np.maximum(np.abs(low), np.abs(high)).T)


def _number(square: np.ndarray) -> np.ndarray:
    """One number for each square of a size, int64."""
    return np.asarray((square[:, 0] + HALF) * (2 * HALF) + square[:, 1] + HALF)


def _sorted(number: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(number)
    return number[order], member[order]
