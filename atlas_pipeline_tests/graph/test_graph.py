import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.graph import (
    EdgeList,
    descendant_totals,
    edges_to_drop,
    longest_depth,
    merge_share_totals,
    path_counted_totals,
    shortest_depth,
    weak_components,
)
from atlas_pipeline.graph.edge_list import UnknownNode
from atlas_pipeline.graph.structure import CyclicGraph


def graph_of(n, pairs):
    array = np.array(sorted(set(pairs)), dtype=np.int64).reshape(-1, 2)
    return EdgeList(n, array[:, 0].copy(), array[:, 1].copy())


@st.composite
def graphs(draw, acyclic):
    n = draw(st.integers(1, 14))
    node = st.integers(0, n - 1)
    pairs = draw(st.lists(st.tuples(node, node), max_size=40))
    if acyclic:
        pairs = [(min(p), max(p)) for p in pairs if p[0] != p[1]]
    return graph_of(n, pairs)


def as_networkx(graph):
    result = nx.DiGraph()
    result.add_nodes_from(range(graph.n_nodes))
    result.add_edges_from(zip(graph.parent.tolist(), graph.child.tolist(), strict=True))
    return result


@given(graphs(acyclic=True), st.integers(0, 2**32))
def test_totals_count_each_descendant_once(graph, seed):
    downloads = np.random.default_rng(seed).integers(0, 1000, graph.n_nodes)
    count, total = descendant_totals(graph, downloads)
    reference = as_networkx(graph)
    for node in range(graph.n_nodes):
        below = nx.descendants(reference, node)
        assert count[node] == len(below)
        assert total[node] == sum(downloads[d] for d in below)


@given(graphs(acyclic=True))
def test_depth_is_the_longest_path(graph):
    reference = as_networkx(graph)
    expected = dict.fromkeys(range(graph.n_nodes), 0)
    for node in nx.topological_sort(reference):
        for child in reference.successors(node):
            expected[child] = max(expected[child], expected[node] + 1)
    assert longest_depth(graph).tolist() == [expected[node] for node in range(graph.n_nodes)]


@given(graphs(acyclic=True))
def test_shortest_depth_is_that_of_the_nearest_source(graph):
    reference = as_networkx(graph)
    sources = [node for node, degree in reference.in_degree if degree == 0]
    expected = nx.multi_source_dijkstra_path_length(reference, set(sources))
    assert shortest_depth(graph).tolist() == [expected[node] for node in range(graph.n_nodes)]


@given(graphs(acyclic=True), st.integers(0, 2**32))
def test_path_counted_totals_count_paths(graph, seed):
    downloads = np.random.default_rng(seed).integers(0, 1000, graph.n_nodes)
    total = path_counted_totals(graph, downloads)
    reference = as_networkx(graph)
    for node in range(graph.n_nodes):
        paths = {d: len(list(nx.all_simple_paths(reference, node, d))) for d in nx.descendants(reference, node)}
        assert total[node] == downloads[node] + sum(downloads[d] * n for d, n in paths.items())


def test_twenty_diamonds_count_a_million_paths_and_sixty_models():
    pairs = [(3 * i + a, 3 * i + b) for i in range(20) for a, b in ((0, 1), (0, 2), (1, 3), (2, 3))]
    graph = graph_of(61, pairs)
    ones = np.ones(61, dtype=np.int64)
    count, total = descendant_totals(graph, ones)
    assert count[0] == total[0] == 60
    assert path_counted_totals(graph, ones)[0] == 1 + 4 * (2**20 - 1)


def test_parallel_edges_are_one_edge_to_descendants():
    graph = EdgeList(3, np.array([0, 0, 1]), np.array([1, 1, 2]))
    assert descendant_totals(graph, np.array([1, 10, 100]))[1].tolist() == [110, 100, 0]


@given(graphs(acyclic=True), st.integers(0, 2**32))
def test_merge_shares_of_sources_add_up(graph, seed):
    downloads = np.random.default_rng(seed).integers(0, 1000, graph.n_nodes)
    share = merge_share_totals(graph, downloads)
    is_source = np.bincount(graph.child, minlength=graph.n_nodes) == 0
    assert share[is_source].sum() == pytest.approx(downloads.sum())
    assert (share >= downloads).all()


@given(graphs(acyclic=False))
def test_weak_components_match_networkx(graph):
    labels = weak_components(graph)
    for component in nx.weakly_connected_components(as_networkx(graph)):
        assert len({labels[node] for node in component}) == 1
    assert len(set(labels.tolist())) == nx.number_weakly_connected_components(as_networkx(graph))


@given(graphs(acyclic=False), st.integers(0, 2**32))
def test_dropping_leaves_a_dag_and_drops_only_edges_on_cycles(graph, seed):
    strength = np.random.default_rng(seed).integers(0, 3, graph.n_edges)
    dropped = edges_to_drop(graph, strength)
    assert nx.is_directed_acyclic_graph(as_networkx(graph.keep(~dropped)))
    reference = as_networkx(graph)
    for parent, child in zip(graph.parent[dropped], graph.child[dropped], strict=True):
        assert parent == child or nx.has_path(reference, child, parent)


def test_the_weakest_edge_of_a_cycle_goes():
    graph = graph_of(3, [(0, 1), (1, 2), (2, 0)])
    strength = np.array([5, 1, 9])
    dropped = edges_to_drop(graph, strength)
    assert [(int(p), int(c)) for p, c in zip(graph.parent[dropped], graph.child[dropped], strict=True)] == [(1, 2)]


def test_a_diamond_counts_its_end_once():
    graph = graph_of(4, [(0, 1), (0, 2), (1, 3), (2, 3)])
    count, total = descendant_totals(graph, np.array([1, 10, 100, 1000]))
    assert count.tolist() == [3, 1, 1, 0]
    assert total.tolist() == [1110, 1000, 1000, 0]
    assert merge_share_totals(graph, np.array([1, 10, 100, 1000])).tolist() == [1111, 510, 600, 1000]


def test_a_cycle_is_refused_by_name():
    graph = graph_of(3, [(0, 1), (1, 0), (1, 2)])
    with pytest.raises(CyclicGraph, match="3 models"):
        longest_depth(graph)
    with pytest.raises(CyclicGraph):
        descendant_totals(graph, np.zeros(3, dtype=np.int64))


def test_an_edge_to_no_model_is_named():
    ids = pa.chunked_array([["a/x", "a/y"]])
    with pytest.raises(UnknownNode, match="a/z"):
        EdgeList.from_ids(ids, pa.chunked_array([["a/x"]]), pa.chunked_array([["a/z"]]))


def test_an_empty_graph_has_depth_zero_everywhere():
    graph = graph_of(3, [])
    assert longest_depth(graph).tolist() == [0, 0, 0]
    assert descendant_totals(graph, np.ones(3, dtype=np.int64))[0].tolist() == [0, 0, 0]
