"""Lineage kernel on neighbourhoods whose true weights are known."""

from __future__ import annotations

import numpy as np
import pytest

from atlas_pipeline.attributes.imputation import lineage_kernel
from atlas_pipeline.attributes.imputation.lineage import N_FOLDS
from atlas_pipeline.attributes.imputation.lineage_kernel import FEATURES, Neighbourhood, learn, predict

AUTHOR, FAR = FEATURES.index("same_author"), FEATURES.index("beyond_1")


def planted(n: int = 1500, k: int = 6, *, seed: int = 0):
    """Results that neighbours of one's own author tell well and others badly."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0.5, 0.1, n)
    features = np.zeros((n, k, len(FEATURES)), dtype=np.float32)
    features[:, :, AUTHOR] = rng.random((n, k)) < 0.5
    features[:, :, FAR] = rng.random((n, k)) < 0.5
    noise = np.where(features[:, :, AUTHOR] > 0, 0.01, 0.2)
    value = truth[:, None] + rng.normal(0, 1, (n, k)) * noise
    means = np.full(n, 0.5)
    near = Neighbourhood(value, np.ones((n, k), dtype=bool), features, means, means)
    return near, truth, rng.integers(0, N_FOLDS, n)


def squared(near, weights, truth):
    return float(((predict(near, weights) - truth) ** 2).mean())


def test_weights_are_learned_and_beat_the_plain_mean():
    near, truth, fold = planted()
    weights = learn([near], [truth], [fold], seed=0)
    assert weights.shape == (1, N_FOLDS, len(FEATURES) + 2)
    assert (weights[0, :, AUTHOR] > 2).all() and (np.abs(weights[0, :, FAR]) < 1).all()
    assert squared(near, weights[0, fold], truth) < ((near.value.mean(axis=1) - truth) ** 2).mean() / 5


def test_results_of_a_fold_have_no_part_in_its_weights():
    near, truth, fold = planted(400)
    before = learn([near], [truth], [fold], seed=0)[0]
    for held_out in range(N_FOLDS):
        after = learn([near], [np.where(fold == held_out, truth[::-1], truth)], [fold], seed=0)[0]
        assert (after[held_out] == before[held_out]).all()
        assert (after != before).any(axis=1).sum() == N_FOLDS - 1, "the others have learned of it"


def test_what_is_told_lies_between_what_was_heard():
    near, truth, fold = planted(300)
    told = predict(near, learn([near], [truth], [fold], seed=0)[0, fold])
    heard = np.column_stack((near.value, near.region_mean))
    assert (told >= heard.min(axis=1)).all() and (told <= heard.max(axis=1)).all()


def test_without_neighbours_the_region_and_all_others_tell():
    features = np.zeros((1, 3, len(FEATURES)), dtype=np.float32)
    nobody = np.zeros((1, 3))
    near = Neighbourhood(nobody, nobody > 0, features, np.array([0.4]), np.array([0.8]))
    weights = np.zeros(len(FEATURES) + 2)
    assert predict(near, weights) == pytest.approx([0.6])


def test_a_small_benchmark_borrows_from_the_others():
    large, truth, fold = planted(1500, seed=1)
    small, few, its_fold = planted(12, seed=2)
    alone = learn([small], [few], [its_fold], seed=0)[0, :, AUTHOR].mean()
    together = learn([large, small], [truth, few], [fold, its_fold], seed=0)[1, :, AUTHOR].mean()
    assert together > alone and together > 2


def test_the_gradient_is_that_of_the_loss(monkeypatch):
    near, truth, _ = planted(60)
    seen = {}

    def look(loss, start, **options):
        seen["loss"] = loss
        raise StopIteration

    monkeypatch.setattr(lineage_kernel, "minimize", look)
    with pytest.raises(StopIteration):
        learn([near], [truth], [np.arange(60) % N_FOLDS], seed=0)
    at = np.random.default_rng(3).normal(0, 0.5, len(FEATURES) + 2)
    _, gradient = seen["loss"](at)
    for i, step in enumerate(np.eye(len(at)) * 1e-6):
        slope = (seen["loss"](at + step)[0] - seen["loss"](at - step)[0]) / 2e-6
        assert gradient[i] == pytest.approx(slope, abs=1e-6)


def test_nothing_to_learn_from_leaves_the_weights_as_they_were():
    near, truth, fold = planted(0)
    assert learn([near], [truth], [fold], seed=0).shape == (1, N_FOLDS, len(FEATURES) + 2)
    assert learn([], [], [], seed=0).shape == (0, N_FOLDS, len(FEATURES) + 2)
