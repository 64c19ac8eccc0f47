"""Who is what to whom in a measured atlas: twins, ancestors, siblings, how far models lie apart, what is proven.

Here belongs what the audit asks of measured edges and vectors. What follows from it for a declared parent belongs to
``audit``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.edges.charting.proofs import precisions, prove_quantized, prove_rounded
from atlas_pipeline.edges.records import Edge
from atlas_pipeline.edges.region import Region

COPYING: Final = frozenset({"duplicate", "quantized"})
"""Relations whose child holds the parent's weights, if in fewer bits: the two are twins."""

TWIN_CONFIDENCE: Final = 0.25
"""An edge at least as sure as this makes twins: one of a few originals that a quantisation fits alike. Twins speak for
a card, hardly ever against it."""

PROOF_COLUMNS: Final = 16_384
"""Weights in which a proof is sought: a share of 98 % of them is known to a tenth of a percent."""

_PAIR_BLOCK: Final = 1 << 22
"""Numbers of two vectors widened at once: 32 MB each."""


class MeasuredLineage:
    """Measured edges as a graph that can be asked.

    Attributes:
        edges_of: measured edges of each child, by parent id.
    """

    def __init__(self, edges: Iterable[Edge]) -> None:
        """Take the edges of any number of regions, without cycles."""
        edges_of: dict[str, list[Edge]] = {}
        for edge in edges:
            edges_of.setdefault(edge.child_id, []).append(edge)
        self.edges_of: Mapping[str, tuple[Edge, ...]] = {
            child: tuple(sorted(own, key=lambda edge: edge.parent_id)) for child, own in edges_of.items()
        }
        self._surest: dict[str, Mapping[str, tuple[int, float]]] = {}

    @cached_property
    def _representative(self) -> Mapping[str, str]:
        """The model that stands for a model's group of twins; models without twins are left out."""
        found: dict[str, str] = {}

        def first(model_id: str) -> str:
            while (above := found.get(model_id, model_id)) != model_id:
                model_id = above
            return model_id

        for child, own in self.edges_of.items():
            for edge in own:
                if len(own) == 1 and edge.relation in COPYING and edge.confidence >= TWIN_CONFIDENCE:
                    left, right = sorted((first(child), first(edge.parent_id)))
                    found[right] = left
        return {model_id: first(model_id) for edge in found.items() for model_id in edge}

    def is_parent(self, child_id: str, parent_id: str) -> bool:
        """Whether an edge from one to the other was measured."""
        return any(edge.parent_id == parent_id for edge in self.edges_of.get(child_id, ()))

    def are_twins(self, left: str, right: str) -> bool:
        """Whether both hold the same weights, exactly or in fewer bits, or come from one model in that way."""
        return self._twin(left) == self._twin(right)

    def ancestors(self, model_id: str) -> Mapping[str, tuple[int, float]]:
        """Measured ancestors of a model: edges on the shortest way to each, and how sure the surest way is, 0 to 1."""
        if model_id not in self._surest:
            found: dict[str, tuple[int, float]] = {}
            pending = [(model_id, 0, 1.0)]
            for name, steps, confidence in pending:
                for edge in self.edges_of.get(name, ()):
                    reached = (steps + 1, confidence * edge.confidence)
                    known = found.get(edge.parent_id)
                    if known is None or reached[1] > known[1]:
                        found[edge.parent_id] = reached if known is None else (min(known[0], reached[0]), reached[1])
                        pending.append((edge.parent_id, *reached))
            self._surest[model_id] = found
        return self._surest[model_id]

    def descends(self, model_id: str, ancestor_id: str) -> bool:
        """Whether a model was measured to come from another one, or from a twin of it, in one step or several."""
        return any(self.are_twins(name, ancestor_id) for name in self.ancestors(model_id))

    def source(self, model_id: str) -> str:
        """The measured source model of a lineage: the furthest ancestor, the model itself if it has none."""
        furthest = [(-steps, name) for name, (steps, _) in self.ancestors(model_id).items()]
        return min(furthest)[1] if furthest else model_id

    def are_siblings(self, left: str, right: str) -> bool:
        """Whether two models were measured to have a parent in common, or twins as parents."""
        parents = [{self._twin(edge.parent_id) for edge in self.edges_of.get(name, ())} for name in (left, right)]
        return not parents[0].isdisjoint(parents[1])

    def copies(self, model_id: str) -> list[str]:
        """Models that were measured to be equal to one: its parents and children by an edge of the rule duplicate."""
        above = [edge.parent_id for edge in self.edges_of.get(model_id, ()) if edge.relation == "duplicate"]
        return sorted({*above, *self._duplicates_below.get(model_id, ())})

    @cached_property
    def _duplicates_below(self) -> Mapping[str, list[str]]:
        below: dict[str, list[str]] = {}
        for own in self.edges_of.values():
            for edge in own:
                if edge.relation == "duplicate":
                    below.setdefault(edge.parent_id, []).append(edge.child_id)
        return below

    def _twin(self, model_id: str) -> str:
        return self._representative.get(model_id, model_id)


@dataclass(frozen=True)
class Apart:
    """How far two models lie apart.

    Attributes:
        squared: squared Euclidean distance of their sampled neurons.
        relative: that over the sum of their squared lengths: 0 for equal models, near 1 for independent ones.
        are_kin: whether they are of one weight cluster.
    """

    squared: float
    relative: float
    are_kin: bool


Place = tuple[int, int]
"""Number of a vector group, and of a weight cluster in it."""


def places(regions: Sequence[Region]) -> dict[str, Place]:
    """Vector group and weight cluster of every model."""
    return {
        name: (group, int(cluster))
        for group, region in enumerate(regions)
        for name, cluster in zip(region.model_ids, region.clusters.tolist(), strict=True)
    }


def distances(regions: Sequence[Region], pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Apart]:
    """Measure pairs of models from the differences of their vectors, in float64.

    Args:
        regions: vector groups; a pair whose models are of different groups, or of none, is left out.
        pairs: ids of the models.
    """
    found: dict[tuple[str, str], Apart] = {}
    for region, own, rows in _comparable(regions, pairs):
        squared, lengths = _measured(region.vectors, rows[:, 0], rows[:, 1])
        relative = np.divide(squared, lengths, out=np.zeros_like(squared), where=lengths > 0)
        are_kin = region.clusters[rows[:, 0]] == region.clusters[rows[:, 1]]
        for pair, *measures in zip(own, squared.tolist(), relative.tolist(), are_kin.tolist(), strict=True):
            found[pair] = Apart(*measures)
    return found


def proofs(regions: Sequence[Region], pairs: Mapping[tuple[str, str], bool]) -> dict[tuple[str, str], str]:
    """Which children are proven to hold their parent's numbers in fewer bits: ``cast`` or ``quantized``, by pair.

    Args:
        regions: vector groups; a pair whose models are of different groups, or of none, is left out.
        pairs: ids of child and parent, and whether the child may be a quantisation and not only a cast; to find that
            out takes much longer.
    """
    found: dict[tuple[str, str], str] = {}
    for region, own, rows in _comparable(regions, pairs):
        layout = _first_matrices(region)
        n_columns = sum(neurons * width for neurons, width in layout)
        for pair, (child, parent) in zip(own, rows.tolist(), strict=True):
            vectors = np.asarray(region.vectors[[child, parent], :n_columns])
            proof = prove_rounded(vectors, 0, np.array([1]), precisions(vectors))
            if proof is None and pairs[pair] and (vectors[0] != vectors[1]).any():
                proof = prove_quantized(vectors, 0, np.array([1]), layout)
            if proof is not None and proof.rule != "pruned":
                found[pair] = proof.rule
    return found


def _first_matrices(region: Region) -> tuple[tuple[int, int], ...]:
    """Neurons and weights of the first sampled matrices, as many as ``PROOF_COLUMNS`` needs."""
    layout = region.layout or ((1, region.vectors.shape[1]),)
    ends = np.cumsum([neurons * width for neurons, width in layout])
    return layout[: int(np.searchsorted(ends, PROOF_COLUMNS)) + 1]


def _comparable(
    regions: Sequence[Region], pairs: Iterable[tuple[str, str]]
) -> Iterator[tuple[Region, list[tuple[str, str]], NDArray[np.int64]]]:
    """Yield (region, pairs that lie in it, their rows, int64 [number of pairs, 2])."""
    place = {name: (g, row) for g, region in enumerate(regions) for row, name in enumerate(region.model_ids)}
    wanted: dict[int, list[tuple[str, str]]] = {}
    for left, right in sorted(set(pairs)):
        if left in place and right in place and place[left][0] == place[right][0]:
            wanted.setdefault(place[left][0], []).append((left, right))
    for group, own in wanted.items():
        yield regions[group], own, np.array([[place[name][1] for name in pair] for pair in own], dtype=np.int64)


def _measured(
    vectors: NDArray[np.float32], left: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared distances of rows, and the sums of their squared lengths, float64 [number of pairs] each."""
    squared, lengths = np.zeros(len(left)), np.zeros(len(left))
    step = max(1, _PAIR_BLOCK // max(vectors.shape[1], 1))
    for first in range(0, len(left), step):
        block = slice(first, first + step)
        one, other = (vectors[rows[block]].astype(np.float64) for rows in (left, right))
        squared[block] = np.square(one - other).sum(axis=1)
        lengths[block] = np.square(one).sum(axis=1) + np.square(other).sum(axis=1)
    return squared, lengths
