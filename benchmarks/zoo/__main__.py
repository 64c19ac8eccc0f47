"""Makes a population of really trained networks with known truth.

python -m benchmarks.zoo make --seed 7 --out FOLDER
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.zoo.building import make_population
from benchmarks.zoo.plans import FAMILIES, Family
from benchmarks.zoo.population import N_CONTROLS, N_REGIONS

app = typer.Typer(add_completion=False, help=__doc__)


@app.callback()
def _main() -> None:
    """Keep `make` a command of its own."""


@app.command()
def make(  # noqa: PLR0917 - options, given by name
    out: Annotated[Path, typer.Option(help="Folder of the population; an unfinished one is continued.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes; each trains on one thread.")] = 2,
    models: Annotated[int, typer.Option(help="Models, controls included.")] = 640,
    family: Annotated[list[str] | None, typer.Option(help="An architecture; all where none is given.")] = None,
    regions: Annotated[int, typer.Option(min=1, help="Regions of each architecture.")] = N_REGIONS,
    controls: Annotated[int, typer.Option(min=0, help="Independent models of each architecture.")] = N_CONTROLS,
) -> None:
    """Make a population; regions that are finished are not trained again."""
    families: list[Family] = [name for name in FAMILIES if family is None or name in family]
    if family and len(families) != len(set(family)):
        raise typer.BadParameter(f"architectures are {', '.join(FAMILIES)}")
    console = Console(stderr=True)
    start = time.perf_counter()
    told = make_population(
        out,
        seed=seed,
        workers=workers,
        n_models=models,
        families=families,
        n_regions=regions,
        n_controls=controls,
        console=console,
    )
    console.print_json(json.dumps(told | {"seconds": round(time.perf_counter() - start, 1)}))


if __name__ == "__main__":
    app()
