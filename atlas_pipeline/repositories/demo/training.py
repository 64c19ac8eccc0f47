"""Gradient descent: the optimiser, full runs, low-rank adapters, and the measuring of what was learnt.

Runs are deterministic: the batches
come from the generator they are given, and the caller keeps the linear algebra to one thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.repositories.demo.networks import Array, Denoiser, Network, Weights
from atlas_pipeline.repositories.demo.tasks import Digits, Task, denoising_pairs, task_images

_BATCH_SIZE: Final = 32
_MEASURING_SEED: Final = 397


@dataclass
class Moments:
    """Adam's running means of gradient and squared gradient over all tensors, flattened in order, and its step."""

    first: Array
    second: Array
    step: int = 0


@dataclass(frozen=True)
class Run:
    """What a run of training leaves: the weights, and the optimiser's state for a run that goes on."""

    weights: Weights
    moments: Moments = field(repr=False)


@dataclass(frozen=True)
class LowRank:
    """One adapted matrix: `scale * up @ down` is added to it; down [rank, in], up [out, rank], float32."""

    down: Array
    up: Array
    scale: float

    def change(self) -> Array:
        """The change of the adapted matrix, [out, in] float32."""
        return np.float32(self.scale) * (self.up @ self.down)


def _batch(
    network: Network, task: Task, digits: Digits, generator: np.random.Generator
) -> tuple[Array, NDArray[np.floating[Any]] | NDArray[np.int64]]:
    eligible = np.flatnonzero(np.isin(digits.train_labels, task.classes))
    picked = generator.choice(eligible, _BATCH_SIZE)
    show = denoising_pairs if isinstance(network, Denoiser) else task_images
    return show(task, digits.train_images[picked], digits.train_labels[picked], generator)


class _Adam:
    """Adam (Kingma and Ba 2015, algorithm 1) over one flat vector, of which the tensors are views."""

    def __init__(self, tensors: Mapping[str, Array], *, learning_rate: float, moments: Moments | None = None) -> None:
        self.flat = np.concatenate([tensor.ravel() for tensor in tensors.values()]).astype(np.float32)
        self.views: Weights = {}
        start = 0
        for name, tensor in tensors.items():
            self.views[name] = self.flat[start : start + tensor.size].reshape(tensor.shape)
            start += tensor.size
        self.learning_rate = learning_rate
        zeros = np.zeros_like(self.flat)
        self.moments = (
            Moments(zeros, zeros.copy())
            if moments is None
            else Moments(moments.first.copy(), moments.second.copy(), moments.step)
        )

    def step(self, gradients: Mapping[str, Array]) -> None:
        gradient = np.concatenate([gradients[name].ravel() for name in self.views])
        moments, beta1, beta2 = self.moments, 0.9, 0.999
        moments.step += 1
        moments.first += np.float32(1 - beta1) * (gradient - moments.first)
        moments.second += np.float32(1 - beta2) * (gradient * gradient - moments.second)
        rate = self.learning_rate * np.sqrt(1 - beta2**moments.step) / (1 - beta1**moments.step)
        self.flat -= np.float32(rate) * moments.first / (np.sqrt(moments.second) + np.float32(1e-8))

    def tensors(self) -> Weights:
        return {name: view.copy() for name, view in self.views.items()}


def train(
    network: Network,
    weights: Mapping[str, Array],
    *,
    task: Task,
    digits: Digits,
    learning_rate: float,
    n_steps: int,
    generator: np.random.Generator,
    frozen: Sequence[str] = (),
    moments: Moments | None = None,
) -> Run:
    """Train all tensors with Adam on batches of 32 digits.

    Args:
        network: The network to run.
        weights: Where to start; left as they are.
        task: The variant of the digits to learn.
        digits: The split to draw from.
        learning_rate: Adam's step size.
        n_steps: Number of batches.
        generator: Source of the batches and their noise.
        frozen: Beginnings of tensor names that stay bit for bit the same.
        moments: The optimiser's state of an earlier run to go on from.

    Returns:
        The trained float32 weights and the optimiser's state.
    """
    adam = _Adam(weights, learning_rate=learning_rate, moments=moments)
    held = [name for name in weights if name.startswith(tuple(frozen))] if frozen else []
    for _ in range(n_steps):
        images, targets = _batch(network, task, digits, generator)
        _, gradients = network.loss_and_gradients(adam.views, images, targets)
        for name in held:
            gradients[name] = np.zeros_like(gradients[name])
        adam.step(gradients)
    return Run(adam.tensors(), adam.moments)


def train_adapter(
    network: Network,
    weights: Mapping[str, Array],
    *,
    modules: Sequence[str],
    rank: int,
    alpha: float,
    task: Task,
    digits: Digits,
    learning_rate: float,
    n_steps: int,
    generator: np.random.Generator,
) -> dict[str, LowRank]:
    """Train low-rank changes of some matrices while the weights themselves stay fixed.

    LoRA (Hu et al. 2021, section 4.1): W + (alpha / rank) B A, A drawn at random, B zero at first.

    Args:
        network: The network to run.
        weights: The fixed weights.
        modules: Modules to adapt, each with a matrix `<module>.weight`.
        rank: Rank of every change.
        alpha: LoRA's numerator of the scale.
        task: The variant of the digits to learn.
        digits: The split to draw from.
        learning_rate: Adam's step size on A and B.
        n_steps: Number of batches.
        generator: Source of A, the batches and their noise.

    Returns:
        The trained change of every module, by module name.
    """
    scale = alpha / rank
    start: Weights = {}
    for module in modules:
        rows, columns = weights[f"{module}.weight"].shape
        bound = 1.0 / np.sqrt(columns)
        start[f"{module}.down"] = generator.uniform(-bound, bound, (rank, columns)).astype(np.float32)
        start[f"{module}.up"] = np.zeros((rows, rank), np.float32)
    adam = _Adam(start, learning_rate=learning_rate)

    def adapters() -> dict[str, LowRank]:
        return {m: LowRank(adam.views[f"{m}.down"], adam.views[f"{m}.up"], scale) for m in modules}

    for _ in range(n_steps):
        images, targets = _batch(network, task, digits, generator)
        _, full = network.loss_and_gradients(add_adapters(weights, adapters()), images, targets)
        gradients: Weights = {}
        for module, pair in adapters().items():
            gradient = np.float32(scale) * full[f"{module}.weight"]
            gradients[f"{module}.down"] = pair.up.T @ gradient
            gradients[f"{module}.up"] = gradient @ pair.down.T
        adam.step(gradients)
    return {module: LowRank(pair.down.copy(), pair.up.copy(), scale) for module, pair in adapters().items()}


def add_adapters(weights: Mapping[str, Array], adapters: Mapping[str, LowRank]) -> Weights:
    """Add low-rank changes to the weights they were trained for.

    Args:
        weights: Full weights; left as they are.
        adapters: Changes by module name.

    Returns:
        All tensors, the adapted ones new arrays.
    """
    changed = {f"{module}.weight": pair.change() for module, pair in adapters.items()}
    return {name: tensor + changed[name] if name in changed else tensor for name, tensor in weights.items()}


def accuracy(network: Network, weights: Mapping[str, Array], *, task: Task, digits: Digits) -> float:
    """Measure the share of held-out digits that a classifier names right, in [0, 1], with a fixed draw of noise."""
    generator = np.random.default_rng(_MEASURING_SEED)
    images, labels = task_images(task, digits.test_images, digits.test_labels, generator)
    return float(np.mean(np.argmax(network.outputs(weights, images), axis=1) == labels))


def restoration_error(network: Network, weights: Mapping[str, Array], *, task: Task, digits: Digits) -> float:
    """Measure a denoiser's mean squared error per pixel on held-out digits, with a fixed draw of noise."""
    generator = np.random.default_rng(_MEASURING_SEED)
    noisy, clean = denoising_pairs(task, digits.test_images, digits.test_labels, generator)
    return network.loss_and_gradients(weights, noisy, clean)[0]
