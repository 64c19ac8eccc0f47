"""Cycles lose their least certain edge, and nothing else."""

from __future__ import annotations

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.edges.records import Edge, Evidence, without_cycles


def edge(child, parent, *, confidence=0.5, origin="charted", days=1.0):
    return Edge(
        child_id=child,
        parent_id=parent,
        relation="finetune",
        origin=origin,
        rule="nearest",
        confidence=confidence,
        is_ambiguous=False,
        evidence=Evidence(days_apart=days),
    )


def kept(*edges):
    return [(e.child_id, e.parent_id) for e in without_cycles(edges)]


def test_edges_without_cycles_all_stay_sorted():
    assert kept(edge("c", "b"), edge("b", "a"), edge("c", "a")) == [("b", "a"), ("c", "a"), ("c", "b")]
    assert kept() == []


def test_the_least_certain_edge_of_a_cycle_goes():
    assert kept(edge("a", "c", confidence=0.4), edge("b", "a"), edge("c", "b")) == [("b", "a"), ("c", "b")]
    # Documentation outranks any confidence; a child older than its parent goes before the others.
    assert kept(edge("a", "b", confidence=1.0), edge("b", "a", confidence=0.1, origin="documented")) == [("b", "a")]
    assert kept(edge("a", "b", days=-2.0, confidence=0.9), edge("b", "a", confidence=0.1)) == [("b", "a")]


def test_two_cycles_through_one_edge_lose_that_edge_alone():
    shared = edge("b", "a", confidence=0.1)
    assert kept(shared, edge("a", "b"), edge("a", "c"), edge("c", "b")) == [("a", "b"), ("a", "c"), ("c", "b")]


@settings(max_examples=100, deadline=None)
@given(
    links=st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda link: link[0] != link[1])),
    confidences=st.lists(st.floats(0, 1), min_size=42, max_size=42),
)
def test_result_is_acyclic_and_drops_only_edges_of_cycles(links, confidences):
    edges = [edge(str(c), str(p), confidence=x) for (c, p), x in zip(sorted(links), confidences, strict=False)]
    graph = nx.DiGraph((str(p), str(c)) for c, p in links)
    result = without_cycles(edges)
    assert nx.is_directed_acyclic_graph(nx.DiGraph((e.parent_id, e.child_id) for e in result))
    group = {node: number for number, nodes in enumerate(nx.strongly_connected_components(graph)) for node in nodes}
    assert all(group[e.child_id] == group[e.parent_id] for e in edges if e not in result)
