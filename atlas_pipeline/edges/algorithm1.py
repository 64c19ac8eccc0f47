"""Algorithm 1 of the paper (section 4, appendix C) with its contradictions resolved.

The pseudo code as printed takes parents from later models, drops the nearest neighbour, and masks duplicates before it
looks for them. What stands here follows the text around it, in this order:

1. Exact copies first, on the untouched distances. A copy is a leaf and the child of the earliest copy; where that one
   is quantised, and so a leaf itself, the copies share its parents.
2. Quantised models and copies are struck out as parents before any neighbour is sought, so that the result does not
   depend on the order of the models.
3. Documented parents are kept and none is charted beside them.
4. Each remaining model gets one parent among the nearest earlier models of its weight cluster. A quantised one takes
   the nearest. For others the spread of the distances to its K nearest neighbours of any time decides: a wide spread
   means the nearest earlier model; with a narrow one, distances that follow the time spans make a snake (nearest
   earlier model), and distances that do not make a fan (oldest of the K nearest earlier models). Without dates on
   three neighbours neither can be told, and the nearest earlier model is taken.
5. A model without candidates, such as the earliest of its cluster, is a source and has no edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.edges.candidates import NOBODY, Candidates, cluster_scales, nearest_candidates
from atlas_pipeline.edges.duplicates import Duplicates, find_duplicates
from atlas_pipeline.edges.evidence import EdgeWriter
from atlas_pipeline.edges.records import Edge, without_cycles
from atlas_pipeline.edges.region import Region

SpreadUnit = Literal["scaled", "raw"]

N_NEIGHBORS: Final = 5
"""K of the paper (appendix C)."""

SNAKE_PERCENTILE: Final = 60.0
"""The correlation threshold is this percentile of the correlations of a cluster (appendix C)."""

SPREAD_THRESHOLDS: Final[dict[SpreadUnit, float]] = {"scaled": 1.0, "raw": 0.05}
"""Spread above which the nearest earlier model is taken untested. ``raw`` is the paper's, on squared distances as they
come; it means something else for every width and weight scale. ``scaled`` is in typical steps of the cluster. Members
of a fan that share part of their update lie within one step of each other and of their parent, links of a snake two
apart. A wider threshold sends ordinary fine-tunes to the oldest of their neighbours."""

MINIMUM_POINTS: Final = 3
"""Fewer neighbours than this make neither a spread nor a correlation: two points always lie on a line."""

_CONSTANT: Final = 1e-9
"""Values whose range is below this share of the largest are rounding, not variation."""


@dataclass(frozen=True, eq=False)
class Patterns:
    """What the neighbourhood of each model looks like.

    Attributes:
        spread: float64 [n], furthest minus nearest listed neighbour, in the unit of the threshold; NaN with fewer than
            three neighbours.
        correlation: float64 [n], Pearson correlation of squared distance and absolute time span; NaN where undefined.
        has_time_spans: bool [n], whether three neighbours and the model have dates to measure from.
        snake_threshold: float64 [n], the correlation above which a model of this cluster is in a snake; NaN where no
            model of the cluster has one.
    """

    spread: NDArray[np.float64]
    correlation: NDArray[np.float64]
    has_time_spans: NDArray[np.bool_]
    snake_threshold: NDArray[np.float64]


def chart(
    region: Region,
    *,
    n_neighbors: int = N_NEIGHBORS,
    spread_unit: SpreadUnit = "scaled",
    spread_threshold: float | None = None,
    snake_percentile: float = SNAKE_PERCENTILE,
    duplicates: Duplicates | None = None,
) -> tuple[Edge, ...]:
    """Chart a region.

    Args:
        region: The models.
        n_neighbors: K, neighbours that decide the pattern and candidates for a parent.
        spread_unit: Whether spreads are compared in typical steps of the cluster or as they come.
        spread_threshold: Spread above which no pattern is sought; by default that of the unit.
        snake_percentile: Percentile, 0 to 100, of the cluster's correlations above which a model is in a snake.
        duplicates: The copies, where they are known; sought in the region otherwise.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.

    Raises:
        ValueError: If ``n_neighbors`` is below 1, ``snake_percentile`` outside 0 to 100, or the region has no distance
            matrix.
    """
    if n_neighbors < 1:
        raise ValueError(f"n_neighbors must be at least 1, got {n_neighbors}")
    if not 0 <= snake_percentile <= 100:
        raise ValueError(f"snake_percentile must lie between 0 and 100, got {snake_percentile}")
    threshold = SPREAD_THRESHOLDS[spread_unit] if spread_threshold is None else spread_threshold

    neighborhood = find_neighborhood(
        region,
        duplicates=find_duplicates(region) if duplicates is None else duplicates,
        n_neighbors=n_neighbors,
        spread_unit=spread_unit,
        snake_percentile=snake_percentile,
    )
    parents, rules = choose_parents(region, neighborhood, threshold=threshold)
    return write_edges(region, neighborhood, parents, rules)


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """What Algorithm 1 measures before it chooses.

    Attributes:
        n_neighbors: K, neighbours that decide the pattern and candidates for a parent.
        duplicates: The copies.
        can_be_parent: bool [n], models that are neither quantised nor copies.
        candidates: The nearest earlier models that can be a parent, at least two where there are two.
        patterns: What the neighbourhoods look like.
    """

    n_neighbors: int
    duplicates: Duplicates
    can_be_parent: NDArray[np.bool_]
    candidates: Candidates
    patterns: Patterns


def find_neighborhood(
    region: Region,
    *,
    duplicates: Duplicates,
    n_neighbors: int = N_NEIGHBORS,
    spread_unit: SpreadUnit = "scaled",
    snake_percentile: float = SNAKE_PERCENTILE,
) -> Neighborhood:
    """Measure what Algorithm 1 chooses from; arguments as for ``chart``.

    Raises:
        ValueError: If the region has no distance matrix.
    """
    can_be_parent = ~(region.is_quantized | duplicates.is_copy)
    # The margin of an edge needs a second candidate, also where only the nearest may become the parent.
    candidates = nearest_candidates(region, k=max(n_neighbors, 2), can_be_parent=can_be_parent, only_earlier=True)
    patterns = find_patterns(
        region,
        can_be_parent=can_be_parent,
        n_neighbors=n_neighbors,
        spread_unit=spread_unit,
        snake_percentile=snake_percentile,
    )
    return Neighborhood(n_neighbors, duplicates, can_be_parent, candidates, patterns)


def find_patterns(
    region: Region,
    *,
    can_be_parent: NDArray[np.bool_],
    n_neighbors: int = N_NEIGHBORS,
    spread_unit: SpreadUnit = "scaled",
    snake_percentile: float = SNAKE_PERCENTILE,
) -> Patterns:
    """Measure the neighbourhood of every model, and where snakes begin in its cluster.

    The threshold needs the correlations of all models first, so a model added later can change the pattern of others.

    Args:
        region: The models.
        can_be_parent: bool [n], the models that count as neighbours and whose correlations make the percentile.
        n_neighbors: K, neighbours of any time.
        spread_unit: Unit of the spread.
        snake_percentile: Percentile of the correlations of a cluster.

    Returns:
        The patterns.
    """
    near = nearest_candidates(region, k=n_neighbors, can_be_parent=can_be_parent, only_earlier=False)
    found = np.isfinite(near.squared)
    furthest = np.where(found, near.squared, -np.inf).max(axis=1)
    enough = found.sum(axis=1) >= MINIMUM_POINTS
    spread = np.full(region.n_models, np.nan)
    spread[enough] = furthest[enough] - near.squared[enough, 0]
    if spread_unit == "scaled":
        spread /= cluster_scales(region)

    times = region.measurable_times
    spans = np.abs(times[near.index] - times[:, None])
    correlation, has_time_spans = _correlations(near, spans)
    snake_threshold = np.full(region.n_models, np.nan)
    for cluster in np.unique(region.clusters):
        members = region.clusters == cluster
        known = correlation[members & can_be_parent & np.isfinite(correlation)]
        if len(known):
            snake_threshold[members] = np.percentile(known, snake_percentile)
    return Patterns(spread, correlation, has_time_spans, snake_threshold)


def _correlations(near: Candidates, spans: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Correlate distances and time spans row by row: Pearson's r [n], NaN where undefined, and whether spans exist."""
    usable = np.isfinite(near.squared) & np.isfinite(spans)
    count = usable.sum(axis=1)
    enough = count >= MINIMUM_POINTS
    deviations, varies = [], enough.copy()
    for values in (np.where(usable, near.squared, 0.0), np.where(usable, spans, 0.0)):
        mean = values.sum(axis=1) / np.maximum(count, 1)
        deviation = np.where(usable, values - mean[:, None], 0.0)
        # Checkpoints pushed in one commit have one date: constant values correlate with nothing.
        varies &= np.ptp(deviation, axis=1) > _CONSTANT * values.max(axis=1, initial=0.0)
        deviations.append(deviation)
    distance, span = deviations
    length = np.sqrt((distance**2).sum(axis=1) * (span**2).sum(axis=1))
    correlation = np.divide((distance * span).sum(axis=1), length, out=np.full(len(length), np.nan), where=varies)
    return correlation, enough


def choose_parents(
    region: Region, neighborhood: Neighborhood, *, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Choose the parent of every model, copies and documented ones included.

    Args:
        region: The models.
        neighborhood: What was measured of them.
        threshold: Spread above which no pattern is sought.

    Returns:
        int64 [n], rows of the parents, ``NOBODY`` for a source; and the rule that chose each, str [n].
    """
    candidates, patterns = neighborhood.candidates.index[:, : neighborhood.n_neighbors], neighborhood.patterns
    position = np.full(region.n_models + 1, region.n_models, dtype=np.int64)
    position[region.chronology] = np.arange(region.n_models)
    # NOBODY is -1 and reads the last position, which comes after every model's.
    oldest = np.argmin(position[candidates], axis=1)
    rows = np.arange(region.n_models)
    is_wide = ~(patterns.spread <= threshold)
    is_snake = patterns.correlation > patterns.snake_threshold
    rules = np.select(
        [region.is_quantized, is_wide | ~patterns.has_time_spans, is_snake], ["quantized", "nearest", "snake"], "fan"
    )
    parents = np.where(rules == "fan", candidates[rows, oldest], candidates[:, 0])
    return parents, rules


def write_edges(
    region: Region, neighborhood: Neighborhood, parents: NDArray[np.int64], rules: NDArray[np.str_]
) -> tuple[Edge, ...]:
    """Write documented edges, the parents chosen for undocumented models, and the edges of copies.

    Args:
        region: The models.
        neighborhood: What was measured of them.
        parents: int64 [n], as ``choose_parents`` gives them; those of documented models and of copies are not read.
        rules: str [n], the rule of each.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.
    """
    patterns, duplicates = neighborhood.patterns, neighborhood.duplicates
    writer = EdgeWriter(
        region,
        neighborhood.candidates,
        n_listed=neighborhood.n_neighbors,
        correlation=patterns.correlation,
        spread=patterns.spread,
    )
    edges = writer.documented()
    charted = np.flatnonzero(~region.is_documented & ~duplicates.is_copy & (parents != NOBODY)).tolist()
    edges += [writer.charted(child, int(parents[child]), rule=str(rules[child])) for child in charted]
    edges += _copies(region, duplicates, writer, edges)
    return without_cycles(edges)


def _copies(region: Region, duplicates: Duplicates, writer: EdgeWriter, edges: list[Edge]) -> list[Edge]:
    """Write the edges of undocumented copies, given the edges of all models that are none."""
    row_of = {model_id: row for row, model_id in enumerate(region.model_ids)}
    parents_of: dict[str, list[Edge]] = {}
    for edge in edges:
        parents_of.setdefault(edge.child_id, []).append(edge)
    copies = []
    for child in np.flatnonzero(duplicates.is_copy & ~region.is_documented).tolist():
        first = int(duplicates.representative[child])
        shared = parents_of.get(region.model_ids[first], []) if region.is_quantized[first] else []
        has_equal_files = bool(duplicates.has_equal_files[child])
        if shared:
            copies += [
                writer.duplicate(child, row_of[edge.parent_id], relation=edge.relation, has_equal_files=has_equal_files)
                for edge in shared
            ]
        else:
            # A quantised original without a parent of its own is better evidence than none.
            copies.append(writer.duplicate(child, first, relation="duplicate", has_equal_files=has_equal_files))
    return copies
