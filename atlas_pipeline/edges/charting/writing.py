"""Edges out of findings: the rule, how sure, and what it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from atlas_pipeline.edges.charting.deciding import MEASURES, Decision, calibrated
from atlas_pipeline.edges.duplicates import Duplicates
from atlas_pipeline.edges.records import Edge, Evidence
from atlas_pipeline.edges.region import Region

if TYPE_CHECKING:
    from atlas_pipeline.edges.charting.method import Findings

DOCUMENTED: Final = 0.95
"""Confidence in a documented parent: cards are copied and base models mistyped."""

GROUP_SHARE: Final = 0.95
"""Likelihood that a group of candidates has together."""

AMBIGUOUS: Final = 0.75
"""An edge is ambiguous when its parent has less than this share of its candidates' likelihood."""

MOST_LISTED: Final = 8
_SECONDS_PER_DAY: Final = 86_400.0
_INHERITED: Final = 0.5


def write_edges(region: Region, duplicates: Duplicates, found: Findings, decision: Decision) -> list[Edge]:
    """Make the edges of a region.

    Args:
        region: the models.
        duplicates: which are copies.
        found: parents that are proven.
        decision: what is believed of the rest.

    Returns:
        The edges, documented and charted.
    """
    writer = _Writer(region)
    edges = [*writer.documented(), *writer.found(found), *writer.decided(found, decision)]
    return [*edges, *writer.copies(duplicates, edges)]


def rule_confidence() -> dict[str, float]:
    """How often each proof was right, by rule."""
    table = pacsv.read_csv(Path(__file__).parent / "rules.csv")
    return dict(zip(table["rule"].to_pylist(), table["confidence"].to_pylist(), strict=True))


class _Writer:
    def __init__(self, region: Region) -> None:
        self.region = region
        self._confidence = rule_confidence()

    def documented(self) -> Iterator[Edge]:
        for child, parents in sorted(self.region.known_parents.items()):
            for parent, relation in parents:
                sources = self.region.known_sources.get((child, parent))
                yield self._edge(
                    child, parent, rule="known", relation=relation, confidence=DOCUMENTED, origin="documented",
                    sources=sources,
                )  # fmt: skip

    def found(self, found: Findings) -> Iterator[Edge]:
        for child, proof in found.proofs.items():
            relation = "quantized" if proof.rule in ("cast", "quantized") else "finetune"
            group = (proof.parent, *proof.rivals)
            yield self._edge(
                child, proof.parent, rule=proof.rule, relation=relation,
                confidence=self._confidence[proof.rule] / len(group), is_ambiguous=len(group) > 1, group=group,
                fit_share=proof.share,
            )  # fmt: skip
        for child, base in found.adapters.items():
            yield self._edge(
                child, base, rule="adapter", relation="adapter", confidence=self._confidence["adapter"], group=(base,)
            )
        for child, merge in found.merges.items():
            rule = "ties" if merge.kind == "ties" else "merge"
            for parent, coefficient in zip(merge.parents, merge.coefficients, strict=True):
                yield self._edge(
                    child, parent, rule=rule, relation="merge", confidence=self._confidence[f"merge_{merge.kind}"],
                    coefficient=coefficient, group=merge.parents, residual=merge.residual,
                )  # fmt: skip

    def decided(self, found: Findings, decision: Decision) -> Iterator[Edge]:
        settled = found.main_parents()
        likely = decision.probability
        share = likely / np.maximum(likely.sum(axis=1, keepdims=True), 1.0)
        order = np.argsort(-share, axis=1, kind="stable")
        for child in np.flatnonzero((decision.candidate[:, 0] >= 0) & (decision.forest.parent >= 0)).tolist():
            if child in settled:
                continue
            ranked = order[child]
            own = share[child, ranked]
            best = int(ranked[0])
            n_group = int(np.searchsorted(np.cumsum(own) / max(own.sum(), 1e-12), GROUP_SHARE)) + 1
            rows = decision.candidate[child, ranked[: min(n_group, MOST_LISTED)]]
            group = tuple(int(row) for row in rows if row >= 0)
            figures = dict(zip(MEASURES, decision.measures[child, best].tolist(), strict=True))
            yield self._edge(
                child,
                int(decision.candidate[child, best]),
                rule=_rule(figures),
                relation="quantized" if self.region.is_quantized[child] else self._relation(child),
                confidence=float(calibrated(own[:1])[0]),
                is_ambiguous=bool(own[0] < AMBIGUOUS),
                group=group,
                probability=float(own[0]),
                own_share=_number(figures["own_share_any_time"]),
                neighbor_rank=int(figures["rank"]) + 1,
                equal_share=_number(figures["equal_share"]),
            )

    def copies(self, duplicates: Duplicates, edges: list[Edge]) -> Iterator[Edge]:
        region = self.region
        row_of = {model_id: row for row, model_id in enumerate(region.model_ids)}
        parents_of: dict[str, list[Edge]] = {}
        for edge in edges:
            parents_of.setdefault(edge.child_id, []).append(edge)
        for child in np.flatnonzero(duplicates.is_copy & ~region.is_documented).tolist():
            first = int(duplicates.representative[child])
            # Two quantisations or casts of one model are alike: the second is seldom a copy of the first.
            of_first = parents_of.get(region.model_ids[first], [])
            is_rounded = bool(region.is_quantized[first]) or any(edge.relation == "quantized" for edge in of_first)
            shared = of_first if is_rounded else []
            equal_files = bool(duplicates.has_equal_files[child])
            confidence = self._confidence["duplicate_files" if equal_files else "duplicate"]
            is_same = self._has_equal_shapes(child, first)
            for parent, relation, rule in [
                (row_of[edge.parent_id], edge.relation, edge.rule if edge.rule != "known" else "quantized")
                for edge in shared
            ] or [(first, "duplicate" if is_same else "finetune", "duplicate")]:
                undated = not region.created_at[first] < region.created_at[child]
                yield self._edge(
                    child, parent, rule=rule, relation=relation, confidence=confidence, is_ambiguous=undated,
                    group=tuple(dict.fromkeys((parent, first))), fit_share=1.0,
                )  # fmt: skip

    def _has_equal_shapes(self, left: int, right: int) -> bool:
        shapes = self.region.shapes_sha256
        return not shapes or shapes[left] is None or shapes[right] is None or shapes[left] == shapes[right]

    def _relation(self, child: int) -> str:
        return "adapter" if self.region.is_adapter[child] else "finetune"

    def _edge(
        self, child: int, parent: int, *, rule: str, relation: str, confidence: float, origin: str = "charted",
        is_ambiguous: bool = False, coefficient: float | None = None, group: tuple[int, ...] | None = None,
        **evidence: Any,
    ) -> Edge:  # fmt: skip
        region = self.region
        times = region.measurable_times
        return Edge(
            child_id=region.model_ids[child],
            parent_id=region.model_ids[parent],
            relation=relation,
            origin="documented" if origin == "documented" else "charted",
            rule=rule,
            confidence=min(max(confidence, 0.0), 1.0),
            coefficient=coefficient,
            is_ambiguous=is_ambiguous,
            evidence=Evidence(
                squared_distance=region.squared_distance(child, parent),
                relative_distance=region.relative_distance(child, parent),
                days_apart=_number((times[child] - times[parent]) / _SECONDS_PER_DAY),
                candidates=None if group is None else tuple(region.model_ids[row] for row in group),
                **evidence,
            ),
        )


def _rule(figures: dict[str, float]) -> str:
    """Name what the neighbourhood looks like: a link of a chain, a member of a fan, or neither."""
    if figures["rank"] > 0:
        return "fan"
    own = figures["own_share_any_time"]
    return "snake" if np.isfinite(own) and own > _INHERITED and figures["is_root"] == 0 else "nearest"


def _number(value: float | NDArray[np.float64]) -> float | None:
    return float(value) if np.isfinite(value) else None
