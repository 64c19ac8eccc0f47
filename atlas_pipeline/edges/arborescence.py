"""Spanning trees of a matrix of costs, exactly: the cheapest directed one (Chu, Liu and Edmonds) and Prim's.

Both work on dense matrices a row at a time, O(n^2), so that a region of some thousand models takes seconds; networkx
takes minutes for a few hundred. What the costs mean belongs to the methods.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.edges.candidates import NOBODY


def minimum_arborescence(costs_into: NDArray[np.float64]) -> NDArray[np.int64]:
    """Find the directed forest with the fewest roots, and of these the cheapest: at most one parent for each node.

    Every node grows a path against its cheapest incoming arcs. A path that runs into itself is a cycle, which becomes
    one node: the arcs into it cost what they add to the arc of the cycle that they would replace.

    Args:
        costs_into: float64 [n, n], cost of the arc from each parent (column) into each child (row); infinite where
            there is no arc. The diagonal is not looked at.

    Returns:
        int64 [n], the parent of each node, ``NOBODY`` for a root. Among equal costs the first parent is taken.

    Raises:
        ValueError: If the matrix is not square, or holds NaN or minus infinity.
    """
    costs = np.asarray(costs_into, dtype=np.float64)
    if costs.ndim != 2 or costs.shape[0] != costs.shape[1]:
        raise ValueError(f"costs into each node must be a square matrix, not one of shape {costs.shape}")
    if np.isnan(costs).any() or (costs == -np.inf).any():
        raise ValueError("each cost must be a number or infinite")
    return _Contraction(costs).parents()


_ROOT: Final = -1
"""The root above all roots, as a node; its costs stand in the last column."""

_NO_COSTS: Final[NDArray[np.float64]] = np.zeros(0, dtype=np.float64)
_NO_HEADS: Final[NDArray[np.int64]] = np.zeros(0, dtype=np.int64)


class _Contraction:
    """Cycles within cycles, each a node of its own."""

    def __init__(self, costs: NDArray[np.float64]) -> None:
        n = len(costs)
        self.n = n
        self.container: list[int] = [NOBODY] * n
        """The cycle that a node was made part of."""
        self.members: list[list[int]] = [[] for _ in range(n)]
        self.chosen: list[tuple[int, int]] = [(NOBODY, NOBODY)] * n
        """Tail and head of the arc chosen into a node, both of the given nodes."""
        self.top = np.append(np.arange(n), _ROOT)
        """The outermost cycle that each given node is in."""
        finite = costs[np.isfinite(costs)]
        # One root fewer is worth more than whatever the other arcs can save together.
        above = float(finite.max() + (n + 1) * (np.ptp(finite) or 1.0)) if len(finite) else 1.0
        self.into: list[NDArray[np.float64]] = [np.append(row, above) for row in costs]
        for node, row in enumerate(self.into):
            row[node] = np.inf
        self.heads: list[NDArray[np.int64]] = [np.broadcast_to(np.int64(node), (n + 1,)) for node in range(n)]

    def parents(self) -> NDArray[np.int64]:
        is_rooted = [False] * self.n
        for start in range(self.n):
            path = [int(self.top[start])]
            while not is_rooted[path[-1]]:
                tail = self._choose(path[-1])
                before = int(self.top[tail])
                if before == _ROOT or is_rooted[before]:
                    for node in path:
                        is_rooted[node] = True
                elif before in path:
                    first = path.index(before)
                    cycle, path = path[first:], path[:first]
                    path.append(self._contract(cycle))
                    is_rooted.append(False)
                else:
                    path.append(before)
        return self._expand()

    def _choose(self, node: int) -> int:
        """Take the cheapest arc into a node, its cost off all arcs into it, and hand out its tail."""
        row = self.into[node]
        tail = int(np.argmin(row))
        self.chosen[node] = (tail, int(self.heads[node][tail]))
        row -= row[tail]
        return tail

    def _contract(self, cycle: list[int]) -> int:
        """Make one node of a cycle."""
        made = len(self.container)
        into, heads = self.into[cycle[0]], self.heads[cycle[0]]
        for node in cycle[1:]:
            is_cheaper = self.into[node] < into
            into = np.where(is_cheaper, self.into[node], into)
            heads = np.where(is_cheaper, self.heads[node], heads)
        inside = np.isin(self.top, cycle)
        into[inside] = np.inf
        self.top[inside] = made
        for node in cycle:
            self.container[node] = made
            # What a cycle's nodes cost is not asked again.
            self.into[node], self.heads[node] = _NO_COSTS, _NO_HEADS
        self.container.append(NOBODY)
        self.members.append(cycle)
        self.chosen.append((NOBODY, NOBODY))
        self.into.append(into)
        self.heads.append(heads)
        return made

    def _expand(self) -> NDArray[np.int64]:
        """Open the cycles: the arc into one replaces the arc of the node of the cycle that it leads to."""
        parents = np.full(self.n, NOBODY, dtype=np.int64)
        pending = [node for node, outer in enumerate(self.container) if outer == NOBODY]
        while pending:
            outer = pending.pop()
            tail, head = self.chosen[outer]
            parents[head] = tail if tail < self.n else NOBODY
            node = head
            while node != outer:
                inside = self.container[node]
                pending += [member for member in self.members[inside] if member != node]
                node = inside
        return parents


def grown_tree(
    squared: NDArray[np.float64], *, root: int, can_be_parent: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Grow a tree from a root, always by the node nearest to it (Prim): the minimum spanning tree, with directions.

    Args:
        squared: float64 [n, n], symmetric distances; a view of rows or a memory map will do.
        root: The node that everything descends from.
        can_be_parent: bool [n], nodes that others may hang on; all where not given. The root always is.

    Returns:
        int64 [n], the parent of each node, ``NOBODY`` for the root. Of nodes equally near the first is added first, of
        parents equally near the one that was added first is kept.
    """
    n = len(squared)
    parents = np.full(n, NOBODY, dtype=np.int64)
    nearest = np.full(n, np.inf)
    is_outside = np.ones(n, dtype=bool)
    node = root
    for _ in range(n):
        is_outside[node] = False
        if can_be_parent is None or can_be_parent[node] or node == root:
            distance = np.asarray(squared[node], dtype=np.float64)
            is_nearer = is_outside & (distance < nearest)
            nearest[is_nearer] = distance[is_nearer]
            parents[is_nearer] = node
        node = int(np.argmin(np.where(is_outside, nearest, np.inf)))
        if not is_outside[node]:
            break
    return parents
