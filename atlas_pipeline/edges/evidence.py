"""What is measured of an edge, and how sure that makes it.

The confidence is an order, not a probability: it is not calibrated against known trees. It is made of

* the kind of proof: equal files 1, equal sampled neurons slightly less, documentation slightly less again, because
  model cards err;
* for a parent chosen by distance, the margin ``1 - d / d'`` of the squared distance d to the parent and d' to the
  nearest other candidate, at least 0, stretched over the range that its rule deserves (``RULE_CONFIDENCE``).

An edge is ambiguous when the margin is small, or when the dates do not say who came first.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.edges.candidates import Candidates, cluster_scales
from atlas_pipeline.edges.records import Edge, Evidence
from atlas_pipeline.edges.region import Region

EQUAL_FILES: Final = 1.0
"""Confidence that models with equal SHA-256 are copies."""

EQUAL_VECTORS: Final = 0.98
"""Confidence that models with equal sampled neurons are copies: weights that were not sampled can still differ."""

DOCUMENTED: Final = 0.95
"""Confidence in a documented parent: cards are copied and base models mistyped."""

RULE_CONFIDENCE: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "quantized": (0.5, 0.95),
        "nearest": (0.4, 0.9),
        "snake": (0.4, 0.9),
        "fan": (0.2, 0.6),
        "majority": (0.0, 0.5),
        "random": (0.0, 0.5),
    }
)
"""Confidence of each rule at margin 0 and at margin 1. A quantisation lies near one model only; the fan rule may pass
over the nearest model on purpose and errs most; what ignores the weights is never more likely than not."""

AMBIGUITY_MARGIN: Final = 0.1
"""Below this margin a second candidate explains the child as well. Independent updates of one parent leave a margin
near 0.5; a sampling error of some percent is what a hundred neurons leave."""

SECONDS_PER_DAY: Final = 86_400.0


class EdgeWriter:
    """Makes the edges of one region, each with all that can be measured of it.

    Attributes:
        region: the models.
        scales: float64 [n], typical step of each model's weight cluster.
    """

    def __init__(
        self,
        region: Region,
        candidates: Candidates,
        *,
        n_listed: int,
        correlation: NDArray[np.float64] | None = None,
        spread: NDArray[np.float64] | None = None,
    ) -> None:
        """Prepare to write edges.

        Args:
            region: The models.
            candidates: The earlier candidates of every model, at least two where there are two.
            n_listed: How many of them the evidence lists.
            correlation: float64 [n], correlation of distance and time span around each model, NaN where undefined.
            spread: float64 [n], spread of distances around each model, NaN where undefined.
        """
        self.region = region
        self.scales = cluster_scales(region)
        self._candidates = candidates
        self._n_listed = n_listed
        undefined = np.full(region.n_models, np.nan)
        self._correlation = undefined if correlation is None else correlation
        self._spread = undefined if spread is None else spread

    def documented(self) -> list[Edge]:
        """Write every documented edge of the region, with what the weights have to say about it."""
        region = self.region
        return [
            Edge(
                child_id=region.model_ids[child],
                parent_id=region.model_ids[parent],
                relation=relation,
                origin="documented",
                rule="known",
                confidence=DOCUMENTED,
                is_ambiguous=False,
                evidence=self._evidence(child, parent, sources=region.known_sources.get((child, parent))),
            )
            for child, parents in sorted(region.known_parents.items())
            for parent, relation in parents
        ]

    def duplicate(self, child: int, parent: int, *, relation: str, has_equal_files: bool) -> Edge:
        """Write the edge of an exact copy. It is ambiguous when the dates do not say which was first."""
        return Edge(
            child_id=self.region.model_ids[child],
            parent_id=self.region.model_ids[parent],
            relation=relation,
            origin="charted",
            rule="duplicate",
            confidence=EQUAL_FILES if has_equal_files else EQUAL_VECTORS,
            is_ambiguous=not self._is_later(child, parent),
            evidence=self._evidence(child, parent),
        )

    def charted(self, child: int, parent: int, *, rule: str, share: float | None = None) -> Edge:
        """Write the edge of a parent chosen among candidates.

        Args:
            child: Row of the child.
            parent: Row of the chosen parent.
            rule: The rule that chose it, one of ``RULE_CONFIDENCE``.
            share: Stands in for the margin where the weights were not looked at, 0 to 1.
        """
        region = self.region
        margin = self._margin(child, parent) if share is None else share
        low, high = RULE_CONFIDENCE[rule]
        return Edge(
            child_id=region.model_ids[child],
            parent_id=region.model_ids[parent],
            relation=charted_relation(region, child),
            origin="charted",
            rule=rule,
            confidence=low + (high - low) * margin,
            is_ambiguous=margin < AMBIGUITY_MARGIN or not self._is_later(child, parent),
            evidence=self._evidence(child, parent),
        )

    def _margin(self, child: int, parent: int) -> float:
        others = self._candidates.index[child] != parent
        nearest_other = float(self._candidates.squared[child][others].min(initial=np.inf))
        if np.isinf(nearest_other):
            return 1.0
        if nearest_other == 0:
            return 0.0
        return max(0.0, 1.0 - self.region.squared_distance(child, parent) / nearest_other)

    def _is_later(self, child: int, parent: int) -> bool:
        return bool(self.region.created_at[parent] < self.region.created_at[child])

    def _evidence(self, child: int, parent: int, *, sources: tuple[str, ...] | None = None) -> Evidence:
        region = self.region
        squared = region.squared_distance(child, parent)
        is_kin = region.clusters[child] == region.clusters[parent]
        listed = self._candidates.index[child]
        listed = listed[listed >= 0].tolist()
        times = region.measurable_times
        return Evidence(
            sources=sources,
            squared_distance=squared,
            scaled_distance=_number(squared / self.scales[child]) if is_kin else None,
            relative_distance=region.relative_distance(child, parent),
            correlation=_number(self._correlation[child]),
            spread=_number(self._spread[child]),
            neighbor_rank=listed.index(parent) + 1 if parent in listed else None,
            days_apart=_number((times[child] - times[parent]) / SECONDS_PER_DAY),
            candidates=tuple(region.model_ids[row] for row in listed[: self._n_listed]),
        )


def charted_relation(region: Region, child: int) -> str:
    """Name the relation of a charted edge by how the child is stored: quantized, adapter, else finetune."""
    if region.is_quantized[child]:
        return "quantized"
    return "adapter" if region.is_adapter[child] else "finetune"


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
