"""The charting methods side by side: scored on the same regions, with documentation used and with it hidden."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from atlas_pipeline.edges import ablations, algorithm1, baselines, charting, mother, paper
from atlas_pipeline.edges.calibration import (
    ReliabilityBin,
    bins_of_rows,
    expected_calibration_error,
    reliability_picture,
)
from atlas_pipeline.edges.candidates import NoDistanceMatrix
from atlas_pipeline.edges.clustering import score_clusters
from atlas_pipeline.edges.records import Edge
from atlas_pipeline.edges.region import Region
from atlas_pipeline.edges.scoring import TrueEdge, components, score, twin_groups

Method = Callable[[Region], tuple[Edge, ...]]

CHARTING_METHOD: Final = "evidence"
"""The method that makes the atlas."""


class ChartedPlace(Protocol):
    """The models of one vector group, and the region that each belongs to."""

    @property
    def region(self) -> Region:
        """The models."""

    @property
    def region_ids(self) -> Mapping[str, str]:
        """Id of the region of each model."""


@dataclass(frozen=True)
class Comparison:
    """What the methods scored, and what they cost.

    Attributes:
        rows: rows of ``edges.scores``.
        seconds: by method, what charting all places took with documentation hidden; distances not counted.
        skipped: by method, why it is not scored where it is not.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, float]:
        """Figures for a run's record, by method, with documentation hidden and over all regions.

        Seconds, accuracy, and the calibration error of the summed bins of confidence.
        """
        figures = {f"seconds.{method}": seconds for method, seconds in sorted(self.seconds.items())}
        lines = [row for row in self.rows if is_headline(row)]
        for method in sorted({row["method"] for row in lines}):
            own = [row for row in lines if row["method"] == method]
            n_right = sum(row["accuracy"] * row["n_models"] for row in own)
            figures[f"accuracy.{method}"] = n_right / sum(row["n_models"] for row in own)
            error = expected_calibration_error(self.bins(method))
            if error is not None:
                figures[f"calibration_error.{method}"] = error
        return figures

    def bins(self, method: str) -> list[ReliabilityBin]:
        """Bins of confidence of a method's charted edges, strict and with documentation hidden, of all regions."""
        wanted = {"method": method, **_HEADLINE}
        return bins_of_rows(row for row in self.rows if all(row[name] == value for name, value in wanted.items()))

    def picture(self) -> bytes:
        """How far the confidence of the method that makes the atlas can be believed, as a PNG."""
        return reliability_picture(self.bins(CHARTING_METHOD), title=f"{CHARTING_METHOD}: confidence against truth")


_HEADLINE: Final = {"documentation": "hidden", "matching": "strict", "subset": "all"}


def is_headline(row: Mapping[str, Any]) -> bool:
    """Whether a row of ``edges.scores`` is its method's strict accuracy in a region, with documentation hidden."""
    wanted = {**_HEADLINE, "breakdown": "all"}
    return row["accuracy"] is not None and all(row[name] == value for name, value in wanted.items())


class TruthError(Exception):
    """A file of true edges that cannot be read; the message names it."""


def methods(*, n_neighbors: int, seed: int) -> dict[str, Method]:
    """The charting methods by name.

    Args:
        n_neighbors: K of the paper's Algorithm 1.
        seed: of the baselines that draw.
    """

    def without(assumption: ablations.Assumption) -> Method:
        return lambda region: ablations.chart_without(region, assumption, n_neighbors=n_neighbors)

    return {
        CHARTING_METHOD: charting.chart,
        "algorithm1_resolved": lambda region: algorithm1.chart(region, n_neighbors=n_neighbors),
        "algorithm1_raw_spread": lambda region: algorithm1.chart(region, n_neighbors=n_neighbors, spread_unit="raw"),
        "algorithm1_printed": lambda region: paper.chart_as_printed(region, n_neighbors=n_neighbors),
        **{f"algorithm1_without_{assumption}": without(assumption) for assumption in ablations.ASSUMPTIONS},
        "nearest_earlier": baselines.nearest_earlier,
        "spanning_tree": baselines.spanning_tree,
        "mother": mother.mother,
        "majority": baselines.majority,
        "price": lambda region: baselines.price(region, seed=seed),
        "earliest_root": baselines.earliest_root,
        "random_root": lambda region: baselines.random_root(region, seed=seed),
        "random_earlier": lambda region: baselines.random_earlier(region, seed=seed),
    }


def given_truth(path: str) -> list[TrueEdge]:
    """True edges of a Parquet or CSV file with the columns child_id, parent_id and, if there, relation and pattern.

    Raises:
        TruthError: the file cannot be read or lacks an id column.
    """
    if not Path(path).is_file():
        raise TruthError(f"ATLAS_TRUTH={path}: no such file")
    try:
        rows = (pacsv.read_csv(path) if path.endswith(".csv") else pq.read_table(path)).to_pylist()
        return [
            TrueEdge(
                child_id=row["child_id"],
                parent_id=row["parent_id"],
                relation=row.get("relation") or "unknown",
                pattern=row.get("pattern") or row.get("relation") or "unknown",
            )
            for row in rows
        ]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise TruthError(f"ATLAS_TRUTH={path} cannot be read: {error}") from error


def documented_truth(documented: Iterable[Mapping[str, Any]]) -> list[TrueEdge]:
    """Documented edges taken as the truth, their relation as the pattern."""
    return [
        TrueEdge(
            child_id=row["child_id"], parent_id=row["parent_id"], relation=row["relation"], pattern=row["relation"]
        )
        for row in documented
    ]


def compare(
    region: Region,
    region_ids: Mapping[str, str],
    truth: Sequence[TrueEdge],
    *,
    is_given: bool,
    n_neighbors: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of ``edges.scores`` for one vector group; arguments as for ``compare_places``."""
    place = _OnePlace(region, region_ids)
    return compare_places([place], truth, is_given=is_given, n_neighbors=n_neighbors, seed=seed).rows


def compare_places(
    places: Sequence[ChartedPlace],
    truth: Sequence[TrueEdge],
    *,
    is_given: bool,
    n_neighbors: int,
    seed: int,
    only: Collection[str] | None = None,
) -> Comparison:
    """Score every method on all vector groups of a partition.

    A region is scored once, with its models of all groups: what no method can find, an edge between groups, counts as
    missed. Regions of one model are not scored.

    Args:
        places: the vector groups.
        truth: the true edges.
        is_given: whether the truth is known from elsewhere. Documented edges as truth are always hidden first, and say
            nothing about who is no kin: the weight clusters are scored against given truth alone.
        n_neighbors: K of the paper's Algorithm 1.
        seed: of the baselines that draw.
        only: names of the methods to score; all where not given.
    """
    members: dict[str, list[str]] = {}
    for place in places:
        for model_id in place.region.model_ids:
            members.setdefault(place.region_ids[model_id], []).append(model_id)
    members = {region_id: own for region_id, own in sorted(members.items()) if len(own) > 1}
    twins = twin_groups(truth)
    true_edges: dict[str, list[TrueEdge]] = {}
    for edge in truth:
        true_edges.setdefault(edge.child_id, []).append(edge)
    found = Comparison()
    for documentation in ("hidden", "used") if is_given else ("hidden",):
        shown = [p.region if documentation == "used" else _undocumented(p.region) for p in places]
        known = {region.model_ids[child] for region in shown for child in region.known_parents}
        for name, method in methods(n_neighbors=n_neighbors, seed=seed).items():
            if only is not None and name not in only:
                continue
            start = time.perf_counter()
            edges, missing = _charted(name, method, shown, found)
            if documentation == "hidden":
                found.seconds[name] = time.perf_counter() - start
            for region_id, own in members.items():
                if missing.isdisjoint(own):
                    here = [edge for model_id in own for edge in edges.get(model_id, ())]
                    real = [edge for model_id in own for edge in true_edges.get(model_id, ())]
                    lines = score(here, real, method=name, model_ids=own, documented=known, twins=twins)
                    about = {"region_id": region_id, "truth": "given" if is_given else "documented"}
                    found.rows.extend(about | {"documentation": documentation} | asdict(line) for line in lines)
    if is_given:
        component_of = components(truth)
        labels = {
            model_id: (number, int(cluster))
            for number, place in enumerate(places)
            for model_id, cluster in zip(place.region.model_ids, place.region.clusters, strict=True)
        }
        for region_id, own in members.items():
            about = {"region_id": region_id, "truth": "given", "documentation": "hidden"}
            found.rows.append(about | asdict(score_clusters(labels, component_of, model_ids=own)))
    return found


@dataclass(frozen=True)
class _OnePlace:
    region: Region
    region_ids: Mapping[str, str]


def _undocumented(region: Region) -> Region:
    return replace(region, known_parents={}, known_sources={})


def _charted(
    name: str, method: Method, regions: Iterable[Region], found: Comparison
) -> tuple[dict[str, list[Edge]], set[str]]:
    """Edges by child, and the models that the method could not chart; the reason is noted."""
    edges: dict[str, list[Edge]] = {}
    missing: set[str] = set()
    for region in regions:
        try:
            for edge in method(region):
                edges.setdefault(edge.child_id, []).append(edge)
        except NoDistanceMatrix as error:
            missing.update(region.model_ids)
            found.skipped[name] = str(error)
    return edges, missing
