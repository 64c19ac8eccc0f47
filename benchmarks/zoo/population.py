"""How a population grows: which models a region has, who is made from whom and when. Nothing is trained here.

A region is a tree that events add to: a sweep, a run with its checkpoints, a batch of quantisations, a merge. Popular
models attract more events, some events continue the deepest branches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from benchmarks.zoo.documenting import document, invert, misdeclare, named, remove_parents
from benchmarks.zoo.plans import FAMILIES, SHARES, Family, PlannedModel, Pretraining, generator_for
from benchmarks.zoo.recipes import Event, members_of
from benchmarks.zoo.tasks import PRETRAINING, tasks_of

MOST_DEPTH: Final = 6

ROOT_STEPS: Final = 500
CONTROL_STEPS: Final = 350
"""Optimiser steps of pre-training."""

N_REGIONS: Final = 2
"""Regions of each family."""

N_CONTROLS: Final = 4
"""Independent models of each family."""

_EPOCH: Final = datetime(2024, 1, 1)  # noqa: DTZ001 - hub-stats holds naive UTC
_SPAN_DAYS: Final = 480.0
_SIZES: Final = {"fan": (3, 8), "snake": (3, 6), "quantized": (1, 4)}
_FOLLOWERS: Final = ("quantized", "cast", "duplicate", "adapter", "single", "lora_merged", "head_swap")
_STORED_AGAIN: Final = ("quantized", "cast", "duplicate")
_PARENT_WEIGHTS: Final = {
    "root": 6.0,
    "fan": 0.5,
    "snake": 0.6,
    "duplicate": 0.12,
    "cast": 0.25,
    "pruned": 0.25,
    "qlora": 0.5,
}
_DEEP: Final = 0.35
"""Share of the events that prefer deep parents."""


@dataclass(frozen=True)
class RegionSpec:
    """A region before it grows.

    Attributes:
        name: `<family>-<number>`, or of a control `control-<family>-<number>`.
        family: its architecture.
        n_models: with the root and those that will be removed.
        pretraining: what its root learns.
    """

    name: str
    family: Family
    n_models: int
    pretraining: str


def region_specs(
    n_models: int, *, families: Sequence[Family] = FAMILIES, n_regions: int = N_REGIONS, n_controls: int = N_CONTROLS
) -> list[RegionSpec]:
    """Divide a population into regions and controls.

    Args:
        n_models: models of the population, controls included.
        families: architectures.
        n_regions: regions of each.
        n_controls: controls of each.

    Raises:
        ValueError: too few models for so many regions.
    """
    n_grown = n_models - n_controls * len(families)
    sizes = np.diff(np.linspace(0, n_grown, len(families) * n_regions + 1).astype(int)).tolist()
    if min(sizes, default=0) < 15:
        raise ValueError(f"{n_models} models are too few for {len(families) * n_regions} regions of at least 15")
    specs = []
    for place, family in enumerate(families):
        data = PRETRAINING[family]
        for number in range(n_regions):
            size = sizes[place * n_regions + number]
            specs.append(RegionSpec(f"{family}-{number + 1}", family, size, data[number % len(data)]))
        specs += [
            RegionSpec(f"control-{family}-{number + 1}", family, 1, data[number % len(data)])
            for number in range(n_controls)
        ]
    return specs


def plan_population(specs: Sequence[RegionSpec], *, seed: int) -> list[PlannedModel]:
    """Lay out every model, the parents of a region before their children.

    Args:
        specs: regions and controls.
        seed: of everything that is drawn.
    """
    models = [model for spec in specs for model in plan_region(spec, seed=seed)]
    models = named(models, seed=seed)
    return misdeclare(document(remove_parents(models, seed=seed), seed=seed), seed=seed)


def plan_region(spec: RegionSpec, *, seed: int) -> list[PlannedModel]:
    """Grow one region; its models are called by provisional names `<region>/<number>`.

    Args:
        spec: the region.
        seed: of everything that is drawn.
    """
    rng = generator_for(seed, "population", spec.name)
    is_control = spec.n_models == 1
    root = PlannedModel(
        model_id=f"{spec.name}/0",
        region=spec.name,
        family=spec.family,
        pattern="control" if is_control else "root",
        making=Pretraining(task=spec.pretraining, n_steps=CONTROL_STEPS if is_control else ROOT_STEPS),
        created_at=_EPOCH + timedelta(days=float(rng.uniform(0, _SPAN_DAYS if is_control else 60))),
    )
    # Listings count whole seconds; a root must not differ from its children in that.
    models = [replace(root, created_at=root.created_at.replace(microsecond=0))]
    if is_control:
        return models
    tasks = tasks_of(spec.family, spec.pretraining)
    clock = root.created_at
    events = _events(spec.n_models - 1, rng)
    for number, (kind, size) in enumerate(events):
        clock += timedelta(days=float(rng.exponential(_SPAN_DAYS / len(events))) + 0.01)
        event = Event(
            kind=kind,
            size=size,
            group=f"{spec.name}/{kind}-{number}",
            task=tasks[int(rng.integers(len(tasks)))],
            region=spec.name,
            is_first=all(model.group.split("/")[-1].split("-")[0] != kind for model in models),
        )
        models += _placed(event, models, clock, rng)
    return invert(models, rng)


def _events(n_models: int, rng: np.random.Generator) -> list[tuple[str, int]]:
    """Kinds and sizes of the events that give a region so many models, in their order."""
    counts = _apportioned(n_models)
    found: list[tuple[float, str, int]] = []
    for kind, count in counts.items():
        for place, size in enumerate(_cut(kind, count, rng)):
            when = float(rng.random())
            # There must be branches before they can be merged, and a quantised model before it can be trained on.
            if kind in ("merge", "qlora", "pruned"):
                when = 0.35 + 0.65 * when
            if place == 0 and kind in ("quantized", "fan", "single"):
                when = {"single": -1.0, "fan": -0.9, "quantized": 0.1}[kind]
            found.append((when, kind, size))
    return [(kind, size) for _, kind, size in sorted(found)]


def _apportioned(n_models: int) -> dict[str, int]:
    """Models of each kind, by largest remainders; every kind has one at least."""
    wanted = {kind: share * n_models for kind, share in SHARES.items()}
    counts = {kind: max(int(share), _SIZES[kind][0] if kind in _SIZES else 1) for kind, share in wanted.items()}
    order = sorted(wanted, key=lambda kind: counts[kind] - wanted[kind])
    for step in range(n_models - sum(counts.values())):
        counts[order[step % len(order)]] += 1
    while sum(counts.values()) > n_models:
        counts[max(counts, key=lambda kind: counts[kind] - wanted[kind])] -= 1
    return counts


def _cut(kind: str, count: int, rng: np.random.Generator) -> Iterator[int]:
    """Cut the models of a kind into events."""
    least, most = _SIZES.get(kind, (1, 1))
    while count > 0:
        # Some adapters of one recipe are merged one by one.
        top = 3 if kind == "lora_merged" and rng.random() < 0.4 else most
        size = min(int(rng.integers(least, top + 1)), count)
        if 0 < count - size < least:
            size = count if count <= most else count - least
        yield size
        count -= size


def _placed(event: Event, models: list[PlannedModel], clock: datetime, rng: np.random.Generator) -> list[PlannedModel]:
    """The models of an event, made from what is there when it happens."""
    candidates = [model for model in models if model.created_at < clock and _fits(event, model)]
    if event.kind == "merge":
        parents = _distinct_branches(candidates, models, rng)
    else:
        # A region's first events, and where nothing else fits, start from the root.
        candidates = (
            candidates
            if len(models) > 1 and candidates and not (event.is_first and event.kind == "fan")
            else [models[0]]
        )
        draw = _quantised if event.kind == "qlora" else _drawn
        parents = [draw(candidates, models, rng)]
        others = _with_other_heads(models) if event.kind not in _STORED_AGAIN else set()
        if parents[0].model_id in others:
            parents = [draw([m for m in candidates if m.model_id not in others] or [models[0]], models, rng)]
    start = clock
    if event.kind in _FOLLOWERS and rng.random() < 0.4:
        # Minutes to weeks after the parent.
        start = parents[0].created_at + timedelta(minutes=float(np.exp(rng.uniform(np.log(4), np.log(30_000)))))
    start = max([start, *(parent.created_at + timedelta(minutes=1) for parent in parents)])
    is_close = bool(rng.random() < 0.7)
    made: list[PlannedModel] = []
    for offset, member in enumerate(members_of(event, parents, models[0], rng)):
        # Checkpoints of a run are each the parent of the next.
        before = made[-1:] if event.kind == "snake" else []
        parent_ids = tuple(model.model_id for model in before) or member.parents
        start += _gap(is_close, rng) if offset else timedelta(0)
        depth = 1 + max(model.depth for model in [*models, *before] if model.model_id in parent_ids)
        made.append(
            replace(
                member,
                model_id=f"{event.region}/{len(models) + offset}",
                parents=parent_ids,
                created_at=start.replace(microsecond=0),
                depth=depth,
            )
        )
    return made


def _fits(event: Event, model: PlannedModel) -> bool:
    """Whether an event can start from a model."""
    room = MOST_DEPTH - (event.size if event.kind == "snake" else 1)
    if model.depth > room:
        return False
    match event.kind:
        case "qlora":
            return model.stored_as in ("bnb-nf4", "bnb-int8")
        case "quantized":
            return model.is_trainable or (model.pattern == "head_swap" and event.size <= 2)
        case "cast":
            return model.dtype == "F32" and (model.is_trainable or model.pattern == "head_swap")
        case "duplicate":
            return model.layout not in ("adapter", "gguf")
        case "merge":
            return model.is_trainable and model.pattern not in ("root", "cast", "duplicate", "pruned")
        case _:
            return model.is_trainable


def _drawn(candidates: list[PlannedModel], models: list[PlannedModel], rng: np.random.Generator) -> PlannedModel:
    """One of the candidates, popular ones preferred; now and then deep ones."""
    n_children = _children(models)
    weights = np.array([_PARENT_WEIGHTS.get(m.pattern, 1.0) * (1 + n_children.get(m.model_id, 0)) for m in candidates])
    # Intermediate formats rarely have children.
    weights *= [0.2 if m.stored_as.startswith(("bnb", "gguf", "fp8", "gptq")) else 1.0 for m in candidates]
    if rng.random() < _DEEP:
        weights = np.minimum(weights, 1.0) * 1.7 ** np.array([m.depth for m in candidates])
    return candidates[int(rng.choice(len(candidates), p=weights / weights.sum()))]


def _quantised(candidates: list[PlannedModel], models: list[PlannedModel], rng: np.random.Generator) -> PlannedModel:
    """One that can be trained on: of those there are already, else of the later ones, else the shallowest of all."""
    later = sorted((m for m in models if m.stored_as in ("bnb-nf4", "bnb-int8")), key=lambda model: model.depth)
    usable = candidates or [m for m in later if m.depth < MOST_DEPTH] or later[:1]
    return usable[int(rng.integers(len(usable)))]


def _distinct_branches(
    candidates: list[PlannedModel], models: list[PlannedModel], rng: np.random.Generator
) -> list[PlannedModel]:
    """Two to four models of different branches below the root, as many as there are."""
    branch: dict[str, str] = {}
    for model in models[1:]:
        branch[model.model_id] = branch.get(model.parents[0], model.model_id)
    by_branch: dict[str, list[PlannedModel]] = {}
    for model in candidates or [m for m in models[1:] if m.is_trainable]:
        by_branch.setdefault(branch[model.model_id], []).append(model)
    sizes = np.sqrt([len(found) for found in by_branch.values()])
    wanted = min(int(rng.choice([2, 2, 2, 3, 3, 4])), len(by_branch))
    chosen = rng.choice(len(by_branch), size=wanted, replace=False, p=sizes / sizes.sum())
    return [_drawn(list(by_branch.values())[int(place)], models, rng) for place in chosen]


def _with_other_heads(models: list[PlannedModel]) -> set[str]:
    """Models whose head was swapped, and what they are stored as besides: nobody trains those with the usual head."""
    found: set[str] = set()
    for model in models:
        if model.pattern == "head_swap" or (model.pattern in _STORED_AGAIN and model.parents[0] in found):
            found.add(model.model_id)
    return found


def _children(models: list[PlannedModel]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for model in models:
        for parent in model.parents:
            counts[parent] = counts.get(parent, 0) + 1
    return counts


def _gap(is_close: bool, rng: np.random.Generator) -> timedelta:
    """Time from one upload of an event to the next: minutes to hours, or days to weeks."""
    least, most = (2.0, 300.0) if is_close else (900.0, 20_000.0)
    return timedelta(minutes=float(np.exp(rng.uniform(np.log(least), np.log(most)))))
