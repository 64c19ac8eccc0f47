"""Lineage kernel: a result is the weighted mean of near models' results, weights learned on other regions.

A neighbour's weight is log-linear in what lies between the two models (``FEATURES``). The means of the region and of
all models take part with weights of their own, so that few or far neighbours are drawn towards them. Weights are
learned for all benchmarks together and then for each one, held to what they have in common, under Huber's loss (Huber,
1964): a few broken results would decide everything otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from atlas_pipeline.attributes.imputation.lineage import N_FOLDS, Lineage
from atlas_pipeline.graph import Nearest, longest_depth

FEATURES: Final = (
    "beyond_1",
    "beyond_2",
    "beyond_3",
    "log_distance",
    "copy",
    "same_author",
    "above",
    "below",
    "merge",
    "log_crowd",
)
"""What a weight depends on: distance, being a copy, the author, generations above or below, being made of several, and
how many other neighbours stand equally far and are by the model's author, or not, as this one."""

HUBER: Final = 0.5
"""Errors beyond so many standard deviations of a benchmark's results count linearly."""

RIDGE: Final = 0.005
"""How strongly common weights are held to ``_PRIOR``."""

COMMON_CASES: Final = 60.0
"""Common weights count as much as so many models when those of one benchmark are learned."""

MOST_CASES: Final = 10_000
"""Models that common weights are learned from, and a quarter of it those of one benchmark."""

_PRIOR: Final = np.array([-0.7, -0.7, -0.7, -1.0, 0.5, 1.0, 0.0, 0.0, 0.0, -0.5, -3.0, -4.0])


@dataclass(frozen=True)
class Neighbourhood:
    """What a result is told from, one row a model; columns are its nearest evaluated models.

    Attributes:
        value: float64 [r, k], their results; 0 where there is none.
        is_there: bool [r, k].
        features: float32 [r, k, features].
        region_mean: float64 [r], mean of the region's results, or of all where it has none.
        overall_mean: float64 [r], mean of all results.
    """

    value: np.ndarray
    is_there: np.ndarray
    features: np.ndarray
    region_mean: np.ndarray
    overall_mean: np.ndarray

    def take(self, rows: np.ndarray) -> Neighbourhood:
        """Only some rows."""
        return Neighbourhood(
            self.value[rows],
            self.is_there[rows],
            self.features[rows],
            self.region_mean[rows],
            self.overall_mean[rows],
        )


def features(lineage: Lineage, depth: np.ndarray, nodes: np.ndarray, nearest: Nearest) -> np.ndarray:
    """What lies between models and those near to them, float32 [r, k, features], 0 where there is none.

    Args:
        lineage: the models.
        depth: int64 [n], ``depths`` of them.
        nodes: int64 [r].
        nearest: of these nodes.
    """
    is_there, source, distance = nearest.source >= 0, np.maximum(nearest.source, 0), nearest.distance
    node = nodes[:, None]
    levels = depth[node] - depth[source]
    n_parents = np.bincount(lineage.graph.child, minlength=lineage.n_models)
    is_own_author = (lineage.author[node] == lineage.author[source]) & (lineage.author[node] >= 0)
    place = 2 * distance + is_own_author
    crowd = np.zeros(place.shape, dtype=np.int32)
    for column in range(place.shape[1]):
        crowd += place == place[:, [column]]
    columns = (
        distance > 1,
        distance > 2,
        distance > 3,
        np.log(np.maximum(distance, 4) / 4),
        lineage.copies[node] == lineage.copies[source],
        is_own_author,
        np.clip(levels, 0, 2),
        np.clip(-levels, 0, 2),
        n_parents[source] > 1,
        np.log(np.maximum(crowd, 1)),
    )
    return np.stack([np.where(is_there, column, 0).astype(np.float32) for column in columns], axis=-1)


def depths(lineage: Lineage) -> np.ndarray:
    """Generations above each model, int64 [n].

    Raises:
        CyclicGraph: the kept edges have a cycle.
    """
    return longest_depth(lineage.graph)


def predict(near: Neighbourhood, weights: np.ndarray) -> np.ndarray:
    """Results as the neighbourhoods tell them, float64 [r].

    Args:
        near: the neighbourhoods.
        weights: float64 [features + 2], or one row for each neighbourhood.
    """
    weight, of_region, of_all, total = _shares(near, np.broadcast_to(weights, (len(near.value), len(FEATURES) + 2)))
    return ((weight * near.value).sum(axis=1) + of_region * near.region_mean + of_all * near.overall_mean) / total


def learn(
    near: Sequence[Neighbourhood], reported: Sequence[np.ndarray], fold: Sequence[np.ndarray], *, seed: int
) -> np.ndarray:
    """Weights for each benchmark and fold, float64 [benchmarks, folds, features + 2]; a fold learns from the others.

    Args:
        near: for each benchmark the neighbourhoods of its evaluated models, their own results left out.
        reported: for each benchmark float64 [r], the results themselves.
        fold: for each benchmark int64 [r].
        seed: draws the models that are learned from where there are too many.
    """
    rng = np.random.default_rng(seed)
    found = np.tile(_PRIOR, (len(near), N_FOLDS, 1))
    if not near:
        return found
    taught = [rng.permutation(np.flatnonzero(each.is_there.any(axis=1))) for each in near]
    for held_out in range(N_FOLDS):
        cases = [rows[fold[i][rows] != held_out] for i, rows in enumerate(taught)]
        scale = [float(np.std(reported[i][rows])) if len(rows) else 1.0 for i, rows in enumerate(cases)]
        scale = [each if each > 0 else 1.0 for each in scale]
        share = MOST_CASES / max(sum(map(len, cases)), MOST_CASES)
        drawn = [rows[: int(np.ceil(len(rows) * share))] for rows in cases]
        common = _fitted(
            _joined([_scaled(each.take(drawn[i]), scale[i]) for i, each in enumerate(near)]),
            np.concatenate([reported[i][rows] / scale[i] for i, rows in enumerate(drawn)]),
            towards=_PRIOR,
            ridge=RIDGE,
        )
        for i, each in enumerate(near):
            rows = cases[i][: MOST_CASES // 4]
            found[i, held_out] = _fitted(
                _scaled(each.take(rows), scale[i]),
                reported[i][rows] / scale[i],
                towards=common,
                ridge=RIDGE * COMMON_CASES / (len(rows) + COMMON_CASES),
            )
    return found


def _shares(near: Neighbourhood, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weights of the neighbours [r, k], of the region's mean, of the mean of all, and their sum, each [r]."""
    exponent = np.einsum("rkf,rf->rk", near.features, weights[:, :-2])
    weight = np.where(near.is_there, np.exp(np.clip(exponent, -20, 20)), 0.0)
    of_region, of_all = np.exp(np.clip(weights[:, -2:], -10, 5)).T
    return weight, of_region, of_all, weight.sum(axis=1) + of_region + of_all


def _fitted(near: Neighbourhood, reported: np.ndarray, *, towards: np.ndarray, ridge: float) -> np.ndarray:
    """Weights with the least mean loss, held to given ones; those where there is nothing to learn from."""
    if not len(reported):
        return towards
    means = np.stack((near.region_mean, near.overall_mean), axis=1)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        weight, of_region, of_all, total = _shares(near, np.broadcast_to(weights, (len(reported), len(weights))))
        around = np.stack((of_region, of_all), axis=1)
        told = ((weight * near.value).sum(axis=1) + (around * means).sum(axis=1)) / total
        error = told - reported
        slope = np.clip(error, -HUBER, HUBER) / total / len(error)
        pull = slope[:, None] * weight * (near.value - told[:, None])
        gradient = np.append(
            np.einsum("rk,rkf->f", pull, near.features),
            (slope[:, None] * around * (means - told[:, None])).sum(axis=0),
        )
        off = weights - towards
        cost = np.where(np.abs(error) <= HUBER, error**2 / 2, HUBER * np.abs(error) - HUBER**2 / 2).mean()
        return float(cost + ridge * off @ off), gradient + 2 * ridge * off

    # One thread: sums, and so bytes, must not depend on how many there are, and the matrices are tiny.
    with threadpool_limits(limits=1):
        return np.asarray(minimize(loss, towards, jac=True, method="L-BFGS-B", options={"maxiter": 100}).x)


def _scaled(near: Neighbourhood, scale: float) -> Neighbourhood:
    return Neighbourhood(
        near.value / scale, near.is_there, near.features, near.region_mean / scale, near.overall_mean / scale
    )


def _joined(parts: Sequence[Neighbourhood]) -> Neighbourhood:
    names = ("value", "is_there", "features", "region_mean", "overall_mean")
    return Neighbourhood(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
