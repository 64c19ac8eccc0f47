"""Neighbours and distance matrices of the models of one partition, group by group."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from atlas_pipeline.distances.neighbors import (
    nearest_neighbors,
    relative_squared,
    scale,
    squared_distances,
    squared_norms,
    weight_clusters,
)
from atlas_pipeline.schema import contract_of
from atlas_pipeline.storage import Attachment

DENSE_MODELS: Final = 5000
"""A group of more models has no dense matrix: it would take over 200 MB."""


def neighbor_table(
    connection: duckdb.DuckDBPyConnection,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    *,
    n_neighbors: int,
) -> tuple[pa.Table, Attachment]:
    """Rows of ``distances.neighbors``, and the safetensors file beside them.

    The file holds for each group ``<group>/clusters`` (int64 [n]) and, for groups of up to ``DENSE_MODELS`` models,
    ``<group>/squared`` (float64 [n, n]).

    Args:
        connection: with features.models of the partition and components.models of the latest snapshot.
        arrays: sampled vectors by group, float32 [n, d].
        metadata: ``groups``: JSON with the model ids of each group.
        n_neighbors: neighbours kept for each model.
    """
    known = _dates_and_regions(connection)
    parts: list[pa.Table] = []
    matrices: dict[str, np.ndarray] = {}
    for name, group in sorted(json.loads(metadata["groups"]).items()):
        ids, vectors = group["model_ids"], arrays[name]
        squared = squared_distances(vectors) if len(ids) <= DENSE_MODELS else None
        clusters = weight_clusters(vectors, squared=squared)
        matrices[f"{name}/clusters"] = clusters
        if squared is not None:
            matrices[f"{name}/squared"] = squared
        for label in np.unique(clusters):
            members = np.flatnonzero(clusters == label)
            if len(members) > 1:
                parts.append(_cluster_rows([ids[i] for i in members], vectors[members], known, n_neighbors))
    table = pa.concat_tables([contract_of("distances.neighbors").arrow_schema.empty_table(), *parts])
    return table, Attachment(matrices, {"groups": metadata["groups"]})


def _dates_and_regions(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[float, str]]:
    """Creation (seconds, infinite if unknown) and documented region of each sampled model."""
    rows = connection.execute(
        """select model_id, coalesce(epoch(created_at), 'infinity'::double), region_id
        from features.models join components.models using (model_id) where status = 'ok'"""
    ).fetchall()
    return {model_id: (created_at, region_id) for model_id, created_at, region_id in rows}


def _cluster_rows(
    ids: list[str], vectors: np.ndarray, known: Mapping[str, tuple[float, str]], n_neighbors: int
) -> pa.Table:
    """Rows of one weight cluster; its region is that of its earliest model."""
    near = nearest_neighbors(vectors, k=n_neighbors)
    n, k = near.index.shape
    child, other = np.repeat(np.arange(n), k), near.index.reshape(-1)
    squared, norms, unit = near.squared.reshape(-1), squared_norms(vectors), scale(near)
    created = np.array([known[model_id][0] for model_id in ids])
    region = known[min(ids, key=lambda model_id: (known[model_id][0], model_id))][1]
    names = np.array(ids, dtype=object)
    is_dated = np.isfinite(created[child]) & np.isfinite(created[other])
    return pa.table(
        {
            "model_id": names[child],
            "neighbor_id": names[other],
            "region_id": [region] * len(child),
            "rank": np.tile(np.arange(1, k + 1), n),
            "squared_distance": squared,
            "scaled_distance": pa.array(squared / unit, mask=np.full(len(child), not np.isfinite(unit))),
            "relative_distance": relative_squared(squared, norms[child], norms[other]),
            "neighbor_is_earlier": pa.array(created[other] < created[child], mask=~is_dated),
        },
        schema=contract_of("distances.neighbors").arrow_schema,
    )
