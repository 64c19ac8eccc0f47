"""What groups propose, and how often the like of it is right: measured on reported labels, in ever coarser cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from atlas_pipeline.attributes.imputation.lineage import N_FOLDS

SHARES: Final = np.array([0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 1.0])
"""Lower ends of the shares of the votes that are told apart, all below the first together."""

N_COUNTS: Final = 12
"""Numbers of votes are told apart by their powers of two, from 2 ** 11 on together."""

PRIOR_CASES: Final = 8.0
"""A cell of a measurement counts as if it had so many cases of the coarser cell that it lies in."""


@dataclass(frozen=True)
class Proposals:
    """What one kind of group proposes, one entry for each model and group that has votes.

    Attributes:
        name: of the kind.
        model: int32 [p], ascending.
        value: int32 [p], code of the proposed value.
        n_for: int32 [p], votes for it.
        n_votes: int32 [p], all votes.
    """

    name: str
    model: np.ndarray
    value: np.ndarray
    n_for: np.ndarray
    n_votes: np.ndarray

    def take(self, entries: np.ndarray | slice) -> Proposals:
        """Only some entries."""
        return Proposals(
            self.name, self.model[entries], self.value[entries], self.n_for[entries], self.n_votes[entries]
        )


def cells(kind: Proposals, stratum: np.ndarray) -> np.ndarray:
    """The cell of each proposal by share of the votes, number of votes, and stratum, int64 [p].

    Args:
        kind: what one kind of group proposes.
        stratum: int64 [n].
    """
    share = np.searchsorted(SHARES, kind.n_for / np.maximum(kind.n_votes, 1), side="right")
    count = np.minimum(np.log2(np.maximum(kind.n_votes, 1)).astype(np.int64), N_COUNTS - 1)
    return (share * N_COUNTS + count) * (int(stratum.max(initial=0)) + 1) + stratum[kind.model]


def measured(
    kind: Proposals, *, reported: np.ndarray, fold: np.ndarray, stratum: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Proposals of each fold in each of the finest cells, and how many of them are right.

    Args:
        kind: what one kind of group proposes.
        reported: int64 [n], code of what a model reports; -1 for nothing.
        fold: int64 [n].
        stratum: int64 [n], from 0: models for which proposals are measured apart.

    Returns:
        both int64 [folds, shares, numbers, strata].
    """
    shape = (N_FOLDS, len(SHARES) + 1, N_COUNTS, int(stratum.max(initial=0)) + 1)
    known = kind.take(np.flatnonzero(reported[kind.model] >= 0))
    place = fold[known.model] * int(np.prod(shape[1:])) + cells(known, stratum)
    is_right = known.value == reported[known.model]
    size = int(np.prod(shape))
    return (
        np.bincount(place, minlength=size).reshape(shape),
        np.bincount(place[is_right], minlength=size).reshape(shape),
    )


def chances(counted: tuple[np.ndarray, np.ndarray], *, without: int | None = None) -> np.ndarray:
    """How often proposals are right in the other folds, float64 [folds, cells].

    A finer cell is drawn towards the coarser one by ``PRIOR_CASES``, and all of them towards one half.

    Args:
        counted: as ``measured`` gives it.
        without: a fold that is left out besides each fold's own.
    """
    cases, right = (
        counts.sum(axis=0) - counts - (0 if without is None else counts[without][None]) for counts in counted
    )
    if without is not None:
        cases[without], right[without] = 0, 0
    found = np.full(cases.shape, 0.5)
    for axes in ((1, 2, 3), (2, 3), (3,), ()):
        n_cases, n_right = (counts.sum(axis=axes, keepdims=True) if axes else counts for counts in (cases, right))
        found = (n_right + PRIOR_CASES * found) / (n_cases + PRIOR_CASES)
    return found.reshape(N_FOLDS, -1)
