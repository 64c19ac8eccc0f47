"""Whom each model is compared with: its nearest models, the candidates for its parent, and the parents of those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.edges.candidates import NOBODY
from atlas_pipeline.edges.charting.forest import Forest

N_NEAR: Final = 12
"""Nearest models of any time: those among which a recipe's other runs are found."""

N_EARLIER: Final = 6
"""Nearest earlier models: one of them, or an ancestor of one, is nearly always the parent."""

N_LEVELS: Final = 6
"""How far above the nearest earlier models candidates are sought; each round shortens false chains by as much."""

N_CANDIDATES: Final = 16
N_MEMBERS: Final = 32


@dataclass(frozen=True, eq=False)
class Neighborhoods:
    """The models around each child.

    Attributes:
        members: int64 [n, m], rows of all that are compared, each once, the nearest first; ``NOBODY`` behind the last.
        candidate: int64 [n, k], rows of the candidates; ``NOBODY`` behind the last.
        candidate_at: int64 [n, k], their places among the members.
        reference: int64 [n, k], believed parent of each candidate; ``NOBODY`` where it is a root.
        reference_at: int64 [n, k], its place among the members; 0 where there is none.
    """

    members: NDArray[np.int64]
    candidate: NDArray[np.int64]
    candidate_at: NDArray[np.int64]
    reference: NDArray[np.int64]
    reference_at: NDArray[np.int64]

    def of(self, children: slice | NDArray[np.int64]) -> Neighborhoods:
        """The neighbourhoods of some children."""
        return Neighborhoods(
            self.members[children],
            self.candidate[children],
            self.candidate_at[children],
            self.reference[children],
            self.reference_at[children],
        )


def neighborhoods(
    forest: Forest,
    near: NDArray[np.int64],
    earlier: NDArray[np.int64],
    position: NDArray[np.int64],
    children: NDArray[np.int64],
    *,
    first: Forest,
) -> Neighborhoods:
    """Gather the neighbourhoods of some models.

    Args:
        forest: the tree as believed now.
        near: int64 [b, a], nearest models of any time, nearest first; ``NOBODY`` behind the last.
        earlier: int64 [b, e], nearest earlier models likewise.
        position: int64 [n], place of each model in the order of creation; candidates come before their child.
        children: int64 [b], rows of the models.
        first: the tree with which the rounds began: a candidate that one round lost can be found again.
    """
    n = len(near)
    above = forest.lineages(earlier[:, :3], n_levels=N_LEVELS)
    at_first = first.lineages(earlier[:, :1], n_levels=N_LEVELS)
    of_near = np.where(near >= 0, forest.parent[near], NOBODY)
    lineages = [levels.swapaxes(1, 2).reshape(n, levels.shape[1] * N_LEVELS) for levels in (above, at_first)]
    wanted = np.concatenate([earlier, *lineages, of_near], axis=1)
    is_earlier = (wanted >= 0) & (position[wanted] < position[children][:, None])
    candidate = distinct(np.where(is_earlier, wanted, NOBODY), N_CANDIDATES)
    reference = np.where(candidate >= 0, forest.parent[candidate], NOBODY)
    members = distinct(np.concatenate([near, candidate, reference], axis=1), N_MEMBERS)
    reference = np.where(_is_among(reference, members), reference, NOBODY)
    return Neighborhoods(members, candidate, _place(candidate, members), reference, _place(reference, members))


def distinct(rows: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Keep the first occurrence of each row number, in order: int64 [n, width], ``NOBODY`` behind the last."""
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)
    again = np.zeros(rows.shape, dtype=bool)
    np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    kept = np.where(again, NOBODY, rows)
    front = np.argsort(kept < 0, axis=1, kind="stable")
    packed = np.take_along_axis(kept, front, axis=1)[:, :width]
    missing = width - packed.shape[1]
    return np.pad(packed, ((0, 0), (0, missing)), constant_values=NOBODY) if missing > 0 else packed


def _place(rows: NDArray[np.int64], members: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.argmax(members[:, None, :] == rows[:, :, None], axis=2) * (rows >= 0)


def _is_among(rows: NDArray[np.int64], members: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (members[:, None, :] == rows[:, :, None]).any(axis=2)
