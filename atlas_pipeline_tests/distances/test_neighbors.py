"""Distances against brute force in float64, above all where float32 and cancellation would ruin them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atlas_pipeline.distances.neighbors import (
    Neighbors,
    nearest_neighbors,
    relative_squared,
    scale,
    squared_distances,
    squared_norms,
    weight_clusters,
)

# Whole numbers from a small range: float64 sums are exact, ties and copies are common.
INTEGER_VECTORS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.integers(-2, 2).map(float)
)


def brute_force(vectors):
    wide = vectors.astype(np.float64)
    return ((wide[:, None, :] - wide[None, :, :]) ** 2).sum(axis=2)


def families(*, steps, n_each=6, width=3000, seed=0):
    """Fine-tunes of independent bases, at relative distances ``steps``, each family with one exact copy at its end."""
    generator = np.random.default_rng(seed)
    rows = []
    for step in steps:
        base = generator.normal(size=width)
        members = [base * (1 + step * generator.normal(size=width)) for _ in range(n_each)]
        rows += [*members, members[0]]
    return np.array(rows, dtype=np.float32)


def test_tight_families_keep_their_digits():
    vectors = families(steps=(1e-1, 1e-3, 1e-5, 3e-7))
    np.testing.assert_allclose(squared_distances(vectors), brute_force(vectors), rtol=1e-11, atol=0)


def test_families_nested_in_one_another_keep_their_digits():
    generator = np.random.default_rng(3)
    rows = [generator.normal(size=500)]
    for step in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        rows += [rows[-1] + step * generator.normal(size=500), rows[-1] + step * generator.normal(size=500)]
    vectors = np.array(rows, dtype=np.float32)
    np.testing.assert_allclose(squared_distances(vectors), brute_force(vectors), rtol=1e-11, atol=0)


def test_distances_are_symmetric_and_zero_between_copies_only():
    vectors = families(steps=(1e-3, 1e-6), n_each=5)
    vectors[3] = vectors[10]
    vectors[3, 7] = np.nextafter(vectors[3, 7], np.float32(np.inf))
    squared = squared_distances(vectors)
    assert (squared == squared.T).all()
    assert (squared.diagonal() == 0).all()
    equal = (vectors[:, None, :] == vectors[None, :, :]).all(axis=2)
    assert ((squared == 0) == equal).all()


def test_many_copies_and_signed_zeros_are_equal():
    row = np.random.default_rng(1).normal(size=64).astype(np.float32)
    row[5] = 0.0
    vectors = np.tile(row, (40, 1))
    vectors[::2, 5] = -0.0
    assert (squared_distances(vectors) == 0).all()
    assert (nearest_neighbors(vectors, k=3).squared == 0).all()


@settings(max_examples=60, deadline=None)
@given(vectors=INTEGER_VECTORS)
def test_whole_numbers_are_measured_exactly(vectors):
    assert (squared_distances(vectors) == brute_force(vectors)).all()


@settings(max_examples=60, deadline=None)
@given(vectors=INTEGER_VECTORS, k=st.integers(1, 14), block_rows=st.integers(1, 13))
def test_neighbors_are_those_of_brute_force_with_ties_by_row(vectors, k, block_rows):
    found = nearest_neighbors(vectors, k=k, block_rows=block_rows)
    n = len(vectors)
    squared = brute_force(vectors)
    expected = [sorted((squared[row, other], other) for other in range(n) if other != row)[:k] for row in range(n)]
    assert found.index.shape == (n, min(k, n - 1))
    assert found.index.dtype == np.int64
    pairs = zip(found.squared.tolist(), found.index.tolist(), strict=True)
    assert [list(zip(*pair, strict=True)) for pair in pairs] == expected


@pytest.mark.parametrize("block_rows", [1, 5, 512])
def test_neighbors_within_a_family_tighter_than_float32_products(block_rows):
    vectors = families(steps=(1e-5, 3e-7), n_each=20)
    found = nearest_neighbors(vectors, k=5, block_rows=block_rows)
    squared = brute_force(vectors)
    np.fill_diagonal(squared, np.inf)
    assert (found.index == np.argsort(squared, axis=1, kind="stable")[:, :5]).all()
    np.testing.assert_allclose(found.squared, np.sort(squared, axis=1)[:, :5], rtol=1e-12, atol=0)


@pytest.mark.parametrize("block_rows", [7, 512])
def test_neighbors_nearer_than_the_rounding_of_float64_products(block_rows):
    generator = np.random.default_rng(8)
    far, base = generator.normal(size=(2, 4000)).astype(np.float32)
    family = np.tile(base, (12, 1))
    # Last digits of one weight in each: squared distances of 1e-13 beside squared lengths of thousands.
    family[np.arange(12), np.arange(12)] += np.arange(12, dtype=np.float32) * np.float32(4e-8) + np.float32(2e-7)
    vectors = np.concatenate([far[None, :], family])
    squared = brute_force(vectors)
    np.fill_diagonal(squared, np.inf)
    found = nearest_neighbors(vectors, k=3, block_rows=block_rows)
    assert (found.index == np.argsort(squared, axis=1, kind="stable")[:, :3]).all()


def test_one_model_and_none_have_no_neighbors():
    for n in (0, 1):
        vectors = np.ones((n, 3), dtype=np.float32)
        assert squared_distances(vectors).shape == (n, n)
        found = nearest_neighbors(vectors, k=5)
        assert found.index.shape == found.squared.shape == (n, 0)
        assert weight_clusters(vectors).tolist() == [0] * n
        assert math.isnan(scale(found))


def test_a_number_that_is_not_finite_is_named_by_its_row():
    vectors = np.ones((4, 3), dtype=np.float32)
    vectors[2, 1] = np.nan
    for measure in (squared_distances, weight_clusters, lambda v: nearest_neighbors(v, k=1)):
        with pytest.raises(ValueError, match="row 2"):
            measure(vectors)


def test_malformed_arguments_are_refused():
    with pytest.raises(ValueError, match="matrix"):
        squared_distances(np.ones(3, dtype=np.float32))
    with pytest.raises(ValueError, match="at least 1"):
        nearest_neighbors(np.ones((3, 3), dtype=np.float32), k=0)
    with pytest.raises(ValueError, match="do not belong"):
        weight_clusters(np.ones((3, 3), dtype=np.float32), squared=np.zeros((2, 2)))


def test_relative_distance_is_zero_for_copies_and_one_for_orthogonal_models():
    vectors = np.array([[3, 0], [0, 4], [3, 0], [-3, 0], [0, 0], [0, 0]], dtype=np.float32)
    norms = squared_norms(vectors)
    assert norms.tolist() == [9, 16, 9, 9, 0, 0]
    relative = relative_squared(squared_distances(vectors), norms[:, None], norms[None, :])
    assert relative[0].tolist() == [0, 1, 0, 2, 1, 1]
    assert relative[4, 5] == 0


@pytest.mark.parametrize("block_rows", [1, 4, 512])
@pytest.mark.parametrize("is_measured", [True, False])
def test_independent_bases_make_clusters_in_order_of_appearance(block_rows, is_measured):
    vectors = families(steps=(1e-1, 1e-3, 1e-5), n_each=3)
    order = np.random.default_rng(2).permutation(len(vectors))
    family = (np.arange(len(vectors)) // 4)[order]
    squared = squared_distances(vectors[order]) if is_measured else None
    labels = weight_clusters(vectors[order], squared=squared, block_rows=block_rows)
    first_seen = list(dict.fromkeys(family.tolist()))
    assert labels.tolist() == [first_seen.index(f) for f in family.tolist()]


def test_a_long_chain_stays_one_cluster_though_its_ends_are_strangers():
    generator = np.random.default_rng(5)
    chain = [generator.normal(size=400)]
    for _ in range(20):
        # Each link keeps most of the last one; the ends share almost nothing.
        chain.append(0.8 * chain[-1] + 0.6 * generator.normal(size=400))
    vectors = np.array(chain, dtype=np.float32)
    norms = squared_norms(vectors)
    assert relative_squared(squared_distances(vectors)[0, -1], norms[0], norms[-1]) > 0.8
    assert set(weight_clusters(vectors, block_rows=3).tolist()) == {0}
    assert len(set(weight_clusters(vectors, threshold=0.01).tolist())) == 21


def test_scale_is_the_median_step_to_a_model_that_is_no_copy():
    squared = np.array([[0.0, 1.0], [2.0, 9.0], [0.0, 0.0], [7.0, 8.0]])
    assert scale(Neighbors(np.zeros((4, 2), dtype=np.int64), squared)) == 2.0
    assert math.isnan(scale(Neighbors(np.zeros((2, 1), dtype=np.int64), np.zeros((2, 1)))))
