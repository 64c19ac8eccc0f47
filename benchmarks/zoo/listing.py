"""What is told of a population: hub-stats, the truth, its members, what is declared wrongly, a summary."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa

from atlas_pipeline.repositories.demo.listing import HUB_STATS_SCHEMA
from benchmarks.zoo.plans import LEAST_CHANGE, MOST_CHANGE, FineTuning, LoraTuning, PlannedModel, generator_for

Records = Mapping[str, Mapping[str, Any]]

_TYPES: Final = ("F32", "F16", "BF16", "I8", "U8", "I32", "F8_E4M3")

STATS_SCHEMA: Final = HUB_STATS_SCHEMA.set(
    HUB_STATS_SCHEMA.get_field_index("safetensors"),
    pa.field(
        "safetensors",
        pa.struct({"parameters": pa.struct(dict.fromkeys(_TYPES, pa.int64())), "total": pa.int64()}),
    ),
)

TRUTH_SCHEMA: Final = pa.schema(
    {
        "child_id": pa.string(),
        "parent_id": pa.string(),
        "relation": pa.string(),
        "pattern": pa.string(),
        "coefficient": pa.float64(),
        "is_merge_base": pa.bool_(),
        "is_documented": pa.bool_(),
        "region": pa.string(),
    }
)
"""One row for each true parent that the hub still has. The base of task arithmetic and TIES is a parent too."""

MEMBERS_SCHEMA: Final = pa.schema(
    {
        "model_id": pa.string(),
        "region": pa.string(),
        "family": pa.string(),
        "pattern": pa.string(),
        "made_as": pa.string(),
        "group": pa.string(),
        "n_parents": pa.int64(),
        "depth": pa.int64(),
        "format": pa.string(),
        "layout": pa.string(),
        "optimizer": pa.string(),
        "trained": pa.string(),
        "n_steps": pa.int64(),
        "learning_rate": pa.float64(),
        "relative_change": pa.float64(),
        "is_documented": pa.bool_(),
        "is_inverted": pa.bool_(),
    }
)
"""One row for each model of the hub. `n_parents` counts parents that the hub still has; a model whose parent is gone
has the pattern `removed_parent`; `made_as` says how it was made. `relative_change` is null for roots and merges."""

MISDECLARED_SCHEMA: Final = pa.schema({"child_id": pa.string(), "declared_id": pa.string(), "kind": pa.string()})

_LEAST_SHARE_WITHIN: Final = 0.9
_PIPELINE_TAGS: Final = {
    "llama": "text-generation",
    "vit": "image-classification",
    "unet": "unconditional-image-generation",
}
_LIBRARIES: Final = {"llama": "transformers", "vit": "transformers", "unet": "diffusers"}


def stats_table(models: Sequence[PlannedModel], records: Records, *, seed: int) -> pa.Table:
    """List the models as hub-stats would, in the order of their ids.

    Args:
        models: the population.
        records: what making each model told.
        seed: of the counts.
    """
    taken_at = max(model.created_at for model in models) + timedelta(days=30)
    n_children = Counter(parent for model in models for parent in model.parents)
    present = sorted((model for model in models if not model.is_removed), key=lambda model: model.model_id)
    rows = [
        _row(model, records[model.model_id]["listed"], n_children[model.model_id], taken_at, seed=seed)
        for model in present
    ]
    return pa.Table.from_pylist(rows, schema=STATS_SCHEMA)


def _row(
    model: PlannedModel, listed: Mapping[str, Any], n_children: int, taken_at: datetime, *, seed: int
) -> dict[str, Any]:
    rng = generator_for(seed, "counts", model.model_id)
    months = (taken_at - model.created_at) / timedelta(days=30)
    rate = float(rng.lognormal(1.5, 1.8)) * (1 + n_children) ** 1.3 * (100 if model.pattern == "root" else 1)
    all_time = math.floor(rate * months)
    kind = model.family.partition("-")[0]
    library = "peft" if model.layout == "adapter" else "gguf" if listed["gguf"] else _LIBRARIES[kind]
    is_stated = model.documentation in ("base_models", "card")
    card: dict[str, Any] = {"library_name": library, "pipeline_tag": _PIPELINE_TAGS[kind]}
    if is_stated:
        card["base_model"] = model.declared[0] if len(model.declared) == 1 else list(model.declared)
    counts = listed["n_parameters"]
    return {
        "_id": _object_id(model.model_id),
        "id": model.model_id,
        "author": model.model_id.partition("/")[0],
        "createdAt": model.created_at,
        "lastModified": model.created_at + timedelta(seconds=round(min(float(rng.lognormal(0, 3)), 700.0) * 3600)),
        "downloads": math.floor(rate * min(months, 1.0) * float(rng.uniform(0.6, 1.0))),
        "downloadsAllTime": all_time,
        "likes": math.floor(float(rng.lognormal(-1.0, 0.8)) * math.sqrt(all_time)),
        "trendingScore": 0.0,
        "tags": _tags(model, listed, library),
        "cardData": json.dumps(card) if is_stated or rng.random() < 0.5 else None,
        "config": None if listed["config"] is None else json.dumps(listed["config"]),
        "siblings": [{"rfilename": name} for name in listed["files"]],
        "safetensors": None if counts is None else {"parameters": counts, "total": sum(counts.values())},
        "gguf": None if listed["gguf"] is None else json.dumps(listed["gguf"]),
        "baseModels": {
            "relation": model.declared_relation,
            "models": [{"_id": _object_id(name), "id": name} for name in model.declared],
        }
        if model.documentation == "base_models"
        else None,
        "pipeline_tag": _PIPELINE_TAGS[kind],
        "library_name": library,
        "sha": hashlib.sha256(f"{model.model_id}\n{seed}".encode()).hexdigest()[:40],
        "private": False,
        "gated": False,
        "disabled": False,
    }


def _tags(model: PlannedModel, listed: Mapping[str, Any], library: str) -> list[str]:
    tags = [library]
    tags += [suffix for suffix in ("safetensors", "gguf") if any(name.endswith(suffix) for name in listed["files"])]
    if model.documentation in ("base_models", "tags"):
        tags += [f"base_model:{name}" for name in model.declared]
        tags += [f"base_model:{model.declared_relation}:{name}" for name in model.declared]
    return [*tags, "region:us"]


def _object_id(model_id: str) -> str:
    return hashlib.sha256(f"model\n{model_id}".encode()).hexdigest()[:24]


def truth_table(models: Sequence[PlannedModel]) -> pa.Table:
    """Tell the true parents, ordered by child, parents in the order of the plan."""
    gone = {model.model_id for model in models if model.is_removed}
    rows = [
        {
            "child_id": model.model_id,
            "parent_id": parent,
            "relation": model.relation,
            "pattern": model.pattern,
            "coefficient": coefficient,
            "is_merge_base": model.pattern in ("merge_task", "merge_ties") and parent == model.parents[-1],
            "is_documented": bool(model.documentation),
            "region": model.region,
        }
        for model in sorted(models, key=lambda model: model.model_id)
        if not model.is_removed
        for parent, coefficient in zip(model.parents, model.coefficients, strict=True)
        if parent not in gone
    ]
    return pa.Table.from_pylist(rows, schema=TRUTH_SCHEMA)


def members_table(models: Sequence[PlannedModel], records: Records) -> pa.Table:
    """Describe every model of the hub, ordered by id, so that scores can be broken down."""
    gone = {model.model_id for model in models if model.is_removed}
    rows = []
    for model in sorted(models, key=lambda model: model.model_id):
        if model.is_removed:
            continue
        making, record = model.making, records[model.model_id]
        left = [parent for parent in model.parents if parent not in gone]
        learnt = making if isinstance(making, FineTuning | LoraTuning) else None
        trained = learnt.trained if isinstance(learnt, FineTuning) else learnt.targets if learnt else None
        optimizer = learnt.optimizer if isinstance(learnt, FineTuning) else "adamw" if learnt else None
        rows.append(
            {
                "model_id": model.model_id,
                "region": model.region,
                "family": model.family,
                "pattern": "removed_parent" if model.parents and not left else model.pattern,
                "made_as": model.pattern,
                "group": model.group,
                "n_parents": len(left),
                "depth": model.depth,
                "format": model.stored_as,
                "layout": model.layout,
                "optimizer": optimizer,
                "trained": trained,
                "n_steps": learnt.n_steps if learnt else None,
                "learning_rate": record["rate"] * learnt.rate_factor if learnt else None,
                "relative_change": record["relative_change"],
                "is_documented": bool(model.documentation),
                "is_inverted": model.is_inverted,
            }
        )
    return pa.Table.from_pylist(rows, schema=MEMBERS_SCHEMA)


def misdeclared_table(models: Sequence[PlannedModel]) -> pa.Table:
    """List the models whose documentation is wrong on purpose, ordered by id."""
    rows = [
        {"child_id": model.model_id, "declared_id": model.declared[0], "kind": model.misdeclared}
        for model in sorted(models, key=lambda model: model.model_id)
        if model.misdeclared and not model.is_removed
    ]
    return pa.Table.from_pylist(rows, schema=MISDECLARED_SCHEMA)


def summary(models: Sequence[PlannedModel], records: Records) -> dict[str, Any]:
    """Sum a population up: shares, relative changes of what was trained, how far the losses of roots fell.

    Args:
        models: the population.
        records: what making each model told.

    Raises:
        ValueError: weights, relative changes or losses are not such as a benchmark needs.
    """
    present = [model for model in models if not model.is_removed]
    trained = [
        model
        for model in present
        if model.parents
        and isinstance(model.making, (FineTuning, LoraTuning))
        and model.pattern not in ("duplicate", "head_swap")
    ]
    changes = np.array([records[model.model_id]["relative_change"] for model in trained])
    within = float(np.mean((changes >= LEAST_CHANGE) & (changes <= MOST_CHANGE)))
    fallen = [
        records[model.model_id]["losses"][1] / records[model.model_id]["losses"][0]
        for model in present
        if model.pattern in ("root", "control")
    ]
    if not np.isfinite(changes).all():
        raise ValueError("some weights are no finite numbers")
    if within < _LEAST_SHARE_WITHIN:
        raise ValueError(f"only {within:.0%} of the relative changes lie within {LEAST_CHANGE} and {MOST_CHANGE}")
    if max(fallen) > 0.8:
        raise ValueError(f"a root's loss fell only to {max(fallen):.0%}")
    quantiles = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
    return {
        "n_models": len(present),
        "n_removed": len(models) - len(present),
        "n_regions": len({model.region for model in present if model.pattern != "control"}),
        "shares": _shares([model.pattern for model in present]),
        "formats": _shares([model.stored_as for model in present]),
        "depths": {str(depth): n for depth, n in sorted(Counter(model.depth for model in present).items())},
        "share_documented": float(np.mean([bool(m.documentation) for m in present if m.parents])),
        "n_misdeclared": sum(bool(model.misdeclared) for model in present),
        "n_inverted": sum(model.is_inverted for model in present),
        "relative_change": {
            f"{q:.2f}": float(value) for q, value in zip(quantiles, np.quantile(changes, quantiles), strict=True)
        },
        "share_within_bounds": within,
        "greatest_loss_ratio_of_a_root": max(fallen),
    }


def _shares(values: Sequence[str]) -> dict[str, float]:
    return {value: round(n / len(values), 4) for value, n in sorted(Counter(values).items())}
