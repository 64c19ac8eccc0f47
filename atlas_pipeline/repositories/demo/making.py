"""Carries out one plan of the recipe: trains, adapts, merges, rounds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from atlas_pipeline.repositories.demo.formats import dequantize_int8, quantize_int8, round_to, through_gguf
from atlas_pipeline.repositories.demo.lineage import (
    Cast,
    FineTuning,
    Gguf,
    Int8,
    LinearMerge,
    LoraTuning,
    ModelPlan,
    Pretraining,
    Reupload,
    SphericalMerge,
)
from atlas_pipeline.repositories.demo.networks import Array, Denoiser, Network, StripFormer, Weights
from atlas_pipeline.repositories.demo.tasks import TASKS, Digits
from atlas_pipeline.repositories.demo.training import (
    LowRank,
    Moments,
    add_adapters,
    train,
    train_adapter,
)

NETWORKS: Final[Mapping[str, Network]] = {
    "former": StripFormer(),
    "tall_former": StripFormer(n_layers=3),
    "denoiser": Denoiser(),
}


@dataclass(frozen=True)
class MadeModel:
    """A model with the float32 values that its files stand for; those of an adapter include its base.

    `unrounded` holds the values from before a cast or quantisation of this model, `task` what it was last trained for.
    """

    plan: ModelPlan
    network: Network
    weights: Weights
    unrounded: Weights
    task: str
    dtype: str = "F32"
    adapters: Mapping[str, LowRank] | None = None
    moments: Moments | None = None


def generator_for(seed: int, model_id: str, purpose: str) -> np.random.Generator:
    """Give a model its own source of random numbers, independent of every other model and of the recipe's order."""
    digest = hashlib.sha256(f"{model_id}\n{purpose}".encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, np.uint32).tolist()])


def spherical_mean(first: Array, second: Array, fraction: float) -> Array:
    """Interpolate between two tensors along the arc between their directions (Shoemake 1985, section 3.3).

    Args:
        first: Tensor at fraction 0.
        second: Tensor at fraction 1, of the same shape.
        fraction: How far to go.

    Returns:
        The interpolated tensor, float32; the straight line's point where the tensors are parallel or zero.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    angle = np.arccos(np.clip(np.sum(a * b) / norms, -1.0, 1.0)) if norms > 0 else 0.0
    if np.sin(angle) < 1e-6:
        return ((1 - fraction) * a + fraction * b).astype(np.float32)
    mixed = (np.sin((1 - fraction) * angle) * a + np.sin(fraction * angle) * b) / np.sin(angle)
    return mixed.astype(np.float32)


def linear_mean(tensors: Sequence[Array], coefficients: Sequence[float]) -> Array:
    """Sum tensors of one shape with weights, in float64, and round to float32."""
    return np.asarray(
        sum(c * t.astype(np.float64) for c, t in zip(coefficients, tensors, strict=True)), dtype=np.float32
    )


def make(plan: ModelPlan, parents: Sequence[MadeModel], *, digits: Digits, seed: int) -> MadeModel:
    """Make the model of one plan.

    Args:
        plan: What to do.
        parents: The models it is made from, in the plan's order.
        digits: The data to train on.
        seed: Seed of the hub.

    Returns:
        The model.
    """
    generator = generator_for(seed, plan.model_id, "training")
    making = plan.making
    if isinstance(making, Pretraining):
        network = NETWORKS[making.architecture]
        run = train(
            network,
            network.initialize(generator),
            task=TASKS[making.task],
            digits=digits,
            learning_rate=making.learning_rate,
            n_steps=making.n_steps,
            generator=generator,
        )
        return MadeModel(plan, network, run.weights, run.weights, making.task)

    parent = parents[0]
    network, start, task, dtype = parent.network, parent.weights, parent.task, "F32"
    adapters: Mapping[str, LowRank] | None = None
    moments: Moments | None = None
    match making:
        case FineTuning():
            run = train(
                network,
                start,
                task=TASKS[making.task],
                digits=digits,
                learning_rate=making.learning_rate,
                n_steps=making.n_steps,
                generator=generator,
                frozen=making.frozen,
                moments=parent.moments if making.continues else None,
            )
            exact, task, dtype, moments = run.weights, making.task, making.dtype, run.moments
            weights = round_to(exact, dtype)
        case LoraTuning():
            adapters = train_adapter(
                network,
                start,
                modules=making.modules,
                rank=making.rank,
                alpha=making.alpha,
                task=TASKS[making.task],
                digits=digits,
                learning_rate=making.learning_rate,
                n_steps=making.n_steps,
                generator=generator,
            )
            weights = exact = add_adapters(start, adapters)
            task = making.task
        case Cast():
            exact, dtype = start, making.dtype
            weights = round_to(exact, dtype)
        case Int8():
            exact, dtype = start, "I8"
            weights = dequantize_int8(quantize_int8(exact))
        case Gguf():
            exact, dtype = start, making.types[0]
            weights = through_gguf(exact, dtype)
        case Reupload():
            weights, exact, dtype = start, parent.unrounded, parent.dtype
        case LinearMerge():
            exact = {n: linear_mean([p.weights[n] for p in parents], making.coefficients) for n in start}
            dtype = making.dtype
            weights = round_to(exact, dtype)
        case SphericalMerge():
            exact = {n: spherical_mean(start[n], parents[1].weights[n], making.fraction) for n in start}
            weights = exact
    return MadeModel(plan, network, weights, exact, task, dtype, adapters, moments)
