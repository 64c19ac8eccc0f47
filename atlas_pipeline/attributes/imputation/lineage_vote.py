"""Lineage vote: every kind of group proposes its majority, and what such proposals were worth elsewhere decides.

Three things are learned, each for a fold from the labels of the other folds alone:

1. how often a proposal of a kind is right, given its share of the votes, their number, and how the model was made
   (``proposals.py``);
2. what the log-odds of that weigh for each kind, kinds being far from independent: a conditional logit between the
   proposed values and "none of these" (McFadden, 1974);
3. how often the winner is right, given the probability that comes of it: an isotonic regression, whose values are
   the confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import isotonic_regression, minimize
from threadpoolctl import threadpool_limits

from atlas_pipeline.attributes.imputation.lineage import N_FOLDS
from atlas_pipeline.attributes.imputation.proposals import PRIOR_CASES, Proposals, cells, chances, measured

LEAST_CHANCE: Final = 0.002
"""No proposal is held to be surer, or less sure, than this: what is measured is right of a few regions only."""

PRIOR_WEIGHT: Final = 0.3
"""Weight of a kind before anything is learned: three or four kinds mostly say the same thing."""

RIDGE: Final = 0.01
"""How strongly weights are held to ``PRIOR_WEIGHT``."""

MOST_CASES: Final = 20_000
"""Models that weights and the confidence are learned from; they are few numbers, and more models change nothing."""

N_BINS: Final = 100
"""Bins of the isotonic regression, of equally many models each."""

CHUNK: Final = 10_000
"""Models that vote at once, so that their arrays stay in the cache."""


@dataclass(frozen=True)
class Learned:
    """What was learned of one attribute; the first axis of each array is the fold that it is meant for.

    Attributes:
        chances: for each kind float64 [folds, cells], how often a proposal is right.
        weights: float64 [folds, kinds + 1], of the log-odds of each kind, and the score of "none of these".
        edges: float64 [folds, bins - 1], inner edges of the bins of a winner's probability.
        right: float64 [folds, bins], how often such a winner is right, ascending.
    """

    chances: tuple[np.ndarray, ...]
    weights: np.ndarray
    edges: np.ndarray
    right: np.ndarray


@dataclass(frozen=True)
class Vote:
    """What the lineage tells of one attribute, one entry a model.

    Attributes:
        value: int64 [n], code; -1 where no group has a vote.
        evidence: int64 [n], number of the kind that weighed most for the value; -1 likewise.
        n_votes: int64 [n], votes in its group.
        confidence: float64 [n], how often such a vote is right.
    """

    value: np.ndarray
    evidence: np.ndarray
    n_votes: np.ndarray
    confidence: np.ndarray


def learn(
    proposals: Sequence[Proposals], *, reported: np.ndarray, fold: np.ndarray, stratum: np.ndarray, seed: int
) -> Learned:
    """Learn from reported labels what proposals are worth.

    Args:
        proposals: of each kind, the label of the model itself left out.
        reported: int64 [n], code of what a model reports; -1 for nothing.
        fold: int64 [n], below ``N_FOLDS``.
        stratum: int64 [n], from 0: models for which proposals are measured apart, such as those of one relation.
        seed: draws the models that are learned from where there are more than ``MOST_CASES``.
    """
    counted = [measured(kind, reported=reported, fold=fold, stratum=stratum) for kind in proposals]
    order = np.random.default_rng(seed).permutation(np.flatnonzero(reported >= 0))
    weights, edges, right = [], [], []
    for held_out in range(N_FOLDS):
        cases = np.sort(order[fold[order] != held_out][:MOST_CASES])
        # A case is told by what neither its own fold nor the one held out has taught.
        taught = [chances(each, without=held_out) for each in counted]
        ballots = _ballots(proposals, taught, cases, fold=fold, stratum=stratum)
        weights.append(_weights(ballots, reported[cases]))
        winner, probability = _winners(ballots, np.broadcast_to(weights[-1][:, None], (len(weights[-1]), len(cases))))
        has_winner = winner >= 0
        found = _isotonic(probability[has_winner], (winner == reported[cases])[has_winner])
        edges.append(found[0])
        right.append(found[1])
    return Learned(tuple(chances(each) for each in counted), np.stack(weights), np.stack(edges), np.stack(right))


def vote(proposals: Sequence[Proposals], learned: Learned, *, fold: np.ndarray, stratum: np.ndarray) -> Vote:
    """Let proposals vote by what was learned; no model's own fold had a part in that.

    Of values with equal scores the one with the least code wins, of kinds that weigh as much the first.

    Args:
        proposals: of the same kinds as those that were learned from.
        learned: what was learned.
        fold: int64 [n].
        stratum: int64 [n].
    """
    parts = [
        _vote(proposals, learned, np.arange(start, min(start + CHUNK, len(fold))), fold=fold, stratum=stratum)
        for start in range(0, len(fold), CHUNK)
    ]
    names = ("value", "evidence", "n_votes", "confidence")
    empty = Vote(*(np.zeros(0, dtype=dtype) for dtype in (np.int64, np.int64, np.int64, np.float64)))
    return Vote(*(np.concatenate([getattr(part, name) for part in (empty, *parts)]) for name in names))


def _vote(
    proposals: Sequence[Proposals], learned: Learned, models: np.ndarray, *, fold: np.ndarray, stratum: np.ndarray
) -> Vote:
    ballots = _ballots(proposals, learned.chances, models, fold=fold, stratum=stratum)
    weights = learned.weights.T[:, fold[models]]
    value, probability = _winners(ballots, weights)
    support = np.where(ballots.value == value, ballots.log_odds * weights[:-1], -np.inf)
    evidence = np.where(value >= 0, support.argmax(axis=0), -1)
    confidence = np.zeros(len(models))
    for number in range(N_FOLDS):
        chosen = np.flatnonzero((fold[models] == number) & (value >= 0))
        place = np.searchsorted(learned.edges[number], probability[chosen], side="right")
        confidence[chosen] = learned.right[number, place]
    n_votes = np.where(value >= 0, ballots.n_votes[evidence, np.arange(len(models))], 0)
    return Vote(value, evidence, n_votes, confidence)


@dataclass(frozen=True)
class _Ballots:
    """What each kind proposes for some models.

    Attributes:
        value: int32 [kinds, c], -1 where a kind proposes nothing.
        log_odds: float64 [kinds, c], 0 likewise.
        n_votes: int32 [kinds, c], votes in the kind's group, 0 likewise.
    """

    value: np.ndarray
    log_odds: np.ndarray
    n_votes: np.ndarray


def _ballots(
    proposals: Sequence[Proposals],
    tables: Sequence[np.ndarray],
    models: np.ndarray,
    *,
    fold: np.ndarray,
    stratum: np.ndarray,
) -> _Ballots:
    """Each kind's best proposal for some models, these ascending."""
    shape = (len(proposals), len(models))
    value, n_votes = np.full(shape, -1, dtype=np.int32), np.zeros(shape, dtype=np.int32)
    log_odds = np.zeros(shape)
    # Of the models' own type: another one would have searchsorted copy all of them each time.
    models = models.astype(np.int32)
    span = models[[0, -1]] + np.array([0, 1], dtype=np.int32) if len(models) else np.zeros(2, dtype=np.int32)
    for number, (every, table) in enumerate(zip(proposals, tables, strict=True)):
        start, end = np.searchsorted(every.model, span)
        kind = every.take(slice(start, end))
        place = np.searchsorted(models, kind.model)
        is_asked = models[place] == kind.model
        kind, place = kind.take(is_asked), place[is_asked]
        cell = cells(kind, stratum)
        chance = np.clip(table[fold[kind.model], cell], LEAST_CHANCE, 1 - LEAST_CHANCE)
        if (place[1:] == place[:-1]).any():
            # Written from the worst to the best, so that the best stays; of equals the least code.
            order = np.lexsort((-kind.value, chance))
            kind, place, chance = kind.take(order), place[order], chance[order]
        value[number, place], n_votes[number, place] = kind.value, kind.n_votes
        log_odds[number, place] = np.log(chance / (1 - chance))
    return _Ballots(value, log_odds, n_votes)


def _tallied(ballots: _Ballots, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Score of each kind's value, over all kinds that propose it, and how many do, both [kinds, c].

    Args:
        ballots: the ballots.
        weights: float64 [kinds, c], those of each model.
    """
    weighed = ballots.log_odds * weights
    score, n_kinds = weighed.copy(), np.ones(weighed.shape)
    for number in range(len(weighed) - 1):
        is_same = ballots.value[number] == ballots.value[number + 1 :]
        score[number] += (is_same * weighed[number + 1 :]).sum(axis=0)
        score[number + 1 :] += is_same * weighed[number]
        n_kinds[number] += is_same.sum(axis=0)
        n_kinds[number + 1 :] += is_same
    return score, n_kinds


def _winners(ballots: _Ballots, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The value with the greatest score of each model, int64 [c], -1 for none, and its probability, float64 [c].

    Args:
        ballots: the ballots.
        weights: float64 [kinds + 1, c], those of each model.
    """
    score, n_kinds = _tallied(ballots, weights[:-1])
    score = np.where(ballots.value >= 0, score, -np.inf)
    best = score.max(axis=0, initial=-np.inf)
    last = np.iinfo(np.int32).max
    value = np.where((score == best) & (ballots.value >= 0), ballots.value, last).min(axis=0, initial=last)
    top = np.maximum(best, weights[-1])
    total = (np.exp(score - top) / n_kinds).sum(axis=0) + np.exp(weights[-1] - top)
    return np.where(np.isfinite(best), value, -1), np.exp(best - top) / total


def _weights(ballots: _Ballots, reported: np.ndarray) -> np.ndarray:
    """Weights of the conditional logit, float64 [kinds + 1]; those of kinds are not below 0.

    Args:
        ballots: of the models that are learned from.
        reported: int64 [c], what they report.
    """
    n_kinds = len(ballots.value)
    prior = np.append(np.full(n_kinds, PRIOR_WEIGHT), 0.0)
    has_any = (ballots.value >= 0).any(axis=0)
    if not has_any.any():
        return prior
    value, reported = ballots.value.T[has_any], reported[has_any]
    n_cases = len(value)
    is_same = (value[:, :, None] == value[:, None, :]) & (value[:, :, None] >= 0)
    # Kinds that propose one value are one candidate: each stands for its part of it.
    part = np.where(value >= 0, 1 / np.maximum(is_same.sum(axis=2), 1), 0.0)
    odds = is_same * ballots.log_odds.T[has_any][:, None, :]
    truth = part * (value == reported[:, None])
    is_none = 1 - truth.sum(axis=1)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        score = np.einsum("ckj,j->ck", odds, weights[:-1])
        top = np.maximum(score.max(axis=1), weights[-1])
        grown, none = part * np.exp(score - top[:, None]), np.exp(weights[-1] - top)
        total = grown.sum(axis=1) + none
        likelihood = (truth * (score - top[:, None])).sum() + (is_none * (weights[-1] - top)).sum()
        missing = truth - grown / total[:, None]
        gradient = np.append(np.einsum("ck,ckj->j", missing, odds), (is_none - none / total).sum()) / n_cases
        off = weights - prior
        cost = (np.log(total).sum() - likelihood) / n_cases + RIDGE * off @ off
        return float(cost), 2 * RIDGE * off - gradient

    bounds = [(0.0, None)] * n_kinds + [(None, None)]
    # One thread: sums, and so bytes, must not depend on how many there are, and the matrices are tiny.
    with threadpool_limits(limits=1):
        return np.asarray(minimize(loss, prior, jac=True, method="L-BFGS-B", bounds=bounds).x)


def _isotonic(probability: np.ndarray, is_right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often winners of each bin of probability are right, ascending: inner edges and shares."""
    if not len(probability):
        return np.full(N_BINS - 1, np.inf), np.full(N_BINS, 0.5)
    edges = np.quantile(probability, np.linspace(0, 1, N_BINS + 1)[1:-1])
    place = np.searchsorted(edges, probability, side="right")
    cases = np.bincount(place, minlength=N_BINS)
    right = np.bincount(place[is_right], minlength=N_BINS)
    # A bin without a case, where many models have one probability, carries next to no weight.
    share = (right + is_right.mean()) / (cases + 1)
    share = isotonic_regression(share, weights=cases + 1e-9).x
    # Few cases prove little, however well they agree.
    return edges, 0.5 + (share - 0.5) * len(is_right) / (len(is_right) + PRIOR_CASES)
