"""From candidates to measured distances: pairs of models that lie close in a tree are measured in blocks.

A product of two blocks costs a fiftieth of what as many single differences cost, as long as the blocks are full. So
models are put in the order of a walk through the tree of shortest links, where relatives stand together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, depth_first_order, minimum_spanning_tree

from atlas_pipeline.distances.arithmetic import Arithmetic
from atlas_pipeline.distances.candidates import Clustered, Pairs, bounds, kth_least, rank_within, within_reach
from atlas_pipeline.distances.rows import centred_rows, differences

BLOCK_ROWS: Final = 128
"""Models whose candidates are measured together: more read each vector fewer times but multiply more pairs in vain."""

_LINKS: Final = 4
"""Nearest candidates of each model that the tree is made of."""

_CANCELLATION: Final = 1e-8
"""A pair closer than this share of its squared lengths is measured from its differences: float64 products have lost
eight of sixteen digits of it."""

_ROUNDS: Final = 4
"""How often pairs that cancel are measured around a model that lies nearer to them."""

_FEWEST_PAIRS: Final = 256
"""Fewer are sooner measured from their differences."""

_SLAB_NUMBERS: Final = 1 << 21
"""Float64 numbers of a slab of columns: 16 MiB."""


def walk(pairs: Pairs, n_models: int) -> NDArray[np.int64]:
    """Order models so that near ones stand together: down the branches of the tree of the shortest links.

    Args:
        pairs: Candidates with estimated distances.
        n_models: Models, with or without candidates.

    Returns:
        int64 [n_models], a permutation of the positions.
    """
    both = np.concatenate([pairs.left, pairs.right])
    is_short = np.tile(pairs.squared, 2) <= kth_least(both, np.tile(pairs.squared, 2), _LINKS)[both]
    links = pairs.of(np.logical_or(*np.split(is_short, 2)))
    # Shifted away from zero, which sparse graphs take for no link.
    weights = np.maximum(links.squared, 0.0) + np.finfo(np.float64).tiny
    tree = minimum_spanning_tree(csr_array((weights, (links.left, links.right)), shape=(n_models, n_models))).tocoo()
    _, component = connected_components(tree, directed=False)
    _, first = np.unique(component, return_index=True)
    # One more node, from which every component hangs.
    left = np.concatenate([tree.coords[0], np.full(len(first), n_models)])
    right = np.concatenate([tree.coords[1], first])
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(n_models + 1, n_models + 1)).tocsr()
    order, _ = depth_first_order(graph, n_models, directed=False)
    return order[order < n_models].astype(np.int64)


def reordered(pairs: Pairs, order: NDArray[np.int64]) -> Pairs:
    """The same pairs by positions in another order."""
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    left, right = place[pairs.left], place[pairs.right]
    left, right = np.minimum(left, right), np.maximum(left, right)
    sorting = np.lexsort((right, left))
    return Pairs(left[sorting], right[sorting], pairs.squared[sorting])


def fine_pairs(
    models: Clustered,
    sketches: NDArray[np.float32],
    source: NDArray[np.int64],
    pairs: Pairs,
    *,
    error: float,
    k: int,
    arithmetic: Arithmetic,
) -> Pairs:
    """Rule out candidates by their fine sketches.

    Args:
        models: m of them.
        sketches: float32 [., s], fine sketches around any origin.
        source: int64 [m], the row of ``sketches`` of each position.
        pairs: Candidates.
        error: Relative standard error of a squared distance between two sketches.
        k: Neighbours wanted.
        arithmetic: What multiplies.

    Returns:
        Those that remain, with better estimates.
    """
    lengths = np.zeros(len(models.label))

    def around(members: NDArray[np.int64], centre: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        centred = centred_rows(sketches, source[members], source[centre], np.float32)
        lengths[members] = np.vecdot(centred, centred)
        yield centred

    estimate, _ = _measured(pairs, models.centre, around, arithmetic)
    lower, upper = bounds(models, lengths, pairs.left, pairs.right, estimate, error=error)
    both = np.concatenate([pairs.left, pairs.right])
    can_be = within_reach(both, np.tile(lower, 2), np.tile(upper, 2), k=k)
    return replace(pairs, squared=estimate).of(np.logical_or(*np.split(can_be, 2)))


def exact_pairs(
    models: Clustered,
    vectors: NDArray[np.float32],
    source: NDArray[np.int64],
    pairs: Pairs,
    *,
    arithmetic: Arithmetic,
) -> Pairs:
    """Measure candidates on all columns, in float64.

    Args:
        models: m of them.
        vectors: float32 [., d].
        source: int64 [m], the row of ``vectors`` of each position; no two are equal.
        pairs: Candidates.
        arithmetic: What multiplies.

    Returns:
        The same pairs with their squared distances, none of them 0.
    """

    def around(members: NDArray[np.int64], centre: NDArray[np.int64]) -> Iterator[NDArray[np.float64]]:
        width = max(_SLAB_NUMBERS // len(members), 256)
        for start in range(0, vectors.shape[1], width):
            yield centred_rows(vectors[:, start : start + width], source[members], source[centre], np.float64)

    squared, both = _measured(pairs, models.centre, around, arithmetic)
    cancelled = np.flatnonzero(squared < _CANCELLATION * both)
    for _ in range(_ROUNDS):
        if len(cancelled) < _FEWEST_PAIRS:
            break
        near = Pairs(pairs.left[cancelled], pairs.right[cancelled], squared[cancelled])
        squared[cancelled], both = _measured(near, _hubs(near, len(source)), around, arithmetic)
        cancelled = cancelled[squared[cancelled] < _CANCELLATION * both]
    squared[cancelled] = differences(vectors, source[pairs.left[cancelled]], source[pairs.right[cancelled]])
    return replace(pairs, squared=squared)


def _hubs(pairs: Pairs, n_models: int) -> NDArray[np.int64]:
    """Of each set of models that pairs connect, the one with the most pairs: int64 [n_models]."""
    links = coo_array((np.ones(len(pairs.left), dtype=bool), (pairs.left, pairs.right)), shape=(n_models, n_models))
    _, component = connected_components(links, directed=False)
    n_pairs = np.bincount(np.concatenate([pairs.left, pairs.right]), minlength=n_models)
    hubs = np.flatnonzero(rank_within(component, -n_pairs) == 0)
    return hubs[np.argsort(component[hubs])][component]


def _measured(
    pairs: Pairs,
    centre: NDArray[np.int64],
    around: Callable[[NDArray[np.int64], NDArray[np.int64]], Iterator[NDArray[np.floating]]],
    arithmetic: Arithmetic,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared distances of pairs, and the sums of the two squared lengths, both float64 [p].

    ``around`` gives slabs of columns of some positions, less those of others, which ``centre`` names for each position.
    """
    squared, both = np.empty(len(pairs.left)), np.empty(len(pairs.left))
    starts = np.searchsorted(pairs.left, np.arange(0, pairs.left.max(initial=-1) + 1 + BLOCK_ROWS, BLOCK_ROWS))
    for block, (start, stop) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        if start == stop:
            continue
        left, right = pairs.left[start:stop], pairs.right[start:stop]
        members = np.unique(np.concatenate([left, right]))
        n_left = int(np.searchsorted(members, (block + 1) * BLOCK_ROWS))
        lengths = np.zeros(len(members))

        def slabs(
            members: NDArray[np.int64] = members, n_left: int = n_left, lengths: NDArray[np.float64] = lengths
        ) -> Iterator[tuple[NDArray[np.floating], NDArray[np.floating]]]:
            for slab in around(members, centre[members]):
                lengths += np.vecdot(slab, slab)
                yield slab[:n_left], slab

        products = arithmetic.sum_of_products(slabs(), (n_left, len(members)))
        of_left, of_right = np.searchsorted(members, left), np.searchsorted(members, right)
        both[start:stop] = lengths[of_left] + lengths[of_right]
        squared[start:stop] = both[start:stop] - 2.0 * products[of_left, of_right]
    return squared, both
