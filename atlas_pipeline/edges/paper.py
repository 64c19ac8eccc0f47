"""Algorithm 1 exactly as the paper prints it, to show what its slips cost; ``algorithm1`` is the reading that works.

Followed to the letter, for the models of one weight cluster, sorted by creation:

* neighbours are ``argsort(D[:, i])[1:K]``: the diagonal is infinite, so that the slice leaves out the nearest model,
  not the model itself, and keeps K - 1;
* candidates are ``argsort(D[i+1:, i])[1:K]``: models that are later, but numbered within the slice, and these numbers
  are then used for all models: those of the i-th model point i + 1 models too early;
* a quantised model is struck out as a neighbour when its turn comes, not before;
* copies of an undocumented model are struck out at its turn and given its parent, which it does not have yet: they get
  none by that line, and are charted like others when their own turn comes;
* the spread of the distances is compared with 0.05 as it comes.

Where the pseudo code does not say what to do, no parent is given: when there are no neighbours or candidates, or when
the parent chosen is the model itself. A spread or a correlation that is not a number passes no threshold, which makes
a fan. The threshold of the correlations needs all of them first, so that they are found before any parent is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.edges.algorithm1 import N_NEIGHBORS, SNAKE_PERCENTILE, SPREAD_THRESHOLDS
from atlas_pipeline.edges.candidates import NOBODY, dense_distances, nearest_candidates
from atlas_pipeline.edges.evidence import EdgeWriter
from atlas_pipeline.edges.records import Edge, without_cycles
from atlas_pipeline.edges.region import Region

_LEAST_FOR_CORRELATION: Final = 2
"""The formula of Pearson's correlation is defined from two points on."""


def chart_as_printed(
    region: Region,
    *,
    n_neighbors: int = N_NEIGHBORS,
    spread_threshold: float = SPREAD_THRESHOLDS["raw"],
    snake_percentile: float = SNAKE_PERCENTILE,
) -> tuple[Edge, ...]:
    """Chart a region by the pseudo code of Algorithm 1 as it stands.

    Args:
        region: The models.
        n_neighbors: K.
        spread_threshold: K_th, on squared distances as they come.
        snake_percentile: Percentile, 0 to 100, of the correlations of a cluster that is rho_th.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.

    Raises:
        ValueError: If ``n_neighbors`` is below 1, ``snake_percentile`` outside 0 to 100, or the region has no distance
            matrix.
    """
    if n_neighbors < 1:
        raise ValueError(f"n_neighbors must be at least 1, got {n_neighbors}")
    if not 0 <= snake_percentile <= 100:
        raise ValueError(f"snake_percentile must lie between 0 and 100, got {snake_percentile}")
    everyone = np.ones(region.n_models, dtype=bool)
    candidates = nearest_candidates(region, k=max(n_neighbors, 2), can_be_parent=everyone, only_earlier=True)
    writer = EdgeWriter(region, candidates, n_listed=n_neighbors)
    edges = writer.documented()
    for cluster in np.unique(region.clusters):
        members = region.chronology[region.clusters[region.chronology] == cluster]
        turns = _take_turns(region, members, n_neighbors)
        correlations = np.array([turn.correlation for turn in turns])
        known = correlations[np.isfinite(correlations)]
        snake_threshold = float(np.percentile(known, snake_percentile)) if len(known) else np.nan
        for turn in turns:
            if turn.spread > spread_threshold:
                parent, rule = turn.first, "nearest"
            elif turn.correlation > snake_threshold:
                parent, rule = turn.first, "snake"
            else:
                parent, rule = turn.oldest, "fan"
            if parent not in (NOBODY, turn.child):
                edges.append(writer.charted(turn.child, parent, rule=rule))
    return without_cycles(edges)


@dataclass(frozen=True)
class _Turn:
    """What the loop finds at the turn of one undocumented model; the models are rows of the region."""

    child: int
    spread: float
    correlation: float
    first: int
    oldest: int


def _take_turns(region: Region, members: NDArray[np.int64], n_neighbors: int) -> list[_Turn]:
    """Go through the models of a cluster in the order of creation, striking rows of the distances out on the way."""
    squared = dense_distances(region)
    times = region.created_at[members]
    # An unknown date is after all others, for the sorting as for the oldest.
    times_or_last = np.where(np.isnan(times), np.inf, times)
    is_quantized, is_documented = region.is_quantized[members], region.is_documented[members]
    is_struck = np.zeros(len(members), dtype=bool)
    turns = []
    for turn, row in enumerate(members.tolist()):
        is_struck[turn] |= is_quantized[turn]
        if is_documented[turn]:
            continue
        untouched = np.asarray(squared[row], dtype=np.float64)[members]
        if not is_struck[turn]:
            is_struck[turn + 1 :] |= untouched[turn + 1 :] == 0
        column = np.where(is_struck, np.inf, untouched)
        column[turn] = np.inf
        near = np.argsort(column, kind="stable")[1:n_neighbors]
        later = np.argsort(column[turn + 1 :], kind="stable")[1:n_neighbors]
        spread = correlation = np.nan
        if len(near):
            # Infinite distances give infinite and undefined spreads.
            with np.errstate(invalid="ignore"):
                spread = float(column[near[-1]] - column[near[0]])
                correlation = _pearson(column[near], np.abs(times[near] - times[turn]))
        is_defined = len(near) and len(later)
        turns.append(
            _Turn(
                child=row,
                spread=spread,
                correlation=correlation,
                first=int(members[later[0]]) if is_defined else NOBODY,
                oldest=int(members[later[np.argmin(times_or_last[later])]]) if is_defined else NOBODY,
            )
        )
    return turns


def _pearson(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Pearson's correlation; NaN where it is not defined."""
    is_known = np.isfinite(left).all() and np.isfinite(right).all() and len(left) >= _LEAST_FOR_CORRELATION
    if not is_known or np.ptp(left) == 0 or np.ptp(right) == 0:
        return float("nan")
    return float(np.corrcoef(left, right)[0, 1])
