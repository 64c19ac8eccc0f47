"""A region charted: proofs first, then merges, then inheritance, and an edge for each with what it rests on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.edges.candidates import NOBODY, nearest_candidates
from atlas_pipeline.edges.charting.deciding import Evidence, decide
from atlas_pipeline.edges.charting.forest import Forest, acyclic
from atlas_pipeline.edges.charting.geometry import blocks
from atlas_pipeline.edges.charting.merges import Merge, at_a_glance, find_merge
from atlas_pipeline.edges.charting.neighborhoods import N_EARLIER, N_NEAR
from atlas_pipeline.edges.charting.proofs import PRUNED_SHARE, Proof, precisions, prove_quantized, prove_rounded
from atlas_pipeline.edges.charting.writing import write_edges
from atlas_pipeline.edges.duplicates import Duplicates, find_duplicates
from atlas_pipeline.edges.records import Edge, without_cycles
from atlas_pipeline.edges.region import Region

N_LISTED: Final = 32
"""Nearest models from which all candidates are taken."""

MOST_COLUMNS: Final = 8192
"""Merges and inheritance are asked of so many columns, a share of every matrix; proofs are asked of all."""

N_MERGE_CANDIDATES: Final = 120
N_BASES: Final = 6
SECONDS_PER_DAY: Final = 86_400.0


def chart(region: Region) -> tuple[Edge, ...]:
    """Chart a region by all the evidence that its weights give.

    Args:
        region: The models.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.
    """
    if not region.n_models:
        return ()
    work = Work(region)
    found = work.proofs()
    first = decide(work.evidence, work.believed(found), work.open_rows(found))
    found.merges.update(work.merges(found, first.forest))
    last = decide(work.evidence, work.believed(found, first.forest), work.open_rows(found), before=first.forest)
    return without_cycles(write_edges(region, work.duplicates, found, last))


@dataclass(frozen=True, eq=False)
class Work:
    """What is prepared once of a region.

    Attributes:
        region: the models.
    """

    region: Region
    _nothing: None = field(default=None, repr=False)

    @cached_property
    def duplicates(self) -> Duplicates:
        """Which models are copies of which."""
        return find_duplicates(self.region)

    @cached_property
    def position(self) -> NDArray[np.int64]:
        """Place of each model in the order of creation, int64 [n]."""
        position = np.empty(self.region.n_models, dtype=np.int64)
        position[self.region.chronology] = np.arange(self.region.n_models)
        return position

    @cached_property
    def near(self) -> NDArray[np.int64]:
        """Nearest models of any time that are no copies, int64 [n, N_LISTED]."""
        region, is_original = self.region, ~self.duplicates.is_copy
        if region.near_index is None:
            return nearest_candidates(region, k=N_LISTED, can_be_parent=is_original, only_earlier=False).index
        return _packed(np.where(is_original[region.near_index], region.near_index, NOBODY).astype(np.int64))

    @cached_property
    def earlier(self) -> NDArray[np.int64]:
        """Nearest earlier models that are no copies, int64 [n, N_EARLIER]."""
        region = self.region
        if region.squared_distances is not None:
            is_original = ~self.duplicates.is_copy
            return nearest_candidates(region, k=N_EARLIER, can_be_parent=is_original, only_earlier=True).index
        earlier = _packed(np.where(self.position[self.near] < self.position[:, None], self.near, NOBODY))[:, :N_EARLIER]
        # All neighbours are later: those that the nearest of them came after are the next to ask.
        for _ in range(region.n_models.bit_length()):
            lacking = np.flatnonzero((earlier[:, 0] < 0) & (self.near[:, 0] >= 0))
            if not len(lacking):
                break
            through = earlier[self.near[lacking]].reshape(len(lacking), -1)
            is_before = (through >= 0) & (self.position[through] < self.position[lacking][:, None])
            taken = _packed(np.where(is_before, through, NOBODY))[:, :N_EARLIER]
            if not (taken[:, :1] >= 0).any():
                break
            earlier[lacking] = taken
        return earlier

    @cached_property
    def precision(self) -> NDArray[np.int8]:
        """Precision that holds each model's numbers, int8 [n]."""
        return precisions(self.region.vectors)

    @cached_property
    def layout(self) -> tuple[tuple[int, int], ...]:
        """Neurons and weights of each sampled matrix."""
        return self.region.layout or ((1, self.region.vectors.shape[1]),)

    @cached_property
    def narrowed(self) -> tuple[NDArray[np.float32], tuple[tuple[int, int], ...]]:
        """At most about ``MOST_COLUMNS`` columns, float32 [n, d], and their layout."""
        if self.region.vectors.shape[1] <= MOST_COLUMNS:
            return self.region.vectors, self.layout
        runs = blocks(self.layout, max_columns=MOST_COLUMNS).runs
        parts = [self.region.vectors[:, first : first + neurons * width] for first, neurons, width, _ in runs]
        return np.concatenate(parts, axis=1), tuple((neurons, width) for _, neurons, width, _ in runs)

    @cached_property
    def evidence(self) -> Evidence:
        """What the rounds of deciding start from."""
        region = self.region
        vectors, layout = self.narrowed
        return Evidence(
            vectors=vectors,
            chosen=blocks(layout),
            near=self.near[:, :N_NEAR],
            earlier=self.earlier,
            position=self.position,
            days=region.measurable_times / SECONDS_PER_DAY,
            is_quantized=region.is_quantized,
            precision=self.precision,
        )

    def proofs(self) -> Findings:
        """Prove what can be proven of the undocumented models that are no copies."""
        region, found = self.region, Findings()
        undocumented = np.flatnonzero(~region.is_documented & ~self.duplicates.is_copy)
        for child in undocumented.tolist():
            base = NOBODY if region.base_of is None else int(region.base_of[child])
            if base not in (NOBODY, child):
                found.adapters[child] = base
            elif not (region.is_quantized[child] or region.is_adapter[child]) and (proof := self._rounded(child)):
                found.proofs[child] = proof
        for child in undocumented[region.is_quantized[undocumented]].tolist():
            if child not in found.adapters and (proof := self._quantized(child, found)) is not None:
                found.proofs[child] = proof
        return found

    def _rounded(self, child: int) -> Proof | None:
        region = self.region
        originals = self._originals(child, wide=bool((region.vectors[child] == 0).mean() >= PRUNED_SHARE))
        return prove_rounded(region.vectors, child, originals, self.precision)

    def _quantized(self, child: int, found: Findings) -> Proof | None:
        region, near = self.region, self._originals(child)
        finer = near[~region.is_quantized[near] & ~region.is_adapter[near]]
        is_cast = np.array([row in found.proofs for row in finer.tolist()], dtype=bool)
        return prove_quantized(region.vectors, child, finer[np.argsort(is_cast, kind="stable")], self.layout)

    def _originals(self, child: int, *, wide: bool = False) -> NDArray[np.int64]:
        """Models of which the child can be a rounded version, in the order of creation."""
        rows = self.near[child]
        if wide:
            # A model with zeros lies nearer to other models with zeros than to its original.
            rows = np.flatnonzero((self.region.clusters == self.region.clusters[child]) & ~self.duplicates.is_copy)
        rows = rows[(rows >= 0) & (rows != child)]
        return rows[np.argsort(self.position[rows], kind="stable")]

    def believed(self, found: Findings, forest: Forest | None = None) -> NDArray[np.int64]:
        """One parent for each model to begin with, int64 [n]: known, proven, or the nearest earlier."""
        region, rows = self.region, np.arange(self.region.n_models)
        settled = np.where(self.duplicates.is_copy, self.duplicates.representative, NOBODY)
        for child, parents in region.known_parents.items():
            settled[child] = parents[0][0] if parents else NOBODY
        for child, row in found.main_parents().items():
            settled[child] = row
        is_settled = self.duplicates.is_copy | region.is_documented | (settled >= 0)
        if forest is None:
            # What was made from a model is not its parent, whatever the dates say.
            below = Forest(acyclic(settled, self.position)).descends(self.earlier, rows[:, None])
            likely = _packed(np.where(below, NOBODY, self.earlier))[:, 0]
        else:
            likely = forest.parent
        return acyclic(np.where(is_settled, settled, likely), self.position)

    def open_rows(self, found: Findings) -> NDArray[np.int64]:
        """Models whose parents are to be decided, int64 [b]."""
        is_open = ~self.region.is_documented & ~self.duplicates.is_copy & (self.earlier[:, 0] >= 0)
        is_open[list(found.main_parents())] = False
        return np.flatnonzero(is_open)

    def merges(self, found: Findings, forest: Forest) -> dict[int, Merge]:
        """Find the merges among the open models."""
        region, (vectors, layout) = self.region, self.narrowed
        glance = at_a_glance(vectors)
        can_be_parent = ~self.duplicates.is_copy & ~region.is_quantized & ~region.is_adapter
        can_be_parent[[child for child, proof in found.proofs.items() if proof.rule == "cast"]] = False
        merges = {}
        first_of = self._first_of_cluster(self.region.chronology)
        hub_of = self._first_of_cluster(np.argsort(-forest.n_children, kind="stable")).tolist()
        for child in self.open_rows(found).tolist():
            if region.is_quantized[child] or region.is_adapter[child]:
                continue
            lineage = forest.lineages(np.array([child]), n_levels=N_BASES)[0]
            bases = [*first_of[[child]].tolist(), hub_of[child], *lineage[lineage >= 0].tolist()]
            merge = find_merge(
                vectors,
                child,
                self._merge_candidates(child, can_be_parent),
                layout=layout,
                precision=int(self.precision[child]),
                bases=list(dict.fromkeys(bases)),
                glance=glance,
            )
            if merge is not None and not (self.precision[child] and _is_line(forest, merge)):
                merges[child] = merge
        return merges

    def _first_of_cluster(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of the first model, in some order, of each model's cluster, int64 [n]."""
        clusters, first = np.unique(self.region.clusters[order], return_index=True)
        return order[first][np.searchsorted(clusters, self.region.clusters)]

    def _merge_candidates(self, child: int, can_be_parent: NDArray[np.bool_]) -> NDArray[np.int64]:
        region = self.region
        if region.squared_distances is None:
            rows = self.near[child]
            rows = rows[rows >= 0]
        else:
            distances = region.squared_distances[child]
            rows = np.flatnonzero(region.clusters == region.clusters[child])
            rows = rows[np.argsort(distances[rows], kind="stable")]
        is_usable = can_be_parent[rows] & (self.position[rows] < self.position[child]) & (rows != child)
        return rows[is_usable][:N_MERGE_CANDIDATES]


@dataclass(frozen=True, eq=False)
class Findings:
    """Parents found without weighing: by rows of the children.

    Attributes:
        proofs: casts, pruned models, quantisations.
        adapters: the base to which an adapter belongs.
        merges: combinations of several parents.
    """

    proofs: dict[int, Proof] = field(default_factory=dict)
    adapters: dict[int, int] = field(default_factory=dict)
    merges: dict[int, Merge] = field(default_factory=dict)

    def main_parents(self) -> dict[int, int]:
        """One parent for each of these models, of merges that with the greatest coefficient."""
        return (
            {child: proof.parent for child, proof in self.proofs.items()}
            | self.adapters
            | {child: merge.parents[0] for child, merge in self.merges.items()}
        )


def _is_line(forest: Forest, merge: Merge) -> bool:
    """Whether a merge of two is one of a model and its own descendant: rounded, it looks like a shorter training."""
    left, right = np.array(merge.parents[0]), np.array(merge.parents[-1])
    return len(merge.parents) == 2 and bool(forest.descends(left, right) | forest.descends(right, left))


def _packed(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    front = np.argsort(rows < 0, axis=1, kind="stable")
    return np.take_along_axis(rows, front, axis=1)
