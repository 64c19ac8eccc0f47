"""What the hub tells of its models: dates, download counts, snapshots in the columns of hub-stats; and the truth.

Numbers that no training yields (dates within a day, downloads, likes) are drawn from each model's own
generator, so a snapshot never depends on the order or number of the models.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import pyarrow as pa

from atlas_pipeline.repositories.demo.lineage import Documentation, Int8, ModelPlan, Presence
from atlas_pipeline.repositories.demo.making import generator_for
from atlas_pipeline.repositories.demo.packaging import Card, Package

SNAPSHOTS: Final = (datetime(2025, 6, 1), datetime(2025, 12, 1))  # noqa: DTZ001 - hub-stats holds naive UTC
"""The days on which the hub is looked at."""

_EPOCH: Final = datetime(2024, 1, 1)  # noqa: DTZ001 - as above
_SAFETENSORS_DTYPES: Final = ("F32", "F16", "BF16", "I8", "U8")

HUB_STATS_SCHEMA: Final = pa.schema(
    {
        "_id": pa.string(),
        "id": pa.string(),
        "author": pa.string(),
        "createdAt": pa.timestamp("us"),
        "lastModified": pa.timestamp("us"),
        "downloads": pa.int64(),
        "downloadsAllTime": pa.int64(),
        "likes": pa.int64(),
        "trendingScore": pa.float64(),
        "tags": pa.list_(pa.string()),
        "cardData": pa.string(),
        "config": pa.string(),
        "siblings": pa.list_(pa.struct({"rfilename": pa.string()})),
        "safetensors": pa.struct(
            {"parameters": pa.struct(dict.fromkeys(_SAFETENSORS_DTYPES, pa.int64())), "total": pa.int64()}
        ),
        "gguf": pa.string(),
        "baseModels": pa.struct(
            {"relation": pa.string(), "models": pa.list_(pa.struct({"_id": pa.string(), "id": pa.string()}))}
        ),
        "pipeline_tag": pa.string(),
        "library_name": pa.string(),
        "sha": pa.string(),
        "private": pa.bool_(),
        "gated": pa.bool_(),
        "disabled": pa.bool_(),
    }
)
"""The live data set's columns; times are naive UTC, `downloads` those of 30 days, JSON is kept as text."""

TRUTH_SCHEMA: Final = pa.schema(
    {
        "child_id": pa.string(),
        "parent_id": pa.string(),
        "relation": pa.string(),
        "pattern": pa.string(),
        "coefficient": pa.float64(),
        "is_documented": pa.bool_(),
    }
)
"""One row per true parent of every model that was ever listed."""


@dataclass(frozen=True)
class Entry:
    """A finished model as the hub knows it; `created_at` and `last_modified_at` are naive UTC."""

    plan: ModelPlan
    created_at: datetime
    last_modified_at: datetime
    card: Card | None
    package: Package


def creation_times(plans: Sequence[ModelPlan], *, seed: int) -> dict[str, datetime]:
    """Date every model: its planned day and up to ten minutes more, or relative to its first parent.

    Args:
        plans: The recipe, parents first.
        seed: Seed of the hub.

    Returns:
        Naive UTC times by model id.
    """
    times: dict[str, datetime] = {}
    for plan in plans:
        if plan.minutes_after_parent is not None:
            times[plan.model_id] = times[plan.parents[0]] + timedelta(minutes=plan.minutes_after_parent)
        else:
            seconds = int(generator_for(seed, plan.model_id, "created_at").integers(600))
            times[plan.model_id] = _EPOCH + timedelta(seconds=round(plan.day * 86_400) + seconds)
    return times


def last_modified(plan: ModelPlan, created_at: datetime, *, seed: int) -> datetime:
    """Draw the last change: within minutes for many, weeks later for some."""
    hours = float(generator_for(seed, plan.model_id, "last_modified_at").lognormal(0.0, 3.0))
    return created_at + timedelta(seconds=round(min(hours, 2_000.0) * 3_600))


def _stated_relation(plan: ModelPlan) -> str:
    # The Hub has no word for a re-upload; its form offers "finetune" first, and that is what most say.
    return "finetune" if plan.relation == "duplicate" else plan.relation or "finetune"


def _tags(entry: Entry) -> list[str]:
    plan, card, config = entry.plan, entry.card or {}, entry.package.config or {}
    tags = [card["library_name"]] if card else []
    tags += [suffix for suffix in ("safetensors", "gguf") if any(f.endswith(suffix) for f in entry.package.files)]
    tags += [str(config["model_type"])] if "model_type" in config else []
    tags += ["model-index"] if "model-index" in card else []
    tags += card.get("tags", [])
    if plan.documentation in (Documentation.BASE_MODELS, Documentation.TAGS):
        relation = _stated_relation(plan)
        tags += [f"base_model:{name}" for name in plan.declared]
        tags += [f"base_model:{relation}:{name}" for name in plan.declared]
    tags += [f"license:{card['license']}"] if "license" in card else []
    tags += ["8-bit", "bitsandbytes"] if isinstance(plan.making, Int8) else []
    return [*tags, "region:us"]


def _object_id(model_id: str) -> str:
    return hashlib.sha256(f"model\n{model_id}".encode()).hexdigest()[:24]


def _counts(entry: Entry, taken_at: datetime, *, seed: int) -> dict[str, int | float]:
    """Draw popularity: log-normal rates over four orders of magnitude, far higher for the roots of the regions."""
    generator = generator_for(seed, entry.plan.model_id, "downloads")
    rate = float(generator.lognormal(1.5, 2.2))
    if entry.plan.pattern == "root":
        rate = 400.0 * max(rate, 1.0)
    liking = float(generator.lognormal(-1.0, 0.8))
    ripple = float(generator_for(seed, entry.plan.model_id, taken_at.date().isoformat()).uniform(0.6, 1.0))
    months = (taken_at - entry.created_at) / timedelta(days=30)
    all_time = math.floor(rate * months)
    recent = math.floor(rate * min(months, 1.0) * ripple)
    return {
        "downloads": recent,
        "downloadsAllTime": all_time,
        "likes": math.floor(liking * math.sqrt(all_time)),
        "trendingScore": float(recent // 500),
    }


def _row(entry: Entry, taken_at: datetime, listed: Collection[str], *, seed: int) -> dict[str, Any]:
    plan, package, card = entry.plan, entry.package, entry.card
    was_modified = entry.last_modified_at < taken_at
    bases = [n for n in plan.declared if plan.documentation is Documentation.BASE_MODELS and n in listed]
    counts = package.n_parameters
    return {
        "_id": _object_id(plan.model_id),
        "id": plan.model_id,
        "author": plan.author,
        "createdAt": entry.created_at,
        "lastModified": entry.last_modified_at if was_modified else entry.created_at,
        **_counts(entry, taken_at, seed=seed),
        "tags": _tags(entry),
        "cardData": None if card is None else json.dumps(card),
        "config": None if package.config is None else json.dumps(package.config),
        "siblings": [{"rfilename": name} for name in package.files],
        "safetensors": None if counts is None else {"parameters": counts, "total": sum(counts.values())},
        "gguf": None if package.gguf is None else json.dumps(package.gguf),
        "baseModels": {
            "relation": _stated_relation(plan),
            "models": [{"_id": _object_id(name), "id": name} for name in bases],
        }
        if bases
        else None,
        "pipeline_tag": None if card is None else card["pipeline_tag"],
        "library_name": None if card is None else card["library_name"],
        "sha": hashlib.sha256(f"{plan.model_id}\n{was_modified}\n{seed}".encode()).hexdigest()[:40],
        "private": False,
        "gated": False,
        "disabled": False,
    }


def snapshot_table(entries: Sequence[Entry], taken_at: datetime, *, seed: int) -> pa.Table:
    """List the models that the hub has at a time, as hub-stats would.

    Args:
        entries: Every model of the hub.
        taken_at: The snapshot's time, one of `SNAPSHOTS`; from the last on, removed models are gone.
        seed: Seed of the hub.

    Returns:
        One row per model in the order of ids, with the columns of `HUB_STATS_SCHEMA`.
    """
    presences: Mapping[Presence, bool] = {
        Presence.LISTED: True,
        Presence.REMOVED: taken_at < SNAPSHOTS[-1],
        Presence.UNLISTED: False,
    }
    there = [entry for entry in entries if presences[entry.plan.presence] and entry.created_at < taken_at]
    listed = {entry.plan.model_id for entry in there}
    rows = [_row(entry, taken_at, listed, seed=seed) for entry in sorted(there, key=lambda e: e.plan.model_id)]
    return pa.Table.from_pylist(rows, schema=HUB_STATS_SCHEMA)


def truth_table(plans: Sequence[ModelPlan]) -> pa.Table:
    """Tell the true parents of every model that was ever listed, ordered by child and then by the plan.

    Args:
        plans: The recipe.

    Returns:
        One row per (child_id, parent_id), with the columns of `TRUTH_SCHEMA`.
    """
    rows = [
        {
            "child_id": plan.model_id,
            "parent_id": parent,
            "relation": plan.relation,
            "pattern": plan.pattern,
            "coefficient": coefficient,
            "is_documented": plan.documents(parent),
        }
        for plan in sorted(plans, key=lambda p: p.model_id)
        if plan.presence is not Presence.UNLISTED
        for parent, coefficient in zip(plan.parents, plan.coefficients, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=TRUTH_SCHEMA)
