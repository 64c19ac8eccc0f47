"""What charting has to beat: ways to choose a parent that know less than Algorithm 1.

The paper's table 2 has four that know nothing but the structure ("random - root", "random", "majority", "Price's") and
MoTHer, which stands in ``mother``. What "random - root" means the paper does not say; here it is a tree of one level
under a model drawn at random. Like Algorithm 1 they keep documented parents, chart each weight cluster apart and give
one parent to every other model, so that a difference in score is a difference in the choice.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.edges.arborescence import grown_tree
from atlas_pipeline.edges.candidates import NOBODY, dense_distances, nearest_candidates
from atlas_pipeline.edges.evidence import EdgeWriter
from atlas_pipeline.edges.records import Edge, without_cycles
from atlas_pipeline.edges.region import Region

N_LISTED: Final = 5
"""Candidates listed in the evidence of a baseline's edges, as many as Algorithm 1 lists by default."""


def nearest_earlier(region: Region) -> tuple[Edge, ...]:
    """Give every undocumented model the nearest model created before it; copies and quantisations count like others.

    Args:
        region: The models.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.
    """
    writer, nearest = _writer(region)
    charted = [
        writer.charted(child, int(nearest[child]), rule="nearest")
        for child in _undocumented(region)
        if nearest[child] >= 0
    ]
    return without_cycles([*writer.documented(), *charted])


def majority(region: Region) -> tuple[Edge, ...]:
    """Give every undocumented model the documented parent with the most children in its cluster (section 4.1).

    A cluster without documented edges takes its earliest model instead: the atlas as one level under a root. Parents
    with equally many children are taken in order of creation.

    Args:
        region: The models.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.
    """
    writer, _ = _writer(region)
    chronology = region.chronology.tolist()
    children: dict[int, Counter[int]] = {}
    for cluster in np.unique(region.clusters).tolist():
        children[cluster] = Counter({row: 0 for row in chronology if region.clusters[row] == cluster})
    for parents in region.known_parents.values():
        for parent, _ in parents:
            children[int(region.clusters[parent])][parent] += 1
    charted = []
    for child in _undocumented(region):
        count = children[int(region.clusters[child])]
        # most_common keeps the order of insertion, here of creation, among equals.
        parent, n_children = count.most_common(1)[0]
        if parent != child:
            charted.append(writer.charted(child, parent, rule="majority", share=n_children / max(count.total(), 1)))
    return without_cycles([*writer.documented(), *charted])


def random_earlier(region: Region, *, seed: int) -> tuple[Edge, ...]:
    """Give every undocumented model one of the models of its cluster created before it, all equally likely.

    Args:
        region: The models.
        seed: Seed of the choice.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.
    """
    writer, _ = _writer(region)
    draw = np.random.default_rng(seed).random(region.n_models)
    earlier: dict[int, list[int]] = {}
    is_documented = region.is_documented
    charted = []
    for child, luck in zip(region.chronology.tolist(), draw, strict=True):
        before = earlier.setdefault(int(region.clusters[child]), [])
        if before and not is_documented[child]:
            parent = before[int(luck * len(before))]
            charted.append(writer.charted(child, parent, rule="random", share=1.0 / len(before)))
        before.append(child)
    return without_cycles([*writer.documented(), *charted])


def random_root(region: Region, *, seed: int) -> tuple[Edge, ...]:
    """Make every undocumented model a child of one model of its cluster, drawn at random: one level under it.

    Args:
        region: The models.
        seed: Seed of the draw.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.

    Raises:
        ValueError: If the region has no distance matrix.
    """
    members = _members(region)
    # One draw for each cluster, in the order of their first models, whatever their labels are.
    draw = np.random.default_rng(seed).random(len(members))
    return _one_level(region, [rows[int(luck * len(rows))] for rows, luck in zip(members, draw, strict=True)])


def earliest_root(region: Region) -> tuple[Edge, ...]:
    """Make every undocumented model a child of the earliest model of its cluster.

    Args:
        region: The models.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.

    Raises:
        ValueError: If the region has no distance matrix.
    """
    return _one_level(region, [rows[0] for rows in _members(region)])


def price(region: Region, *, seed: int) -> tuple[Edge, ...]:
    """Draw the parent of every undocumented model by Price's model of citations (1965): who has children gets more.

    Models come in the order of creation. An earlier model of the cluster is drawn with a chance in proportion to one
    more than the children that it has: those documented, the stem that the paper lets this baseline know, and those
    drawn before.

    Args:
        region: The models.
        seed: Seed of the draws.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.

    Raises:
        ValueError: If the region has no distance matrix.
    """
    draw = np.random.default_rng(seed).random(region.n_models)
    n_known = Counter(parent for parents in region.known_parents.values() for parent, _ in parents)
    parents = np.full(region.n_models, NOBODY, dtype=np.int64)
    chances = np.zeros(region.n_models)
    # Each earlier model stands in its cluster's urn once, and once more for each of its children.
    urns: dict[int, list[int]] = {}
    is_documented = region.is_documented
    for child, luck in zip(region.chronology.tolist(), draw, strict=True):
        urn = urns.setdefault(int(region.clusters[child]), [])
        if urn and not is_documented[child]:
            parent = urn[int(luck * len(urn))]
            parents[child], chances[child] = parent, urn.count(parent) / len(urn)
            urn.append(parent)
        urn += [child] * (1 + n_known[child])
    return edges_to_parents(region, parents, rule="price", chances=chances)


def spanning_tree(region: Region) -> tuple[Edge, ...]:
    """Grow a minimum spanning tree of distances from the earliest model of each cluster (the paper's naive strategy).

    At each step the model nearest to the tree is hung on its nearest model in the tree, be it later or earlier, a copy
    or quantised.

    Args:
        region: The models.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.

    Raises:
        ValueError: If the region has no distance matrix.
    """
    squared = dense_distances(region)
    parents = np.full(region.n_models, NOBODY, dtype=np.int64)
    for rows in _members(region):
        found = grown_tree(squared[np.ix_(rows, rows)], root=0)
        parents[rows] = np.where(found == NOBODY, NOBODY, np.array(rows)[found])
    return edges_to_parents(region, parents, rule="tree")


def edges_to_parents(
    region: Region,
    parents: NDArray[np.int64],
    *,
    rule: str,
    chances: NDArray[np.float64] | None = None,
) -> tuple[Edge, ...]:
    """Write the parents that a method chose, beside the documented edges.

    Args:
        region: The models.
        parents: int64 [n], row of each model's parent, ``NOBODY`` for none; those of documented models are not read.
        rule: What the edges say made them.
        chances: float64 [n], 0 to 1, how likely each parent was, for a method that does not look at the weights. Where
            not given the distances say how sure an edge is.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.

    Raises:
        ValueError: If the region has no distance matrix.
    """
    writer, _ = _writer(region)
    edges = writer.documented()
    for child in np.flatnonzero(~region.is_documented & (parents != NOBODY)).tolist():
        share = None if chances is None else float(chances[child])
        edge = writer.charted(child, int(parents[child]), rule="nearest" if chances is None else "random", share=share)
        edges.append(replace(edge, rule=rule))
    return without_cycles(edges)


def _one_level(region: Region, roots: list[int]) -> tuple[Edge, ...]:
    """Make all models children of the root of their cluster; roots are given one for each cluster."""
    parents = np.full(region.n_models, NOBODY, dtype=np.int64)
    chances = np.zeros(region.n_models)
    for root in roots:
        members = region.clusters == region.clusters[root]
        parents[members], chances[members] = root, 1.0 / members.sum()
    parents[roots] = NOBODY
    return edges_to_parents(region, parents, rule="root", chances=chances)


def _members(region: Region) -> list[list[int]]:
    """Rows of each cluster in the order of creation; clusters in the order of their first models."""
    members: dict[int, list[int]] = {}
    for row in region.chronology.tolist():
        members.setdefault(int(region.clusters[row]), []).append(row)
    return list(members.values())


def _writer(region: Region) -> tuple[EdgeWriter, np.ndarray]:
    """Prepare to write edges over all earlier models, and name the nearest of them for every model (-1 for none)."""
    everyone = np.ones(region.n_models, dtype=bool)
    candidates = nearest_candidates(region, k=N_LISTED, can_be_parent=everyone, only_earlier=True)
    return EdgeWriter(region, candidates, n_listed=N_LISTED), candidates.index[:, 0]


def _undocumented(region: Region) -> list[int]:
    return [int(row) for row in np.flatnonzero(~region.is_documented)]
