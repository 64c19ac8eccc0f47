"""The believed tree against networkx."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.edges.candidates import NOBODY
from atlas_pipeline.edges.charting.forest import Forest, acyclic


@st.composite
def parents(draw, *, most=25):
    """Parents of a random forest, its rows in any order."""
    n = draw(st.integers(1, most))
    row = draw(st.permutations(range(n)))
    parent = np.full(n, NOBODY, dtype=np.int64)
    for place in range(n):
        above = draw(st.integers(-1, place - 1))
        parent[row[place]] = NOBODY if above < 0 else row[above]
    return parent


def graph_of(parent):
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(parent)))
    graph.add_edges_from((above, row) for row, above in enumerate(parent.tolist()) if above >= 0)
    return graph


@given(parent=parents())
def test_descent_is_that_of_networkx(parent):
    forest, graph = Forest(parent), graph_of(parent)
    rows = np.arange(len(parent))
    found = forest.descends(rows[:, None], rows[None, :])
    wanted = np.array([[above == row or above in nx.ancestors(graph, row) for above in graph] for row in graph])
    assert (found == wanted).all()
    assert forest.n_children.tolist() == [graph.out_degree(row) for row in rows]
    assert forest.depth.tolist() == [len(nx.ancestors(graph, row)) for row in rows]


@given(parent=parents(), n_levels=st.integers(1, 5))
def test_lineages_go_up_link_by_link(parent, n_levels):
    forest = Forest(parent)
    rows = np.append(np.arange(len(parent)), NOBODY)
    found = forest.lineages(rows.reshape(1, -1), n_levels=n_levels)
    assert found.shape == (1, len(rows), n_levels)
    for row, levels in zip(rows.tolist(), found[0].tolist(), strict=True):
        for level in levels:
            row = int(parent[row]) if row >= 0 else NOBODY  # noqa: PLW2901
            assert level == row


def test_nobody_descends_from_nobody():
    forest = Forest(np.array([NOBODY, 0, 1]))
    nobody = np.array(NOBODY)
    assert not forest.descends(nobody, nobody)
    assert not forest.descends(np.array(2), nobody)
    assert not forest.descends(nobody, np.array(0))


def test_an_empty_forest_has_nothing():
    forest = Forest(np.zeros(0, dtype=np.int64))
    empty = np.zeros(0, dtype=np.int64)
    assert forest.depth.shape == forest.n_children.shape == forest.descends(empty, empty).shape == (0,)


@pytest.mark.parametrize(
    ("parent", "position", "wanted"),
    [
        ([-1, 0, 1], [0, 1, 2], [-1, 0, 1]),
        ([2, 0, 1], [0, 1, 2], [-1, 0, 1]),
        ([1, 0, 0], [1, 0, 2], [1, -1, 0]),
        ([], [], []),
    ],
)
def test_cycles_are_cut_where_the_parent_came_later(parent, position, wanted):
    assert acyclic(np.array(parent, dtype=np.int64), np.array(position, dtype=np.int64)).tolist() == wanted
