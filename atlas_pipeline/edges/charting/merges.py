"""Parents of merges, from weights alone.

A merge is a combination of its parents, and a combination of real models that leaves nothing but rounding is no
accident: it is found, not guessed. There are far more weights than models, so the regression on all models at once has
one answer and is zero for whoever took no part. What is not needed is dropped, and the rest is accepted only if the
weights are explained within the child's rounding.

* Linear merges and task arithmetic: one set of coefficients for all matrices. They add up to one with the base counted.
* SLERP and layer-wise merges: a set for each matrix.
* TIES: every weight holds the mean of some of the parents' changes from their base, each scaled alike, or no change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Kind = Literal["linear", "by_matrix", "ties"]
Floats = NDArray[np.float64]

MOST_PARENTS: Final = 5
MOST_TRIED: Final = 9
"""Models kept of the regression on all before those not needed are dropped one by one."""

GLANCE: Final = 2048
"""Columns of the regression on all models; what it suggests is fitted on all columns."""

LEAST_COEFFICIENT: Final = 0.02
"""A parent of less weight is not told from an accident."""

COMPUTED_STEPS: Final = 2.0
"""Half units in the last place of float32 by which a merged weight is typically off: it was computed in a few steps."""

STORED_STEPS: Final = 0.6
"""Half units in the last place by which a weight stored in 16 bits is typically off."""

TYPICAL: Final = ((0.0, 0.25), (0.4, 0.8), (0.4, 0.8))
"""Median of what is left, in typical errors, for each precision. What rounding left is never much smaller either: runs
of one recipe on the same data lie on a smooth curve, and combinations of them come close, but not evenly close."""

NEEDED: Final = 5.0
"""How many times worse the fit must be without any one parent of a merge of two; of more, ``SPARED`` times."""

SPARED: Final = 1.3
"""A parent is dropped if the fit is hardly worse without it."""

PARALLEL: Final = 0.8
"""Two models that changed their base so alike are runs of one recipe, and what lies between them is another run."""

WITHIN: Final = (6.0, 0.93)
"""So many typical errors must hold this share of the weights: sums that cancel lose more."""

NEAR_MISS: Final = 0.7
"""Share of the step that may be left by one set of coefficients for a set by matrix to be tried."""

TIES_EXPLAINED: Final = 0.96
TIES_SPARED: Final = 0.01
CHANCE: Final = 0.4
HOPELESS: Final = 0.8
"""A model of which the best combination of all candidates leaves so much of the nearest one's distance is no merge."""

BETTER_BASE: Final = 0.8
"""How much smaller a share must have changed from another base for that to be taken instead of a likelier one."""
TIES_GLANCE: Final = 2048
"""Weights at which candidates for a TIES merge are compared before all are."""

TIES_CANDIDATES: Final = 48
_EPSILON: Final = np.array([2.0**-24, 2.0**-11, 2.0**-8])
"""Half a unit in the last place, relative, of float32, float16 and bfloat16."""


@dataclass(frozen=True, kw_only=True)
class Merge:
    """A model as a combination of others.

    Attributes:
        parents: their rows.
        coefficients: their weights; means over matrices where these differ.
        kind: how it was combined.
        residual: root mean square of what is left, relative to the child's weights.
    """

    parents: tuple[int, ...]
    coefficients: tuple[float, ...]
    kind: Kind
    residual: float


def find_merge(
    vectors: NDArray[np.float32],
    child: int,
    candidates: NDArray[np.int64],
    *,
    layout: Sequence[tuple[int, int]],
    precision: int,
    bases: Sequence[int] = (),
    glance: NDArray[np.float32] | None = None,
) -> Merge | None:
    """Explain a model as a merge of at least two others.

    Args:
        vectors: float32 [n, d].
        child: its row.
        candidates: int64 [k], rows of possible parents, the nearest first; none of them equal to another.
        layout: neurons and weights of each sampled matrix.
        precision: precision in which the child's numbers are held, as ``proofs.precisions`` gives it.
        bases: rows that can be the base of a TIES merge.
        glance: some columns of the vectors, as ``at_a_glance`` takes them; by default all.

    Returns:
        The merge, or None if nothing explains the model to its rounding.
    """
    if len(candidates) < 2:
        return None
    gram = _gram(vectors if glance is None else glance, child, candidates)
    if _least_left(gram) > HOPELESS:
        return None
    own = _Child.of(vectors[child], precision)
    origins = list(dict.fromkeys([int(candidates[0]), *(row for row in bases if row in candidates)]))
    rows = _suggested(gram, candidates, origins)
    found, left = _linear(vectors, own, rows)
    if found is None and left < NEAR_MISS:
        found = _by_matrix(vectors, own, rows, layout)
    if found is not None and precision and len(found.parents) == 2 and _are_parallel(vectors, found.parents, bases):
        return None
    return found or _ties(vectors, own, candidates, bases)


@dataclass(frozen=True, eq=False)
class _Child:
    """The weights to be explained.

    Attributes:
        weights: float64 [d].
        error: float64 [d], how far off each is typically by rounding alone.
        precision: in which they are held.
    """

    weights: Floats
    error: Floats
    precision: int

    @classmethod
    def of(cls, values: NDArray[np.float32], precision: int) -> _Child:
        weights = values.astype(np.float64)
        # What is nearly zero is the difference of numbers that were not.
        scale = np.maximum(np.abs(weights), np.sqrt(np.mean(weights**2)))
        stored = STORED_STEPS * _EPSILON[precision] * np.abs(weights) if precision else 0.0
        return cls(weights, np.hypot(COMPUTED_STEPS * _EPSILON[0] * scale, stored) + 1e-300, precision)

    def is_rounding(self, rest: Floats, part: slice = slice(None)) -> bool:
        """Whether what is left of the weights looks like rounding and nothing else."""
        errors = np.abs(rest) / self.error[part]
        least, most = TYPICAL[self.precision]
        limit, share = WITHIN
        return bool(least <= np.median(errors) <= most and (errors <= limit).mean() >= share)

    def misfit(self, rest: Floats) -> float:
        """Root mean square of what is left, in typical errors."""
        return float(np.sqrt(np.mean((rest / self.error) ** 2)))


def _are_parallel(vectors: NDArray[np.float32], parents: Sequence[int], bases: Sequence[int]) -> bool:
    for base in bases:
        if base in parents:
            continue
        left, right = vectors[list(parents)].astype(np.float64) - vectors[base]
        if left @ right > PARALLEL * np.sqrt((left @ left) * (right @ right)):
            return True
    return False


def at_a_glance(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most ``GLANCE`` columns of the vectors, evenly spread, float32 [n, d], contiguous."""
    return np.ascontiguousarray(vectors[:, :: -(-vectors.shape[1] // GLANCE)])


def _gram(vectors: NDArray[np.float32], child: int, candidates: NDArray[np.int64]) -> Floats:
    """Inner products of the differences of the candidates and the child, float64 [k, k]."""
    differences = (vectors[candidates] - vectors[child]).astype(np.float64)
    # A combination of k models fits k of the columns by chance.
    n_columns = differences.shape[1]
    return differences @ differences.T / max(n_columns - len(candidates), 1) * n_columns


def _least_left(gram: Floats) -> float:
    """What the best combination of all candidates leaves, relative to the squared distance of the nearest."""
    nearest = float(np.diag(gram).min())
    if nearest == 0:
        return 1.0
    system = gram / nearest + 1e-9 * np.eye(len(gram))
    return 1.0 / max(float(np.linalg.solve(system, np.ones(len(gram))).sum()), 1e-300)


def _suggested(around: Floats, candidates: NDArray[np.int64], origins: Sequence[int]) -> list[int]:
    """Rows of the models that weigh most in the best regression on all candidates, seen from one of the origins.

    No model takes part with a negative weight, but for the origin: runs of one recipe lie on a line, and with weights
    of either sign they could stand in for anything.
    """
    best: tuple[float, list[int]] = (np.inf, [])
    for origin in origins:
        place = int(np.flatnonzero(candidates == origin)[0])
        others = np.delete(np.arange(len(candidates)), place)
        to_origin, step = around[others, place], around[place, place]
        gram = around[np.ix_(others, others)] - to_origin[:, None] - to_origin[None] + step
        target = step - to_origin
        gram[np.diag_indices_from(gram)] *= 1 + 1e-9
        factor = np.linalg.cholesky(gram + 1e-300 * np.eye(len(gram)))
        weights, left = nnls(factor.T, np.linalg.solve(factor, target))
        left = float(step - 2 * weights @ target + weights @ gram @ weights)
        if left < best[0] * (1 - 1e-6):
            every = np.append(weights, 1 - weights.sum())
            rows = [*(int(candidates[other]) for other in others), origin]
            heaviest = np.argsort(-np.abs(every), kind="stable")[:MOST_TRIED]
            best = (left, [rows[each] for each in heaviest if abs(every[each]) >= LEAST_COEFFICIENT / 2])
    return best[1]


def _fit(own: Floats, rows: Sequence[int], vectors: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Best affine combination of models: coefficients that add up to one, and what is left, [d]."""
    models = vectors[list(rows)].astype(np.float64)
    differences = models[1:] - models[0]
    weights = np.linalg.lstsq(differences @ differences.T, differences @ (own - models[0]), rcond=1e-14)[0]
    rest = own - models[0] - weights @ differences
    # Once more on what is left: the normal equations square the rounding.
    again = np.linalg.lstsq(differences @ differences.T, differences @ rest, rcond=1e-14)[0]
    weights = weights + again
    return np.concatenate([[1 - weights.sum()], weights]), own - models[0] - weights @ differences


def _linear(vectors: NDArray[np.float32], own: _Child, rows: list[int]) -> tuple[Merge | None, float]:
    """The merge with one set of coefficients, and the share of the step from the heaviest parent that is left."""
    if len(rows) < 2:
        return None, 1.0
    weights, rest = _fit(own.weights, rows, vectors)
    step = own.weights - vectors[rows[0]]
    left = float(rest @ rest) / max(float(step @ step), 1e-300)
    kept = list(rows)
    while len(kept) > 2 and own.is_rounding(rest):
        # A parent that changed few weights is missed by the sum of squares, not by the median.
        limit = SPARED * max(own.misfit(rest), TYPICAL[own.precision][1])
        fewer = [kept[:place] + kept[place + 1 :] for place in np.argsort(np.abs(weights)).tolist()]
        fits = ((some, *_fit(own.weights, some, vectors)) for some in fewer)
        spared = next((fit for fit in fits if own.is_rounding(fit[2]) and own.misfit(fit[2]) <= limit), None)
        if spared is None:
            break
        kept, weights, rest = spared
    is_plausible = len(kept) <= MOST_PARENTS and np.abs(weights).min() >= LEAST_COEFFICIENT and (weights < 0).sum() <= 1
    if not is_plausible or not own.is_rounding(rest):
        return None, left
    least = min(own.misfit(own.weights - vectors[row]) for row in kept)
    if least < NEEDED * max(own.misfit(rest), TYPICAL[own.precision][1]):
        return None, left
    return _merge(kept, weights, "linear", rest, own.weights), left


def _by_matrix(
    vectors: NDArray[np.float32], own: _Child, rows: list[int], layout: Sequence[tuple[int, int]]
) -> Merge | None:
    for n_parents in (2, 3):
        for parents in combinations(rows[: n_parents + 3], n_parents):
            found = _fit_matrices(vectors, own, list(parents), layout)
            if found is not None:
                return found
    return None


def _fit_matrices(
    vectors: NDArray[np.float32], own: _Child, parents: list[int], layout: Sequence[tuple[int, int]]
) -> Merge | None:
    models = vectors[parents].astype(np.float64)
    rest = np.zeros_like(own.weights)
    weights = []
    first = 0
    for neurons, width in layout:
        part = slice(first, first + neurons * width)
        first = part.stop
        # A few weights are explained by anything.
        if neurons * width < 16 * len(parents):
            continue
        here, *_ = np.linalg.lstsq(models[:, part].T, own.weights[part], rcond=None)
        rest[part] = own.weights[part] - here @ models[:, part]
        if not own.is_rounding(rest[part], part):
            return None
        weights.append(here)
    if not weights or np.abs(np.mean(weights, axis=0)).min() < LEAST_COEFFICIENT:
        return None
    return _merge(parents, np.mean(weights, axis=0), "by_matrix", rest, own.weights)


def _ties(
    vectors: NDArray[np.float32], child: _Child, candidates: NDArray[np.int64], bases: Sequence[int]
) -> Merge | None:
    """Find parents whose changes the model holds weight by weight, given the base that they changed."""
    own, tolerance = child.weights, 3 * child.error
    found: tuple[int, float, Merge] | None = None
    glance = slice(None, None, max(1, len(own) // TIES_GLANCE))
    for base in bases:
        origin = vectors[base].astype(np.float64)
        change = own - origin
        changed = np.abs(change) > tolerance
        others = [int(row) for row in candidates.tolist() if row != base][:TIES_CANDIDATES]
        if changed.mean() < 0.05 or len(others) < 2:
            continue
        changes = vectors[others, glance].astype(np.float64) - origin[glance]
        scale, shares = _common_scale(change[glance], changes, changed[glance], tolerance[glance])
        places = [place for place in np.argsort(-shares)[:MOST_PARENTS] if shares[place] > 0.04]
        parents = [others[place] for place in places]
        chosen = [vectors[row].astype(np.float64) - origin for row in parents]
        # Where changes are hardly more than rounding, anything explains them: also the same changes misplaced.
        misplaced = [np.roll(each, 1) for each in chosen]
        if len(parents) < 2 or _explained_by_means(change, misplaced, scale, changed, tolerance) > CHANCE:
            continue
        kept = list(range(len(parents)))
        explained = _explained_by_means(change, chosen, scale, changed, tolerance)
        for place in reversed(range(len(parents))):
            fewer = [other for other in kept if other != place]
            without = _explained_by_means(change, [chosen[other] for other in fewer], scale, changed, tolerance)
            if fewer and without > explained - TIES_SPARED:
                kept, explained = fewer, without
        if explained < TIES_EXPLAINED or len(kept) < 2:
            continue
        # Rounded to 16 bits, a run is often where one or the other of its neighbours is.
        if child.precision and _are_alike([chosen[place] for place in kept]):
            continue
        rows = [parents[place] for place in kept]
        merge = _merge(
            [*rows, base], np.append(np.full(len(rows), scale / len(rows)), 1 - scale), "ties", np.zeros_like(own), own
        )
        # From its true base the merge has changed least, and by the fewest parents; the first bases are the likeliest,
        # and where nearly all weights changed there is little to choose between them.
        rank = (len(rows), float(changed.mean()), merge)
        is_better = found is None or rank[0] < found[0] or (rank[0] == found[0] and rank[1] < BETTER_BASE * found[1])
        found = rank if is_better else found
    return found[2] if found else None


def _are_alike(changes: list[Floats]) -> bool:
    """Whether each of several changes goes the way of every other."""
    unit = np.stack([change / max(float(np.sqrt(change @ change)), 1e-300) for change in changes])
    return bool((unit @ unit.T).min() > PARALLEL)


def _common_scale(
    change: Floats, changes: Floats, changed: NDArray[np.bool_], tolerance: Floats
) -> tuple[float, Floats]:
    """Factor at which the most weights hold one candidate's change exactly, and the share of weights for each."""
    best = (0.0, 1.0, np.zeros(len(changes)))
    for scale in _likely_scales(change, changes, changed):
        equal = np.abs(change - scale * changes) <= tolerance
        shares = (equal & changed).sum(axis=1) / max(int(changed.sum()), 1)
        if len(shares) and shares.max() > best[0]:
            best = (float(shares.max()), scale, shares)
    return best[1], best[2]


def _likely_scales(change: Floats, changes: Floats, changed: NDArray[np.bool_]) -> list[float]:
    """One, and the commonest ratios of the model's change to a candidate's."""
    scales = [1.0]
    for candidate in changes[:12]:
        usable = changed & (np.abs(candidate) > np.quantile(np.abs(candidate), 0.7))
        if usable.sum() < 50:
            continue
        ratio = np.sort(change[usable] / candidate[usable])
        window = max(len(ratio) // 40, 5)
        width = ratio[window:] - ratio[:-window]
        place = int(np.argmin(width))
        if 0.05 < ratio[place + window // 2] < 3:
            scales.append(float(ratio[place + window // 2]))
    return scales


def _explained_by_means(
    change: Floats, chosen: list[Floats], scale: float, changed: NDArray[np.bool_], tolerance: Floats
) -> float:
    """Share of the changed weights that hold the scaled, weighted mean of some of the chosen changes."""
    scaled = [scale * each for each in chosen]
    explained = np.zeros(len(change), dtype=bool)
    for each in scaled:
        explained |= np.abs(change - each) <= tolerance
    heft = _hefts(change, scaled, changed & ~explained)
    for size in range(2, len(scaled) + 1):
        for some in combinations(range(len(scaled)), size):
            mean = np.average([scaled[place] for place in some], axis=0, weights=heft[list(some)])
            explained |= np.abs(change - mean) <= tolerance
    return float(explained[changed].mean())


def _hefts(change: Floats, scaled: list[Floats], rest: NDArray[np.bool_]) -> Floats:
    """Weights of the parents in means, from the commonest place of the change between the first and each other."""
    heft = np.ones(len(scaled))
    for place in range(1, len(scaled)):
        apart = scaled[0] - scaled[place]
        usable = rest & (np.abs(apart) > np.median(np.abs(apart)))
        share = (change[usable] - scaled[place][usable]) / apart[usable]
        share = np.sort(share[(share > 0.02) & (share < 0.98)])
        window = max(len(share) // 30, 5)
        if len(share) > 2 * window:
            densest = int(np.argmin(share[window:] - share[:-window]))
            first = float(share[densest + window // 2])
            heft[place] = (1 - first) / first
    return heft


def _merge(parents: list[int], weights: Floats, kind: Kind, rest: Floats, own: Floats) -> Merge:
    residual = float(np.sqrt(np.mean(rest**2)) / max(np.sqrt(np.mean(own**2)), 1e-300))
    order = np.argsort(-np.abs(weights), kind="stable")
    return Merge(
        parents=tuple(parents[place] for place in order),
        coefficients=tuple(float(weights[place]) for place in order),
        kind=kind,
        residual=residual,
    )
