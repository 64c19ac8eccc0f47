"""Components, depth and descendants of a graph, on arrays and without a loop over nodes."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import connected_components

from atlas_pipeline.graph.edge_list import EdgeList


class CyclicGraph(ValueError):
    """A graph that should be acyclic is not; the message gives the number of nodes on cycles."""


def weak_components(graph: EdgeList) -> np.ndarray:
    """Label of each node's weakly connected component, int64 [n]; labels count from 0 in order of first node."""
    return _labels(graph, "weak")


def strong_components(graph: EdgeList) -> np.ndarray:
    """Label of each node's strongly connected component, int64 [n]."""
    return _labels(graph, "strong")


def longest_depth(graph: EdgeList) -> np.ndarray:
    """Edges on the longest path from a source to each node, int64 [n].

    Raises:
        CyclicGraph: some nodes lie on or behind a cycle.
    """
    waiting = np.bincount(graph.child, minlength=graph.n_nodes)
    depth = np.full(graph.n_nodes, -1, dtype=np.int64)
    frontier = np.flatnonzero(waiting == 0)
    level = 0
    while len(frontier):
        depth[frontier] = level
        _, reached = graph.children_of(frontier)
        np.subtract.at(waiting, reached, 1)
        candidates = np.unique(reached)
        frontier = candidates[waiting[candidates] == 0]
        level += 1
    if left := int((depth < 0).sum()):
        raise CyclicGraph(f"{left} models lie on or behind a cycle")
    return depth


def descendant_totals(graph: EdgeList, amount: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of distinct descendants of each node, and the sum of an amount over them.

    A descendant counts once however many paths lead to it. The pairs (ancestor, descendant) are grown one generation
    at a time, each generation made distinct, so that the work is bounded by pairs times depth and not by paths.

    Args:
        graph: an acyclic graph.
        amount: int64 [n], for example downloads.

    Returns:
        count int64 [n] and sum int64 [n].

    Raises:
        CyclicGraph: the graph has a cycle, so that generations would never end.
    """
    longest_depth(graph)
    n = np.int64(max(graph.n_nodes, 1))
    generation = np.unique(graph.parent * n + graph.child)
    generations = [generation]
    while len(generation):
        position, reached = graph.children_of(generation % n)
        generation = np.unique(generation[position] // n * n + reached)
        generations.append(generation)
    pairs = np.unique(np.concatenate(generations))
    ancestor, descendant = pairs // n, pairs % n
    count = np.bincount(ancestor, minlength=graph.n_nodes).astype(np.int64)
    total = np.zeros(graph.n_nodes, dtype=np.int64)
    np.add.at(total, ancestor, amount[descendant])
    return count, total


def merge_share_totals(graph: EdgeList, amount: np.ndarray) -> np.ndarray:
    """Own amount and that of descendants, where a child of several parents credits each with an equal share.

    Args:
        graph: an acyclic graph.
        amount: [n], for example downloads.

    Returns:
        float64 [n]; over all source models it adds up to the sum of the amounts.

    Raises:
        CyclicGraph: the graph has a cycle.
    """
    depth = longest_depth(graph)
    n_parents = np.bincount(graph.child, minlength=graph.n_nodes)
    credit = amount.astype(np.float64)
    order = np.argsort(-depth[graph.child], kind="stable")
    parent, child = graph.parent[order], graph.child[order]
    ends = np.flatnonzero(np.diff(depth[child])) + 1
    for level in np.split(np.arange(len(order)), ends):
        np.add.at(credit, parent[level], credit[child[level]] / n_parents[child[level]])
    return credit


def _labels(graph: EdgeList, connection: str) -> np.ndarray:
    _, labels = connected_components(graph.matrix(), directed=True, connection=connection)
    return labels.astype(np.int64)
