"""Sketches estimate distances within their error, wherever the difference lies, and equal rows have equal ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.distances.rows import differences, distinct_rows, magnitude_of, squared_norms
from atlas_pipeline.distances.sketches import sketch
from atlas_pipeline_tests.distances.vectors import INTEGER_VECTORS, brute_force, families, fans


def estimated(sketches, *, coarse=True):
    chosen = sketches.coarse if coarse else sketches.fine
    return brute_force(chosen) * sketches.unit


@pytest.mark.parametrize("coarse", [True, False])
@pytest.mark.parametrize("where", ["everywhere", "one row of a matrix", "one input of all rows"])
def test_distances_are_estimated_within_their_error(where, coarse):
    generator = np.random.default_rng(2)
    vectors = np.repeat(generator.standard_normal((1, 32_768), dtype=np.float32), 40, axis=0)
    changes = 0.01 * generator.standard_normal(vectors.shape).astype(np.float32)
    columns = {
        "everywhere": slice(None),
        "one row of a matrix": slice(5000, 5512),
        # Every 512th column: the same input of all neurons of a matrix of 512 columns.
        "one input of all rows": slice(17, None, 512),
    }[where]
    vectors[:, columns] += changes[:, columns]
    sketches = sketch(vectors, coarse_width=512, fine_width=4096)
    error = sketches.coarse_error if coarse else sketches.fine_error
    assert error == pytest.approx(np.sqrt(2 / (512 if coarse else 4096)))
    off_diagonal = ~np.eye(40, dtype=bool)
    relative = (estimated(sketches, coarse=coarse) / np.where(off_diagonal, brute_force(vectors), 1))[off_diagonal] - 1
    assert abs(relative.mean()) < 1.5 * error
    assert relative.std() < 1.6 * error
    if where == "everywhere":
        assert relative.std() > 0.5 * error


def test_short_vectors_are_their_own_sketches():
    vectors = families(steps=(1e-1, 1e-3), n_each=3, width=100)
    sketches = sketch(vectors)
    assert sketches.coarse is sketches.fine
    assert sketches.fine_error == sketches.coarse_error == 0
    assert sketches.rows.tolist() == [0, 1, 2, 4, 5, 6]
    assert sketches.copy_of.tolist() == [0, 1, 2, 0, 3, 4, 5, 3]
    np.testing.assert_allclose(estimated(sketches), brute_force(vectors[sketches.rows]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(sketches.norms, squared_norms(vectors)[sketches.rows])


def test_sketches_depend_on_the_seed_and_nothing_else():
    vectors = fans(n_bases=1, n_each=40, width=3000, step=1e-2)
    once, again = (sketch(vectors, seed=3, coarse_width=64, fine_width=512) for _ in range(2))
    assert (once.coarse == again.coarse).all()
    other = sketch(vectors, seed=4, coarse_width=64, fine_width=512)
    assert not (once.coarse == other.coarse).all()


def test_an_outlier_is_not_the_origin():
    vectors = fans(n_bases=1, n_each=40, width=3000, step=1e-3)
    vectors[0] *= 1e6
    sketches = sketch(vectors, coarse_width=512, fine_width=2048)
    # Around the outlier, float32 would have no digit left of the distances between the others.
    np.testing.assert_allclose(estimated(sketches)[1:, 1:], brute_force(vectors[1:]), rtol=0.3)


@pytest.mark.parametrize("magnitude", [1e-30, 1e30])
def test_extreme_magnitudes_are_sketched(magnitude):
    vectors = fans(n_bases=1, n_each=5, width=400, step=1e-2) * np.float32(magnitude)
    sketches = sketch(vectors)
    np.testing.assert_allclose(estimated(sketches), brute_force(vectors), rtol=1e-4)


@settings(max_examples=60, deadline=None)
@given(vectors=INTEGER_VECTORS)
def test_equal_rows_are_found(vectors):
    first_rows, copy_of = distinct_rows(vectors)
    assert (vectors[first_rows][copy_of] == vectors).all()
    assert first_rows.tolist() == sorted({min(np.flatnonzero((vectors == row).all(axis=1))) for row in vectors})


def test_rows_that_differ_in_one_column_are_distinct():
    vectors = np.ones((6, 5000), dtype=np.float32)
    vectors[1:5, 777] = [2, 3, 2, -0.0]
    vectors[5, 777] = 0.0
    first_rows, copy_of = distinct_rows(vectors)
    assert first_rows.tolist() == [0, 1, 2, 4]
    assert copy_of.tolist() == [0, 1, 2, 1, 3, 3]


@settings(max_examples=20, deadline=None)
@given(n=st.integers(0, 40), width=st.integers(0, 5000), seed=st.integers(0, 99))
def test_lengths_and_differences_are_those_of_float64(n, width, seed):
    vectors = np.random.default_rng(seed).standard_normal((n, width), dtype=np.float32)
    np.testing.assert_allclose(squared_norms(vectors), (vectors.astype(np.float64) ** 2).sum(axis=1), rtol=1e-12)
    left, right = np.arange(n), np.arange(n)[::-1]
    expected = ((vectors[left].astype(np.float64) - vectors[right]) ** 2).sum(axis=1)
    np.testing.assert_allclose(differences(vectors, left, right), expected, rtol=1e-12)
    assert magnitude_of(vectors) == np.abs(vectors).max(initial=0)
