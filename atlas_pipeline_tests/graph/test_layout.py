from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from atlas_pipeline.graph import EdgeList, layout, weak_components
from atlas_pipeline.graph.bubbles import heavy_paths
from atlas_pipeline.graph.layout import spanning_tree
from atlas_pipeline.graph.packing import packed

LEAST_DISTANCE = 1.8
"""Models have a radius of 1; along a spiral their circles may overlap a little."""


def edge_list(n: int, pairs: list[tuple[int, int]]) -> EdgeList:
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return EdgeList(n, ends[:, 0], ends[:, 1])


@st.composite
def dags(draw: st.DrawFn) -> EdgeList:
    """Graphs whose edges run from lower numbers to higher ones, parallel edges included."""
    n = draw(st.integers(1, 40))
    pair = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda ends: ends[0] != ends[1])
    pairs = draw(st.lists(pair, max_size=60)) if n > 1 else []
    return edge_list(n, [(min(ends), max(ends)) for ends in pairs])


def tree(n: int, seed: int, power: float) -> EdgeList:
    """A tree of which each node chooses an earlier one as its parent; with a higher power fans grow larger."""
    child = np.arange(1, n)
    parent = (np.random.default_rng(seed).random(n - 1) ** power * child).astype(np.int64)
    return EdgeList(n, parent, child)


def star(n: int) -> EdgeList:
    return EdgeList(n, np.zeros(n - 1, dtype=np.int64), np.arange(1, n))


def chain(n: int) -> EdgeList:
    return EdgeList(n, np.arange(n - 1), np.arange(1, n))


def least_distance(place: np.ndarray) -> float:
    return float(cKDTree(place).query(place, k=2)[0][:, 1].min())


def circles(place: np.ndarray, component: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middle of each component's bounding box and its greatest distance from there."""
    middles, radii = [], []
    for label in range(component.max() + 1):
        own = place[component == label]
        middle = (own.min(axis=0) + own.max(axis=0)) / 2
        middles.append(middle)
        radii.append(np.hypot(*(own - middle).T).max())
    return np.array(middles), np.array(radii)


# -- whatever the graph ----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(dags())
def test_positions_are_finite_apart_and_the_same_every_time(graph: EdgeList) -> None:
    place = layout(graph)
    assert place.shape == (graph.n_nodes, 2)
    assert np.isfinite(place).all()
    assert graph.n_nodes == 1 or least_distance(place) > LEAST_DISTANCE
    assert place.tobytes() == layout(graph).tobytes()


@settings(deadline=None)
@given(dags())
def test_components_do_not_overlap(graph: EdgeList) -> None:
    middle, radius = circles(layout(graph), weak_components(graph))
    apart = np.hypot(*(middle[:, None] - middle[None]).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    assert (apart >= radius[:, None] + radius[None]).all()


@settings(deadline=None)
@given(dags())
def test_the_order_of_edges_does_not_matter(graph: EdgeList) -> None:
    order = np.random.default_rng(0).permutation(graph.n_edges)
    shuffled = EdgeList(graph.n_nodes, graph.parent[order], graph.child[order])
    assert (layout(graph) == layout(shuffled)).all()


@settings(deadline=None)
@given(dags())
def test_a_layout_that_starts_from_itself_stays(graph: EdgeList) -> None:
    place = layout(graph)
    assert (layout(graph, previous=place) == place).all()


@given(dags(), st.integers(0, 2**32 - 1))
def test_any_former_positions_are_fine(graph: EdgeList, seed: int) -> None:
    rng = np.random.default_rng(seed)
    former = rng.normal(size=(graph.n_nodes, 2)) * 10.0 ** rng.integers(0, 9)
    former[rng.random(graph.n_nodes) < 0.3] = np.nan
    former[rng.random(graph.n_nodes) < 0.3] = 0.0
    place = layout(graph, previous=former)
    assert np.isfinite(place).all()
    assert graph.n_nodes == 1 or least_distance(place) > LEAST_DISTANCE


@settings(deadline=None)
@given(dags())
def test_the_tree_spans_every_component_along_edges(graph: EdgeList) -> None:
    above = spanning_tree(graph)
    component = weak_components(graph)
    assert (above < 0).sum() == component.max() + 1
    edges = {frozenset(ends) for ends in zip(graph.parent.tolist(), graph.child.tolist(), strict=True)}
    assert all(frozenset((node, int(up))) in edges for node, up in enumerate(above) if up >= 0)
    head, rank, paths = heavy_paths(above)
    assert (2.0**paths <= np.bincount(component)[component]).all(), "so few circles lie in each other"
    assert (rank[head] == 0).all()


# -- kinds of graphs -------------------------------------------------------------------------------------------------


def test_no_models_and_one() -> None:
    nothing = layout(edge_list(0, []))
    assert nothing.shape == (0, 2)
    assert layout(edge_list(1, [])).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    "graph",
    [
        star(2),
        star(30),
        star(31),
        star(20_000),
        chain(9),
        chain(10_000),
        tree(5_000, 0, 1.0),
        tree(5_000, 1, 4.0),
        EdgeList(2**12 - 1, (np.arange(1, 2**12 - 1) - 1) // 2, np.arange(1, 2**12 - 1)),
        EdgeList(4_001, np.concatenate((np.arange(2_000), np.arange(2_000))), np.arange(1, 4_001)),
    ],
    ids=["pair", "ring", "spiral", "fan", "short", "snake", "random", "fans", "binary", "caterpillar"],
)
def test_trees_of_all_shapes_are_apart_and_take_no_more_room_than_they_need(graph: EdgeList) -> None:
    place = layout(graph)
    assert least_distance(place) > LEAST_DISTANCE
    # Circles within circles waste space once for each level of heavy paths.
    assert np.ptp(place, axis=0).max() < 2 * np.sqrt(graph.n_nodes) * 40


def test_a_small_fan_has_its_parent_among_the_ten_nearest_of_each_child() -> None:
    place = layout(star(30))
    nearest = cKDTree(place).query(place[1:], k=11)[1]
    assert (nearest == 0).any(axis=1).sum() >= 28, "the heavy child stands outside of the flower"


def test_a_snake_is_followed_step_by_step() -> None:
    graph = chain(10_000)
    steps = np.hypot(*np.diff(layout(graph), axis=0).T)
    assert steps.max() < 3.5


def test_a_merge_stands_with_the_parent_of_the_largest_part() -> None:
    graph = edge_list(
        23, [(0, 1), *((0, each) for each in range(2, 12)), *((1, each) for each in range(12, 22)), (0, 22), (1, 22)]
    )
    for weights, near in (((0.9, 0.1), 0), ((0.1, 0.9), 1), ((np.nan, 0.1), 1)):
        place = layout(graph, np.array([*[np.nan] * 21, *weights]))
        apart = np.hypot(*(place[22] - place[[0, 1]]).T)
        assert apart.argmin() == near


# -- from release to release -----------------------------------------------------------------------------------------


def forest(n: int, seed: int) -> EdgeList:
    """Trees of all sizes, numbered by age; a third of the models stands alone."""
    rng = np.random.default_rng(seed)
    child = np.arange(1, n)
    parent = (rng.random(n - 1) ** 1.5 * child).astype(np.int64)
    kept = rng.random(n - 1) < 0.5
    return EdgeList(n, parent[kept], child[kept])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1_000))
def test_five_percent_more_models_move_few(seed: int) -> None:
    graph = forest(2_100, seed)
    n_old = 2_000
    is_old = (graph.parent < n_old) & (graph.child < n_old)
    before = layout(EdgeList(n_old, graph.parent[is_old], graph.child[is_old]))
    previous = np.full((2_100, 2), np.nan)
    previous[:n_old] = before
    after = layout(graph, previous=previous)
    component = weak_components(graph)
    joined = np.flatnonzero((np.bincount(component)[component] > 1)[:n_old])
    moved = np.hypot(*(after[joined] - before[joined]).T)
    alone = np.hypot(*(layout(graph)[joined] - before[joined]).T)
    assert np.median(moved) < 0.05 * np.ptp(before, axis=0).max()
    assert np.median(moved) <= np.median(alone)


@settings(deadline=None)
@given(st.lists(st.floats(0.5, 1e3), max_size=60))
def test_packed_circles_do_not_overlap(radii: list[float]) -> None:
    radius = np.array(radii)
    center = packed(radius)
    for wanted in (center, center + 0.7 * np.repeat(radius[:, None], 2, axis=1)):
        again = packed(radius, wanted)
        apart = np.hypot(*(again[:, None] - again[None]).transpose(2, 0, 1))
        np.fill_diagonal(apart, np.inf)
        assert (apart >= radius[:, None] + radius[None] - 1e-6).all()
    assert (packed(radius, center) == center).all()
