"""The table of neighbours and the arrays beside it, from the attachment that sampling leaves."""

from __future__ import annotations

import io
import json

import duckdb
import numpy as np
import pytest

from atlas_pipeline.distances import partitions
from atlas_pipeline.distances.partitions import NEAR_MODELS, measure_group, neighbor_table
from atlas_pipeline.storage.attachments import unpack
from atlas_pipeline_tests.distances.vectors import fans, nearest_by_brute_force

PLAN = {
    "anchors": ["b"],
    "tensors": [
        {"canonical": "a", "rows": [0, 2, 3], "n_columns": 100},
        {"canonical": "b", "rows": [1, 4], "n_columns": 50},
    ],
}
WHOLE = fans(n_bases=2, n_each=40, width=400, step=1e-2, n_copies=2)
PARTIAL = WHOLE[[4, 44], 300:] + np.float32(1e-3)
ALONE = WHOLE[:1, :50]
ARRAYS = {"x": WHOLE, "x-anchors": PARTIAL, "y-anchors": ALONE}
GROUPS = {
    "x": {"model_ids": [f"x/{i:02}" for i in range(80)], "plan": json.dumps(PLAN)},
    "x-anchors": {"model_ids": ["q/0", "q/1"]},
    "y-anchors": {"model_ids": ["z/0"]},
}


@pytest.fixture
def connection():
    """Models of all groups; the last of the first fan is the oldest, every tenth has no date."""
    ids = [model_id for group in GROUPS.values() for model_id in group["model_ids"]]
    rows = [(i, None if i[-1] == "5" else 1000 - n, f"region of {i}") for n, i in enumerate(ids)]
    with duckdb.connect() as connection:
        connection.execute("create schema features; create schema components")
        connection.execute("create table features.models (model_id varchar, status varchar)")
        connection.execute("create table components.models (model_id varchar, created_at timestamp, region_id varchar)")
        connection.executemany("insert into features.models values (?, 'ok')", [(i,) for i, _, _ in rows])
        connection.executemany("insert into components.models values (?, to_timestamp(?), ?)", rows)
        yield connection


def measured(connection, *, n_neighbors=5):
    table, attachment = neighbor_table(connection, ARRAYS, {"groups": json.dumps(GROUPS)}, n_neighbors=n_neighbors)
    return table.to_pylist(), attachment


def test_the_table_holds_the_nearest_of_each_model(connection):
    rows, _ = measured(connection)
    labels = np.arange(80) // 40
    index, squared = nearest_by_brute_force(WHOLE, 5, labels)
    found = [row for row in rows if row["model_id"].startswith("x/")]
    assert [row["model_id"] for row in found] == [f"x/{i:02}" for i in range(80) for _ in range(5)]
    assert [row["rank"] for row in found] == [1, 2, 3, 4, 5] * 80
    assert [row["neighbor_id"] for row in found] == [f"x/{i:02}" for i in index.reshape(-1)]
    np.testing.assert_allclose([row["squared_distance"] for row in found], squared.reshape(-1), rtol=1e-6)
    norms = (WHOLE.astype(np.float64) ** 2).sum(axis=1)
    relative = squared / (norms[:, None] + norms[index])
    np.testing.assert_allclose([row["relative_distance"] for row in found], relative.reshape(-1), rtol=1e-6)
    for base in (0, 40):
        own = squared[base : base + 40]
        nearest = np.where(own > 0, own, np.inf).min(axis=1)
        scaled = [row["scaled_distance"] for row in found[5 * base : 5 * base + 200]]
        np.testing.assert_allclose(scaled, own.reshape(-1) / np.median(nearest), rtol=1e-6)


def test_a_cluster_has_the_region_of_its_oldest_model(connection):
    rows, _ = measured(connection)
    regions = {row["model_id"]: row["region_id"] for row in rows}
    assert {regions[f"x/{i:02}"] for i in range(40)} == {"region of x/39"}
    assert {regions[f"x/{i:02}"] for i in range(40, 80)} == {"region of x/79"}


def test_neighbors_are_earlier_where_both_dates_are_known(connection):
    rows, _ = measured(connection)
    for row in rows:
        if "5" in (row["model_id"][-1], row["neighbor_id"][-1]):
            assert row["neighbor_is_earlier"] is None
        elif row["model_id"].startswith("x/"):
            assert row["neighbor_is_earlier"] == (row["neighbor_id"] > row["model_id"])


def test_the_arrays_beside_the_table_can_be_stored_and_say_what_was_measured(connection):
    _, attachment = measured(connection)
    stream = io.BytesIO()
    attachment.write_to(stream)
    arrays, metadata = unpack(stream.getvalue())
    assert json.loads(metadata["groups"]) == GROUPS
    assert set(arrays) == {
        *(f"{g}/{a}" for g in ARRAYS for a in ("clusters", "kin_threshold", "near_index", "near_squared", "squared")),
        "x-anchors/with_full_index",
        "x-anchors/with_full_squared",
    }
    assert arrays["x/clusters"].tolist() == [0] * 40 + [1] * 40
    assert arrays["x/kin_threshold"].shape == (1,)
    assert 0.3 < arrays["x/kin_threshold"][0] <= 0.5
    index, squared = nearest_by_brute_force(WHOLE, NEAR_MODELS, np.arange(80) // 40)
    assert arrays["x/near_index"].tolist() == index.tolist()
    np.testing.assert_allclose(arrays["x/near_squared"], squared, rtol=1e-6)
    assert arrays["x-anchors/near_index"].shape == (2, 1)
    assert arrays["y-anchors/near_index"].shape == arrays["y-anchors/near_squared"].shape == (1, 0)


def test_partial_models_find_their_source_among_whole_ones(connection):
    _, attachment = measured(connection)
    index, squared = (attachment.arrays[f"x-anchors/with_full_{name}"] for name in ("index", "squared"))
    assert index.shape == squared.shape == (2, NEAR_MODELS)
    assert index[:, 0].tolist() == [4, 44]
    np.testing.assert_allclose(squared[:, 0], 100 * 1e-6, rtol=1e-2)


def test_more_neighbors_in_the_table_than_beside_it(connection):
    rows, attachment = measured(connection, n_neighbors=36)
    assert max(row["rank"] for row in rows) == 36
    assert attachment.arrays["x/near_index"].shape == (80, NEAR_MODELS)


def test_no_groups_give_no_rows(connection):
    table, attachment = neighbor_table(connection, {}, {"groups": "{}"}, n_neighbors=5)
    assert table.num_rows == 0
    assert not attachment.arrays


def test_large_groups_are_measured_without_a_matrix(monkeypatch):
    with_matrix = measure_group(WHOLE, PLAN)
    monkeypatch.setattr(partitions, "DENSE_MODELS", 10)
    without = measure_group(WHOLE, PLAN)
    assert with_matrix.squared is not None
    assert without.squared is None
    assert without.kin_threshold == with_matrix.kin_threshold
    assert (without.clusters == with_matrix.clusters).all()
    assert (without.near.index == with_matrix.near.index).all()
    np.testing.assert_allclose(without.near.squared, with_matrix.near.squared, rtol=1e-6)
    np.testing.assert_allclose(without.norms, with_matrix.norms, rtol=1e-12)


def test_the_same_vectors_give_the_same_bytes(connection):
    once, again = io.BytesIO(), io.BytesIO()
    measured(connection)[1].write_to(once)
    measured(connection)[1].write_to(again)
    assert once.getvalue() == again.getvalue()
