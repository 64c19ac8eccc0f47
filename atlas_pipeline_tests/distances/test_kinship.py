"""Clusters of models that can be kin, and the null model that says when there is no relative."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.distances.kinship import (
    KIN_THRESHOLD,
    Stretch,
    kin_threshold,
    layout_of,
    relative_squared,
    weight_clusters,
)
from atlas_pipeline.distances.neighbors import squared_distances
from atlas_pipeline.distances.rows import squared_norms
from atlas_pipeline.distances.sketches import sketch
from atlas_pipeline_tests.distances.vectors import INTEGER_VECTORS, brute_force, families

LAYOUT = (Stretch("layers.#.q_proj", 4, 64), Stretch("layers.#.q_proj", 4, 64), Stretch("layers.#.down_proj", 3, 96))
WIDTH = 800


def relative(vectors):
    norms = squared_norms(vectors)
    return relative_squared(squared_distances(vectors), norms[:, None], norms[None, :])


def strangers(kind, n, *, width=WIDTH, seed=0):
    """Independent models whose weights have one of several distributions."""
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((n, width))
    if kind == "positive":
        vectors = np.abs(vectors)
    elif kind == "offset":
        vectors += 1.2
    elif kind == "heavy tails":
        vectors = generator.standard_t(3, (n, width))
    elif kind == "few values":
        vectors = generator.choice([0.0, 0.0, 0.0, 1.0], (n, width))
    elif kind == "loud matrices":
        vectors[:, 512:] *= 30
    return vectors.astype(np.float32)


KINDS = ("normal", "positive", "offset", "heavy tails", "few values", "loud matrices")


def test_relative_distance_is_zero_for_copies_and_one_for_orthogonal_models():
    vectors = np.array([[3, 0], [0, 4], [3, 0], [-3, 0], [0, 0], [0, 0]], dtype=np.float32)
    norms = squared_norms(vectors)
    assert norms.tolist() == [9, 16, 9, 9, 0, 0]
    found = relative_squared(squared_distances(vectors), norms[:, None], norms[None, :])
    assert found[0].tolist() == [0, 1, 0, 2, 1, 1]
    assert found[4, 5] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_strangers_are_not_joined(kind):
    vectors = strangers(kind, 400, seed=3)
    threshold = kin_threshold(vectors, LAYOUT)
    joined = np.bincount(weight_clusters(vectors, threshold=threshold, squared=squared_distances(vectors))) > 1
    assert joined.sum() == 0
    # The threshold says something: it lies well below the nearest strangers, but not far below.
    nearest = np.min(relative(vectors)[~np.eye(400, dtype=bool)])
    assert threshold < 0.9 * nearest
    assert threshold > 0.4 * min(nearest, 1.0)


def test_positive_weights_would_be_joined_at_half():
    vectors = strangers("offset", 50)
    assert weight_clusters(vectors, threshold=KIN_THRESHOLD, squared=squared_distances(vectors)).max() == 0
    assert kin_threshold(vectors, LAYOUT) < 0.3


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "loud matrices"])
@pytest.mark.parametrize("seed", range(3))
def test_relatives_at_three_tenths_are_joined(kind, seed):
    bases = strangers(kind, 12, seed=seed)
    noise = strangers(kind, 12, seed=seed + 100)
    # |b - (b + cn)|^2 / (|b|^2 + |b + cn|^2) is 0.3 where c^2 |n|^2 is 6/7 of |b|^2.
    children = bases + noise * np.sqrt(6 / 7 * squared_norms(bases) / squared_norms(noise))[:, None].astype(np.float32)
    vectors = np.concatenate([bases, children])
    found = relative(vectors)[np.arange(12), np.arange(12) + 12]
    assert abs(found - 0.3).max() < 0.05
    threshold = kin_threshold(vectors, LAYOUT)
    labels = weight_clusters(vectors, threshold=threshold, squared=squared_distances(vectors))
    assert labels.tolist() == [*range(12), *range(12)]


def test_pruned_and_coarsely_quantised_models_are_joined():
    bases = strangers("normal", 6, width=6400)
    pruned = np.where(np.abs(bases) < np.quantile(np.abs(bases), 0.6), 0, bases)
    two_bits = np.clip(np.round(bases / 1.0 - 0.5) + 0.5, -1.5, 1.5).astype(np.float32)
    vectors = np.concatenate([bases, pruned, two_bits])
    threshold = kin_threshold(vectors, None)
    assert weight_clusters(vectors, threshold=threshold).tolist() == [*range(6), *range(6), *range(6)]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4), st.sampled_from([1, 5, 8])), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(0, 99),
)
def test_the_threshold_of_any_layout_is_a_share(stretches, n, seed):
    layout = [Stretch(*stretch) for stretch in stretches]
    width = sum(stretch.n_rows * stretch.n_columns for stretch in layout)
    vectors = np.random.default_rng(seed).standard_normal((n, width), dtype=np.float32)
    threshold = kin_threshold(vectors, layout, seed=seed)
    assert 0 <= threshold <= KIN_THRESHOLD
    assert kin_threshold(vectors, layout, seed=seed) == threshold


def test_every_row_meets_another_one_of_its_kind():
    # Values say which matrix and row they are from; strangers of one kind differ by one, of two kinds by a hundred.
    vectors = np.concatenate([np.repeat([100.0, 101], 64), np.repeat([100.0], 64), np.repeat([200.0, 201], 96)])
    layout = (Stretch("q.#", 2, 64), Stretch("q.#", 1, 64), Stretch("k", 2, 96))
    threshold = kin_threshold(vectors.astype(np.float32)[None, :], layout)
    # The two rows of k always differ by 1; a row of q meets an equal one at times.
    greatest = (192 + 3 * 64) / (2 * (vectors**2).sum())
    assert 0 < threshold <= 0.6 * greatest


def test_a_layout_of_another_width_is_refused():
    with pytest.raises(ValueError, match="801 numbers"):
        kin_threshold(np.ones((2, 801), dtype=np.float32), LAYOUT)


def test_a_layout_is_read_from_the_plan_of_a_sampling():
    plan = {
        "tensors": [
            {"canonical": "layers.3.q_proj.weight", "n_rows": 64, "n_columns": 32, "rows": [1, 5]},
            {"canonical": "layers.12.q_proj.weight", "n_rows": 64, "n_columns": 32, "rows": [7]},
        ]
    }
    assert layout_of(plan) == (Stretch("layers.#.q_proj.weight", 2, 32), Stretch("layers.#.q_proj.weight", 1, 32))


@pytest.mark.parametrize("is_measured", [True, False])
def test_independent_bases_make_clusters_in_order_of_appearance(is_measured):
    vectors = families(steps=(1e-1, 1e-3, 1e-5), n_each=3)
    order = np.random.default_rng(2).permutation(len(vectors))
    family = (np.arange(len(vectors)) // 4)[order]
    squared = squared_distances(vectors[order]) if is_measured else None
    labels = weight_clusters(vectors[order], squared=squared)
    first_seen = list(dict.fromkeys(family.tolist()))
    assert labels.dtype == np.int64
    assert labels.tolist() == [first_seen.index(f) for f in family.tolist()]


@pytest.mark.parametrize("is_measured", [True, False])
def test_a_long_chain_stays_one_cluster_though_its_ends_are_strangers(is_measured):
    generator = np.random.default_rng(5)
    chain = [generator.normal(size=400)]
    for _ in range(80):
        # Each link keeps most of the last one; the ends share almost nothing.
        chain.append(0.8 * chain[-1] + 0.6 * generator.normal(size=400))
    vectors = np.array(chain, dtype=np.float32)
    assert relative(vectors)[0, -1] > 0.8
    squared = squared_distances(vectors) if is_measured else None
    assert set(weight_clusters(vectors, squared=squared).tolist()) == {0}
    assert len(set(weight_clusters(vectors, squared=squared, threshold=0.01).tolist())) == 81


def by_brute_force(vectors, threshold):
    """Labels of connected components, by repeated sweeps."""
    squared, norms = brute_force(vectors), (vectors.astype(np.float64) ** 2).sum(axis=1)
    is_linked = (squared < threshold * (norms[:, None] + norms)) | (squared == 0)
    labels = np.arange(len(vectors))
    for _ in vectors:
        labels = np.array([labels[row].min() for row in is_linked])
    return np.unique(labels, return_inverse=True)[1]


@settings(max_examples=60, deadline=None)
@given(vectors=INTEGER_VECTORS, threshold=st.sampled_from([0.0, 0.111, 0.32, 0.5]))
def test_clusters_are_those_of_single_linkage(vectors, threshold):
    expected = by_brute_force(vectors, threshold).tolist()
    assert weight_clusters(vectors, threshold=threshold).tolist() == expected
    assert weight_clusters(vectors, threshold=threshold, squared=squared_distances(vectors)).tolist() == expected


def test_links_that_sketches_leave_in_doubt_are_measured():
    generator = np.random.default_rng(9)
    bases = np.repeat(generator.standard_normal((40, 6000)), 2, axis=0)
    noise = generator.standard_normal(bases.shape)
    noise[::2] = 0
    # Half of the children lie just inside the threshold, half just outside: no sketch of 512 columns can tell.
    distance = np.where(np.arange(80) // 2 % 2, 0.29, 0.31)
    share = distance / (1 - distance)
    vectors = (
        bases + noise * np.sqrt(2 * share * np.vecdot(bases, bases) / np.maximum(np.vecdot(noise, noise), 1))[:, None]
    )
    vectors = vectors.astype(np.float32)
    expected = by_brute_force(vectors, 0.3)
    assert expected.max() == 59
    found = weight_clusters(vectors, threshold=0.3, sketches=sketch(vectors, coarse_width=512, fine_width=512))
    assert found.tolist() == expected.tolist()


def test_one_loud_model_does_not_blur_the_others():
    vectors = np.repeat(strangers("normal", 5, width=6000), 4, axis=0)
    vectors += np.float32(1e-2) * strangers("normal", 20, width=6000, seed=1)
    vectors = np.concatenate([1e5 * strangers("normal", 1, width=6000, seed=2), vectors]).astype(np.float32)
    assert weight_clusters(vectors).tolist() == [0, *np.repeat([1, 2, 3, 4, 5], 4).tolist()]


def test_one_model_and_none():
    for n in (0, 1):
        vectors = np.ones((n, 3), dtype=np.float32)
        assert weight_clusters(vectors).tolist() == [0] * n
        assert weight_clusters(vectors, squared=np.zeros((n, n))).tolist() == [0] * n
        assert 0 <= kin_threshold(vectors) <= KIN_THRESHOLD


def test_malformed_arguments_are_refused():
    vectors = np.ones((4, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="do not belong"):
        weight_clusters(vectors, squared=np.zeros((2, 2)))
    vectors[2, 1] = np.nan
    with pytest.raises(ValueError, match="row 2"):
        weight_clusters(vectors)
