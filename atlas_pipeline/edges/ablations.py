"""Algorithm 1 with one of its assumptions taken away (the paper's table 3): what each of them adds.

* ``quantization``: quantised models are models like others, parents included.
* ``deduplication``: copies are not sought; they are neighbours and parents like others.
* ``time``: dates are known of the earliest model of each cluster alone. Without an order there are no earlier
  candidates, no fans and no snakes: the tree is grown from that model, always by the nearest one, with quantised models
  and copies as leaves. (Which of several copies is the original is still told by their dates.)
* ``fans``: the nearest earlier model is always the parent.
* ``merges``: documented merges are not given, and charted with one parent like others.
* ``greedy``: one cheapest directed tree for all (Chu, Liu and Edmonds) instead of one model after the other. A tree
  gives everybody one parent, so that documented merges are not given either. Parents that are known to be later,
  quantised or copies stay forbidden, and the arc that a fan or snake asks for costs half of the model's cheapest. With
  all dates known nothing can run in circles, and the tree is the greedy answer; it is where dates are unknown or equal
  that the two differ. Where no tree spans the cluster, for which the paper has "failed", there is the forest with the
  fewest roots.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.edges.algorithm1 import (
    N_NEIGHBORS,
    SPREAD_THRESHOLDS,
    Neighborhood,
    chart,
    choose_parents,
    find_neighborhood,
    write_edges,
)
from atlas_pipeline.edges.arborescence import grown_tree, minimum_arborescence
from atlas_pipeline.edges.candidates import NOBODY, dense_distances
from atlas_pipeline.edges.duplicates import Duplicates, find_duplicates
from atlas_pipeline.edges.records import Edge
from atlas_pipeline.edges.region import Region

Assumption = Literal["quantization", "deduplication", "time", "fans", "merges", "greedy"]

ASSUMPTIONS: Final[tuple[Assumption, ...]] = ("quantization", "deduplication", "time", "fans", "merges", "greedy")
"""What can be taken away."""

_PREFERRED: Final = 0.5
"""What the arc that the fan or snake rule asks for costs, in costs of the cheapest arc into the model."""


def chart_without(region: Region, assumption: Assumption, *, n_neighbors: int = N_NEIGHBORS) -> tuple[Edge, ...]:
    """Chart a region by Algorithm 1 as resolved, but for one assumption.

    Args:
        region: The models.
        assumption: What to do without.
        n_neighbors: K.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.

    Raises:
        ValueError: If there is no such assumption, ``n_neighbors`` is below 1, or the region has no distance matrix.
    """
    if assumption == "quantization":
        nobody = np.zeros(region.n_models, dtype=bool)
        return chart(replace(region, is_quantized=nobody), n_neighbors=n_neighbors)
    if assumption == "deduplication":
        return chart(region, n_neighbors=n_neighbors, duplicates=_no_duplicates(region))
    if assumption == "fans":
        return chart(region, n_neighbors=n_neighbors, spread_threshold=-np.inf)
    if assumption == "merges":
        return chart(_without_documented_merges(region), n_neighbors=n_neighbors)
    if assumption == "time":
        neighborhood = find_neighborhood(region, duplicates=find_duplicates(region), n_neighbors=n_neighbors)
        return _written(region, neighborhood, _grown(region, neighborhood))
    if assumption == "greedy":
        tree_like = _without_documented_merges(region)
        neighborhood = find_neighborhood(tree_like, duplicates=find_duplicates(tree_like), n_neighbors=n_neighbors)
        return _written(tree_like, neighborhood, _spanned(tree_like, neighborhood))
    raise ValueError(f"{assumption!r} is no assumption of Algorithm 1; there are {', '.join(ASSUMPTIONS)}")


def _no_duplicates(region: Region) -> Duplicates:
    nobody = np.zeros(region.n_models, dtype=bool)
    return Duplicates(np.arange(region.n_models), nobody, nobody)


def _without_documented_merges(region: Region) -> Region:
    kept = {
        child: parents
        for child, parents in region.known_parents.items()
        if len(parents) <= 1 and all(relation != "merge" for _, relation in parents)
    }
    return replace(region, known_parents=kept)


def _grown(region: Region, neighborhood: Neighborhood) -> NDArray[np.int64]:
    """Choose parents by growing a tree from the earliest model of each cluster that can be a parent, int64 [n]."""
    squared = dense_distances(region)
    parents = np.full(region.n_models, NOBODY, dtype=np.int64)
    for cluster in np.unique(region.clusters):
        members = region.chronology[region.clusters[region.chronology] == cluster]
        can_be_parent = neighborhood.can_be_parent[members]
        # argmax finds the first; where nobody can be a parent the earliest model is the only one.
        found = grown_tree(
            squared[np.ix_(members, members)], root=int(np.argmax(can_be_parent)), can_be_parent=can_be_parent
        )
        parents[members] = np.where(found == NOBODY, NOBODY, members[found])
    return parents


def _spanned(region: Region, neighborhood: Neighborhood) -> NDArray[np.int64]:
    """Choose parents by the cheapest directed tree of each cluster, int64 [n]."""
    squared = dense_distances(region)
    preferred, rules = choose_parents(region, neighborhood, threshold=SPREAD_THRESHOLDS["scaled"])
    is_asked_for = np.isin(rules, ["fan", "snake"]) & (preferred != NOBODY)
    parents = np.full(region.n_models, NOBODY, dtype=np.int64)
    for cluster in np.unique(region.clusters):
        members = region.chronology[region.clusters[region.chronology] == cluster]
        costs = np.array(squared[np.ix_(members, members)], dtype=np.float64)
        np.fill_diagonal(costs, np.inf)
        costs[:, ~neighborhood.can_be_parent[members]] = np.inf
        dates = region.created_at[members]
        # A comparison with an unknown date is false: such an arc is allowed both ways.
        costs[dates[None, :] > dates[:, None]] = np.inf
        position = np.full(region.n_models, NOBODY, dtype=np.int64)
        position[members] = np.arange(len(members))
        asked = np.flatnonzero(is_asked_for[members])
        wanted = position[preferred[members[asked]]]
        costs[asked, wanted] = _PREFERRED * costs[asked].min(axis=1, initial=np.inf)
        found = minimum_arborescence(costs)
        parents[members] = np.where(found == NOBODY, NOBODY, members[found])
    return parents


def _written(region: Region, neighborhood: Neighborhood, parents: NDArray[np.int64]) -> tuple[Edge, ...]:
    """Write the edges of a tree that was not chosen by the rules."""
    edges = write_edges(region, neighborhood, parents, np.where(region.is_quantized, "quantized", "nearest"))
    return tuple(replace(edge, rule="tree") if edge.rule == "nearest" else edge for edge in edges)
