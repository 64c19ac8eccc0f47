"""Makes a population in a folder: plans it, has its regions made by several processes, and tells what came of it."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.zoo.listing import members_table, misdeclared_table, stats_table, summary, truth_table
from benchmarks.zoo.plans import FAMILIES, Family, PlannedModel
from benchmarks.zoo.population import N_CONTROLS, N_REGIONS, plan_population, region_specs

RECIPE_VERSION: Final = 1
"""Raised when the same seed gives another population."""

_counters: Final[list[Any]] = []


def make_population(
    out: Path,
    *,
    seed: int,
    workers: int = 2,
    n_models: int = 640,
    families: Sequence[Family] = FAMILIES,
    n_regions: int = N_REGIONS,
    n_controls: int = N_CONTROLS,
    console: Console | None = None,
) -> dict[str, Any]:
    """Make a population in a folder: `models/`, `stats/models.parquet`, `truth.parquet` and what else is told of it.

    Args:
        out: the folder; one that holds the same population unfinished is continued.
        seed: of everything that is drawn.
        workers: processes.
        n_models: models, controls included.
        families: architectures.
        n_regions: regions of each.
        n_controls: independent models of each.
        console: shows progress; None for silence.

    Returns:
        The summary.

    Raises:
        FileExistsError: the folder holds something else.
        RuntimeError: another process makes the same folder.
        ValueError: too few models, or a population that is unfit (see `listing.summary`).
    """
    told = {
        "recipe_version": RECIPE_VERSION,
        "seed": seed,
        "n_models": n_models,
        "families": list(families),
        "n_regions": n_regions,
        "n_controls": n_controls,
    }
    _claim(out, told)
    specs = region_specs(n_models, families=families, n_regions=n_regions, n_controls=n_controls)
    models = plan_population(specs, seed=seed)
    by_region: dict[str, list[PlannedModel]] = {}
    for model in models:
        by_region.setdefault(model.region, []).append(model)
    places = {region: out / "regions" / f"{region}.json" for region in by_region}
    pending = {region: plans for region, plans in by_region.items() if not places[region].exists()}
    # Two makers of one folder would remove each other's models.
    try:
        with FileLock(out / ".lock", timeout=0):
            _make_regions(out / "models", pending, places, seed=seed, workers=workers, console=console)
    except Timeout as error:
        raise RuntimeError(f"{out} is being made by another process") from error
    records = {
        record["model_id"]: record
        for place in places.values()
        for record in json.loads(place.read_text(encoding="utf-8"))["models"]
    }
    (out / "stats").mkdir(exist_ok=True)
    pq.write_table(stats_table(models, records, seed=seed), out / "stats" / "models.parquet")
    pq.write_table(truth_table(models), out / "truth.parquet")
    pq.write_table(members_table(models, records), out / "members.parquet")
    pq.write_table(misdeclared_table(models), out / "misdeclared.parquet")
    found = summary(models, records)
    (out / "summary.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def _claim(out: Path, told: dict[str, Any]) -> None:
    """Mark a folder as this population's."""
    marker = out / "population.json"
    if marker.exists():
        if json.loads(marker.read_text(encoding="utf-8")) != told:
            raise FileExistsError(f"{out} holds another population: choose another folder, or empty this one")
        return
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty and holds no population")
    out.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps(told) + "\n", encoding="utf-8")


def _make_regions(
    folder: Path,
    pending: dict[str, list[PlannedModel]],
    places: dict[str, Path],
    *,
    seed: int,
    workers: int,
    console: Console | None,
) -> None:
    # Large regions first, so that the last worker does not wait for one.
    order = sorted(pending, key=lambda region: (-len(pending[region]), region))
    if workers == 1:
        for region in order:
            _make_region(folder, pending[region], places[region], seed)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    with (
        Progress(*columns, console=console, disable=console is None) as progress,
        ProcessPoolExecutor(workers, mp_context=context, initializer=_share, initargs=(counter,)) as pool,
    ):
        bar = progress.add_task("models", total=sum(len(plans) for plans in pending.values()))
        waiting = {pool.submit(_make_region, folder, pending[region], places[region], seed) for region in order}
        while waiting:
            finished, waiting = wait(waiting, timeout=1.0, return_when=FIRST_EXCEPTION)
            for future in finished:
                future.result()
            progress.update(bar, completed=counter.value)


def _share(counter: Any) -> None:
    """Give a worker the number of finished models."""
    _counters.append(counter)


def _count() -> None:
    for counter in _counters:
        with counter.get_lock():
            counter.value += 1


def _make_region(folder: Path, plans: list[PlannedModel], place: Path, seed: int) -> None:
    # The import of torch takes seconds; a population that is finished does without it.
    from benchmarks.zoo.making import make_region, write_records  # noqa: PLC0415

    write_records(place, make_region(folder, plans, seed=seed, done=_count), seed=seed)
