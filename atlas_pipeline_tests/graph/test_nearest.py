"""Nearest labelled nodes against brute force."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.graph import EdgeList, nearest_labelled


def by_brute_force(graph, labelled, k, seed):
    """All distances, sorted by (distance, place in the random order)."""
    rank = {int(node): i for i, node in enumerate(np.random.default_rng(seed).permutation(np.flatnonzero(labelled)))}
    undirected = nx.Graph()
    undirected.add_nodes_from(range(graph.n_nodes))
    undirected.add_edges_from(zip(graph.parent.tolist(), graph.child.tolist(), strict=True))
    found = []
    for node in range(graph.n_nodes):
        lengths = nx.single_source_shortest_path_length(undirected, node)
        pairs = sorted((length, rank[other], other) for other, length in lengths.items() if other in rank)
        found.append([(other, length) for length, _, other in pairs if other != node][:k])
    return found


def as_pairs(nearest):
    return [
        [(int(s), int(d)) for s, d in zip(sources, distances, strict=True) if s >= 0]
        for sources, distances in zip(nearest.source, nearest.distance, strict=True)
    ]


@st.composite
def labelled_graphs(draw):
    n = draw(st.integers(1, 16))
    if draw(st.booleans()):
        pairs = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=24))
    else:  # Trees with long branches, which are what is taken off first.
        pairs = [(draw(st.integers(max(0, i - 3), i - 1)), i) for i in range(1, n)]
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    labelled = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    return EdgeList(n, array[:, 0].copy(), array[:, 1].copy()), labelled


@given(labelled_graphs(), st.integers(1, 5), st.integers(0, 3))
def test_nearest_are_those_of_brute_force(drawn, k, seed):
    graph, labelled = drawn
    found = nearest_labelled(graph, labelled, k=k, seed=seed)
    assert found.source.shape == found.distance.shape == (graph.n_nodes, k)
    assert as_pairs(found) == by_brute_force(graph, labelled, k, seed)
    assert ((found.source < 0) == (found.distance < 0)).all()


def test_some_nodes_get_what_they_get_among_all():
    rng = np.random.default_rng(3)
    child = np.arange(1, 400)
    graph = EdgeList(400, rng.integers(0, np.minimum(child, 40)), child)
    labelled = rng.random(400) < 0.2
    everything, nodes = nearest_labelled(graph, labelled, k=4, seed=1), np.array([399, 7, 7, 0])
    some = nearest_labelled(graph, labelled, k=4, seed=1, nodes=nodes)
    assert (some.source == everything.source[nodes]).all() and (some.distance == everything.distance[nodes]).all()


def test_ties_depend_on_the_seed_alone():
    star = EdgeList(101, np.zeros(100, dtype=np.int64), np.arange(1, 101))
    labelled = np.arange(101) > 0
    draws = {
        nearest_labelled(star, labelled, k=5, seed=seed, nodes=np.array([0])).source.tobytes() for seed in (1, 1, 2)
    }
    assert len(draws) == 2


def test_a_hub_and_a_chain_as_large_as_they_come():
    n = 30_000
    hub = EdgeList(2 * n, np.concatenate((np.zeros(n - 1, np.int64), np.arange(n - 1, 2 * n - 1))), np.arange(1, 2 * n))
    labelled = np.zeros(2 * n, dtype=bool)
    labelled[[1, 2, n - 1]] = True
    found = nearest_labelled(hub, labelled, k=2, seed=0)
    assert set(found.source[3]) < {1, 2, n - 1} and found.distance[3].tolist() == [2, 2]
    assert found.source[-1].tolist()[0] == n - 1 and found.distance[-1].tolist() == [n, n + 2]


def test_none_is_no_number_of_neighbours():
    with pytest.raises(ValueError, match="at least 1"):
        nearest_labelled(EdgeList(1, np.zeros(0, np.int64), np.zeros(0, np.int64)), np.array([True]), k=0, seed=0)


def test_no_nodes_have_no_nearest():
    empty = np.zeros(0, dtype=np.int64)
    assert nearest_labelled(EdgeList(0, empty, empty), np.zeros(0, dtype=bool), k=3, seed=0).source.shape == (0, 3)
