"""MoTHer finds trees by distance and kurtosis, without dates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kurtosis

from atlas_pipeline.edges.mother import mother, weight_kurtosis
from atlas_pipeline_tests.edges.populations import pairs, region_of
from atlas_pipeline_tests.edges.test_algorithm1 import line

WIDTH = 3000


def chain(length, *, seed=0):
    """Models each trained from the one before: normal steps on heavy-tailed weights, so that the kurtosis falls."""
    generator = np.random.default_rng(seed)
    vectors = [generator.standard_t(3, size=WIDTH)]
    for _ in range(length):
        vectors.append(vectors[-1] + 0.3 * generator.normal(size=WIDTH))
    return np.array(vectors)


def test_kurtosis_is_scipys_summed_over_matrices():
    vectors = np.random.default_rng(0).standard_t(5, size=(4, 60)).astype(np.float32)
    wide = vectors.astype(np.float64)
    assert weight_kurtosis(vectors) == pytest.approx(kurtosis(wide, axis=1, fisher=False))
    both = kurtosis(wide[:, :20], axis=1, fisher=False) + kurtosis(wide[:, 20:], axis=1, fisher=False)
    assert weight_kurtosis(vectors, [(4, 5), (2, 20)]) == pytest.approx(both)
    assert weight_kurtosis(np.full((1, 5), 3, dtype=np.float32)).tolist() == [0.0]


def test_a_chain_is_found_from_its_heavy_tailed_end_whatever_the_dates_say():
    region = region_of(chain(5), days=[5, 4, 3, 2, 1, 0])
    edges = mother(region)
    assert pairs(edges) == {(row, row - 1) for row in range(1, 6)}
    assert {edge.rule for edge in edges} == {"tree"}
    assert all(edge.is_ambiguous for edge in edges)


def test_documented_edges_say_which_way_the_kurtosis_runs():
    vectors = chain(5)[::-1]
    backwards = {(row, row + 1) for row in range(5)}
    assert pairs(mother(region_of(vectors))) == backwards
    # Two documented edges from light to heavy tails turn all others round; one for each side turns nothing.
    two = {1: ((0, "finetune"),), 2: ((1, "finetune"),)}
    assert pairs(mother(region_of(vectors, known_parents=two))) == {(row, row - 1) for row in range(1, 6)}
    one_each = {1: ((0, "finetune"),), 4: ((5, "finetune"),)}
    found = pairs(mother(region_of(vectors, known_parents=one_each)))
    assert {(2, 3), (3, 4)} <= found


def test_each_cluster_has_a_tree_of_its_own():
    region = region_of(line(0, 1, 50, 52), clusters=[0, 0, 1, 1])
    assert len(mother(region)) == 2
    assert {frozenset(pair) for pair in pairs(mother(region))} == {frozenset({0, 1}), frozenset({2, 3})}
