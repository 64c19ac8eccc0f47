"""Neighbours and distance matrices of the models of one partition, group by group."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atlas_pipeline.distances.arithmetic import Arithmetic
from atlas_pipeline.distances.kinship import kin_threshold, layout_of, relative_squared, weight_clusters
from atlas_pipeline.distances.neighbors import (
    Neighbors,
    nearest_in_matrix,
    nearest_neighbors,
    scales,
    squared_distances,
)
from atlas_pipeline.distances.partial import PARTIAL, anchor_columns, nearest_whole
from atlas_pipeline.distances.rows import squared_norms
from atlas_pipeline.distances.sketches import sketch
from atlas_pipeline.schema import contract_of
from atlas_pipeline.storage import Attachment

DENSE_MODELS: Final = 5000
"""A group of more models has no dense matrix: it would take over 200 MB."""

NEAR_MODELS: Final = 32
"""Neighbours of each model that are kept beside the table."""


@dataclass(frozen=True, eq=False)
class GroupDistances:
    """What is measured of a group of comparable models.

    Attributes:
        kin_threshold: Relative squared distance below which two models are linked.
        clusters: int64 [n], weight clusters.
        near: The nearest other models of the same cluster.
        norms: float64 [n], squared lengths of the vectors.
        squared: float64 [n, n], all squared distances; None for more than ``DENSE_MODELS`` models.
    """

    kin_threshold: float
    clusters: NDArray[np.int64]
    near: Neighbors
    norms: NDArray[np.float64]
    squared: NDArray[np.float64] | None


def neighbor_table(
    connection: duckdb.DuckDBPyConnection,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    *,
    n_neighbors: int,
) -> tuple[pa.Table, Attachment]:
    """Rows of ``distances.neighbors``, and the safetensors file beside them.

    The file holds for each group of n models

    - ``<group>/clusters``: int64 [n], weight clusters;
    - ``<group>/kin_threshold``: float64 [1], the relative squared distance below which two models were linked;
    - ``<group>/near_index`` and ``<group>/near_squared``: int64 and float64 [n, K], the K = min(32, n - 1) nearest
      other models of the same cluster, nearest first; -1 and infinity where there are fewer;
    - ``<group>/squared``: float64 [n, n], all distances, for groups of up to ``DENSE_MODELS`` models;
    - ``<group>/with_full_index`` and ``<group>/with_full_squared``, where the group has only the anchors of another one
      of the partition: int64 and float64 [n, K], the K nearest models of that one on the anchors.

    Args:
        connection: with features.models of the partition and components.models of the latest snapshot.
        arrays: sampled vectors by group, float32 [n, d].
        metadata: ``groups``: JSON with the model ids and the plan of each group.
        n_neighbors: neighbours in the table for each model.
    """
    known = _dates_and_regions(connection)
    parts: list[pa.Table] = []
    matrices: dict[str, np.ndarray] = {}
    groups = json.loads(metadata["groups"])
    for name, group in sorted(groups.items()):
        plan = json.loads(group["plan"]) if group.get("plan") else None
        measured = measure_group(arrays[name], plan, k=max(n_neighbors, NEAR_MODELS))
        parts.append(_rows(group["model_ids"], measured, known, n_neighbors))
        matrices[f"{name}/clusters"] = measured.clusters
        matrices[f"{name}/kin_threshold"] = np.array([measured.kin_threshold])
        matrices[f"{name}/near_index"] = measured.near.index[:, :NEAR_MODELS]
        matrices[f"{name}/near_squared"] = measured.near.squared[:, :NEAR_MODELS]
        if measured.squared is not None:
            matrices[f"{name}/squared"] = measured.squared
        full = groups.get(name.removesuffix(PARTIAL)) if name.endswith(PARTIAL) else None
        if full and full.get("plan"):
            columns = anchor_columns(json.loads(full["plan"]))
            index, squared = nearest_whole(arrays[name], arrays[name.removesuffix(PARTIAL)], columns, k=NEAR_MODELS)
            matrices[f"{name}/with_full_index"] = index
            matrices[f"{name}/with_full_squared"] = squared
    table = pa.concat_tables([contract_of("distances.neighbors").arrow_schema.empty_table(), *parts])
    return table, Attachment(matrices, {"groups": metadata["groups"]})


def measure_group(
    vectors: NDArray[np.float32],
    plan: Mapping[str, Any] | None = None,
    *,
    k: int = NEAR_MODELS,
    arithmetic: Arithmetic | None = None,
) -> GroupDistances:
    """Measure a group of comparable models.

    Args:
        vectors: float32 [n, d], one row per model; may be a memory map.
        plan: What the columns hold, as ``layout_of`` reads it; None if that is not known.
        k: Neighbours wanted.
        arithmetic: What multiplies; the fastest there is if None.

    Raises:
        ValueError: If ``vectors`` is not a matrix of finite numbers, or the plan describes other columns.
    """
    layout = None if plan is None else layout_of(plan)
    if len(vectors) <= DENSE_MODELS:
        squared = squared_distances(vectors, arithmetic=arithmetic)
        threshold, norms = kin_threshold(vectors, layout), squared_norms(vectors)
        clusters = weight_clusters(vectors, threshold=threshold, squared=squared, norms=norms)
        near = nearest_in_matrix(squared, vectors, k=k, labels=clusters)
        return GroupDistances(threshold, clusters, near, norms, squared)
    sketches = sketch(vectors)
    threshold, norms = kin_threshold(vectors, layout), sketches.norms[sketches.copy_of]
    clusters = weight_clusters(vectors, threshold=threshold, sketches=sketches, arithmetic=arithmetic)
    near = nearest_neighbors(vectors, k=k, labels=clusters, sketches=sketches, arithmetic=arithmetic)
    return GroupDistances(threshold, clusters, near, norms, None)


def _dates_and_regions(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[float, str]]:
    """Creation (seconds, infinite if unknown) and documented region of each sampled model."""
    rows = connection.execute(
        """select model_id, coalesce(epoch(created_at), 'infinity'::double), region_id
        from features.models join components.models using (model_id) where status = 'ok'"""
    ).fetchall()
    return {model_id: (created_at, region_id) for model_id, created_at, region_id in rows}


def _rows(
    ids: list[str], measured: GroupDistances, known: Mapping[str, tuple[float, str]], n_neighbors: int
) -> pa.Table:
    """Rows of one group, cluster by cluster; the region of a cluster is that of its earliest model."""
    clusters, near = measured.clusters, measured.near
    names = np.array(ids, dtype=object)
    created = np.array([known[model_id][0] for model_id in ids], dtype=np.float64)
    regions = np.array([known[model_id][1] for model_id in ids], dtype=object)
    oldest_first = np.lexsort((np.array(ids, dtype=str), created, clusters))
    _, first = np.unique(clusters[oldest_first], return_index=True)
    region = regions[oldest_first[first]][clusters]
    child, place = np.nonzero(np.isfinite(near.squared[:, :n_neighbors]))
    sorting = np.lexsort((place, child, clusters[child]))
    child, place = child[sorting], place[sorting]
    other, squared = near.index[child, place], near.squared[child, place]
    unit = scales(near, clusters)[clusters[child]]
    is_dated = np.isfinite(created[child]) & np.isfinite(created[other])
    return pa.table(
        {
            "model_id": names[child],
            "neighbor_id": names[other],
            "region_id": region[child],
            "rank": place + 1,
            "squared_distance": squared,
            "scaled_distance": pa.array(squared / unit, mask=~np.isfinite(unit)),
            "relative_distance": relative_squared(squared, measured.norms[child], measured.norms[other]),
            "neighbor_is_earlier": pa.array(created[other] < created[child], mask=~is_dated),
        },
        schema=contract_of("distances.neighbors").arrow_schema,
    )
