"""Makes a graph acyclic by dropping the weakest edges, the same ones every time."""

from __future__ import annotations

import numpy as np

from atlas_pipeline.graph.edge_list import EdgeList
from atlas_pipeline.graph.structure import strong_components


def edges_to_drop(graph: EdgeList, strength: np.ndarray) -> np.ndarray:
    """Which edges to drop so that no directed cycle is left.

    As long as a strongly connected component has more than one node, its weakest edge goes: every edge inside such a
    component lies on a cycle. Self-loops always go.

    Args:
        graph: the graph.
        strength: [m], orderable; the least goes first. Of equals the edge that stands later in the list goes.

    Returns:
        bool [m], true for the edges to drop.
    """
    dropped = graph.parent == graph.child
    position = np.arange(graph.n_edges)
    while True:
        left = position[~dropped]
        labels = strong_components(graph.keep(~dropped))
        on_cycle = left[labels[graph.parent[left]] == labels[graph.child[left]]]
        if not len(on_cycle):
            return dropped
        component = labels[graph.parent[on_cycle]]
        order = np.lexsort((-on_cycle, strength[on_cycle], component))
        first = np.concatenate(([True], np.diff(component[order]) != 0))
        dropped[on_cycle[order[first]]] = True
