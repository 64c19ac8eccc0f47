"""Neighbours against brute force in float64: near-duplicates, copies, ties, clusters, and vectors on disk."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.distances import candidates
from atlas_pipeline.distances.neighbors import (
    Neighbors,
    nearest_in_matrix,
    nearest_neighbors,
    scales,
    squared_distances,
)
from atlas_pipeline.distances.sketches import sketch
from atlas_pipeline_tests.distances.vectors import (
    INTEGER_VECTORS,
    brute_force,
    chain,
    families,
    fans,
    nearest_by_brute_force,
)


def in_matrix(vectors, *, k, labels=None):
    return nearest_in_matrix(squared_distances(vectors), vectors, k=k, labels=labels)


BOTH_WAYS = pytest.mark.parametrize("find", [nearest_neighbors, in_matrix])


def recall(found, vectors, k, labels=None):
    expected, _ = nearest_by_brute_force(vectors, k, labels)
    return np.mean([len(set(a[:k]) & set(b)) / k for a, b in zip(found.index.tolist(), expected.tolist(), strict=True)])


def assert_same_from_both_sides(found):
    distance = {}
    for row, (others, squared) in enumerate(zip(found.index.tolist(), found.squared.tolist(), strict=True)):
        for other, value in zip(others, squared, strict=True):
            assert distance.setdefault((min(row, other), max(row, other)), value) == value


@BOTH_WAYS
@settings(max_examples=60, deadline=None)
@given(vectors=INTEGER_VECTORS, k=st.integers(1, 14), n_labels=st.integers(1, 3))
def test_neighbors_are_those_of_brute_force_with_ties_by_row(find, vectors, k, n_labels):
    labels = (vectors.sum(axis=1) % n_labels).astype(np.int64)
    index, squared = nearest_by_brute_force(vectors, k, labels)
    found = find(vectors, k=k, labels=labels)
    assert found.index.dtype == np.int64
    assert found.index.shape == (len(vectors), min(k, len(vectors) - 1))
    assert found.index.tolist() == index.tolist()
    assert found.squared.tolist() == squared.tolist()


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 150),
    width=st.integers(1, 1200),
    k=st.integers(1, 20),
    share_of_copies=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_neighbors_in_any_tree(seed, n, width, k, share_of_copies):
    generator = np.random.default_rng(seed)
    rows = [generator.normal(size=width)]
    for _ in range(n - 1):
        step = 0.0 if generator.random() < share_of_copies else 10.0 ** generator.uniform(-4, 0)
        rows.append(rows[int(generator.integers(len(rows)))] + step * generator.normal(size=width))
    vectors = np.array(rows, dtype=np.float32)
    index, squared = nearest_by_brute_force(vectors, k)
    found = nearest_neighbors(vectors, k=k, sketches=sketch(vectors, seed=seed, coarse_width=256, fine_width=768))
    np.testing.assert_allclose(found.squared, squared, rtol=1e-6)
    assert (found.squared[:, :-1] <= found.squared[:, 1:]).all()
    if width > 4:
        assert (found.index == index).mean() > 0.99
    assert_same_from_both_sides(found)


@pytest.mark.parametrize("step", [1e-2, 1e-3, 1e-4])
def test_the_nearest_of_a_thousand_siblings_are_found(step):
    vectors = fans(n_bases=2, n_each=1000, width=2400, step=step, n_copies=300)
    found = nearest_neighbors(vectors, k=32)
    rows = np.concatenate([np.arange(10), 695 + np.arange(10), 1000 + np.arange(20)])
    squared = brute_force(vectors, rows)
    squared[np.arange(len(rows)), rows] = np.inf
    expected = np.argsort(squared, axis=1, kind="stable")[:, :32]
    assert (found.index[rows, :5] == expected[:, :5]).all()
    assert (found.index[rows] == expected).all()
    np.testing.assert_allclose(found.squared[rows], np.take_along_axis(squared, expected, axis=1), rtol=1e-7)
    # All copies of one model have the copies with the least numbers for neighbours, at no distance.
    assert found.index[1, :31].tolist() == list(range(700, 731))
    assert (found.squared[1] == 0).all()


def test_siblings_that_sketches_cannot_order_stay_candidates():
    vectors = fans(n_bases=1, n_each=300, width=2000, step=1e-3)
    found = nearest_neighbors(vectors, k=5, sketches=sketch(vectors, coarse_width=128, fine_width=1024))
    assert recall(found, vectors, 5) == 1.0


def test_the_longest_list_is_bounded(monkeypatch):
    monkeypatch.setattr(candidates, "MAX_CANDIDATES", 20)
    vectors = fans(n_bases=1, n_each=200, width=600, step=1e-3)
    found = nearest_neighbors(vectors, k=5, sketches=sketch(vectors, coarse_width=256, fine_width=512))
    squared = brute_force(vectors)
    np.testing.assert_allclose(np.take_along_axis(squared, found.index, axis=1), found.squared, rtol=1e-6)
    assert (found.index[1:, 0] == 0).all(), "the base is nearest by far"
    assert 0.2 < recall(found, vectors, 5) < 1.0


@BOTH_WAYS
def test_neighbors_within_families_tighter_than_float32_products(find):
    vectors = families(steps=(1e-5, 3e-7), n_each=20)
    found = find(vectors, k=5)
    assert recall(found, vectors, 5) == 1.0
    np.testing.assert_allclose(found.squared, nearest_by_brute_force(vectors, 5)[1], rtol=1e-7)
    assert_same_from_both_sides(found)


@BOTH_WAYS
def test_neighbors_nearer_than_the_rounding_of_float64_products(find):
    generator = np.random.default_rng(8)
    far, base = generator.normal(size=(2, 4000)).astype(np.float32)
    family = np.tile(base, (12, 1))
    # Last digits of one weight in each: squared distances of 1e-13 beside squared lengths of thousands.
    family[np.arange(12), np.arange(12)] += np.arange(12, dtype=np.float32) * np.float32(4e-8) + np.float32(2e-7)
    vectors = np.concatenate([far[None, :], family])
    assert recall(find(vectors, k=3), vectors, 3) == 1.0


def test_near_ties_of_float32_products_are_measured_again():
    vectors = fans(n_bases=1, n_each=150, width=51_200, step=1e-3)
    # Pairs of siblings whose distances to the base agree to a ten-millionth.
    vectors[2::2] = vectors[0] + (vectors[1::2][:74] - vectors[0])[:, ::-1]
    vectors[2::2, 0] *= np.float32(1 + 1e-6)
    squared = squared_distances(vectors)
    found = nearest_in_matrix(squared, vectors, k=20)
    wide = vectors.astype(np.float64)
    from_base = ((wide - wide[0]) ** 2).sum(axis=1)
    from_base[0] = np.inf
    assert found.index[0].tolist() == np.argsort(from_base, kind="stable")[:20].tolist()
    np.testing.assert_allclose(found.squared[0], np.sort(from_base)[:20], rtol=1e-12)
    assert (squared == squared.T).all()


@BOTH_WAYS
def test_only_models_of_one_cluster_are_neighbors(find):
    vectors = families(steps=(1e-2, 1e-4), n_each=4, width=500)
    order = np.random.default_rng(1).permutation(10)
    labels = (np.arange(10) // 5)[order]
    labels[np.flatnonzero(order == 1)] = 2
    found = find(vectors[order], k=6, labels=labels)
    index, _ = nearest_by_brute_force(vectors[order], 6, labels)
    assert found.index.tolist() == index.tolist()
    assert (np.isinf(found.squared) == (index == -1)).all()
    assert (found.index[order == 1] == -1).all()


def test_thousands_of_small_clusters_are_measured_together():
    generator = np.random.default_rng(6)
    bases = generator.standard_normal((1500, 60), dtype=np.float32)
    vectors = np.repeat(bases, 3, axis=0)
    vectors += np.float32(1e-3) * generator.standard_normal(vectors.shape, dtype=np.float32)
    labels = np.repeat(np.arange(1500), 3)
    found = nearest_neighbors(vectors, k=4, labels=labels)
    assert (np.sort(found.index[:, :2] // 3, axis=1) == labels[:, None]).all()
    assert (found.index[:, 2:] == -1).all()


def test_vectors_on_disk_give_the_same(tmp_path):
    vectors = np.concatenate([fans(n_bases=2, n_each=60, width=3000, step=1e-3), chain(n=30, width=3000, step=1e-2)])
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    in_memory, on_disk = nearest_neighbors(vectors, k=4), nearest_neighbors(mapped, k=4)
    assert (in_memory.index == on_disk.index).all()
    assert (in_memory.squared == on_disk.squared).all()


@pytest.mark.parametrize("magnitude", [1e-30, 1e30])
def test_numbers_that_float32_cannot_square_have_neighbors(magnitude):
    vectors = fans(n_bases=2, n_each=30, width=3000, step=1e-3)
    scaled = vectors * np.float32(magnitude)
    assert recall(nearest_neighbors(scaled, k=3), scaled, 3) == 1.0


@BOTH_WAYS
def test_one_model_and_none_have_no_neighbors(find):
    for n in (0, 1):
        found = find(np.ones((n, 3), dtype=np.float32), k=5)
        assert found.index.shape == found.squared.shape == (n, 0)
        assert np.isnan(scales(found, np.zeros(n, dtype=np.int64))).all()


def test_malformed_arguments_are_refused():
    vectors = np.ones((3, 3), dtype=np.float32)
    for find in (nearest_neighbors, in_matrix):
        with pytest.raises(ValueError, match="at least 1"):
            find(vectors, k=0)
        with pytest.raises(ValueError, match="labels"):
            find(vectors, k=1, labels=np.zeros(2, dtype=np.int64))
    with pytest.raises(ValueError, match="do not belong"):
        nearest_in_matrix(np.zeros((2, 2)), vectors, k=1)
    vectors[2, 1] = np.nan
    with pytest.raises(ValueError, match="row 2"):
        nearest_neighbors(vectors, k=1)


def test_scales_are_the_median_steps_to_models_that_are_no_copies():
    squared = np.array([[0.0, 1.0], [2.0, 9.0], [0.0, 0.0], [7.0, 8.0], [3.0, np.inf], [5.0, 6.0], [0.0, 0.0]])
    neighbors = Neighbors(np.zeros(squared.shape, dtype=np.int64), squared)
    found = scales(neighbors, np.array([0, 0, 0, 0, 1, 1, 2]))
    assert found[:2].tolist() == [2.0, 4.0]
    assert math.isnan(found[2])
