"""Builds the demo hub on disk, from training to snapshots. Imported only when there is something to build."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from atlas_pipeline.repositories.demo.cards import card_data, evaluated, with_card
from atlas_pipeline.repositories.demo.lineage import Presence
from atlas_pipeline.repositories.demo.listing import (
    SNAPSHOTS,
    Entry,
    creation_times,
    last_modified,
    snapshot_table,
    truth_table,
)
from atlas_pipeline.repositories.demo.making import MadeModel, make
from atlas_pipeline.repositories.demo.packaging import package
from atlas_pipeline.repositories.demo.recipe import plan_models
from atlas_pipeline.repositories.demo.tasks import split_digits

Progress = Callable[[int, int, str], None]


def build(root: Path, *, seed: int, progress: Progress | None = None) -> None:
    """Make every model of the recipe and write the hub into a new folder.

    Args:
        root: The folder, which must not exist yet.
        seed: Seed of everything that is drawn.
        progress: Called after each model with the number done, the total and the model's id.
    """
    plans = plan_models()
    digits = split_digits(seed)
    created = creation_times(plans, seed=seed)
    carded = with_card(plans, seed=seed)
    measured = evaluated(plans, carded, seed=seed)
    models: dict[str, MadeModel] = {}
    entries: list[Entry] = []
    # One thread: the order in which a multi-threaded product adds up depends on the number of cores.
    with threadpool_limits(limits=1):
        for done, plan in enumerate(plans, start=1):
            model_id = plan.model_id
            parents = [models[parent] for parent in plan.parents]
            made = models[model_id] = make(plan, parents, digits=digits, seed=seed)
            card = (
                card_data(made, digits=digits, is_evaluated=model_id in measured, seed=seed)
                if model_id in carded
                else None
            )
            folder = root / "models" / plan.author / plan.name
            shown = package(folder, made, parents, card=card)
            if plan.presence is not Presence.LISTED:
                shutil.rmtree(folder)
            modified = last_modified(plan, created[model_id], seed=seed)
            entries.append(Entry(plan, created[model_id], modified, card, shown))
            if progress is not None:
                progress(done, len(plans), model_id)

    for taken_at in SNAPSHOTS:
        folder = root / "hub_stats" / taken_at.date().isoformat()
        folder.mkdir(parents=True)
        pq.write_table(snapshot_table(entries, taken_at, seed=seed), folder / "models.parquet")
    pq.write_table(truth_table(plans), root / "truth.parquet")
