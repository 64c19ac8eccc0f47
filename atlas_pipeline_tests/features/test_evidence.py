"""Exact evidence of matrices: equal numbers have equal digests, and few values are counted as few."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from atlas_pipeline.features.evidence import tensor_table
from atlas_pipeline.features.plans import make_plan


def test_matrices_in_common_have_equal_digests() -> None:
    plan = make_plan({"layers.0.a.weight": (8, 40), "layers.0.b.weight": (8, 40)}, n_neurons=10, seed=0)
    vectors = np.random.default_rng(0).standard_normal((3, plan.n_dimensions)).astype(np.float32)
    cut = len(plan.tensors[0].rows) * 40
    vectors[1, :cut] = vectors[0, :cut]
    vectors[2, cut:] = 0
    ids = ["x/a", "x/b", "x/c"]
    models = pa.table({"model_id": ids, "region_id": ["r"] * 3})
    described = {plan.vector_group: {"model_ids": ids, "plan": plan.to_json()}}
    rows = tensor_table(models, {plan.vector_group: vectors}, {"groups": json.dumps(described)}).to_pylist()
    found = {(row["model_id"], row["tensor"]): row for row in rows}
    assert len(found) == len(rows) == 6
    digest = {key: row["rows_sha256"] for key, row in found.items()}
    assert digest["x/a", "layers.0.a.weight"] == digest["x/b", "layers.0.a.weight"]
    assert len(set(digest.values())) == 5
    zeros = found["x/c", "layers.0.b.weight"]
    assert (zeros["min_distinct_values"], zeros["max_distinct_values"]) == (1, 1)
    assert found["x/a", "layers.0.a.weight"]["min_distinct_values"] == 40
    assert sum(row["n_neurons"] for row in rows) == 3 * plan.n_neurons
    assert {(row["n_rows"], row["n_columns"]) for row in rows} == {(8, 40)}


def test_no_vectors_no_rows() -> None:
    models = pa.table({"model_id": ["x/a"], "region_id": ["r"]})
    assert tensor_table(models, {}, {"groups": "{}"}).num_rows == 0
