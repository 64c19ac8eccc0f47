"""Draws rooted trees as bubbles: every subtree in a circle of its own.

A tree is taken apart into heavy paths: from each model on to the child that most hangs on. A model with the circles of
its other children around it is a flower; the flowers of a path are wound up around the first one, and the whole is the
circle that the path's parent sees. Circles in circles waste space at every level, and paths that end in a parent are at
most as many deep as the logarithm of the number of models, whatever the tree. All trees at once, never node by node.
"""

from __future__ import annotations

from typing import Final

import numpy as np

WIDEST_RING: Final = 29
"""So many leaves stand in one ring and all have their parent among their ten nearest: 2 sin(5 pi / 29) > 1."""

SLACK: Final = 1.12
"""Space along a spiral beyond what its circles need, which lie on an arc and not on a line."""

ROUNDS: Final = 24
"""Steps towards the smallest circle around others; its radius is exact for the middle that is found."""


def drawn(parent: np.ndarray) -> np.ndarray:
    """Positions of all nodes of a forest, each tree around the origin. A unit is the radius of a leaf.

    Args:
        parent: int64 [n], each node's parent, -1 for a root; acyclic.

    Returns:
        complex128 [n]; within a tree no two nodes are at one place.
    """
    if not len(parent):
        return np.zeros(0, dtype=np.complex128)
    return _Bubbles(parent).positions()


def heavy_paths(parent: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take a forest apart into paths, each from a node on to the child with the most descendants.

    Args:
        parent: int64 [n], each node's parent, -1 for a root.

    Returns:
        first node of each node's path, its place on it, and how many paths lie above, int64 [n] each.
    """
    n = len(parent)
    size = _subtree_sizes(parent)
    child = np.flatnonzero(parent >= 0)
    order = child[np.lexsort((child, -size[child], parent[child]))]
    is_heavy = np.zeros(n, dtype=bool)
    is_heavy[order[np.concatenate(([True], parent[order][1:] != parent[order][:-1]))[: len(order)]]] = True
    head, rank = np.where(is_heavy, parent, np.arange(n)), is_heavy.astype(np.int64)
    while (rank[head] > 0).any():
        rank = rank + rank[head]
        head = head[head]
    above = np.zeros(n, dtype=np.int64)
    heads = np.flatnonzero(~is_heavy & (parent >= 0))
    up = np.arange(n)
    up[heads] = head[parent[heads]]
    steps = (up != np.arange(n)).astype(np.int64)
    while (steps[up] > 0).any():
        steps = steps + steps[up]
        up = up[up]
    above = steps[head]
    return head, rank, above


def _subtree_sizes(parent: np.ndarray) -> np.ndarray:
    """Nodes at and below each node, int64 [n]: leaves hand what they have to their parents, level by level."""
    size = np.ones(len(parent), dtype=np.int64)
    waiting = np.bincount(parent[parent >= 0], minlength=len(parent))
    leaves = np.flatnonzero((waiting == 0) & (parent >= 0))
    while len(leaves):
        up = parent[leaves]
        np.add.at(size, up, size[leaves])
        np.subtract.at(waiting, up, 1)
        done = up[(waiting[up] == 0) & (parent[up] >= 0)]
        done.sort()
        leaves = done[np.concatenate(([True], done[1:] != done[:-1]))[: len(done)]]
    return size


class _Bubbles:
    """The flower of every node and the circle of every path, from the last paths up.

    Attributes:
        flower: float64 [n], radius of each node with its light children around it.
        heart: complex128 [n], from the middle of the flower to the node.
        place: complex128 [n], from the middle of the path's circle to that of the flower.
        circle: float64 [n], radius of the path's circle, at its first node.
        seat: complex128 [n], from the parent to the middle of the path's circle, at its first node.
    """

    def __init__(self, parent: np.ndarray) -> None:
        n = len(parent)
        self.parent = parent
        self.head, self.rank, self.above = heavy_paths(parent)
        self.flower, self.circle = np.ones(n), np.ones(n)
        self.heart, self.place = np.zeros(n, dtype=np.complex128), np.zeros(n, dtype=np.complex128)
        self.seat = np.zeros(n, dtype=np.complex128)
        order = np.lexsort((self.rank, self.head, self.above))
        self.level = np.split(order, np.flatnonzero(np.diff(self.above[order])) + 1)
        for depth in range(len(self.level) - 1, -1, -1):
            if depth + 1 < len(self.level):
                below = self.level[depth + 1]
                self._surround(below[self.rank[below] == 0])
            self._wind(self.level[depth])

    def positions(self) -> np.ndarray:
        """Positions, from the roots down; each path's circle is turned to where its seat is."""
        middle = np.zeros(len(self.parent), dtype=np.complex128)
        turn = np.ones(len(self.parent), dtype=np.complex128)
        position = np.zeros(len(self.parent), dtype=np.complex128)
        for depth, nodes in enumerate(self.level):
            if depth:
                heads = nodes[self.rank[nodes] == 0]
                up = self.parent[heads]
                turn[heads] = turn[self.head[up]] * self.seat[heads] / np.abs(self.seat[heads])
                middle[heads] = position[up] + turn[self.head[up]] * self.seat[heads]
            own = self.head[nodes]
            position[nodes] = middle[own] + turn[own] * (self.place[nodes] + self.heart[nodes])
        return position

    def _surround(self, child: np.ndarray) -> None:
        """Set circles of light children around their parents: leaves within, the others in rings by size."""
        up = self.parent[child]
        child = child[np.lexsort((child, self.circle[child], up))]
        up, radius = self.parent[child], self.circle[child]
        is_leaf = radius == 1.0
        reach = np.ones(len(self.parent))
        if is_leaf.any():
            self._scatter(child[is_leaf], reach)
        rest = child[~is_leaf]
        while len(rest):
            rest = self._ring(rest, reach)
        start = _starts(up)
        own = up[start]
        # The node itself is one of the circles that its flower goes around.
        points = np.concatenate((np.zeros(len(own), dtype=np.complex128), self.seat[child]))
        radii = np.concatenate((np.ones(len(own)), radius))
        owner = np.concatenate((own, up))
        order = np.argsort(owner, kind="stable")
        middle, reached = _enclosing(points[order], radii[order], _starts(owner[order]))
        self.heart[own], self.flower[own] = -middle, reached

    def _scatter(self, leaf: np.ndarray, reach: np.ndarray) -> None:
        """Leaves around their parents: a few in a ring, more in a spiral."""
        start = _starts(self.parent[leaf])
        own = self.parent[leaf[start]]
        count = np.diff(np.append(start, len(leaf)))
        many = np.repeat(count, count)
        number = np.arange(len(leaf)) - np.repeat(start, count)
        ring = np.maximum(2.0, 1.0 / np.sin(np.pi / np.maximum(count, 2)))
        spiral = np.sqrt(4.0 + 4.0 * SLACK / np.pi * number)
        is_ring = many <= WIDEST_RING
        distance = np.where(is_ring, np.repeat(ring, count), spiral)
        angle = np.where(is_ring, 2.0 * np.pi * number / many, np.pi * (spiral - 2.0))
        self.seat[leaf] = distance * np.exp(1j * angle)
        reach[own] = distance[start + count - 1] + 1.0

    def _ring(self, child: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """One more ring around each parent, of the smallest circles that are left; returns those that found no room.

        Args:
            child: first nodes of paths by parent, then radius.
            reach: float64 [n], radius around each node that is full; made larger.
        """
        up = self.parent[child]
        start = _starts(up)
        count = np.diff(np.append(start, len(child)))
        inner = reach[up]
        # All of a ring touch the largest circle's ring from within: seats are as far out as the largest needs.
        half = np.arcsin(self.circle[child] / (inner + self.circle[child]))
        total = np.cumsum(half)
        total -= np.repeat(total[start] - half[start], count)
        number = np.arange(len(child)) - np.repeat(start, count)
        is_in = (total <= np.pi / SLACK) | (number == 0)
        width = np.bincount(up[is_in], weights=half[is_in], minlength=len(reach))[up]
        n_in = np.bincount(up[is_in], minlength=len(reach))[up]
        is_wide = width > 0.6 * np.pi
        gap = np.where(is_wide & (n_in > 1), (2.0 * np.pi - 2.0 * width) / n_in, 0.02)
        angle = 2.0 * total - half + gap * number
        angle -= width + gap * (n_in - 1) / 2.0
        seated = np.flatnonzero(is_in)
        self.seat[child[seated]] = ((inner + self.circle[child]) * np.exp(1j * angle))[seated]
        last = seated[np.append(np.diff(up[seated]) != 0, True)]
        reach[up[last]] += 2.0 * self.circle[child[last]]
        return child[~is_in]

    def _wind(self, node: np.ndarray) -> None:
        """Wind the flowers of paths around the first one, and draw a circle around all.

        Args:
            node: nodes of whole paths, by path and place.
        """
        radius = self.flower[node]
        start = _starts(self.head[node])
        count = np.diff(np.append(start, len(node)))
        first = np.repeat(start, count)
        rank = self.rank[node]
        widest = _largest_from_here(radius, first, rank)
        inner = np.repeat(radius[start], count)
        # Distance: the first turn clears the first flower, every further turn the widest that is still to come.
        second = np.repeat(widest[np.minimum(start + 1, len(node) - 1)], count)
        step = np.where(rank > 1, radius + np.concatenate(([0.0], radius[:-1])), 0.0)
        grown = np.cumsum(SLACK * 2.0 / np.pi * widest * step)
        grown -= np.repeat(grown[start], count)
        distance = np.where(rank > 0, np.sqrt((inner + second) ** 2 + grown), 0.0)
        before = np.concatenate(([1.0], distance[:-1]))
        before[rank < 2] = 1.0
        turn = np.cumsum(np.where(rank > 1, SLACK * 2.0 * np.arcsin(np.minimum(step / (2.0 * before), 1.0)), 0.0))
        turn -= np.repeat(turn[start], count)
        seat = distance * np.exp(1j * turn)
        middle, reached = _enclosing(seat, radius, start)
        self.place[node] = seat - np.repeat(middle, count)
        self.circle[node[start]] = reached


def _starts(key: np.ndarray) -> np.ndarray:
    """Where runs of equal values begin."""
    return np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1]))[: len(key)])


def _largest_from_here(values: np.ndarray, first: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Largest value from each place to the end of its run, by doubling steps; float64 [k]."""
    largest = values.copy()
    step, n = 1, len(values)
    while step <= int(rank.max(initial=0)):
        ahead = np.arange(n - step)
        ahead = ahead[first[ahead] == first[ahead + step]]
        found = largest.copy()
        found[ahead] = np.maximum(largest[ahead], largest[ahead + step])
        largest = found
        step *= 2
    return largest


def _enclosing(middle: np.ndarray, radius: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A small circle around each run of circles (Badoiu and Clarkson: steps towards the furthest, ever shorter).

    Args:
        middle: complex128 [k].
        radius: float64 [k].
        start: int64 [r], where runs begin.

    Returns:
        middle complex128 [r] and radius float64 [r].
    """
    count = np.diff(np.append(start, len(middle)))
    center, reached = middle[start].copy(), radius[start].copy()
    several = np.flatnonzero(count > 1)
    if not len(several):
        return center, reached
    is_in = np.repeat(count > 1, count)
    point, size, number = middle[is_in], radius[is_in], count[several]
    begin = np.cumsum(number) - number
    owner = np.repeat(np.arange(len(several)), number)
    best = (
        np.add.reduceat(point.real * size, begin) + 1j * np.add.reduceat(point.imag * size, begin)
    ) / np.add.reduceat(size, begin)
    least = np.full(len(several), np.inf)
    trial = best.copy()
    for each in range(ROUNDS):
        away = point - trial[owner]
        far = np.abs(away) + size
        most = np.maximum.reduceat(far, begin)
        is_better = most < least
        best[is_better], least[is_better] = trial[is_better], most[is_better]
        at = np.flatnonzero(far == most[owner])
        at = at[_starts(owner[at])]
        length = np.abs(away[at])
        # Half the way at first: two circles are then met exactly in the second round or soon after.
        towards = np.where(length > 0, away[at] / np.where(length > 0, length, 1.0), 0.0)
        trial = trial + towards * (most - _near(point, size, trial, owner, begin)) / (each + 2.0)
    center[several], reached[several] = best, least
    return center, reached


def _near(point: np.ndarray, size: np.ndarray, trial: np.ndarray, owner: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Mean reach of each run's circles, which steps are measured by."""
    reach = np.add.reduceat(np.abs(point - trial[owner]) + size, begin)
    return np.asarray(reach / np.diff(np.append(begin, len(point))))
