from __future__ import annotations

import numpy as np
import pytest

from atlas_pipeline.repositories.demo.making import NETWORKS
from atlas_pipeline.repositories.demo.networks import StripFormer


def _example(name):
    generator = np.random.default_rng(5)
    network = NETWORKS[name]
    weights = {n: w.astype(np.float64) for n, w in network.initialize(generator).items()}
    # Gains and biases away from their first values, so that a gradient that forgets them is seen.
    weights = {n: w + 0.1 * generator.standard_normal(w.shape) for n, w in weights.items()}
    images = generator.random((6, 8, 8))
    targets = generator.integers(10, size=6) if isinstance(network, StripFormer) else generator.random((6, 8, 8))
    return network, weights, images, targets


@pytest.mark.parametrize("name", ["former", "denoiser"])
def test_gradients_equal_differences_of_the_loss(name):
    network, weights, images, targets = _example(name)
    _, gradients = network.loss_and_gradients(weights, images, targets)
    generator = np.random.default_rng(6)
    for tensor in weights:
        direction = generator.standard_normal(weights[tensor].shape)
        direction /= np.linalg.norm(direction)
        ends = [
            network.loss_and_gradients({**weights, tensor: weights[tensor] + step * direction}, images, targets)[0]
            for step in (1e-5, -1e-5)
        ]
        assert np.sum(gradients[tensor] * direction) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("name", ["former", "tall_former", "denoiser"])
def test_networks_fit_gguf_blocks_and_are_small(name):
    weights = NETWORKS[name].initialize(np.random.default_rng(0))
    assert all(w.shape[1] % 32 == 0 for w in weights.values() if w.ndim == 2)
    assert 20_000 <= sum(w.size for w in weights.values()) <= 120_000
    assert {w.dtype for w in weights.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", ["former", "denoiser"])
def test_an_image_is_answered_alike_alone_and_in_company(name):
    network, weights, images, _ = _example(name)
    together = network.outputs(weights, images)
    alone = np.concatenate([network.outputs(weights, images[i : i + 1]) for i in range(len(images))])
    np.testing.assert_allclose(alone, together, rtol=1e-10)


def test_all_tokens_see_each_other():
    network, weights, images, _ = _example("former")
    changed = images.copy()
    changed[0, 7, 7] += 1.0
    difference = network.outputs(weights, changed) - network.outputs(weights, images)
    assert np.all(difference[0] != 0)
    assert np.all(difference[1:] == 0)
