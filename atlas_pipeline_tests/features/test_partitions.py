"""Which models of a partition are sampled, and what becomes of those that are not."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest

from atlas_pipeline import weights
from atlas_pipeline.features.partitions import failures, models_to_sample, sample_partition, summary
from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.schema import contract_of
from atlas_pipeline.schema.features import STATUSES
from atlas_pipeline_tests.weights.writing import write_safetensors

EDGES = [
    *((f"o/leaf-{n}", "o/source", "finetune", True) for n in range(6)),
    ("o/inner", "o/source", "finetune", True),
    ("o/lora", "o/inner", "adapter", True),
    ("o/merge", "o/source", "merge", True),
    ("o/merge", "o/other", "merge", True),
    ("o/leaf-0", "o/other", "finetune", False),
]
MODELS = sorted({model for edge in EDGES for model in edge[:2]})


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("create schema components")
    con.execute("create table components.models as select unnest($1) as model_id", [MODELS])
    con.execute(
        """create table components.regions as
        select model_id, 'o--source' as region_id, 'bucket-01' as region_partition from components.models
        union all select 'o/elsewhere', 'x', 'bucket-02'"""
    )
    con.execute(
        "create table components.parents (child_id text, parent_id text, relation text, is_kept boolean)",
    )
    con.executemany("insert into components.parents values (?, ?, ?, ?)", EDGES)
    return con


def sampled(connection: duckdb.DuckDBPyConnection, *, leaves_per_node: int = 0, seed: int = 0) -> dict[str, dict]:
    rows = models_to_sample(connection, "bucket-01", leaves_per_node=leaves_per_node, seed=seed).to_pylist()
    assert [row["model_id"] for row in rows] == MODELS
    return {row["model_id"]: row for row in rows}


def test_an_adapter_comes_with_its_base_and_nothing_is_pruned_unless_asked(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    rows = sampled(connection)
    assert {name: row["base_id"] for name, row in rows.items() if row["base_id"]} == {"o/lora": "o/inner"}
    assert not any(row["is_pruned"] for row in rows.values())


@pytest.mark.parametrize("kept", [1, 3, 7, 99])
def test_a_parent_keeps_so_many_leaves(connection: duckdb.DuckDBPyConnection, kept: int) -> None:
    rows = sampled(connection, leaves_per_node=kept)
    pruned = {name for name, row in rows.items() if row["is_pruned"]}
    # Seven leaves of o/source; the merge is also the only leaf of o/other, so it always stays.
    assert "o/merge" not in pruned
    assert pruned <= {f"o/leaf-{n}" for n in range(6)}
    assert len(pruned) in {max(0, 7 - kept), max(0, 7 - kept) - 1}
    again = sampled(connection, leaves_per_node=kept)
    assert rows == again


def test_the_seed_draws_the_leaves(connection: duckdb.DuckDBPyConnection) -> None:
    drawn = [
        frozenset(n for n, r in sampled(connection, leaves_per_node=2, seed=s).items() if r["is_pruned"])
        for s in range(6)
    ]
    assert len(set(drawn)) > 1


def test_the_rows_keep_the_contract(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"layers.0.q.weight": np.eye(40, dtype=np.float32)}, "o/source")
    models = models_to_sample(connection, "bucket-01", leaves_per_node=1, seed=0)
    (folder := tmp_path / "vectors").mkdir()
    rows, vectors = sample_partition(models, FolderRepository(tmp_path), folder, n_neurons=8, seed=0)
    assert rows.schema.equals(contract_of("features.models").arrow_schema)
    status = dict(zip(rows["model_id"].to_pylist(), rows["status"].to_pylist(), strict=True))
    assert status["o/source"] == "ok"
    assert {status[name] for name in MODELS if name != "o/source"} == {"pruned", "not_found"}
    totals = summary(rows)
    assert totals["models_ok"] == 1
    assert sum(n for name, n in totals.items() if name.startswith("models_")) == len(MODELS)
    assert totals["bytes_read"] < totals["bytes_total"] == (tmp_path / "o/source/model.safetensors").stat().st_size
    assert len(failures(rows)) == list(status.values()).count("not_found")
    assert [array.shape for array in vectors.arrays.values()] == [(1, 8 * 40)]
    nothing, none = sample_partition(models, None, folder, n_neurons=8, seed=0)
    assert set(nothing["status"].to_pylist()) == {"metadata_only"}
    assert failures(nothing) == ()
    assert not none.arrays


def test_every_reason_is_a_status_of_the_table_and_explained() -> None:
    explained = (Path(__file__).parents[2] / "docs" / "weights.md").read_text().partition("## Statuses")[2]
    assert {"ok", "pruned", "metadata_only", *weights.STATUSES} == set(STATUSES)
    assert [status for status in STATUSES if f"`{status}`" not in explained] == []
