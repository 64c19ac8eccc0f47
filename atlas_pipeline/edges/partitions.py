"""The models of one partition as regions, and the atlas that is charted of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from atlas_pipeline.edges.candidates import NOBODY
from atlas_pipeline.edges.comparison import (
    CHARTING_METHOD,
    Comparison,
    compare_places,
    documented_truth,
    given_truth,
    methods,
)
from atlas_pipeline.edges.records import Edge, Evidence, edges_table, without_cycles
from atlas_pipeline.edges.region import Region
from atlas_pipeline.schema import contract_of
from atlas_pipeline.storage import run_query


@dataclass(frozen=True)
class Measured:
    """What earlier stages measured of a partition's models, by vector group.

    Attributes:
        model_ids: models of each group, in the order of rows.
        vectors: sampled neurons of each group, float32 [n, d].
        matrices: ``<group>/clusters`` (int64 [n]), ``<group>/near_index`` and ``<group>/near_squared`` ([n, k]), and
            ``<group>/squared`` (float64 [n, n], not for the largest).
        layouts: neurons and weights of each sampled matrix, in the order of the vectors' columns.
    """

    model_ids: Mapping[str, list[str]]
    vectors: Mapping[str, np.ndarray]
    matrices: Mapping[str, np.ndarray]
    layouts: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    @classmethod
    def from_attachments(
        cls,
        sampled: tuple[dict[str, np.ndarray], dict[str, str]],
        distances: tuple[dict[str, np.ndarray], dict[str, str]],
    ) -> Measured:
        """Gather the safetensors files that lie beside ``features.models`` and ``distances.neighbors``."""
        vectors, metadata = sampled
        described = json.loads(metadata["groups"])
        layouts = {
            name: tuple((len(t["rows"]), t["n_columns"]) for t in json.loads(group["plan"])["tensors"])
            for name, group in described.items()
        }
        return cls({name: group["model_ids"] for name, group in described.items()}, vectors, distances[0], layouts)

    @property
    def groups(self) -> list[str]:
        """Groups of comparable models."""
        return sorted(self.model_ids)


@dataclass(frozen=True)
class Place:
    """A region to chart, and where its edges belong.

    Attributes:
        region: the models of one vector group.
        region_ids: id of the region of each model.
    """

    region: Region
    region_ids: Mapping[str, str]


def documented_edges(connection: duckdb.DuckDBPyConnection, partition: str) -> list[dict[str, Any]]:
    """Kept documented edges whose child belongs to the partition, sorted."""
    return run_query(connection, "edges/documented", partition=partition).to_pylist()


def documented_edge(row: Mapping[str, Any]) -> Edge:
    """A row of ``documented_edges`` as an edge."""
    return Edge(
        child_id=row["child_id"],
        parent_id=row["parent_id"],
        relation=row["relation"],
        origin="documented",
        rule="known",
        confidence=1.0,
        is_ambiguous=False,
        evidence=Evidence(sources=tuple(row["sources"]), days_apart=row["days_apart"]),
    )


def charted_edges(
    connection: duckdb.DuckDBPyConnection, partition: str, measured: Measured, *, n_neighbors: int, seed: int
) -> pa.Table:
    """Rows of ``edges.charted``: documented edges as they are, charted ones for sampled models that document none.

    Args:
        connection: with the inputs of edges.charted.
        partition: the partition.
        measured: vectors and distances of its models.
        n_neighbors: K of the paper's Algorithm 1.
        seed: of random choices.
    """
    documented = documented_edges(connection, partition)
    region_of = {row["child_id"]: row["region_id"] for row in documented}
    edges = {(row["child_id"], row["parent_id"]): documented_edge(row) for row in documented}
    chart = methods(n_neighbors=n_neighbors, seed=seed)[CHARTING_METHOD]
    for place in places(connection, measured, documented):
        region_of.update(place.region_ids)
        edges.update({(edge.child_id, edge.parent_id): edge for edge in chart(place.region)})
    return charted_table(without_cycles([edges[key] for key in sorted(edges)]), region_of)


def charted_table(edges: Sequence[Edge], region_of: Mapping[str, str]) -> pa.Table:
    """Edges as rows of ``edges.charted``, in the given order.

    Args:
        edges: the edges.
        region_of: id of the region of each child.
    """
    regions = pa.array([region_of[edge.child_id] for edge in edges], pa.string())
    return edges_table(edges).append_column("region_id", regions)


def scored_methods(
    connection: duckdb.DuckDBPyConnection,
    partition: str,
    measured: Measured,
    *,
    truth: str,
    n_neighbors: int,
    seed: int,
) -> tuple[pa.Table, Comparison]:
    """Rows of ``edges.scores``, and what else the comparison says.

    Args:
        connection: with the inputs of edges.scores.
        partition: the partition.
        measured: vectors and distances of its models.
        truth: file of true edges; empty to score against the documented edges, hidden first.
        n_neighbors: K of the paper's Algorithm 1.
        seed: of random choices.

    Raises:
        TruthError: the file of true edges cannot be read.
    """
    documented = documented_edges(connection, partition)
    known = given_truth(truth) if truth else documented_truth(documented)
    here = list(places(connection, measured, documented))
    found = compare_places(here, known, is_given=bool(truth), n_neighbors=n_neighbors, seed=seed)
    return pa.Table.from_pylist(found.rows, contract_of("edges.scores").arrow_schema), found


def places(
    connection: duckdb.DuckDBPyConnection, measured: Measured, documented: list[dict[str, Any]]
) -> Iterator[Place]:
    """Each vector group of the partition as a region.

    Args:
        connection: with features.models, distances.neighbors and components.models.
        measured: vectors and distances.
        documented: as ``documented_edges`` gives them.
    """
    sampled = {row["model_id"]: row for row in run_query(connection, "edges/sampled_models").to_pylist()}
    for name in measured.groups:
        ids = measured.model_ids[name]
        yield Place(_region(ids, sampled, measured, name, documented), {i: sampled[i]["region_id"] for i in ids})


def _region(
    ids: list[str],
    sampled: Mapping[str, dict[str, Any]],
    measured: Measured,
    name: str,
    documented: list[dict[str, Any]],
) -> Region:
    rows, position = [sampled[model_id] for model_id in ids], {model_id: i for i, model_id in enumerate(ids)}
    # A model whose documented parents lie elsewhere is documented too, and gets no charted parent.
    parents: dict[int, tuple[tuple[int, str], ...]] = {}
    sources: dict[tuple[int, int], tuple[str, ...]] = {}
    for edge in (row for row in documented if row["child_id"] in position):
        child, parent = position[edge["child_id"]], position.get(edge["parent_id"])
        here = () if parent is None else ((parent, edge["relation"]),)
        parents[child] = parents.get(child, ()) + here
        if parent is not None:
            sources[child, parent] = tuple(edge["sources"])
    return Region(
        model_ids=tuple(ids),
        created_at=np.array([np.nan if r["created_at"] is None else r["created_at"] for r in rows]),
        created_at_is_floor=np.array([r["created_at_is_floor"] for r in rows]),
        vectors=measured.vectors[name],
        squared_distances=measured.matrices.get(f"{name}/squared"),
        near_index=measured.matrices.get(f"{name}/near_index"),
        near_squared=measured.matrices.get(f"{name}/near_squared"),
        layout=measured.layouts.get(name, ()),
        base_of=np.array([position.get(r["base_id"] or "", NOBODY) for r in rows], dtype=np.int64),
        shapes_sha256=tuple(r["shapes_sha256"] for r in rows),
        clusters=measured.matrices[f"{name}/clusters"],
        is_quantized=np.array([bool(r["is_quantized"]) for r in rows]),
        is_adapter=np.array([r["is_adapter"] for r in rows]),
        content_sha256=tuple(r["content_sha256"] for r in rows),
        known_parents=parents,
        known_sources=sources,
    )
