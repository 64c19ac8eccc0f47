"""Samples the models of one partition."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from atlas_pipeline.features.reading import ModelToSample, SampledModel
from atlas_pipeline.features.sampling import Progress, Sampled, sample_models
from atlas_pipeline.repositories import Repository
from atlas_pipeline.schema import contract_of
from atlas_pipeline.storage import Attachment, run_query

GROUPS: Final = "groups"
"""Metadata entry with the model ids and the plan of each matrix."""


def models_to_sample(
    connection: duckdb.DuckDBPyConnection, partition: str, *, leaves_per_node: int, seed: int
) -> pa.Table:
    """Models of a partition: model_id, region_id, base_id, is_pruned; given the components of the latest snapshot."""
    return run_query(
        connection, "features/models_to_sample", partition=partition, leaves_per_node=leaves_per_node, seed=str(seed)
    )


def sample_partition(
    models: pa.Table,
    repository: Repository | None,
    folder: Path,
    *,
    n_neurons: int,
    seed: int,
    limit_bytes: int | None = None,
    progress: Progress | None = None,
) -> tuple[pa.Table, Attachment]:
    """Rows of ``features.models`` and the arrays beside them.

    Args:
        models: as ``models_to_sample`` gives them.
        repository: where the weights are; None for metadata only, and then no model has a vector.
        folder: takes the vectors while they are gathered; it must outlive the arrays.
        n_neurons: neurons per model.
        seed: seed of their draw.
        limit_bytes: what one model may take; None for as much as it needs.
        progress: called as progress(done, total, model_id).
    """
    wanted = [ModelToSample(r["model_id"], r["base_id"], is_pruned=r["is_pruned"]) for r in models.to_pylist()]
    if repository is None:
        sampled = Sampled(tuple(SampledModel(model_id=model.model_id, status="metadata_only") for model in wanted))
    else:
        sampled = sample_models(
            repository,
            wanted,
            folder,
            n_neurons=n_neurons,
            seed=seed,
            limit_bytes=limit_bytes,
            progress=progress,
        )
    return _rows(models, sampled), _attachment(sampled)


def failures(rows: pa.Table) -> tuple[str, ...]:
    """A sentence on each model of ``features.models`` that could not be sampled."""
    return tuple(error for error in rows["error"].to_pylist() if error is not None)


def summary(rows: pa.Table) -> dict[str, int]:
    """How many models of ``features.models`` have each status, and what was read of them, by name."""
    statuses = Counter(rows["status"].to_pylist())
    read, total = (int(pc.sum(rows[name], min_count=0).as_py()) for name in ("bytes_read", "bytes_total"))
    counted = {f"models_{status}": n for status, n in sorted(statuses.items())}
    return counted | {"bytes_read": read, "bytes_total": total}


def _rows(models: pa.Table, sampled: Sampled) -> pa.Table:
    regions = models["region_id"].to_pylist()
    rows = [asdict(row) | {"region_id": region} for row, region in zip(sampled.rows, regions, strict=True)]
    return pa.Table.from_pylist(rows, contract_of("features.models").arrow_schema)


def _attachment(sampled: Sampled) -> Attachment:
    described = {
        name: {"model_ids": list(group.model_ids), "plan": group.plan.to_json()}
        for name, group in sampled.groups.items()
    }
    arrays = {name: group.vectors for name, group in sampled.groups.items()}
    return Attachment(arrays, {GROUPS: json.dumps(described, sort_keys=True)})
