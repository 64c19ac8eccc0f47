"""Evaluated models and their neighbourhoods, with those results left out that a protocol leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import duckdb
import numpy as np

from atlas_pipeline.attributes.imputation.lineage import Lineage
from atlas_pipeline.attributes.imputation.lineage_kernel import Neighbourhood, features
from atlas_pipeline.graph import Nearest
from atlas_pipeline.storage import run_query

LEAST_MODELS: Final = 10
"""A benchmark and metric that fewer models with an edge report is not imputed: there is too little to measure it by."""

N_NEIGHBORS: Final = 20
"""Evaluated models that an imputed result rests on, at most."""


@dataclass(frozen=True)
class Evaluated:
    """The reported results of one benchmark and metric.

    Attributes:
        benchmark: its name.
        metric: its name.
        unit: share or points.
        node: int64 [r], the models that report it, ascending.
        value: float64 [r], what they report.
    """

    benchmark: str
    metric: str
    unit: str
    node: np.ndarray
    value: np.ndarray

    @property
    def attribute(self) -> str:
        """Benchmark and metric as one name."""
        return f"{self.benchmark}/{self.metric}"


def read_evaluated(connection: duckdb.DuckDBPyConnection) -> list[Evaluated]:
    """The benchmarks that at least ``LEAST_MODELS`` models with an edge report, by name.

    Args:
        connection: as ``read_lineage`` left it, and with attributes.evaluations.
    """
    rows = run_query(connection, "attributes/evaluated", least_models=LEAST_MODELS)
    keys = list(zip(*(rows[name].to_pylist() for name in ("benchmark", "metric", "unit")), strict=True))
    starts = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
    node, value = rows["node"].to_numpy().astype(np.int64), rows["value"].to_numpy()
    found = []
    for start, end in pairwise([*starts, len(keys)]):
        benchmark, metric, unit = keys[start]
        found.append(Evaluated(benchmark, metric, unit, node[start:end], value[start:end]))
    return found


def with_same_models(benchmarks: Sequence[Evaluated]) -> list[list[int]]:
    """Positions of benchmarks by the models that report them: these have the same neighbours, looked up once."""
    found: dict[bytes, list[int]] = {}
    for position, each in enumerate(benchmarks):
        found.setdefault(each.node.tobytes(), []).append(position)
    return list(found.values())


def neighbourhoods(
    lineage: Lineage,
    depth: np.ndarray,
    evaluated: Evaluated,
    *,
    nodes: np.ndarray,
    nearest: Nearest,
    protocol: str = "leave_one_out",
) -> tuple[Neighbourhood, Nearest]:
    """What the results of some models are told from.

    Args:
        lineage: the models.
        depth: int64 [n], generations above each.
        evaluated: the results.
        nodes: int64 [r], the models.
        nearest: evaluated models near to these, themselves excluded; more than ``N_NEIGHBORS`` where some will be left
            out.
        protocol: what is left out, as in ``labels.proposals``.

    Returns:
        the neighbourhoods, and the neighbours that count, at most ``N_NEIGHBORS``.
    """
    node, source = nodes[:, None], np.maximum(nearest.source, 0)
    counts = nearest.source >= 0
    family = np.arange(lineage.n_models)
    if protocol == "without_copies":
        family = lineage.copies
        counts &= family[source] != family[node]
    if protocol == "by_time":
        counts &= (lineage.created[source] >= 0) & (lineage.created[source] < lineage.created[node])
        region = _means_of_earlier(lineage.region, lineage.created, evaluated, nodes)
        overall = _means_of_earlier(np.zeros_like(lineage.region), lineage.created, evaluated, nodes)
    else:
        region = _means_without_family(lineage.region, family, evaluated, nodes)
        overall = _means_without_family(np.zeros_like(lineage.region), family, evaluated, nodes)
    order = np.argsort(~counts, axis=1, kind="stable")[:, :N_NEIGHBORS]
    is_there = np.take_along_axis(counts, order, axis=1)
    kept = Nearest(
        np.where(is_there, np.take_along_axis(nearest.source, order, axis=1), -1),
        np.where(is_there, np.take_along_axis(nearest.distance, order, axis=1), -1),
    )
    result = np.zeros(lineage.n_models)
    result[evaluated.node] = evaluated.value
    overall = np.nan_to_num(overall)
    near = Neighbourhood(
        value=np.where(is_there, result[np.maximum(kept.source, 0)], 0.0),
        is_there=is_there,
        features=features(lineage, depth, nodes, kept),
        region_mean=np.where(np.isnan(region), overall, region),
        overall_mean=overall,
    )
    return near, kept


def _means_without_family(group: np.ndarray, family: np.ndarray, evaluated: Evaluated, nodes: np.ndarray) -> np.ndarray:
    """Mean result of each model's group without those of its family, float64 [r]; nan where there is none."""
    n_families = int(family.max(initial=0)) + 1
    total, count = _sums(group[evaluated.node], evaluated.value, group[nodes])
    own_total, own_count = _sums(
        group[evaluated.node] * n_families + family[evaluated.node],
        evaluated.value,
        group[nodes] * n_families + family[nodes],
    )
    left = count - own_count
    return np.where(left > 0, (total - own_total) / np.maximum(left, 1), np.nan)


def _means_of_earlier(group: np.ndarray, created: np.ndarray, evaluated: Evaluated, nodes: np.ndarray) -> np.ndarray:
    """Mean result of those of each model's group that are earlier, float64 [r]; nan where there is none."""
    is_dated = created[evaluated.node] >= 0
    voter, value = evaluated.node[is_dated], evaluated.value[is_dated]
    times = np.unique(created[voter])
    n_times = len(times) + 1
    moment = group[voter] * n_times + np.searchsorted(times, created[voter])
    order = np.argsort(moment, kind="stable")
    sums = np.concatenate(([0.0], np.cumsum(value[order])))
    begin = np.searchsorted(moment[order], group[nodes] * n_times)
    until = np.searchsorted(moment[order], group[nodes] * n_times + np.searchsorted(times, created[nodes]))
    count = np.where(created[nodes] >= 0, until - begin, 0)
    return np.where(count > 0, (sums[until] - sums[begin]) / np.maximum(count, 1), np.nan)


def _sums(group: np.ndarray, value: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the values of each asked group, float64 [a] and int64 [a]."""
    groups, inverse = np.unique(group, return_inverse=True)
    total = np.append(np.bincount(inverse, weights=value, minlength=len(groups)), 0.0)
    count = np.append(np.bincount(inverse, minlength=len(groups)), 0)
    place = np.searchsorted(groups, asked)
    place[np.append(groups, -1)[place] != asked] = len(groups)
    return total[place], count[place]
