"""Carries out the plan of one region: trains, rounds, quantises, merges, and writes every model's folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.zoo.merging import merged
from benchmarks.zoo.networks import Weights
from benchmarks.zoo.plans import (
    Cast,
    Copy,
    FineTuning,
    LoraTuning,
    Merge,
    PlannedModel,
    Pretraining,
    Pruning,
    Quantization,
    generator_for,
)
from benchmarks.zoo.quantizing import gguf_values, quantised
from benchmarks.zoo.storing import FLOATS, Listed, rounded, store, store_adapter, store_copy
from benchmarks.zoo.training import Run, fine_tune, pretrain, relative_change, tune_low_rank


@dataclass(frozen=True)
class Made:
    """A finished model: the float32 values that its files stand for, its optimiser's state, what a hub lists."""

    weights: Weights
    listed: Listed
    moments: dict[str, Any] | None = None


class RegionMaker:
    """Makes the models of one region, parents before their children."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Takes the population's folder of models, and the seed of everything that is drawn."""
        self._folder = folder
        self._seed = seed
        self._made: dict[str, Made] = {}
        self._rates: dict[str, float] = {}

    def make(self, plan: PlannedModel) -> dict[str, Any]:
        """Make one model and write its folder.

        Returns:
            What is known of it now: what the hub lists, `relative_change` (None for roots and merges), `rate`, and
            `losses`, the means of the first and last tenth of its steps.
        """
        folder = self._folder / plan.model_id
        if folder.exists():
            shutil.rmtree(folder)
        parents = [self._made[parent] for parent in plan.parents]
        run: Run | None = None
        moments: dict[str, Any] | None = None
        making = plan.making
        if plan.layout == "same":
            made = Made(parents[0].weights, store_copy(folder, self._folder / plan.parents[0], parents[0].listed))
            self._made[plan.model_id] = made
            return self._record(plan, made, None)
        match making:
            case Pretraining():
                run = pretrain(plan.family, making, self._generator(plan))
                weights = run.weights
            case FineTuning():
                run = self._fine_tuned(plan, making, parents[0])
                weights, moments = run.weights, run.moments
            case LoraTuning():
                seed = self._seeds("order", plan.region, making.order)
                run = tune_low_rank(
                    plan.family, parents[0].weights, making, seed=seed, rate=self._rates.get(making.run)
                )
                self._rates.setdefault(making.run, run.rate)
                weights = run.weights
            case Quantization():
                made = self._quantised(folder, plan, making, parents[0])
                self._made[plan.model_id] = made
                return self._record(plan, made, None)
            case Cast() | Copy():
                weights = parents[0].weights
            case Pruning():
                weights = pruned(parents[0].weights, making.share)
            case Merge():
                weights = merged(making, [parent.weights for parent in parents])
        if isinstance(making, LoraTuning) and plan.layout == "adapter" and run is not None:
            made = Made(weights, store_adapter(folder, making, run, plan.parents[0]))
        elif plan.layout == "gguf":
            values = gguf_values(weights, plan.dtype)
            made = Made(values, store(folder, plan, dict(values)))
        else:
            stored = {name: tensor.astype(FLOATS[plan.dtype]) for name, tensor in weights.items()}
            made = Made(rounded(weights, plan.dtype), store(folder, plan, stored), moments)
        self._made[plan.model_id] = made
        return self._record(plan, made, run)

    def _fine_tuned(self, plan: PlannedModel, making: FineTuning, parent: Made) -> Run:
        run = fine_tune(
            plan.family,
            parent.weights,
            making,
            seed=self._seeds("order", plan.region, making.order),
            head_seed=self._seeds("head", plan.model_id),
            rate=self._rates.get(making.run),
            moments=parent.moments,
        )
        self._rates.setdefault(making.run, run.rate)
        return run

    def _quantised(self, folder: Path, plan: PlannedModel, making: Quantization, parent: Made) -> Made:
        start = rounded(parent.weights, "F16") if making.through_f16 else parent.weights
        stored, values = quantised(start, making.kind)
        if making.is_dequantized:
            values = rounded(values, "F16")
            stored = {name: tensor.astype(np.float16) for name, tensor in values.items()}
        return Made(values, store(folder, plan, stored))

    def _record(self, plan: PlannedModel, made: Made, run: Run | None) -> dict[str, Any]:
        change = None
        if len(plan.parents) == 1:
            change = relative_change(plan.family, made.weights, self._made[plan.parents[0]].weights)
        losses = None
        if run is not None:
            tenth = max(1, len(run.losses) // 10)
            losses = [float(np.mean(run.losses[:tenth])), float(np.mean(run.losses[-tenth:]))]
        return {
            "model_id": plan.model_id,
            "relative_change": change,
            "rate": None if run is None else run.rate,
            "losses": losses,
            "listed": asdict(made.listed),
        }

    def _generator(self, plan: PlannedModel) -> np.random.Generator:
        return generator_for(self._seed, "training", plan.model_id)

    def _seeds(self, *names: str) -> list[int]:
        return generator_for(self._seed, *names).integers(0, 1 << 32, 4).tolist()


def pruned(weights: Weights, share: float) -> Weights:
    """Set the smallest entries of every matrix inside the blocks to zero.

    Args:
        weights: float32 arrays by tensor name.
        share: of the entries of each matrix.
    """
    found: Weights = {}
    for name, tensor in weights.items():
        is_inside = "layer" in name or "blocks" in name
        if tensor.ndim < 2 or not is_inside:
            found[name] = tensor
            continue
        edge = np.quantile(np.abs(tensor), share)
        found[name] = np.where(np.abs(tensor) <= edge, np.float32(0), tensor)
    return found


def make_region(
    folder: Path, plans: Sequence[PlannedModel], *, seed: int, done: Callable[[], None] | None = None
) -> list[dict[str, Any]]:
    """Make all models of a region; those that are removed lose their folders at the end.

    Args:
        folder: the population's folder of models.
        plans: the region, parents before their children.
        seed: of everything that is drawn.
        done: called after each model.

    Returns:
        What `RegionMaker.make` returns, for every model.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    maker = RegionMaker(folder, seed)
    records = []
    for plan in plans:
        records.append(maker.make(plan))
        if done is not None:
            done()
    for plan in plans:
        if plan.is_removed:
            shutil.rmtree(folder / plan.model_id)
    return records


def write_records(path: Path, records: Sequence[dict[str, Any]], *, seed: int) -> None:
    """Write a region's records at once, so that a file that is there is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    growing = path.with_suffix(".growing")
    growing.write_text(json.dumps({"seed": seed, "models": list(records)}), encoding="utf-8")
    growing.replace(path)
