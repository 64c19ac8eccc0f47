"""Spanning trees against networkx, which is slow and right."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.edges.arborescence import grown_tree, minimum_arborescence
from atlas_pipeline.edges.candidates import NOBODY

INF = float("inf")


@st.composite
def costs(draw, *, least=0, most=6):
    """Whole-number costs with ties and missing arcs."""
    n = draw(st.integers(1, 9))
    cell = st.one_of(st.integers(least, most).map(float), st.just(INF))
    return np.array(draw(st.lists(st.lists(cell, min_size=n, max_size=n), min_size=n, max_size=n)))


def as_graph(parents):
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(parents)))
    graph.add_edges_from((int(parent), child) for child, parent in enumerate(parents) if parent != NOBODY)
    return graph


def best_by_networkx(into):
    """Roots and total cost of the best forest: the best tree under a root above all, whose arcs are very dear."""
    graph = nx.DiGraph()
    for child, row in enumerate(into):
        graph.add_edge("above", child, weight=1e6)
        for parent, cost in enumerate(row):
            if parent != child and np.isfinite(cost):
                graph.add_edge(parent, child, weight=cost)
    chosen = nx.minimum_spanning_arborescence(graph).edges
    roots = [child for parent, child in chosen if parent == "above"]
    return len(roots), sum(into[child, parent] for parent, child in chosen if parent != "above")


@settings(max_examples=80, deadline=None)
@given(into=costs(least=-3))
def test_directed_trees_are_as_good_as_networkx_finds_them(into):
    parents = minimum_arborescence(into)
    graph = as_graph(parents)
    assert nx.is_directed_acyclic_graph(graph)
    total = sum(into[child, parent] for child, parent in enumerate(parents) if parent != NOBODY)
    assert ((parents == NOBODY).sum(), total) == pytest.approx(best_by_networkx(into))


def test_cycles_within_cycles_are_opened_where_it_costs_least():
    # 0 and 1 prefer each other, 2 and 3 as well, and each pair prefers the other pair: only 4 leads in.
    into = np.full((5, 5), INF)
    for child, parent, cost in [(0, 1, 1), (1, 0, 1), (2, 3, 1), (3, 2, 1), (0, 2, 2), (2, 0, 2), (3, 4, 9), (1, 4, 8)]:
        into[child, parent] = cost
    assert minimum_arborescence(into).tolist() == [1, 4, 0, 2, NOBODY]


def test_scale_of_costs_does_not_matter():
    into = np.random.default_rng(0).random((30, 30))
    found = [minimum_arborescence(factor * into).tolist() for factor in (1e-12, 1.0, 1e12)]
    assert found[0] == found[1] == found[2]
    assert found[0].count(NOBODY) == 1


def test_nodes_without_arcs_are_roots():
    assert minimum_arborescence(np.full((3, 3), INF)).tolist() == [NOBODY] * 3
    assert minimum_arborescence(np.zeros((0, 0))).tolist() == []


@pytest.mark.parametrize("bad", [np.zeros((2, 3)), np.full((2, 2), np.nan), np.full((2, 2), -INF)])
def test_costs_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="must be"):
        minimum_arborescence(bad)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_grown_tree_is_a_minimum_spanning_tree_under_its_root(data):
    n = data.draw(st.integers(1, 9))
    half = np.triu(np.array(data.draw(st.lists(st.integers(0, 9), min_size=n * n, max_size=n * n))).reshape(n, n), 1)
    squared = (half + half.T).astype(np.float64)
    root = data.draw(st.integers(0, n - 1))
    parents = grown_tree(squared, root=root)
    graph = as_graph(parents)
    assert [node for node in graph if graph.in_degree(node) == 0] == [root]
    assert n == 1 or nx.is_arborescence(graph)
    total = sum(squared[child, parent] for child, parent in graph.reverse().edges)
    reference = nx.Graph()
    reference.add_nodes_from(range(n))
    reference.add_weighted_edges_from((i, j, squared[i, j]) for i in range(n) for j in range(i))
    assert total == nx.minimum_spanning_tree(reference).size(weight="weight")


def test_leaves_carry_nobody_but_the_root_always_may():
    squared = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
    assert grown_tree(squared, root=0).tolist() == [NOBODY, 0, 1, 2]
    leaves = np.array([True, False, True, True])
    assert grown_tree(squared, root=0, can_be_parent=leaves).tolist() == [NOBODY, 0, 0, 2]
    assert grown_tree(squared, root=1, can_be_parent=np.zeros(4, dtype=bool)).tolist() == [1, NOBODY, 1, 1]
