"""Positions in the plane: each weakly connected component unfolded as a tree, the components side by side.

A forest needs no forces. Trees are drawn as bubbles (``bubbles``), which takes time in proportion to their size;
components are packed by size (``packing``). Models without any edge lie on a grid between and around them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from atlas_pipeline.graph.bubbles import drawn
from atlas_pipeline.graph.edge_list import EdgeList
from atlas_pipeline.graph.packing import packed
from atlas_pipeline.graph.structure import weak_components

MARGIN: Final = 1.5
"""Free space around a component, and beyond the circles of its models."""

SINGLE_SIDE: Final = 2.0
"""Distance of models without edges on their grid."""

DIRECTIONS: Final = 1024
"""Components are turned to one of so many directions: a layout that starts from itself stays as it is."""

STEPS: Final = 4096.0
"""Positions are multiples of one part in so many, which is small beside a model and stores in fewer bytes."""

MOAT: Final = 0.04
"""Further free space around a component, as a part of its radius, so that a large one stands apart."""

POINTS: Final = 4_000_000
"""Points of the grid that are looked at together."""


def layout(graph: EdgeList, weight: np.ndarray | None = None, previous: np.ndarray | None = None) -> np.ndarray:
    """Place every node.

    Nodes should be numbered by age: siblings are set out in this order, so that new ones come at the end. The same
    input gives the same bytes; nothing is drawn by chance.

    Args:
        graph: an acyclic graph; parallel edges and several parents are fine.
        weight: float64 [m], the part of each parent in its child; a child of several parents stands with the parent
            of the largest part (nan counts least), the others' edges are drawn from afar.
        previous: float64 [n, 2], positions of the last release, nan for new nodes. Components that were there stay
            where they were and are turned as they were, as far as there is room.

    Returns:
        float64 [n, 2], finite and distinct. A unit is the radius of one model; the origin is the middle.
    """
    n = graph.n_nodes
    was = np.full(n, np.nan, dtype=np.complex128)
    if previous is not None:
        was = previous[:, 0] + 1j * previous[:, 1]
    component = weak_components(graph) if n else np.empty(0, dtype=np.int64)
    is_single = np.bincount(component)[component] == 1 if n else np.empty(0, dtype=bool)
    position = np.zeros(n, dtype=np.complex128)
    joined = np.flatnonzero(~is_single)
    middle, radius = np.empty(0, dtype=np.complex128), np.empty(0)
    if len(joined):
        tree = spanning_tree(graph, weight)
        number = np.full(n + 1, -1, dtype=np.int64)
        number[joined] = np.arange(len(joined))
        local = drawn(number[tree[joined]])
        _, label = np.unique(component[joined], return_inverse=True)
        position[joined], middle, radius = _arranged(local, label, was[joined])
    position[is_single] = _grid(was[is_single], middle, radius * (1.0 + MOAT) + 2.0 * MARGIN)
    return np.asarray(np.rint(np.stack((position.real, position.imag), axis=1) * STEPS) / STEPS)


def spanning_tree(graph: EdgeList, weight: np.ndarray | None = None) -> np.ndarray:
    """One tree for each component: the node that each node is drawn beside, int64 [n]; -1 for the root and for singles.

    Every child hangs on its main parent, and where several sources meet in merges, trees are joined there. The root is
    the source model with the most children.
    """
    n = graph.n_nodes
    part = np.zeros(graph.n_edges) if weight is None else np.nan_to_num(weight, nan=-np.inf)
    order = np.lexsort((graph.parent, -part, graph.child))
    parent, child = graph.parent[order], graph.child[order]
    is_main = np.concatenate(([True], child[1:] != child[:-1])) if len(child) else np.empty(0, dtype=bool)
    tree = np.full(n, -1, dtype=np.int64)
    tree[child[is_main]] = parent[is_main]
    if is_main.all():
        return tree
    cost = csr_matrix((np.where(is_main, 1.0, 2.0), (parent, child)), shape=(n, n))
    spanning = minimum_spanning_tree(cost)
    component = weak_components(graph)
    sources = np.flatnonzero(np.bincount(graph.child, minlength=n) == 0)
    n_children = np.bincount(graph.parent, minlength=n)
    sources = sources[np.lexsort((sources, -n_children[sources], component[sources]))]
    root = sources[np.concatenate(([True], np.diff(component[sources]) != 0))]
    # A node above all roots: one search from there reaches everything.
    rows, columns = spanning.nonzero()
    ends = np.concatenate((rows, columns, np.full(len(root), n))), np.concatenate((columns, rows, root))
    both = csr_matrix((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(n + 1, n + 1))
    _, before = breadth_first_order(both, n, directed=True, return_predecessors=True)
    return np.where((before[:n] == n) | (before[:n] < 0), -1, before[:n]).astype(np.int64)


def _arranged(local: np.ndarray, label: np.ndarray, was: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Components, each drawn around some place, set side by side and turned as they were.

    Args:
        local: complex128 [n], positions within the component.
        label: int64 [n], components counted from 0.
        was: complex128 [n], former positions, nan where there is none.

    Returns:
        positions complex128 [n], and middle complex128 [k] and radius float64 [k] of each component.
    """
    k = int(label.max()) + 1
    low = np.full((2, k), np.inf)
    high = np.full((2, k), -np.inf)
    for axis, values in enumerate((local.real, local.imag)):
        np.minimum.at(low[axis], label, values)
        np.maximum.at(high[axis], label, values)
    middle = ((low + high) / 2.0)[0] + 1j * ((low + high) / 2.0)[1]
    local = local - middle[label]
    known = np.isfinite(was)
    n_known = np.bincount(label[known], minlength=k)
    share = np.maximum(n_known, 1)
    mean_local = _sums(local[known], label[known], k) / share
    mean_was = _sums(was[known], label[known], k) / share
    moment = _sums(
        np.conj(local[known] - mean_local[label[known]]) * (was[known] - mean_was[label[known]]), label[known], k
    )
    step = 2.0 * np.pi / DIRECTIONS
    turn = np.exp(1j * step * np.rint(np.angle(moment) / step))
    local = local * turn[label]
    wanted = np.where(n_known > 0, mean_was - turn * mean_local, np.nan + 0j)
    radius = np.zeros(k)
    np.maximum.at(radius, label, np.abs(local))
    center = packed(radius + MARGIN, np.stack((wanted.real, wanted.imag), axis=1))
    placed = center[:, 0] + 1j * center[:, 1]
    return np.asarray(local + placed[label]), placed, radius


def _sums(values: np.ndarray, label: np.ndarray, k: int) -> np.ndarray:
    real = np.bincount(label, weights=values.real, minlength=k)
    return np.asarray(real + 1j * np.bincount(label, weights=values.imag, minlength=k))


def _grid(was: np.ndarray, middle: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Places on a grid between circles: those that were there stay, others take the free place nearest to the origin.

    Args:
        was: complex128 [n], former places, nan where there is none.
        middle: complex128 [k], of the circles.
        radius: float64 [k].
    """
    n = len(was)
    if not n:
        return was
    covered = np.pi * ((radius / SINGLE_SIDE) ** 2).sum()
    half = int(np.sqrt((covered + n) / np.pi)) + 3
    while True:
        is_free = _disc(half)
        _cover(is_free, middle / SINGLE_SIDE, radius / SINGLE_SIDE)
        # Those that stay may take none of the places that are counted here, or all of them.
        if is_free.sum() >= n:
            break
        half = int(half * 1.2) + 1
    width = 2 * half + 1
    column, row = (
        np.rint(np.nan_to_num(part, nan=0.0) / SINGLE_SIDE).astype(np.int64) for part in (was.real, was.imag)
    )
    stays = np.isfinite(was) & (np.abs(column) <= half) & (np.abs(row) <= half)
    number = np.where(stays, (column + half) * width + row + half, -1 - np.arange(n))
    stays &= is_free.ravel()[np.maximum(number, 0)]
    number = np.where(stays, number, -1 - np.arange(n))
    _, first = np.unique(number, return_index=True)
    is_first = np.zeros(n, dtype=bool)
    is_first[first] = True
    stays &= is_first
    is_free.ravel()[number[stays]] = False
    x, y = np.nonzero(is_free)
    x, y = x - half, y - half
    order = np.lexsort((y, x, x**2 + y**2))[: n - int(stays.sum())]
    found = (column + 1j * row) * SINGLE_SIDE
    found[~stays] = (x[order] + 1j * y[order]) * SINGLE_SIDE
    return np.asarray(found)


def _disc(half: int) -> np.ndarray:
    """Which points of a square lie in its disc: bool [2 half + 1, 2 half + 1]."""
    line = np.arange(-half, half + 1)
    return np.asarray(line[:, None] ** 2 + line[None] ** 2 <= half**2)


def _cover(is_free: np.ndarray, middle: np.ndarray, radius: np.ndarray) -> None:
    """Clear the points of a square, the origin in its middle, that lie in circles; circles of about a size together."""
    half = len(is_free) // 2
    reach = np.ceil(radius).astype(np.int64) + 1
    for size in np.unique(reach):
        own = np.flatnonzero(reach == size)
        line = np.arange(-size, size + 1)
        # As many circles at a time as make some millions of points.
        for some in np.array_split(own, max(1, len(own) * len(line) ** 2 // POINTS)):
            center = np.rint(middle[some].real) + 1j * np.rint(middle[some].imag)
            points = center[:, None, None] + (line[:, None] + 1j * line[None])[None]
            is_in = np.abs(points - middle[some][:, None, None]) <= radius[some][:, None, None]
            x, y = points.real[is_in].astype(np.int64) + half, points.imag[is_in].astype(np.int64) + half
            inside = (x >= 0) & (y >= 0) & (x <= 2 * half) & (y <= 2 * half)
            is_free[x[inside], y[inside]] = False
