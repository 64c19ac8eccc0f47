"""All distances against brute force in float64, above all where float32 and cancellation would ruin them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.distances import dense
from atlas_pipeline.distances.dense import squared_distances
from atlas_pipeline_tests.distances.vectors import INTEGER_VECTORS, brute_force, chain, families, fans


def assert_exact(vectors, *, within, rows=slice(None)):
    """Every entry is within a relative error, zero exactly where rows are equal, and the same from both sides."""
    squared, expected = squared_distances(vectors), brute_force(vectors, rows)
    assert (squared == squared.T).all()
    squared = squared[rows]
    assert ((squared == 0) == (expected == 0)).all()
    np.testing.assert_allclose(squared, expected, rtol=within, atol=0)


@pytest.fixture
def is_coarse(monkeypatch):
    """Notes for every round whether it was computed in float32."""
    rounds = []
    measured = dense._measured

    def noted(vectors, rows, origin, arithmetic, *, is_coarse):
        rounds.append((len(rows), is_coarse))
        return measured(vectors, rows, origin, arithmetic, is_coarse=is_coarse)

    monkeypatch.setattr(dense, "_measured", noted)
    return rounds


def test_tight_families_keep_their_digits():
    assert_exact(families(steps=(1e-1, 1e-3, 1e-5, 3e-7)), within=1e-8)


def test_families_nested_in_one_another_keep_their_digits():
    generator = np.random.default_rng(3)
    rows = [generator.normal(size=500)]
    for step in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        rows += [rows[-1] + step * generator.normal(size=500), rows[-1] + step * generator.normal(size=500)]
    assert_exact(np.array(rows, dtype=np.float32), within=1e-8)


@pytest.mark.parametrize("step", [1e-2, 1e-3, 1e-4])
def test_float32_keeps_six_digits_of_long_vectors(is_coarse, step):
    wide = fans(n_bases=2, n_each=75, width=52_000, step=step, n_copies=5)
    vectors = np.concatenate([wide, chain(n=20, width=52_000, step=step, seed=1)])
    assert_exact(vectors, within=1e-6, rows=slice(None, None, 9))
    # The families are told apart in float32, and what is close in them is measured again.
    assert is_coarse[0] == (160, True)
    assert all(n < 160 for n, _ in is_coarse[1:])


def test_float32_is_left_where_a_few_columns_hold_the_distance(is_coarse):
    vectors = fans(n_bases=1, n_each=140, width=52_000, step=1e-3)
    vectors[:, 4096:] = vectors[0, 4096:]
    assert_exact(vectors, within=1e-6, rows=slice(20))
    assert is_coarse == [(140, False)]


def test_float32_is_left_by_rows_that_differ_in_few_columns(is_coarse):
    vectors = fans(n_bases=1, n_each=140, width=52_000, step=1e-3)
    vectors[134:] = vectors[0]
    vectors[134:, :300] += 0.013 * np.random.default_rng(5).standard_normal((6, 300), dtype=np.float32)
    assert_exact(vectors, within=1e-6, rows=slice(130, None))
    # Without them, the fan around its base would be done after one round.
    assert is_coarse[0] == (140, True)
    assert len(is_coarse) > 1


@pytest.mark.parametrize("magnitude", [1e-30, 1e-12, 1e15, 1e30])
def test_numbers_that_float32_cannot_square_are_measured(magnitude):
    vectors = fans(n_bases=1, n_each=140, width=51_000, step=1e-2) * np.float32(magnitude)
    squared = squared_distances(vectors)
    np.testing.assert_allclose(squared[:12], brute_force(vectors, slice(12)), rtol=1e-6)
    assert (squared[~np.eye(140, dtype=bool)] > 0).all()


def test_distances_are_symmetric_and_zero_between_copies_only():
    vectors = families(steps=(1e-3, 1e-6), n_each=5)
    vectors[3] = vectors[10]
    vectors[3, 7] = np.nextafter(vectors[3, 7], np.float32(np.inf))
    assert_exact(vectors, within=1e-8)


def test_many_copies_and_signed_zeros_are_equal():
    row = np.random.default_rng(1).normal(size=64).astype(np.float32)
    row[5] = 0.0
    vectors = np.tile(row, (40, 1))
    vectors[::2, 5] = -0.0
    assert (squared_distances(vectors) == 0).all()


@settings(max_examples=60, deadline=None)
@given(vectors=INTEGER_VECTORS)
def test_whole_numbers_are_measured_exactly(vectors):
    assert (squared_distances(vectors) == brute_force(vectors)).all()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    width=st.integers(1, 300),
    steps=st.lists(st.floats(-6, 0), min_size=1, max_size=4),
    n_copies=st.integers(0, 4),
)
def test_any_tree_is_within_a_millionth(seed, n, width, steps, n_copies):
    generator = np.random.default_rng(seed)
    rows = [generator.normal(size=width)]
    for i in range(1, n):
        step = 10.0 ** steps[i % len(steps)]
        rows.append(rows[int(generator.integers(i))] + step * generator.normal(size=width))
    rows += [rows[0]] * n_copies
    assert_exact(np.array(rows, dtype=np.float32), within=1e-6)


def test_empty_and_malformed_matrices():
    assert squared_distances(np.ones((0, 3), dtype=np.float32)).shape == (0, 0)
    assert squared_distances(np.ones((2, 0), dtype=np.float32)).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(ValueError, match="matrix"):
        squared_distances(np.ones(3, dtype=np.float32))
    vectors = np.ones((4, 3), dtype=np.float32)
    vectors[2, 1] = np.inf
    with pytest.raises(ValueError, match="row 2"):
        squared_distances(vectors)
