"""How the members of an event are made: rates, steps and formats as people choose them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np

from benchmarks.zoo.plans import (
    LEAST_CHANGE,
    MOST_CHANGE,
    Cast,
    Copy,
    FineTuning,
    FloatType,
    Layout,
    LoraTuning,
    Making,
    Merge,
    PlannedModel,
    Pruning,
    Quantization,
    QuantizedType,
)

LEAST_STEPS: Final = 20
MOST_STEPS: Final = 300
"""Optimiser steps of a fine-tune."""

_QUANTIZED: Final[tuple[tuple[QuantizedType, float], ...]] = (
    ("bnb-int8", 0.17),
    ("bnb-nf4", 0.2),
    ("gguf-q8_0", 0.18),
    ("gguf-q4_0", 0.13),
    ("gguf-q5_0", 0.1),
    ("fp8", 0.12),
    ("gptq-4bit", 0.1),
)
_LAYOUTS: Final[tuple[tuple[Layout, float], ...]] = (
    ("same", 0.4),
    ("sharded", 0.2),
    ("torch", 0.15),
    ("prefixed", 0.15),
    ("gguf", 0.1),
)
_MOST_STEPS_OF_A_RUN: Final = 500
_SHARE_16_BIT: Final = 0.2
_SHARE_DEQUANTISED: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that adds models to a region.

    Attributes:
        kind: one of `SHARES`.
        size: models that it adds.
        group: its name.
        task: what they learn, if they learn.
        region: the region.
        is_first: whether it is the first of its kind there.
    """

    kind: str
    size: int
    group: str
    task: str
    region: str
    is_first: bool


def members_of(  # noqa: PLR0912 - one case for each kind of event
    event: Event, parents: list[PlannedModel], root: PlannedModel, rng: np.random.Generator
) -> Iterator[PlannedModel]:
    """Yield the members of an event, names, dates and depths still to be given.

    Args:
        event: the event.
        parents: what its members are made from; several only for a merge.
        root: the region's root, the base of task arithmetic.
        rng: source of all choices.
    """
    parent = parents[0]

    def member(making: Making, *, pattern: str = event.kind, **changes: Any) -> PlannedModel:
        plain = PlannedModel(
            model_id="",
            region=event.region,
            family=parent.family,
            pattern=pattern,
            making=making,
            created_at=datetime.min,  # noqa: DTZ901 - dated by the caller
            parents=(parent.model_id,),
            coefficients=(None,),
            group=event.group,
        )
        return replace(plain, **changes)

    match event.kind:
        case "fan":
            yield from (member(making, dtype=dtype) for making, dtype in _fan(event, rng))
        case "snake":
            yield from (member(making, dtype=dtype) for making, dtype in _snake(event, rng))
        case "single":
            yield member(_fine_tuning(event, rng), dtype=_float_type(rng))
        case "head_swap":
            head: Literal["frozen", "tuned"] = "frozen" if rng.random() < 0.5 else "tuned"
            yield member(replace(_fine_tuning(event, rng), head=head, trained="all"))
        case "lora_merged":
            yield from (member(making, dtype=_float_type(rng)) for making in _loras(event, rng))
        case "adapter":
            lora = replace(_lora(event, rng), is_merged=False)
            yield member(lora, layout="adapter", documentation="adapter")
        case "qlora":
            lora = replace(_lora(event, rng), is_merged=bool(rng.random() < 0.5))
            if lora.is_merged:
                yield member(lora, dtype="F16" if rng.random() < 0.5 else "F32")
            else:
                yield member(lora, layout="adapter", documentation="adapter")
        case "quantized":
            yield from (member(making, dtype="F16") for making in _quantisations(event, parent, rng))
        case "cast":
            layout = "gguf" if rng.random() < 0.15 else "torch" if rng.random() < 0.1 else "single"
            yield member(Cast(), dtype="F16" if rng.random() < 0.5 or layout == "gguf" else "BF16", layout=layout)
        case "duplicate":
            is_plain = parent.layout == "single" and not isinstance(parent.making, Quantization)
            layouts = _LAYOUTS if is_plain else (("same", 1.0),)
            layout = _chosen(layouts, rng)
            layout = "same" if layout == "gguf" and (parent.dtype != "F32" or parent.pattern == "head_swap") else layout
            yield member(
                parent.making if layout == "same" and not is_plain else Copy(), dtype=parent.dtype, layout=layout
            )
        case "pruned":
            yield member(Pruning(round(float(rng.uniform(0.2, 0.6)), 2)), dtype=parent.dtype)
        case "merge":
            making, chosen, coefficients = _merge(parents, root, rng)
            yield member(
                making,
                pattern=f"merge_{making.kind}",
                parents=tuple(model.model_id for model in chosen),
                coefficients=coefficients,
                dtype=("F32", "F16", "BF16")[int(rng.choice(3, p=[0.4, 0.3, 0.3]))],
            )


def _fine_tuning(event: Event, rng: np.random.Generator) -> FineTuning:
    optimizer = str(rng.choice(["adamw", "adamw", "adamw", "adam", "sgd"]))
    trained = str(rng.choice(["all", "no_embeddings", "no_first_layers", "attention"], p=[0.76, 0.08, 0.08, 0.08]))
    return FineTuning(
        task=event.task,
        optimizer=optimizer,  # type: ignore[arg-type]
        weight_decay=float(rng.choice([0.0, 0.01, 0.1])) if optimizer == "adamw" else 0.0,
        schedule=str(rng.choice(["constant", "cosine", "warmup"])),  # type: ignore[arg-type]
        n_steps=_n_steps(rng),
        batch_size=int(rng.choice([8, 16, 32, 64], p=[0.4, 0.35, 0.15, 0.1])),
        target_change=_log_uniform(LEAST_CHANGE * 1.7, MOST_CHANGE * 0.8, rng),
        trained=trained,  # type: ignore[arg-type]
        run=event.group,
        order=event.group,
    )


def _fan(event: Event, rng: np.random.Generator) -> Iterator[tuple[FineTuning, FloatType]]:
    """A sweep: one recipe under other seeds and other rates or numbers of steps; some keep the order of the data."""
    varied = str(rng.choice(["seeds", "rates", "steps", "rates_steps", "rates_only"], p=[0.1, 0.3, 0.15, 0.25, 0.2]))
    base = replace(_fine_tuning(event, rng), target_change=_log_uniform(LEAST_CHANGE * 3, MOST_CHANGE * 0.4, rng))
    dtype = _float_type(rng)
    factors = np.geomspace(0.4, 2.5, event.size) if "rates" in varied else np.ones(event.size)
    for place, factor in enumerate(rng.permutation(factors)):
        n_steps = (
            round(base.n_steps * float(rng.choice([0.5, 0.75, 1.0, 1.5, 2.0]))) if "steps" in varied else base.n_steps
        )
        order = event.group if varied == "rates_only" else f"{event.group}/{place}"
        making = replace(
            base, rate_factor=round(float(factor), 3), n_steps=max(LEAST_STEPS, min(n_steps, MOST_STEPS)), order=order
        )
        yield making, dtype


def _snake(event: Event, rng: np.random.Generator) -> Iterator[tuple[FineTuning, FloatType]]:
    """One run and its checkpoints; the optimiser's state is kept, or lost at each of them."""
    most = max(LEAST_STEPS, _MOST_STEPS_OF_A_RUN // event.size)
    base = replace(_fine_tuning(event, rng), target_change=_log_uniform(LEAST_CHANGE * 2.5, MOST_CHANGE * 0.5, rng))
    n_steps = min(base.n_steps, most)
    keeps_moments = bool(rng.random() < 0.6)
    dtype = _float_type(rng)
    for place in range(event.size):
        making = replace(
            base,
            n_steps=n_steps,
            order=f"{event.group}/{place}",
            first_step=place * n_steps,
            total_steps=event.size * n_steps,
            keeps_moments=keeps_moments and place > 0,
        )
        yield making, dtype


def _lora(event: Event, rng: np.random.Generator) -> LoraTuning:
    rank = int(rng.choice([2, 4, 8, 16]))
    return LoraTuning(
        task=event.task,
        rank=rank,
        alpha=float(rng.choice([rank, 2 * rank, 16])),
        targets="attention_qv" if rng.random() < 0.5 else "all_linear",
        n_steps=_n_steps(rng),
        batch_size=int(rng.choice([8, 16, 32], p=[0.45, 0.35, 0.2])),
        target_change=_log_uniform(LEAST_CHANGE * 1.8, MOST_CHANGE * 0.8, rng),
        run=event.group,
        order=event.group,
    )


def _loras(event: Event, rng: np.random.Generator) -> Iterator[LoraTuning]:
    base = _lora(event, rng)
    factors = rng.permutation(np.geomspace(0.6, 1.6, event.size)) if event.size > 1 else [1.0]
    for place, factor in enumerate(factors):
        yield replace(base, rate_factor=round(float(factor), 3), order=f"{event.group}/{place}")


def _quantisations(event: Event, parent: PlannedModel, rng: np.random.Generator) -> Iterator[Quantization]:
    """Formats of one node, each once; the first of a region are such as people train on."""
    kinds = [kind for kind, _ in _QUANTIZED]
    shares = np.array([share for _, share in _QUANTIZED])
    if not parent.family.startswith("llama"):
        shares[kinds.index("gptq-4bit")] = 0.0
    if parent.pattern == "head_swap":
        shares[[kind.startswith(("gguf", "gptq")) for kind in kinds]] = 0.0
    chosen = [kinds[int(i)] for i in rng.choice(len(kinds), size=event.size, replace=False, p=shares / shares.sum())]
    if event.is_first and not any(kind.startswith("bnb") for kind in chosen):
        chosen[0] = "bnb-nf4"
    for kind in chosen:
        yield Quantization(
            kind=kind,
            through_f16=bool(rng.random() < 0.5),
            is_dequantized=bool(rng.random() < _SHARE_DEQUANTISED) and not event.is_first,
        )


def _merge(
    parents: list[PlannedModel], root: PlannedModel, rng: np.random.Generator
) -> tuple[Merge, list[PlannedModel], tuple[float | None, ...]]:
    """What a merge does, its parents with the base last, and their coefficients."""
    kind = str(rng.choice(["linear", "slerp", "task", "ties"], p=[0.4, 0.24, 0.2, 0.16]))
    if kind == "slerp":
        fraction = round(float(rng.uniform(0.25, 0.75)), 2)
        merge = Merge(kind="slerp", weights=(round(1 - fraction, 2), fraction), varies=bool(rng.random() < 0.4))
        return merge, parents[:2], merge.weights
    if kind == "linear":
        raw = (
            rng.dirichlet(np.full(len(parents), 6.0)) if rng.random() < 0.6 else np.full(len(parents), 1 / len(parents))
        )
        weights = [round(float(w), 2) for w in raw[:-1]]
        merge = Merge(kind="linear", weights=(*weights, round(1 - sum(weights), 2)))
        return merge, parents, merge.weights
    weights = [round(float(w), 2) for w in rng.uniform(0.3, 0.9, len(parents))]
    if kind == "task":
        return (
            Merge(kind="task", weights=tuple(weights)),
            [*parents, root],
            (*weights, round(1 - sum(weights), 2)),
        )
    merge = Merge(kind="ties", weights=tuple(weights), density=round(float(rng.uniform(0.3, 0.8)), 2))
    return merge, [*parents, root], (*weights, None)


def _float_type(rng: np.random.Generator) -> FloatType:
    if rng.random() >= _SHARE_16_BIT:
        return "F32"
    return "BF16" if rng.random() < 0.6 else "F16"


def _n_steps(rng: np.random.Generator) -> int:
    return round(_log_uniform(LEAST_STEPS, MOST_STEPS, rng))


def _log_uniform(least: float, most: float, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(least), np.log(most))))


def _chosen(choices: tuple[tuple[Layout, float], ...], rng: np.random.Generator) -> Layout:
    shares = np.array([share for _, share in choices])
    return choices[int(rng.choice(len(choices), p=shares / shares.sum()))][0]
