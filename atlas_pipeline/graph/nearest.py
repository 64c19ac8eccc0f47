"""The nearest labelled nodes of every node, by path length on the undirected graph, exactly and on arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atlas_pipeline.graph.edge_list import EdgeList, distinct
from atlas_pipeline.graph.structure import weak_components


@dataclass(frozen=True)
class Nearest:
    """The nearest labelled nodes of some nodes, the nearest first.

    Attributes:
        source: int32 [r, k], the labelled node; -1 where fewer than k can be reached.
        distance: int32 [r, k], edges between the two; -1 likewise.
    """

    source: np.ndarray
    distance: np.ndarray


def nearest_labelled(
    graph: EdgeList, labelled: np.ndarray, *, k: int, seed: int, nodes: np.ndarray | None = None
) -> Nearest:
    """The k nearest labelled nodes of each node, the node itself excluded (paper, section 3.2).

    Edges count in both directions. Of equally distant nodes those go first that come first in one random order of all
    labelled nodes. Under such an order the k best of a node are among itself and the k best of its neighbours, so it
    is exact to grow pairs (node, labelled node) edge by edge and to keep k + 1 for each node, itself being one of them.
    Trees without a label that hang on the rest are taken off first: their nodes see what the node that they hang on
    sees.

    Args:
        graph: the graph.
        labelled: bool [n].
        k: how many, at least 1.
        seed: of the random order.
        nodes: int64 [r], the nodes to answer for; all where it is left out.

    Raises:
        ValueError: k is below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}, and must be at least 1")
    order = np.random.default_rng(seed).permutation(np.flatnonzero(labelled))
    around, has_label = _undirected(graph), _with_label(graph, labelled)
    root, steps = _hanging(around, labelled | ~has_label)
    sources, distances = _grown(around, order, k + 1, n_nodes=graph.n_nodes, grows=has_label & (steps == 0))
    wanted = np.arange(graph.n_nodes) if nodes is None else nodes
    # A labelled node is the first of its own list.
    first = (labelled[wanted] & (steps[wanted] == 0)).astype(np.int64)
    column = first[:, None] + np.arange(k)
    source = np.take_along_axis(sources[root[wanted]], column, axis=1)
    distance = np.take_along_axis(distances[root[wanted]], column, axis=1)
    distance += np.where(source >= 0, steps[wanted].astype(np.int32)[:, None], np.int32(0))
    return Nearest(source, distance)


def _undirected(graph: EdgeList) -> EdgeList:
    """Each edge in both directions, once, without self-loops."""
    is_loop = graph.parent == graph.child
    ends = np.concatenate((graph.parent[~is_loop], graph.child[~is_loop]))
    others = np.concatenate((graph.child[~is_loop], graph.parent[~is_loop]))
    return EdgeList(graph.n_nodes, ends, others).distinct()


def _with_label(graph: EdgeList, labelled: np.ndarray) -> np.ndarray:
    """Whether a node's component has a labelled node, bool [n]."""
    components = weak_components(graph)
    return np.bincount(components, weights=labelled, minlength=graph.n_nodes)[components] > 0


def _hanging(around: EdgeList, stays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take off nodes that hang on one neighbour, again and again.

    Args:
        around: the graph, each edge in both directions.
        stays: bool [n], nodes that are never taken off; each component has one.

    Returns:
        the node that is left and that a node hangs on, itself if it is left, int64 [n]; and the edges to it, int64 [n].
    """
    degree = np.bincount(around.parent, minlength=around.n_nodes)
    # The exclusive or of a node's neighbours that are left is the neighbour itself when only one is.
    neighbor = np.zeros(around.n_nodes, dtype=np.int64)
    np.bitwise_xor.at(neighbor, around.parent, around.child)
    root, steps = np.arange(around.n_nodes), np.zeros(around.n_nodes, dtype=np.int64)
    generations = []
    leaves = np.flatnonzero((degree == 1) & ~stays)
    while len(leaves):
        generations.append(leaves)
        root[leaves] = hold = neighbor[leaves]
        degree[leaves] = 0
        np.subtract.at(degree, hold, 1)
        np.bitwise_xor.at(neighbor, hold, leaves)
        candidates = distinct(hold)
        leaves = candidates[(degree[candidates] == 1) & ~stays[candidates]]
    for leaves in reversed(generations):
        hold = root[leaves]
        steps[leaves] = steps[hold] + 1
        root[leaves] = root[hold]
    return root, steps


def _grown(
    around: EdgeList, order: np.ndarray, k: int, *, n_nodes: int, grows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest labelled nodes of each node, itself among them.

    Args:
        around: the graph, each edge in both directions.
        order: the labelled nodes in the order that settles ties.
        k: how many to keep.
        n_nodes: nodes of the graph.
        grows: bool [n], the nodes that pairs may reach.

    Returns:
        source and distance, both int32 [n, k], -1 where there are fewer.
    """
    n_labels = np.int64(max(len(order), 1))
    inner = around.keep(grows[around.parent] & grows[around.child])
    source = np.full((n_nodes, k), -1, dtype=np.int32)
    distance = np.full((n_nodes, k), -1, dtype=np.int32)
    n_kept = np.zeros(n_nodes, dtype=np.int64)
    before, pairs = np.zeros(0, dtype=np.int64), np.sort(order * n_labels + np.arange(len(order)))
    length = 0
    while len(pairs):
        node, rank = pairs // n_labels, pairs % n_labels
        place = n_kept[node] + _position_in_run(node)
        is_kept = place < k
        pairs, node, rank, place = pairs[is_kept], node[is_kept], rank[is_kept], place[is_kept]
        source[node, place] = order[rank]
        distance[node, place] = length
        np.add.at(n_kept, node, 1)
        at, reached = inner.children_of(node)
        is_open = n_kept[reached] < k
        grown = distinct(reached[is_open] * n_labels + rank[at[is_open]])
        # A neighbour's distance differs by one at most: what was reached before was so in the last two generations.
        before, pairs = pairs, np.setdiff1d(grown, np.concatenate((before, pairs)), assume_unique=True)
        length += 1
    return source, distance


def _position_in_run(values: np.ndarray) -> np.ndarray:
    """0, 1, 2 and so on within each run of equal values, int64 [n]."""
    starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    return np.arange(len(values)) - np.repeat(starts, np.diff(np.append(starts, len(values))))
