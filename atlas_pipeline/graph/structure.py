"""Components, depth and descendants of a graph, on arrays and without a loop over nodes."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import connected_components

from atlas_pipeline.graph.edge_list import EdgeList, distinct


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
        candidates = distinct(reached)
        frontier = candidates[waiting[candidates] == 0]
        level += 1
    if left := int((depth < 0).sum()):
        raise CyclicGraph(f"{left} models lie on or behind a cycle")
    return depth


def shortest_depth(graph: EdgeList) -> np.ndarray:
    """Edges on the shortest path from a source to each node, int64 [n].

    Raises:
        CyclicGraph: some nodes lie on or behind a cycle, and no source leads to them.
    """
    depth = np.full(graph.n_nodes, -1, dtype=np.int64)
    frontier = np.flatnonzero(np.bincount(graph.child, minlength=graph.n_nodes) == 0)
    level = 0
    while len(frontier):
        depth[frontier] = level
        _, reached = graph.children_of(frontier)
        frontier = distinct(reached[depth[reached] < 0])
        level += 1
    if left := int((depth < 0).sum()):
        raise CyclicGraph(f"{left} models lie on or behind a cycle")
    return depth


def descendant_totals(graph: EdgeList, amount: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of distinct descendants of each node, and the sum of an amount over them.

    A descendant counts once however many paths lead to it. Nodes with at most one parent form trees, whose roots are
    sources and merges. What a node's descendants are is its own branch of its tree, and the whole trees of the merges
    that it leads to; trees do not overlap. So sums run along the trees, and sets need to be kept of merges alone.

    Args:
        graph: an acyclic graph.
        amount: int64 [n], for example downloads.

    Returns:
        count int64 [n] and sum int64 [n].

    Raises:
        CyclicGraph: the graph has a cycle.
    """
    depth = longest_depth(graph)
    edges = graph.distinct()
    is_merge = np.bincount(edges.child, minlength=graph.n_nodes) > 1
    leads_to_merge = is_merge[edges.child]
    ones = np.ones(graph.n_nodes, dtype=np.int64)
    branches = [_summed_up(edges.keep(~leads_to_merge), depth, values) for values in (ones, amount.astype(np.int64))]
    ancestor, merge = spread(edges.reversed(), edges.parent[leads_to_merge], edges.child[leads_to_merge])
    totals = []
    for branch, own in zip(branches, (ones, amount), strict=True):
        total = branch - own
        np.add.at(total, ancestor, branch[merge])
        totals.append(total)
    return totals[0], totals[1]


def spread(graph: EdgeList, node: np.ndarray, mark: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pass marks along the edges to all descendants.

    Level by level from the sources, so that each node's set is put together once, from those of its parents: the work
    is bounded by edges times marks and not by paths.

    Args:
        graph: an acyclic graph.
        node: int64 [k], the nodes that have a mark.
        mark: int64 [k], their marks, from 0.

    Returns:
        node and mark of each distinct pair, int64, sorted by depth, node and mark; the given ones are among them.

    Raises:
        CyclicGraph: the graph has a cycle.
    """
    depth = longest_depth(graph)
    span = np.int64(mark.max() + 1 if len(mark) else 1)
    edge_order = np.argsort(depth[graph.child], kind="stable")
    mark_order = np.argsort(depth[node], kind="stable")
    levels = np.arange(depth.max(initial=0) + 2)
    edge_ends = np.searchsorted(depth[graph.child[edge_order]], levels)
    mark_ends = np.searchsorted(depth[node[mark_order]], levels)
    start, length = np.zeros(graph.n_nodes, dtype=np.int64), np.zeros(graph.n_nodes, dtype=np.int64)
    pairs, held = np.empty(len(node), dtype=np.int64), 0
    for level in levels[:-1]:
        edges = edge_order[edge_ends[level] : edge_ends[level + 1]]
        edges = edges[length[graph.parent[edges]] > 0]
        own = mark_order[mark_ends[level] : mark_ends[level + 1]]
        counts = length[graph.parent[edges]]
        place = np.repeat(start[graph.parent[edges]] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        passed = np.repeat(graph.child[edges], counts) * span + pairs[place] % span
        found = distinct(np.concatenate((passed, node[own] * span + mark[own])))
        holders = found // span
        first = np.flatnonzero(np.concatenate(([True], holders[1:] != holders[:-1]))) if len(found) else found
        start[holders[first]] = held + first
        length[holders[first]] = np.diff(np.append(first, len(found)))
        if held + len(found) > len(pairs):
            pairs = np.concatenate((pairs[:held], np.empty(held + len(found), dtype=np.int64)))
        pairs[held : held + len(found)] = found
        held += len(found)
    return pairs[:held] // span, pairs[:held] % span


def _summed_up(edges: EdgeList, depth: np.ndarray, amount: np.ndarray, divisor: np.ndarray | None = None) -> np.ndarray:
    """Each node's amount and what its children have, summed along every edge from the deepest up; dtype of amount."""
    total = amount.copy()
    order = np.argsort(-depth[edges.child], kind="stable")
    parent, child = edges.parent[order], edges.child[order]
    ends = np.flatnonzero(np.diff(depth[child])) + 1
    for level in np.split(np.arange(len(order)), ends):
        passed = total[child[level]]
        np.add.at(total, parent[level], passed if divisor is None else passed / divisor[child[level]])
    return total


def path_counted_totals(graph: EdgeList, amount: np.ndarray) -> np.ndarray:
    """Own amount and that of descendants, a descendant counted once for each path that leads to it.

    This is the sum of children's totals, as it is often computed and published; it is no measure of anything where
    paths meet again, and here for comparison alone.

    Args:
        graph: an acyclic graph.
        amount: [n], for example downloads.

    Returns:
        float64 [n]; exact up to 2^53.

    Raises:
        CyclicGraph: the graph has a cycle.
    """
    return _summed_up(graph, longest_depth(graph), amount.astype(np.float64))


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
    n_parents = np.bincount(graph.child, minlength=graph.n_nodes)
    return _summed_up(graph, longest_depth(graph), amount.astype(np.float64), n_parents)


def _labels(graph: EdgeList, connection: str) -> np.ndarray:
    _, labels = connected_components(graph.matrix(), directed=True, connection=connection)
    return labels.astype(np.int64)
