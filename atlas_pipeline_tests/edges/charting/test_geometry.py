"""Products around a child against the slow reading, and the columns that are compared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.edges.charting import geometry
from atlas_pipeline.edges.charting.geometry import batches, blocks, local_products

LAYOUT = ((5, 7), (1, 4), (8, 3))
LAYOUTS = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 9)), min_size=1, max_size=12)


@pytest.fixture
def vectors():
    generator = np.random.default_rng(0)
    n_columns = sum(neurons * width for neurons, width in LAYOUT)
    base = 100.0 + generator.normal(size=n_columns)
    return (base + 1e-3 * generator.normal(size=(9, n_columns))).astype(np.float32)


def slow_products(vectors, chosen, child, members):
    """The same in float64, one neuron at a time."""
    wide = vectors.astype(np.float64)
    found = []
    for first, neurons, width, _ in chosen.runs:
        for neuron in range(neurons):
            columns = slice(first + neuron * width, first + (neuron + 1) * width)
            apart = np.array([wide[row if row >= 0 else child, columns] - wide[child, columns] for row in members])
            found.append(apart @ apart.T)
    return np.array(found)


@pytest.mark.parametrize("max_columns", [None, 35])
@pytest.mark.parametrize("at_once", [1, 1 << 24])
def test_products_of_small_differences_of_great_numbers_are_those_of_float64(
    vectors, monkeypatch, max_columns, at_once
):
    monkeypatch.setattr(geometry, "BATCH_ELEMENTS", at_once)
    chosen = blocks(LAYOUT, max_columns=max_columns)
    children = np.array([3, 0, 8])
    members = np.array([[1, 2, 8, 0], [5, 0, -1, 7], [4, -1, -1, -1]])
    products = local_products(vectors, chosen, children, members)
    assert products.dtype == np.float32
    assert products.shape == (3, chosen.n_neurons, 4, 4)
    for found, child, near in zip(products, children, members, strict=True):
        wanted = slow_products(vectors, chosen, child, near)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())


def test_a_neuron_held_in_common_is_at_exactly_zero_and_no_other_is(vectors):
    vectors[4, 7:14] = vectors[2, 7:14]
    products = local_products(vectors, blocks(LAYOUT), np.array([2]), np.array([[4, 5, -1]]))
    squared = np.einsum("rmm->rm", products[0])
    assert np.flatnonzero(squared[:, 0] == 0).tolist() == [1]
    assert (squared[:, 1] > 0).all()
    assert not squared[:, 2].any()


def test_all_columns_are_compared_where_no_limit_is_set():
    chosen = blocks(LAYOUT)
    assert chosen.runs == ((0, 5, 7, 0), (35, 1, 4, 1), (39, 8, 3, 2))
    assert (chosen.n_neurons, chosen.n_columns) == (14, 63)
    assert blocks(LAYOUT, max_columns=63) == blocks(LAYOUT, max_columns=1000) == chosen
    assert blocks(()) == geometry.Blocks(())


@given(layout=LAYOUTS, max_columns=st.integers(1, 4000))
def test_a_share_takes_the_first_neurons_of_each_matrix_and_as_many_as_are_due(layout, max_columns):
    chosen = blocks(layout, max_columns=max_columns)
    starts = np.cumsum([0, *(neurons * width for neurons, width in layout)])
    share = min(1.0, max_columns / starts[-1])
    assert abs(chosen.n_neurons - share * sum(neurons for neurons, _ in layout)) <= 0.5 + 1e-6
    for first, neurons, width, number in chosen.runs:
        assert first == starts[number]
        assert width == layout[number][1]
        assert abs(neurons - share * layout[number][0]) < 1 + 1e-6
        assert 1 <= neurons <= layout[number][0]
    numbers = [number for *_, number in chosen.runs]
    assert numbers == sorted(set(numbers))


@settings(max_examples=30)
@given(n=st.integers(0, 5000), m=st.integers(1, 64), n_neurons=st.integers(1, 3000))
def test_batches_hold_every_child_once(n, m, n_neurons):
    parts = list(batches(n, m, n_neurons))
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(n))
    largest = max((part.stop - part.start for part in parts), default=0)
    assert largest <= max(1, (1 << 26) // (m * m * n_neurons))
