"""What the sampled neurons prove without any arithmetic: which matrices two models have in common, bit by bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.features.plans import SamplingPlan
from atlas_pipeline.schema import contract_of
from atlas_pipeline.weights import Float32Array, distinct_values, hidden_quantization


def tensor_table(models: pa.Table, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> pa.Table:
    """Rows of ``features.tensors``.

    Args:
        models: model_id and region_id of the partition's models.
        arrays: sampled vectors by group, float32 [n, d].
        metadata: ``groups``: JSON with the model ids and the plan of each group.
    """
    region_of = dict(zip(models["model_id"].to_pylist(), models["region_id"].to_pylist(), strict=True))
    rows = [
        {"model_id": model_id, "region_id": region_of[model_id], **evidence}
        for name, group in sorted(json.loads(metadata["groups"]).items())
        for model_id, vector in zip(group["model_ids"], arrays[name], strict=True)
        for evidence in _of_tensors(SamplingPlan.from_json(group["plan"]), vector)
    ]
    return pa.Table.from_pylist(rows, contract_of("features.tensors").arrow_schema)


def _of_tensors(plan: SamplingPlan, vector: Float32Array) -> Iterator[dict[str, Any]]:
    first = 0
    for tensor in plan.tensors:
        stop = first + len(tensor.rows) * tensor.n_columns
        rows = np.ascontiguousarray(vector[first:stop]).reshape(-1, tensor.n_columns)
        first = stop
        distinct = distinct_values(rows)
        yield {
            "tensor": tensor.canonical,
            "n_rows": tensor.n_rows,
            "n_columns": tensor.n_columns,
            "n_neurons": len(tensor.rows),
            "rows_sha256": hashlib.sha256(rows.data).hexdigest(),
            "min_distinct_values": int(distinct.min()),
            "max_distinct_values": int(distinct.max()),
            "hidden_quantization": hidden_quantization(rows),
        }
