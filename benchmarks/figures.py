"""The paper's tables 2, 3 and 4 and its figure 7 on models with known truth, with the paper's own figures beside them.

python -m benchmarks.figures table2 HOME [HOME ...]        methods against baselines
python -m benchmarks.figures table3 HOME [HOME ...]        Algorithm 1 without one of its assumptions
python -m benchmarks.figures fig7 HOME [HOME ...]          accuracy by number of neurons
python -m benchmarks.figures calibration HOME [HOME ...]   confidence against share right
python -m benchmarks.figures patterns HOME [HOME ...]      accuracy by kind of edge
python -m benchmarks.figures table4                        seconds of the structure step by number of models

A HOME is the ATLAS_HOME of a finished run, or HOME=TRUTH with the Parquet or CSV of its true edges; without, those of
the demo hub in the home. Figures are means over homes, with the standard deviation where there are several.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.distances.neighbors import squared_distances
from atlas_pipeline.edges import comparison
from atlas_pipeline.edges.calibration import bins_of_rows, expected_calibration_error, reliability_picture
from atlas_pipeline.edges.comparison import Comparison, compare_places, given_truth, methods
from atlas_pipeline.edges.partitions import Measured, Place, documented_edges, places
from atlas_pipeline.edges.region import Region
from atlas_pipeline.edges.scoring import TrueEdge
from atlas_pipeline.features.plans import SamplingPlan
from atlas_pipeline.settings import Settings

PAPER: Final[Mapping[str, tuple[float | None, ...]]] = {
    "random_root": (1.77, 1.84, 0.22),
    "random_earlier": (0.98, 0.67, 0.75),
    "majority": (15.03, 25.00, 36.75),
    "price": (2.28, 5.08, 8.50),
    "mother": (32.81, 19.32, 50.51),
    "algorithm1_resolved": (78.87, 80.44, 85.10),
    "algorithm1_without_greedy": (77.34, 78.98, None),
    "algorithm1_without_quantization": (70.57, 36.59, 84.85),
    "algorithm1_without_deduplication": (67.85, 75.28, 88.76),
    "algorithm1_without_time": (75.47, 80.13, 80.86),
    "algorithm1_without_fans": (75.09, 76.03, 71.72),
    "algorithm1_without_merges": (76.95, 76.61, 84.85),
}
"""Accuracy in per cent on Qwen2.5-0.5B, Llama-3.2-1B and Stable Diffusion 2 (tables 2 and 3 of the paper)."""

PAPER_SECONDS: Final = {20: 0.01, 100: 0.06, 1000: 0.58, 10_000: 19.1}
"""Table 4 of the paper."""

NEURONS: Final = (1, 2, 5, 10, 20, 50, 100)
FEATURED: Final = ("algorithm1_resolved", "algorithm1_raw_spread", "nearest_earlier", "mother")
"""Methods of figure 7 beside the one that makes the atlas; the paper draws its own alone."""

DRAWS: Final = 3
"""Sets of neurons drawn for each number of them."""

HIDDEN: Final = {"documentation": "hidden", "subset": "all"}
USED: Final = {"documentation": "used", "subset": "undocumented"}
GIVEN: Final = {"documentation": "used", "subset": "all"}
"""Readings: nothing given; documented parents given, and not counted, or counted as in the paper's tables it seems."""


@dataclass(frozen=True)
class Home:
    """A finished run with known truth.

    Attributes:
        folder: its ATLAS_HOME.
        truth_file: its true edges.
    """

    folder: Path
    truth_file: Path

    @classmethod
    def from_argument(cls, text: str) -> Home:
        """Read ``HOME`` or ``HOME=TRUTH``."""
        folder, _, truth = text.partition("=")
        return cls(Path(folder), Path(truth) if truth else Path(folder) / "demo_hub" / "truth.parquet")

    @cached_property
    def truth(self) -> list[TrueEdge]:
        """The true edges."""
        return given_truth(str(self.truth_file))

    @cached_property
    def atlas(self) -> Atlas:
        """The tables."""
        return Atlas(Settings(home=str(self.folder.absolute()), truth=str(self.truth_file.absolute())))

    @cached_property
    def partitions(self) -> list[list[Place]]:
        """Vector groups of each partition, as charting sees them."""
        found = []
        for partition in self.atlas.region_partitions():
            sampled = self.atlas.store.read_attachment("features.models", partition)
            distances = self.atlas.store.read_attachment("distances.neighbors", partition)
            with self.atlas.connect("edges.scores", partition) as connection:
                documented = documented_edges(connection, partition)
                found.append(list(places(connection, Measured.from_attachments(sampled, distances), documented)))
        return found

    def plans(self) -> dict[str, SamplingPlan]:
        """Which rows of which matrices the vectors of a model are made of, by model."""
        found = {}
        for partition in self.atlas.region_partitions():
            _, metadata = self.atlas.store.read_attachment("features.models", partition)
            for group in json.loads(metadata["groups"]).values():
                plan = SamplingPlan.from_json(group["plan"])
                found.update(dict.fromkeys(group["model_ids"], plan))
        return found

    def compared(self, *, n_neighbors: int, seed: int) -> list[dict[str, Any]]:
        """Rows of ``edges.scores`` of all partitions."""
        rows = []
        for group in self.partitions:
            found = compare_places(group, self.truth, is_given=True, n_neighbors=n_neighbors, seed=seed)
            say_what_was_skipped(found)
            rows += found.rows
        return rows


def say_what_was_skipped(found: Comparison) -> None:
    for method, reason in found.skipped.items():
        print(f"left out: {method}: {reason}")


def pooled(rows: Sequence[Mapping[str, Any]], share: str = "accuracy", **wanted: str) -> float | None:
    """A share over all regions, in per cent; None where nothing was scored."""
    lines = [row for row in rows if row[share] is not None and all(row[key] == value for key, value in wanted.items())]
    n_models = sum(row["n_models"] for row in lines)
    return 100 * sum(row[share] * row["n_models"] for row in lines) / n_models if n_models else None


def spread(values: Sequence[float | None]) -> str:
    """Mean and standard deviation of what is known."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    mean = f"{statistics.mean(known):.1f}"
    return f"{mean} ± {statistics.stdev(known):.1f}" if len(known) > 1 else mean


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print Markdown, the first column left, the others right."""
    print("| " + " | ".join(header) + " |")
    print("|---" + "|--:" * (len(header) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def papers(method: str) -> str:
    return " / ".join("failed" if value is None else f"{value:.2f}" for value in PAPER.get(method, ()))


def print_methods(scored: Sequence[Sequence[Mapping[str, Any]]], names: Sequence[str]) -> None:
    """Accuracy of methods with documentation hidden, also with twins accepted, and with it used."""
    header = ("method", "hidden", "hidden, twins", "hidden, edge F1", "used, undocumented", "used, all", "paper")
    lines = []
    for name in names:
        cells = [
            spread([pooled(rows, share, method=name, matching=matching, breakdown="all", **reading) for rows in scored])
            for share, matching, reading in (
                ("accuracy", "strict", HIDDEN),
                ("accuracy", "twins", HIDDEN),
                ("f1", "strict", HIDDEN),
                ("accuracy", "strict", USED),
                ("accuracy", "strict", GIVEN),
            )
        ]
        lines.append((name, *cells, papers(name)))
    print_table(header, lines)


def table2(homes: Sequence[Home], given: argparse.Namespace) -> None:
    names = [name for name in methods(n_neighbors=5, seed=0) if "without" not in name]
    print_methods([home.compared(n_neighbors=given.neighbors, seed=given.seed) for home in homes], names)


def table3(homes: Sequence[Home], given: argparse.Namespace) -> None:
    names = ["algorithm1_resolved", *(name for name in methods(n_neighbors=5, seed=0) if "without" in name)]
    print_methods([home.compared(n_neighbors=given.neighbors, seed=given.seed) for home in homes], names)


def patterns(homes: Sequence[Home], given: argparse.Namespace) -> None:
    scored = [home.compared(n_neighbors=given.neighbors, seed=given.seed) for home in homes]
    kinds = sorted({row["breakdown_value"] for rows in scored for row in rows if row["breakdown"] == "pattern"})
    names = list(dict.fromkeys((comparison.CHARTING_METHOD, *FEATURED)))
    lines = []
    for kind in kinds:
        about = {"matching": "strict", "breakdown": "pattern", "breakdown_value": kind, **HIDDEN}
        n_models = [sum(row["n_models"] for row in rows if is_line(row, method=names[0], **about)) for rows in scored]
        cells = [spread([pooled(rows, method=name, **about) for rows in scored]) for name in names]
        listed = spread([pooled(rows, "candidates_recall", method=names[0], **about) for rows in scored])
        lines.append((kind, str(sum(n_models)), *cells, listed))
    print_table(("kind", "models", *names, "parent among candidates"), lines)
    for home in homes:
        print(joined_controls(home))


def joined_controls(home: Home) -> str:
    """How many models that are known to have no kin were put into a cluster with others, where it is known."""
    members = home.truth_file.parent / "members.parquet"
    if not members.is_file():
        return f"{home.folder}: it is not said which models have no kin"
    rows = pq.read_table(members, columns=["model_id", "pattern"]).to_pylist()
    controls = {row["model_id"] for row in rows if row["pattern"] == "control"}
    labels = {
        model_id: (number, label)
        for number, place in enumerate(place for group in home.partitions for place in group)
        for model_id, label in zip(place.region.model_ids, place.region.clusters.tolist(), strict=True)
    }
    sizes = Counter(labels.values())
    joined = sum(sizes[labels[model_id]] > 1 for model_id in controls & set(labels))
    return f"{home.folder}: {joined} of {len(controls & set(labels))} models without kin share a weight cluster"


def is_line(row: Mapping[str, Any], **wanted: str) -> bool:
    return all(row[key] == value for key, value in wanted.items())


def calibration(homes: Sequence[Home], given: argparse.Namespace) -> None:
    scored = [home.compared(n_neighbors=given.neighbors, seed=given.seed) for home in homes]
    name = given.method or comparison.CHARTING_METHOD
    about = {"method": name, "matching": given.matching, **HIDDEN}
    found = [bins_of_rows(row for row in rows if is_line(row, **about)) for rows in scored]
    print(f"{name}, {given.matching}: expected calibration error, per cent, over all regions of a home")
    errors = [expected_calibration_error(bins) for bins in found]
    print(spread([None if error is None else 100 * error for error in errors]))
    everything = [each for bins in found for each in bins]
    by_bin: dict[str, list[Any]] = {}
    for each in everything:
        by_bin.setdefault(each.name, []).append(each)
    lines = []
    for bin_name, bins in sorted(by_bin.items()):
        n_edges = sum(each.n_edges for each in bins)
        sure = sum(each.n_edges * each.mean_confidence for each in bins) / n_edges
        lines.append((bin_name, str(n_edges), f"{sure:.3f}", f"{sum(each.n_right for each in bins) / n_edges:.3f}"))
    print_table(("confidence", "edges", "mean confidence", "share right"), lines)
    if given.picture:
        Path(given.picture).write_bytes(reliability_picture(everything, title=f"{name}: confidence against truth"))


def fig7(homes: Sequence[Home], given: argparse.Namespace) -> None:
    names = list(dict.fromkeys((comparison.CHARTING_METHOD, *FEATURED)))
    lines = []
    for n_neurons in given.neurons:
        shares: dict[str, list[float | None]] = {name: [] for name in names}
        for home in homes:
            for draw in range(DRAWS):
                rows = list(cut_and_scored(home, names, n_neurons, seed=draw, n_neighbors=given.neighbors))
                for name in names:
                    shares[name].append(pooled(rows, method=name, matching="strict", breakdown="all", **HIDDEN))
        lines.append((str(n_neurons), *(spread(shares[name]) for name in names)))
    print_table(("neurons", *names), lines)


def cut_and_scored(
    home: Home, names: Sequence[str], n_neurons: int, *, seed: int, n_neighbors: int
) -> Iterator[dict[str, Any]]:
    """Rows of ``edges.scores`` with vectors of fewer neurons; weight clusters stay those of all, as the paper's do."""
    plans = home.plans()
    for group in home.partitions:
        cut = [
            Place(with_neurons(place.region, plans[place.region.model_ids[0]], n_neurons, seed=seed), place.region_ids)
            for place in group
        ]
        yield from compare_places(cut, home.truth, is_given=True, n_neighbors=n_neighbors, seed=seed, only=names).rows


def with_neurons(region: Region, plan: SamplingPlan, n_neurons: int, *, seed: int) -> Region:
    """The region seen through some of its neurons, drawn at random; a greater number holds those of a smaller."""
    lengths = np.repeat([tensor.n_columns for tensor in plan.tensors], [len(tensor.rows) for tensor in plan.tensors])
    ends = np.cumsum(lengths)
    drawn = np.sort(np.random.default_rng(seed).permutation(len(lengths))[:n_neurons])
    columns = np.concatenate([np.arange(ends[neuron] - lengths[neuron], ends[neuron]) for neuron in drawn])
    of_tensor = np.repeat(np.arange(len(plan.tensors)), [len(tensor.rows) for tensor in plan.tensors])[drawn]
    layout = tuple(
        (int(np.sum(of_tensor == number)), plan.tensors[number].n_columns) for number in np.unique(of_tensor).tolist()
    )
    vectors = np.ascontiguousarray(region.vectors[:, columns])
    return replace(
        region,
        vectors=vectors,
        layout=layout,
        squared_distances=squared_distances(vectors),
        near_index=None,
        near_squared=None,
    )


def table4(given: argparse.Namespace) -> None:
    charting = {name: methods(n_neighbors=given.neighbors, seed=0)[name] for name in timed_methods()}
    lines = []
    for n_models in given.models:
        region = drawn_region(n_models, seed=given.seed)
        cells = [f"{best_seconds(method, region):.3f}" for method in charting.values()]
        lines.append((f"{n_models:,}", *cells, str(PAPER_SECONDS.get(n_models, ""))))
    print_table(("models", *charting, "paper"), lines)


def timed_methods() -> list[str]:
    return list(dict.fromkeys((comparison.CHARTING_METHOD, "algorithm1_resolved", "nearest_earlier")))


def best_seconds(method: Callable[[Region], object], region: Region, repeats: int = 2) -> float:
    """The least of several runs: what else the machine does only adds."""
    seconds = []
    for _ in range(repeats):
        # Cached properties of the region are part of the work.
        fresh, start = replace(region), time.perf_counter()
        method(fresh)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def drawn_region(n_models: int, *, seed: int, width: int = 64) -> Region:
    """A region with a drawn tree: each model a step from an earlier one, a fifth of them quantised or copies."""
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(n_models, width)) * 0.01
    vectors[0] = generator.normal(size=width)
    is_copy = generator.random(n_models) < 0.1
    for row in range(1, n_models):
        step = 0.0 if is_copy[row] else vectors[row]
        vectors[row] = vectors[int(row * generator.random() ** 2)] + step
    narrow = vectors.astype(np.float32)
    return Region(
        model_ids=tuple(f"org/m{row:06d}" for row in range(n_models)),
        created_at=np.sort(generator.random(n_models)) * 3e7,
        created_at_is_floor=np.zeros(n_models, dtype=bool),
        vectors=narrow,
        squared_distances=squared_distances(narrow),
        clusters=np.zeros(n_models, dtype=np.int64),
        is_quantized=generator.random(n_models) < 0.1,
        is_adapter=np.zeros(n_models, dtype=bool),
        content_sha256=(None,) * n_models,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    of_homes = {
        "table2": table2,
        "table3": table3,
        "fig7": fig7,
        "calibration": calibration,
        "patterns": patterns,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*of_homes, "table4"])
    parser.add_argument("homes", nargs="*", type=Home.from_argument, metavar="HOME")
    parser.add_argument("--neighbors", type=int, default=5, help="K of Algorithm 1")
    parser.add_argument("--seed", type=int, default=0, help="of the baselines that draw")
    parser.add_argument("--neurons", type=int, nargs="+", default=NEURONS)
    parser.add_argument("--models", type=int, nargs="+", default=list(PAPER_SECONDS))
    parser.add_argument("--method", default="", help="of calibration; the one that makes the atlas by default")
    parser.add_argument("--matching", choices=["strict", "twins"], default="strict")
    parser.add_argument("--picture", default="", help="file to draw the reliability into")
    given = parser.parse_args(arguments)
    if given.what == "table4":
        table4(given)
    elif not given.homes:
        parser.error(f"{given.what} needs the home of a finished run")
    else:
        of_homes[given.what](given.homes, given)


if __name__ == "__main__":
    main()
