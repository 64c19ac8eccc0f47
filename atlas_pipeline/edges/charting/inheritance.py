"""Does a model hold what another one had learnt? The figures on which that is decided.

For a candidate q with believed parent g, ``x = q - g`` is what q learnt. A descendant c of q holds x whole, also the
part that was chance: the order of the data, the rounding. A sibling of q holds at most the part that training on the
same data gives everyone. The two are told apart by

* slope and angle of ``y = c - q`` on x: a child goes its own way, a sibling points back, for it lacks what q had;
* the same neuron by neuron: where a neuron learnt mostly chance, a sibling points back even if it trained longer;
* the regression of ``c - g`` on x *and* what q's siblings learnt: what they have in common is taken by all of them,
  what is left to q is what only a descendant holds;
* the same regression with none but models older than q: where a whole sweep is believed to come from its grandparent,
  its runs hold what q learnt and would explain it away, but what is older than q cannot;
* the share of q in the combination of all earlier neighbours that comes nearest to c;
* neurons equal bit by bit: one that q changed and c has as g had it was never inherited from q.

Every figure is a ratio: none depends on the width or the scale of the weights.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.edges.charting.forest import Forest
from atlas_pipeline.edges.charting.neighborhoods import Neighborhoods

Floats = NDArray[np.float64]

N_CONTROLS: Final = 6
"""Siblings that are held beside a candidate in the regression."""

TINY: Final = 1e-30
_RIDGE: Final = 1e-3

TRIANGLE = ("slope", "cosine", "log_step_ratio", "log_span_ratio")
NEURONS = ("slope_p10", "slope_p50", "slope_p90", "cosine_p10", "cosine_p50", "cosine_p90", "neuron_correlation")
EQUAL = ("equal_share", "inherited_share", "reverted_share")
REGRESSION = (
    "own_share",
    "greatest_other",
    "sum_others",
    "n_controls",
    "private_slope",
    "private_share",
    "log_residual",
)
STAR = ("star_mean", "star_share")
JOINT = ("joint_share_free", "joint_share", "joint_share_held")
RIDGES: Final = (1e-3, 1e-1, 10.0)
"""How strongly the shares of the joint regression are held back, relative to the nearest model's distance."""
FEATURES: Final = (
    *TRIANGLE,
    *NEURONS,
    *EQUAL,
    *(f"{name}_any_time" for name in REGRESSION),
    *(f"{name}_earlier" for name in REGRESSION),
    *(f"{name}_older" for name in REGRESSION),
    *STAR,
    *JOINT,
)
"""Names of the figures of a (child, candidate)."""


def inheritance(
    products: NDArray[np.float32],
    around: Neighborhoods,
    children: NDArray[np.int64],
    forest: Forest,
    position: NDArray[np.int64],
) -> Floats:
    """Measure every candidate of some children.

    Args:
        products: float32 [b, r, m, m], as ``geometry.local_products`` gives them.
        around: neighbourhoods of these children.
        children: int64 [b], their rows.
        forest: the tree as believed now.
        position: int64 [n], place of each model in the order of creation.

    Returns:
        float64 [b, k, len(FEATURES)]; NaN where a candidate is missing, has no believed parent, or a figure has no
        meaning.
    """
    child = np.arange(len(children))[:, None]
    q, g = around.candidate_at, around.reference_at
    total = products.sum(axis=1, dtype=np.float64)
    by_neuron = products.transpose(0, 2, 3, 1)
    here = by_neuron[child, q, q], by_neuron[child, q, g], by_neuron[child, g, g]
    parts = [
        _triangle(total[child, q, q], total[child, q, g], total[child, g, g]),
        _neurons(*here),
        _equal(*here),
    ]
    members = around.members[:, None, :]
    candidate, reference = around.candidate[:, :, None], around.reference[:, :, None]
    # Neither of the two may stand for itself, nor one that descends from the child or from the candidate.
    is_control = (members >= 0) & (members != candidate) & (members != reference)
    is_control &= ~forest.descends(members, children[:, None, None]) & ~forest.descends(members, candidate)
    is_control &= ~forest.descends(reference, members)
    is_earlier = position[members] < position[children][:, None, None]
    # What is older than the candidate cannot hold what it learnt, however wrong the believed tree is.
    is_older = position[members] < position[candidate]
    parts += [_regression(total, q, g, is_control & when) for when in (True, is_earlier, is_older)]
    parts.append(_star(total, q, is_control))
    parts.append(_joint(total, q, is_earlier[:, 0] & (around.members >= 0)))
    features = np.concatenate(parts, axis=2)
    features[around.candidate < 0] = np.nan
    features[(around.reference < 0), : -len(STAR + JOINT)] = np.nan
    return features


def _triangle(qq: Floats, qg: Floats, gg: Floats) -> Floats:
    x, y, w, xy = np.maximum(qq - 2 * qg + gg, 0) + TINY, qq + TINY, gg + TINY, qg - qq
    return np.stack([xy / x, xy / np.sqrt(x * y), np.log(y / x), np.log(w / x)], axis=-1)


def _neurons(qq: NDArray[np.float32], qg: NDArray[np.float32], gg: NDArray[np.float32]) -> Floats:
    x, y, xy = np.maximum(qq - 2 * qg + gg, 0) + TINY, qq + TINY, qg - qq
    slope = np.sort(np.clip(xy / x, -1e6, 1e6), axis=-1)
    cosine = np.sort(xy / np.sqrt(x) / np.sqrt(y), axis=-1)
    at = np.rint(np.array([0.1, 0.5, 0.9]) * (slope.shape[-1] - 1)).astype(int)
    left, right = np.log(x).astype(np.float64), np.log(y).astype(np.float64)
    left, right = left - left.mean(axis=-1, keepdims=True), right - right.mean(axis=-1, keepdims=True)
    both = np.sqrt((left**2).sum(axis=-1) * (right**2).sum(axis=-1)) + TINY
    correlation = (left * right).sum(axis=-1) / both
    return np.concatenate([slope[..., at], cosine[..., at], correlation[..., None]], axis=-1).astype(np.float64)


def _equal(qq: NDArray[np.float32], qg: NDArray[np.float32], gg: NDArray[np.float32]) -> Floats:
    same, reference_same = qq == 0, gg == 0
    inherited, reverted = same & ~reference_same, reference_same & ~same
    return np.stack([same.mean(axis=-1), inherited.mean(axis=-1), reverted.mean(axis=-1)], axis=-1)


def _regression(total: Floats, q: NDArray[np.int64], g: NDArray[np.int64], allowed: NDArray[np.bool_]) -> Floats:
    """Regress ``c - g`` on ``q - g`` and the nearest allowed members relative to g."""
    b, _, m = allowed.shape
    n_controls = min(N_CONTROLS, m)
    first = np.argsort(~allowed, axis=2, kind="stable")[:, :, :n_controls]
    has = np.take_along_axis(allowed, first, axis=2)
    # A control that is missing stands at g: its difference is zero and takes no part.
    at = np.concatenate([q[:, :, None], np.where(has, first, g[:, :, None])], axis=2)
    child = np.arange(b)[:, None, None]
    to_g = total[child, at, g[:, :, None]]
    gg = total[np.arange(b)[:, None], g, g]
    gram = total[child[..., None], at[..., :, None], at[..., None, :]]
    gram = gram - to_g[..., :, None] - to_g[..., None, :] + gg[..., None, None]
    target = gg[..., None] - to_g
    size = n_controls + 1
    diagonal = np.einsum("bkii->bki", gram)
    ridge = np.where(diagonal > 0, _RIDGE * diagonal, 1.0)
    system = gram + ridge[..., None] * np.eye(size)
    weights = np.linalg.solve(system, target[..., None])[..., 0]
    others = np.linalg.solve(system[..., 1:, 1:], gram[..., 1:, :1])[..., 0]
    x = gram[..., 0, 0]
    private = x - 2 * np.einsum("bki,bki->bk", others, gram[..., 1:, 0])
    private += np.einsum("bki,bkij,bkj->bk", others, gram[..., 1:, 1:], others)
    along = target[..., 0] - np.einsum("bki,bki->bk", others, target[..., 1:])
    residual = gg - 2 * np.einsum("bki,bki->bk", weights, target)
    residual += np.einsum("bki,bkij,bkj->bk", weights, gram, weights)
    step = total[np.arange(b)[:, None], q, q] + TINY
    figures = np.stack(
        [
            weights[..., 0],
            weights[..., 1:].max(axis=2),
            weights[..., 1:].sum(axis=2),
            has.sum(axis=2),
            along / np.maximum(private, _RIDGE * np.maximum(x, TINY)),
            private / (x + TINY),
            np.log(np.maximum(residual, TINY) / step),
        ],
        axis=-1,
    )
    alone = ~has.any(axis=2)
    figures[alone] = np.nan
    figures[alone, REGRESSION.index("n_controls")] = 0.0
    return figures


def _star(total: Floats, q: NDArray[np.int64], allowed: NDArray[np.bool_]) -> Floats:
    """Angles at the candidate between the child and the other members: small ones where all left a common centre."""
    child = np.arange(len(q))[:, None]
    qq = total[child, q, q][..., None]
    qs = total[child, q]
    ss = np.einsum("bmm->bm", total)[:, None, :] - 2 * qs + qq
    cosine = (qq - qs) / np.sqrt(np.maximum(ss, 0) * qq + TINY)
    n = allowed.sum(axis=2)
    mean = np.where(allowed, cosine, 0).sum(axis=2) / np.maximum(n, 1)
    share = ((cosine > 0.3) & allowed).sum(axis=2) / np.maximum(n, 1)
    return np.where((n > 0)[..., None], np.stack([mean, share], axis=-1), np.nan)


def _joint(total: Floats, q: NDArray[np.int64], allowed: NDArray[np.bool_]) -> Floats:
    """Shares of the members in the combination, adding up to one, that comes nearest to the child."""
    gram = np.where(allowed[:, :, None] & allowed[:, None, :], total, 0.0)
    diagonal = np.einsum("bmm->bm", gram)
    nearest = np.where(allowed, diagonal, np.inf).min(axis=1, keepdims=True)
    # A member that equals the child would leave the others no ridge at all.
    nearest = np.maximum(nearest, 1e-9 * diagonal.max(axis=1, keepdims=True))
    nearest = np.where(np.isfinite(nearest), nearest, 1.0) + TINY
    shares = []
    for ridge in RIDGES:
        system = gram / nearest[..., None] + ridge * np.eye(gram.shape[1])
        weights = np.linalg.solve(system, allowed[..., None].astype(np.float64))[..., 0]
        weights /= weights.sum(axis=1, keepdims=True) + TINY
        shares.append(np.take_along_axis(weights, q, axis=1))
    return np.stack(shares, axis=-1)
