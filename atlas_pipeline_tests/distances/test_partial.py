"""Models of which only the anchors were read find their relatives among those read whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.distances import partial as partial_module
from atlas_pipeline.distances.partial import anchor_columns, nearest_whole
from atlas_pipeline_tests.distances.vectors import chain

PLAN = {
    "anchors": ["b", "d"],
    "tensors": [
        {"canonical": "a", "rows": [0, 2], "n_columns": 3},
        {"canonical": "b", "rows": [1], "n_columns": 4},
        {"canonical": "c", "rows": [5, 6], "n_columns": 2},
        {"canonical": "d", "rows": [3, 4], "n_columns": 2},
    ],
}


def test_columns_of_anchors_come_in_the_order_of_the_vector():
    assert anchor_columns(PLAN).tolist() == [6, 7, 8, 9, 14, 15, 16, 17]
    assert anchor_columns(PLAN | {"anchors": []}).tolist() == []


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(0, 30), p=st.integers(0, 8), k=st.integers(1, 12), whole=st.booleans())
def test_neighbors_are_those_of_brute_force(seed, n, p, k, whole):
    generator = np.random.default_rng(seed)
    draw = (lambda size: generator.integers(-2, 3, size)) if whole else generator.standard_normal
    vectors, partial = draw((n, 18)).astype(np.float32), draw((p, 8)).astype(np.float32)
    columns = anchor_columns(PLAN)
    index, squared = nearest_whole(partial, vectors, columns, k=k)
    expected = ((partial[:, None, :].astype(np.float64) - vectors[None, :, columns]) ** 2).sum(axis=2)
    order = np.argsort(expected, axis=1, kind="stable")[:, :k]
    np.testing.assert_allclose(squared, np.take_along_axis(expected, order, axis=1), rtol=1e-12)
    if whole and k + 8 >= n:
        assert index.tolist() == order.tolist()
    np.testing.assert_allclose(np.take_along_axis(expected, index, axis=1), squared, rtol=1e-12)


def test_quantised_models_find_their_parent_among_its_fine_tunes(monkeypatch):
    # Blocks of 64 rows, so that lists of several blocks are merged.
    monkeypatch.setattr(partial_module, "_BLOCK_NUMBERS", 1)
    whole = chain(n=300, width=500, step=3e-2, seed=3)
    columns = np.arange(100, 420)
    parents = np.array([3, 77, 150, 299])
    coarse = np.round(whole[parents][:, columns] * 8) / 8
    index, squared = nearest_whole(coarse.astype(np.float32), whole, columns, k=5)
    assert index[:, 0].tolist() == parents.tolist()
    assert (np.diff(squared, axis=1) > 0).all()


def test_vectors_without_the_columns_of_the_anchors_are_refused():
    with pytest.raises(ValueError, match="8 columns"):
        nearest_whole(np.ones((2, 7), dtype=np.float32), np.ones((3, 18), dtype=np.float32), anchor_columns(PLAN), k=1)
