"""What is told of a grown population: names, removed parents, inverted dates, documentation true and false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, Literal

import numpy as np

from benchmarks.zoo.plans import LoraTuning, PlannedModel, Quantization, generator_for
from benchmarks.zoo.words import FIRST_WORDS, SECOND_WORDS

_SHARE_DOCUMENTED: Final = 0.25
_SHARE_REMOVED: Final = 0.04
_SHARE_INVERTED_REGIONS: Final = 0.1
_SHARE_INVERTED: Final = 0.01
_SHARE_MISDECLARED: Final = 0.015
_N_ORGANISATIONS: Final = 90
_MISTAKES: Final = ("wrong_parent", "sibling_as_parent", "wrong_relation", "other_family")


def named(models: Sequence[PlannedModel], *, seed: int) -> list[PlannedModel]:
    """Give every model an id of random words; uploads of one event usually share their organisation.

    Args:
        models: with provisional ids.
        seed: of the draw.

    Raises:
        ValueError: more models than there are pairs of words.
    """
    rng = generator_for(seed, "names")
    n_words = len(FIRST_WORDS) * len(SECOND_WORDS)
    if len(models) > n_words:
        raise ValueError(f"there are names for {n_words} models, not for {len(models)}")
    organisations = [f"{first}{second}" for first, second in _pairs(_N_ORGANISATIONS, rng)]
    popularity = rng.pareto(1.2, len(organisations)) + 0.1
    popularity /= popularity.sum()
    of_group: dict[str, str] = {}
    names: dict[str, str] = {}
    for model, (first, second) in zip(models, _pairs(len(models), rng), strict=True):
        own = organisations[int(rng.choice(len(organisations), p=popularity))]
        shared = of_group.setdefault(model.group or model.model_id, own)
        names[model.model_id] = f"{own if rng.random() < 0.2 else shared}/{first}-{second}"
    return [
        replace(model, model_id=names[model.model_id], parents=tuple(names[parent] for parent in model.parents))
        for model in models
    ]


def _pairs(count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    chosen = rng.choice(len(FIRST_WORDS) * len(SECOND_WORDS), size=count, replace=False)
    return [(FIRST_WORDS[int(i) // len(SECOND_WORDS)], SECOND_WORDS[int(i) % len(SECOND_WORDS)]) for i in chosen]


def invert(models: Sequence[PlannedModel], rng: np.random.Generator) -> list[PlannedModel]:
    """Date some children before their parents: in some regions one of the root's, and here and there another.

    Args:
        models: one region, the root first.
        rng: source of all choices.
    """
    dates = {model.model_id: model.created_at for model in models}
    chosen: dict[str, timedelta] = {}
    fine_tunes = [m for m in models[1:] if m.parents == (models[0].model_id,) and m.pattern in ("single", "fan")]
    if fine_tunes and rng.random() < _SHARE_INVERTED_REGIONS:
        child = fine_tunes[int(rng.integers(len(fine_tunes)))]
        chosen[child.model_id] = timedelta(seconds=round(float(np.exp(rng.uniform(0, np.log(72_000))))))
    for model in models[1:]:
        if len(model.parents) == 1 and model.parents[0] != models[0].model_id and rng.random() < _SHARE_INVERTED:
            chosen[model.model_id] = timedelta(hours=float(rng.uniform(0.3, 12)))
    found = []
    for model in models:
        if model.model_id not in chosen:
            found.append(model)
            continue
        before = (dates[model.parents[0]] - chosen[model.model_id]).replace(microsecond=0)
        found.append(replace(model, created_at=before))
    # A parent that was moved to before its own parent may have left its children in order, or not.
    dates = {model.model_id: model.created_at for model in found}
    return [
        replace(model, is_inverted=any(dates[parent] >= model.created_at for parent in model.parents))
        for model in found
    ]


def remove_parents(models: Sequence[PlannedModel], *, seed: int) -> list[PlannedModel]:
    """Remove some parents; not roots, nor what an adapter or a merge cannot be understood without.

    Args:
        models: the population.
        seed: of the draw.
    """
    rng = generator_for(seed, "removed")
    needed = {
        parent
        for model in models
        if len(model.parents) > 1 or model.layout == "adapter" or isinstance(model.making, Quantization)
        for parent in model.parents
    }
    parents = {parent for model in models for parent in model.parents}
    candidates = [m.model_id for m in models if m.model_id in parents - needed and m.parents]
    n_removed = min(round(_SHARE_REMOVED * len(parents)), len(candidates))
    removed = set(rng.choice(sorted(candidates), size=n_removed, replace=False).tolist()) if n_removed else set()
    return [replace(model, is_removed=model.model_id in removed) for model in models]


def document(models: Sequence[PlannedModel], *, seed: int) -> list[PlannedModel]:
    """Let about a quarter of the models that have a parent name it, adapters (which always do) among them.

    Args:
        models: the population.
        seed: of the draw.
    """
    rng = generator_for(seed, "documentation")
    gone = {model.model_id for model in models if model.is_removed}
    n_children = sum(bool(model.parents) for model in models)
    n_adapters = sum(model.layout == "adapter" for model in models)
    share = (_SHARE_DOCUMENTED * n_children - n_adapters) / max(n_children - n_adapters, 1)
    found = []
    for model in models:
        drawn, place = rng.random(), str(rng.choice(["base_models", "tags", "card"], p=[0.5, 0.2, 0.3]))
        documentation: Literal["", "base_models", "tags", "card", "adapter"] = model.documentation
        if model.parents and not documentation and not gone & set(model.parents) and drawn < share:
            documentation = place  # type: ignore[assignment]
        if documentation:
            relation = "finetune" if model.relation == "duplicate" else model.relation
            model = replace(  # noqa: PLW2901 - the same model, documented
                model, documentation=documentation, declared=model.parents, declared_relation=relation
            )
        found.append(model)
    return found


def misdeclare(models: Sequence[PlannedModel], *, seed: int) -> list[PlannedModel]:
    """Make the documentation of a few models wrong.

    Args:
        models: the population, documented.
        seed: of the draw.
    """
    rng = generator_for(seed, "misdeclared")
    by_id = {model.model_id: model for model in models}
    usable = [
        m.model_id
        for m in models
        if m.documentation in ("base_models", "tags", "card")
        and len(m.parents) == 1
        and not m.is_removed
        and not isinstance(m.making, LoraTuning)
    ]
    wanted = min(round(_SHARE_MISDECLARED * len(models)), len(usable))
    for place, model_id in enumerate(rng.permutation(sorted(usable)).tolist()[:wanted]):
        model = by_id[model_id]
        first = place % len(_MISTAKES)
        # Where a mistake cannot be made (no sibling, one family only), the next one is.
        for kind in _MISTAKES[first:] + _MISTAKES[:first]:
            if kind == "wrong_relation":
                relation = "finetune" if model.relation == "quantized" else "quantized"
                by_id[model_id] = replace(
                    model, misdeclared=kind, declared_relation=relation, documentation="base_models"
                )
                break
            others = _mistaken_for(model, models, kind)
            if others:
                other = others[int(rng.integers(len(others)))]
                by_id[model_id] = replace(model, misdeclared=kind, declared=(other.model_id,))
                break
    return [by_id[model.model_id] for model in models]


def _mistaken_for(model: PlannedModel, models: Sequence[PlannedModel], kind: str) -> list[PlannedModel]:
    """Models that could be taken for a parent by mistake."""
    earlier = [m for m in models if not m.is_removed and m.created_at < model.created_at and m is not model]
    if kind == "other_family":
        return [m for m in earlier if m.family != model.family and m.pattern in ("root", "single")]
    siblings = [m for m in earlier if m.parents == model.parents and m.is_trainable]
    if kind == "sibling_as_parent":
        return siblings
    kin = {model.model_id, *model.parents, *(m.model_id for m in siblings)}
    for _ in range(len(models)):
        above = {parent for m in models if m.model_id in kin for parent in m.parents if m not in siblings}
        below = {m.model_id for m in models if model.model_id in m.parents}
        if above | below <= kin:
            break
        kin |= above | below
    return [m for m in earlier if m.region == model.region and m.model_id not in kin and m.is_trainable]
