"""Clusters of weights against true regions, worked out by hand and by scikit-learn."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from atlas_pipeline.edges.clustering import adjusted_rand_index, score_clusters

LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(labels=LABELS)
def test_the_index_is_scikit_learns(labels):
    left, right = zip(*labels, strict=True)
    assert adjusted_rand_index(left, right) == pytest.approx(adjusted_rand_score(left, right))


def test_pairs_of_a_region_are_counted_once():
    clusters = {"a": 0, "b": 0, "c": 0, "stranger": 0, "lost": 1, "far": 2, "away": 2}
    component_of = {"a": "a", "b": "a", "c": "a", "lost": "a", "far": "far", "away": "far"}
    found = score_clusters(clusters, component_of, model_ids=["a", "b", "c"])
    # Together: ab ac bc and each with the stranger, who is no kin. Kin: ab ac bc and each with the lost one.
    assert (found.n_models, found.n_edges) == (3, 6)
    assert (found.precision, found.recall, found.f1) == (0.5, 0.5, 0.5)
    assert found.accuracy is None
    assert 0 < found.adjusted_rand_index < 1
    other = score_clusters(clusters, component_of, model_ids=["far", "away"])
    assert (other.n_edges, other.precision, other.recall) == (1, 1.0, 1.0)
    assert other.adjusted_rand_index == found.adjusted_rand_index


def test_models_without_kin_and_without_company_have_nothing_to_share():
    found = score_clusters({"a": 0, "b": 1}, {}, model_ids=["a", "b"])
    assert (found.precision, found.recall, found.f1, found.adjusted_rand_index) == (None, None, None, 1.0)
