"""The charting methods side by side: scored on the same regions, with documentation used and with it hidden."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from atlas_pipeline.edges import algorithm1, baselines
from atlas_pipeline.edges.records import Edge
from atlas_pipeline.edges.region import Region
from atlas_pipeline.edges.scoring import TrueEdge, score

Method = Callable[[Region], tuple[Edge, ...]]

CHARTING_METHOD: Final = "algorithm1_resolved"
"""The method that makes the atlas."""


class TruthError(Exception):
    """A file of true edges that cannot be read; the message names it."""


def methods(*, n_neighbors: int, seed: int) -> dict[str, Method]:
    """The charting methods by name.

    Args:
        n_neighbors: K of the paper's Algorithm 1.
        seed: of the random baseline.
    """
    return {
        CHARTING_METHOD: lambda region: algorithm1.chart(region, n_neighbors=n_neighbors),
        "algorithm1_raw_spread": lambda region: algorithm1.chart(region, n_neighbors=n_neighbors, spread_unit="raw"),
        "nearest_earlier": baselines.nearest_earlier,
        "majority": baselines.majority,
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
    """Rows of ``edges.scores`` for one vector group.

    Args:
        region: the models.
        region_ids: region of each model; regions are scored apart, those of one model not at all.
        truth: the true edges.
        is_given: whether the truth is known from elsewhere. Documented edges as truth are always hidden first.
        n_neighbors: K of the paper's Algorithm 1.
        seed: of the random baseline.
    """
    readings = {"hidden": replace(region, known_parents={}, known_sources={})}
    if is_given:
        readings["used"] = region
    rows = []
    for documentation, shown in readings.items():
        known = [shown.model_ids[child] for child in shown.known_parents]
        for name, method in methods(n_neighbors=n_neighbors, seed=seed).items():
            edges = method(shown)
            for region_id in sorted(set(region_ids.values())):
                own = [model_id for model_id in region.model_ids if region_ids[model_id] == region_id]
                if len(own) > 1:
                    about = {"region_id": region_id, "truth": "given" if is_given else "documented"}
                    here = [edge for edge in edges if region_ids[edge.child_id] == region_id]
                    lines = score(here, truth, method=name, model_ids=own, documented=known)
                    rows += [about | {"documentation": documentation} | asdict(line) for line in lines]
    return rows
