"""Samples the models of one partition, and reads what an earlier run sampled of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from atlas_pipeline.features.plans import SamplingPlan
from atlas_pipeline.features.sampling import (
    SAMPLED_SCHEMA,
    ModelToSample,
    Progress,
    Sampled,
    SampledModel,
    VectorGroup,
    sample_models,
)
from atlas_pipeline.repositories import open_repository
from atlas_pipeline.schema import contract_of
from atlas_pipeline.storage import run_query
from atlas_pipeline.storage.attachments import pack

GROUPS: Final = "groups"
"""Metadata entry with the model ids and the plan of each matrix."""


def models_to_sample(connection: duckdb.DuckDBPyConnection, partition: str) -> pa.Table:
    """Models of a partition: model_id, region_id, base_id; given the components of the latest snapshot."""
    return run_query(connection, "features/models_to_sample", partition=partition)


def sample_partition(
    models: pa.Table,
    location: str,
    *,
    n_neurons: int,
    seed: int,
    previous: Sampled | None = None,
    progress: Progress | None = None,
) -> tuple[pa.Table, bytes]:
    """Rows of ``features.models`` and the safetensors file beside them.

    Args:
        models: as ``models_to_sample`` gives them.
        location: of the weights; empty for metadata only, and then no model has a vector.
        n_neurons: neurons per model.
        seed: seed of their draw.
        previous: what an earlier run sampled; models whose files have not changed are not read again.
        progress: called as progress(done, total, model_id).

    Raises:
        RepositoryError: the location cannot be opened.
    """
    if location:
        wanted = [ModelToSample(row["model_id"], row["base_id"]) for row in models.to_pylist()]
        sampled = sample_models(
            open_repository(location), wanted, n_neurons=n_neurons, seed=seed, previous=previous, progress=progress
        )
    else:
        sampled = Sampled(tuple(SampledModel(name, "metadata_only") for name in models["model_id"].to_pylist()))
    return _rows(models, sampled), _attachment(sampled)


def failures(rows: pa.Table) -> tuple[str, ...]:
    """A sentence on each model of ``features.models`` that could not be sampled."""
    return tuple(error for error in rows["error"].to_pylist() if error is not None)


def earlier_sample(rows: pa.Table, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Sampled:
    """What ``sample_partition`` stored, as it was.

    Args:
        rows: rows of ``features.models``.
        arrays: vectors by group, float32 [n, d].
        metadata: of the safetensors file.
    """
    described = json.loads(metadata[GROUPS])
    groups = {
        name: VectorGroup(tuple(group["model_ids"]), arrays[name], SamplingPlan.from_json(group["plan"]))
        for name, group in described.items()
    }
    known = rows.select(SAMPLED_SCHEMA.names).to_pylist()
    return Sampled(tuple(SampledModel(**row) for row in known), groups)


def _rows(models: pa.Table, sampled: Sampled) -> pa.Table:
    table = sampled.table()
    names = [column.name for column in contract_of("features.models").columns]
    for count in ("bytes_read", "bytes_total", "n_neurons"):
        table = table.set_column(table.column_names.index(count), count, pc.fill_null(table[count], 0))
    return table.append_column("region_id", models["region_id"]).select(names)


def _attachment(sampled: Sampled) -> bytes:
    described = {
        name: {"model_ids": list(group.model_ids), "plan": group.plan.to_json()}
        for name, group in sampled.groups.items()
    }
    arrays = {name: group.vectors for name, group in sampled.groups.items()}
    return pack(arrays, {GROUPS: json.dumps(described, sort_keys=True)})
