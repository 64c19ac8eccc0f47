"""Distances of many models at once: seconds, share of the machine's own matrix product, memory, and what is found.

python -m benchmarks.charting --models 1000 --models 10000
python -m benchmarks.charting --models 10000 --shape fans --repeat 3
python -m benchmarks.charting --models 50000 --columns 25600 --json charting.json

Draws vectors of models with a known tree: bases that have nothing in common, and from each of them fans (sweeps of one
recipe), chains (checkpoints of a run), single fine-tunes and copies, a thousandth to a hundredth of the weights away
from their parents. Every size is measured in a process of its own. Seconds of all cores are what the operating system
counts: half of them is about what two cores need that have nothing else to do. On a busy machine set
OPENBLAS_NUM_THREADS=1 to read them, because threads of BLAS that wait for each other count as well.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from atlas_pipeline.distances.arithmetic import NumpyArithmetic
from atlas_pipeline.distances.partitions import GroupDistances, measure_group
from atlas_pipeline.edges.charting import chart
from atlas_pipeline.edges.region import Region

NEURON_WIDTH = 1024
WEIGHT = 0.02
"""Standard deviation of a weight."""

STEPS = (1e-3, 1e-2)
"""Least and greatest change of a fine-tune, relative to the weights."""

RECALLED = (5, 32)
SAMPLED_ROWS = 20


class Shape(StrEnum):
    """What the trees are made of."""

    MIXED = "mixed"
    FANS = "fans"
    CHAINS = "chains"


@dataclass(frozen=True)
class Population:
    """Models with a known tree, parents before their children.

    Attributes:
        vectors: float32 [n, d].
        parent: int64 [n], row of the parent; -1 for a base.
        base: int64 [n], row of the base.
        step: float64 [n], change from the parent, relative to the weights; 0 for copies and bases.
    """

    vectors: NDArray[np.float32]
    parent: NDArray[np.int64]
    base: NDArray[np.int64]
    step: NDArray[np.float64]


@dataclass(frozen=True)
class Measurement:
    """What is measured of one population. Speeds are GFLOP/s; a triangle counts as half of a square."""

    models: int
    columns: int
    bases: int
    shape: str
    seconds: float
    all_seconds: list[float]
    cpu_seconds: float
    structure_seconds: float
    float32_gflops: float
    sgemm_gflops: float
    float64_gflops: float
    dgemm_gflops: float
    product_seconds: float
    peak_gb: float
    vectors_gb: float
    recall: dict[int, float]
    greatest_error: float
    clusters: int
    clusters_are_right: bool
    load: float


class Meter(NumpyArithmetic):
    """Counts operations and seconds of the products of each type."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.operations: dict[str, float] = {}

    def product(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        """As NumPy computes it."""
        start = time.perf_counter()
        result = super().product(left, right)
        kind, is_triangle = left.dtype.name, left is right
        self.seconds[kind] = self.seconds.get(kind, 0.0) + time.perf_counter() - start
        operations = (1 if is_triangle else 2) * len(left) * len(right) * left.shape[1]
        self.operations[kind] = self.operations.get(kind, 0.0) + operations
        return result

    def sum_of_products(
        self, slabs: Iterable[tuple[NDArray[Any], NDArray[Any]]], shape: tuple[int, int]
    ) -> NDArray[np.float64]:
        """As NumPy computes it; making the slabs is not counted."""
        total = np.zeros(shape, dtype=np.float64)
        for left, right in slabs:
            total += self.product(left, right)
        return total

    def speed(self, kind: str) -> float:
        """GFLOP/s of one type; 0 if it was not used."""
        return self.operations[kind] / self.seconds[kind] / 1e9 if kind in self.seconds else 0.0


def population(n: int, columns: int, *, n_bases: int, shape: Shape = Shape.MIXED, seed: int = 0) -> Population:
    """Draw models with a known tree."""
    generator = np.random.default_rng(seed)
    parent, step = np.full(n, -1, dtype=np.int64), np.zeros(n)
    base = np.concatenate([np.arange(n_bases), np.zeros(n - n_bases, dtype=np.int64)])
    made = n_bases
    for parents, steps in _families(generator, shape, base):
        count = min(len(steps), n - made)
        parent[made : made + count] = [made + p if p < 0 else p for p in parents[:count]]
        step[made : made + count] = steps[:count]
        for row in range(made, made + count):
            base[row] = base[parent[row]]
        made += count
        if made == n:
            break
    vectors = np.empty((n, columns), dtype=np.float32)
    for row in range(n):
        own = vectors[row]
        if parent[row] >= 0 and step[row] == 0:
            own[:] = vectors[parent[row]]
            continue
        generator.standard_normal(dtype=np.float32, out=own)
        own *= np.float32(WEIGHT * (step[row] if parent[row] >= 0 else 1.0))
        if parent[row] >= 0:
            own += vectors[parent[row]]
    return Population(vectors, parent, base, step)


def _families(
    generator: np.random.Generator, shape: Shape, base: NDArray[np.int64]
) -> Iterator[tuple[list[int], list[float]]]:
    """Parents and steps of models that come together; a negative parent counts back from the model itself."""
    n_bases = int((base == np.arange(len(base))).sum())
    members = [[row] for row in range(n_bases)]
    made = n_bases
    while True:
        family = int(generator.integers(n_bases))
        # Early models are chosen more often than late ones.
        root = members[family][int(len(members[family]) * generator.random() ** 2)]
        step = float(10.0 ** generator.uniform(*np.log10(STEPS)))
        kind = {Shape.FANS: 0.0, Shape.CHAINS: 0.5}.get(shape, generator.random())
        if shape == Shape.FANS:
            parents, steps = [members[family][0]] * 1000, [step] * 1000
        elif kind < 0.35:
            size = int(generator.integers(3, 30))
            parents, steps = [root] * size, [step] * size
        elif kind < 0.6:
            size = int(generator.integers(3, 10))
            parents, steps = [root, *[-1] * (size - 1)], [step] * size
        elif kind < 0.65:
            parents, steps = [root], [0.0]
        else:
            parents, steps = [root], [step]
        members[family] += range(made, made + len(steps))
        made += len(steps)
        yield parents, steps


def own_speed(kind: str, *, repeat: int = 5) -> float:
    """GFLOP/s of one large matrix product of this machine, the best of some."""
    square = np.random.default_rng(0).standard_normal((3000, 3000)).astype(kind)
    other = square.copy()
    best = min(_seconds(lambda: square @ other) for _ in range(repeat))
    return 2 * 3000**3 / best / 1e9


def recall_of(drawn: Population, found: GroupDistances, *, seed: int = 0) -> tuple[dict[int, float], float]:
    """Share of the nearest that are found for some models, and the greatest relative error of their distances.

    A neighbour counts where its distance from differences in float64 is no greater than that of the k-th: of copies,
    any will do.
    """
    n = len(drawn.vectors)
    rows = np.random.default_rng(seed).choice(n, min(SAMPLED_ROWS, n), replace=False)
    right, error = {k: [] for k in RECALLED}, 0.0
    for row in rows.tolist():
        squared = np.full(n, np.inf)
        kin = np.flatnonzero(drawn.base == drawn.base[row])
        kin = kin[kin != row]
        for start in range(0, len(kin), 64):
            difference = drawn.vectors[kin[start : start + 64]].astype(np.float64) - drawn.vectors[row]
            squared[kin[start : start + 64]] = np.vecdot(difference, difference)
        others = found.near.index[row]
        others, given = others[others >= 0], found.near.squared[row][others >= 0]
        is_apart = squared[others] > 0
        error = max(error, float(np.abs(given[is_apart] / squared[others[is_apart]] - 1).max(initial=0.0)))
        for k in RECALLED:
            wanted = min(k, len(kin))
            if wanted:
                kth = np.partition(squared, wanted - 1)[wanted - 1]
                right[k].append(float((squared[others[:wanted]] <= kth).sum() / wanted))
    return {k: float(np.mean(shares)) if shares else 1.0 for k, shares in right.items()}, error


def time_structure(drawn: Population, found: GroupDistances) -> float:
    """Seconds of the structure step alone: who was made from whom, given the distances, a model an hour."""
    n, columns = drawn.vectors.shape
    region = Region(
        model_ids=tuple(f"drawn/model-{row:06d}" for row in range(n)),
        created_at=3600.0 * np.arange(n),
        created_at_is_floor=np.zeros(n, dtype=bool),
        vectors=drawn.vectors,
        squared_distances=found.squared,
        clusters=found.clusters,
        is_quantized=np.zeros(n, dtype=bool),
        is_adapter=np.zeros(n, dtype=bool),
        content_sha256=(None,) * n,
        layout=((columns // NEURON_WIDTH, NEURON_WIDTH),) if columns % NEURON_WIDTH == 0 else (),
        near_index=found.near.index.astype(np.int64),
        near_squared=found.near.squared,
    )
    start = time.perf_counter()
    chart(region)
    return time.perf_counter() - start


def measure(n: int, columns: int, *, n_bases: int, shape: Shape, repeat: int, seed: int) -> Measurement:
    """Measure one population in this process; the best of ``repeat`` runs counts."""
    drawn = population(n, columns, n_bases=n_bases, shape=shape, seed=seed)
    plan = {
        "tensors": [
            {"canonical": f"layers.{i}.weight", "rows": [i], "n_columns": min(NEURON_WIDTH, columns - start)}
            for i, start in enumerate(range(0, columns, NEURON_WIDTH))
        ]
    }
    speeds = {kind: own_speed(kind) for kind in ("float32", "float64")}
    all_seconds: list[float] = []
    cpu_seconds: list[float] = []
    best = Meter()
    for _ in range(repeat):
        meter = Meter()
        start, start_of_cpu = time.perf_counter(), time.process_time()
        found = measure_group(drawn.vectors, plan, arithmetic=meter)
        all_seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - start_of_cpu)
        best = meter if all_seconds[-1] == min(all_seconds) else best
    # Before anything else is held: recall needs more.
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    speeds = {kind: max(speed, own_speed(kind)) for kind, speed in speeds.items()}
    recall, error = recall_of(drawn, found)
    return Measurement(
        models=n,
        columns=columns,
        bases=n_bases,
        shape=shape.value,
        seconds=min(all_seconds),
        all_seconds=all_seconds,
        cpu_seconds=min(cpu_seconds),
        structure_seconds=time_structure(drawn, found),
        float32_gflops=best.speed("float32"),
        sgemm_gflops=speeds["float32"],
        float64_gflops=best.speed("float64"),
        dgemm_gflops=speeds["float64"],
        product_seconds=sum(best.seconds.values()),
        peak_gb=peak_gb,
        vectors_gb=drawn.vectors.nbytes / 1e9,
        recall=recall,
        greatest_error=error,
        clusters=int(found.clusters.max()) + 1,
        clusters_are_right=bool((found.clusters == np.unique(drawn.base, return_inverse=True)[1]).all()),
        load=os.getloadavg()[0],
    )


def in_its_own_process(arguments: list[str]) -> dict[str, Any]:
    """One measurement, in a process whose peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.charting", *arguments, "--here"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def table_of(results: list[dict[str, Any]]) -> Table:
    """What is printed: a line for each figure, a column for each population."""
    table = Table("", *(f"{r['models']:,} models" for r in results), title="Distances")
    lines: dict[str, Callable[[dict[str, Any]], str]] = {
        "columns": lambda r: f"{r['columns']:,}",
        "bases, shape": lambda r: f"{r['bases']}, {r['shape']}",
        "seconds": lambda r: f"{r['seconds']:.2f}",
        "all runs": lambda r: " ".join(f"{seconds:.1f}" for seconds in r["all_seconds"]),
        "least seconds of all cores": lambda r: f"{r['cpu_seconds']:.2f}",
        "seconds in products": lambda r: f"{r['product_seconds']:.2f}",
        "structure, seconds": lambda r: "-" if r["structure_seconds"] is None else f"{r['structure_seconds']:.2f}",
        "float32 products, GFLOP/s": lambda r: f"{r['float32_gflops']:.0f}",
        "  of sgemm": lambda r: f"{r['float32_gflops'] / r['sgemm_gflops']:.0%} of {r['sgemm_gflops']:.0f}",
        "float64 products, GFLOP/s": lambda r: f"{r['float64_gflops']:.0f}",
        "  of dgemm": lambda r: f"{r['float64_gflops'] / r['dgemm_gflops']:.0%} of {r['dgemm_gflops']:.0f}",
        "peak memory, GB": lambda r: f"{r['peak_gb']:.1f}",
        "  of it vectors": lambda r: f"{r['vectors_gb']:.1f}",
        "recall": lambda r: " ".join(f"@{k} {share:.4f}" for k, share in r["recall"].items()),
        "greatest relative error": lambda r: f"{r['greatest_error']:.0e}",
        "clusters": lambda r: f"{r['clusters']}{'' if r['clusters_are_right'] else ' (wrong)'}",
        "load of the machine": lambda r: f"{r['load']:.1f}",
    }
    for name, written in lines.items():
        table.add_row(name, *(written(result) for result in results))
    return table


def main(  # noqa: PLR0917 - typer calls it by name
    models: Annotated[list[int], typer.Option(help="Models of a population; give it again for more sizes.")] = [1000],  # noqa: B006
    columns: Annotated[int, typer.Option(help="Numbers in a vector: 100 neurons of width 1,024.")] = 102_400,
    models_per_base: Annotated[int, typer.Option(help="One base for so many models, at least one.")] = 1000,
    shape: Annotated[Shape, typer.Option(help="What the trees are made of.")] = Shape.MIXED,
    repeat: Annotated[int, typer.Option(help="Runs of each size, of which the fastest counts.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the populations.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write all figures.")] = None,
    here: Annotated[bool, typer.Option("--here", hidden=True)] = False,
) -> None:
    """Distances of many models at once: seconds, share of the machine's own product, memory, and what is found."""
    results = []
    for n in models:
        n_bases = max(n // models_per_base, 1)
        if here:
            measured = measure(n, columns, n_bases=n_bases, shape=shape, repeat=repeat, seed=seed)
            print(json.dumps(asdict(measured)))
            continue
        options = {"models": n, "columns": columns, "models-per-base": models_per_base, "shape": shape.value}
        options |= {"repeat": repeat, "seed": seed}
        results.append(in_its_own_process([f"--{name}={value}" for name, value in options.items()]))
        print(f"{n:,} models: {results[-1]['seconds']:.2f} s", file=sys.stderr, flush=True)
    if here:
        return
    Console(width=None if sys.stdout.isatty() else 200).print(table_of(results))
    if json_file is not None:
        json_file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    typer.run(main)
