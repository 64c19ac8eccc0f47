"""What the audit is given and what it hands out: a declared edge, and a row of ``edges.audit``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

import pyarrow as pa

from atlas_pipeline.schema import contract_of

Verdict = Literal["agrees", "contradicts", "undecided"]

VERDICTS: Final[Mapping[str, Verdict]] = {
    "parent_confirmed": "agrees",
    "ancestor_not_parent": "contradicts",
    "sibling_declared": "contradicts",
    "descendant_declared": "contradicts",
    "quantization_of_other": "contradicts",
    "other_parent": "contradicts",
    "unrelated_weights": "contradicts",
    "wrong_relation": "contradicts",
    "missing_merge_parents": "contradicts",
    "child_older_than_parent": "undecided",
    "not_comparable": "undecided",
    "ambiguous": "undecided",
}
"""The verdict that goes with each finding."""


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """A documented edge, and how its ends were sampled.

    Attributes:
        child_id: the model that is said to be made.
        parent_id: the model that it is said to be made from.
        region_id: region of the child.
        relation: how, as documented.
        sources: where that stands.
        is_merge_base: whether the parent is named as the base of a merge and not as one of the merged models.
        days_apart: days from the parent's creation to the child's; None where a date is unknown or a mere floor.
        child_status: how sampling the child went; None where that was not tried.
        child_format: format of the child's files.
        child_group: vector group of the child.
        child_sha256: digest of the child's files.
        child_shapes: digest of the names and shapes of the child's tensors.
        child_is_quantized: whether the child's weights are stored quantised.
        child_has_hidden_quantization: whether the child's values show a quantisation that their type does not.
        child_base_id: of an adapter, the model that it was applied to when it was sampled.
        parent_status: how sampling the parent went.
        parent_format: format of the parent's files.
        parent_group: vector group of the parent.
        parent_sha256: digest of the parent's files.
        parent_shapes: digest of the names and shapes of the parent's tensors.
    """

    child_id: str
    parent_id: str
    region_id: str
    relation: str
    sources: tuple[str, ...] = ()
    is_merge_base: bool = False
    days_apart: float | None = None
    child_status: str | None = "ok"
    child_format: str | None = None
    child_group: str | None = None
    child_sha256: str | None = None
    child_shapes: str | None = None
    child_is_quantized: bool = False
    child_has_hidden_quantization: bool = False
    child_base_id: str | None = None
    parent_status: str | None = "ok"
    parent_format: str | None = None
    parent_group: str | None = None
    parent_sha256: str | None = None
    parent_shapes: str | None = None


@dataclass(frozen=True, kw_only=True)
class AuditedEdge:
    """One row of ``edges.audit``; see the contract for what the fields mean."""

    child_id: str
    parent_id: str
    region_id: str
    declared_relation: str
    declared_sources: tuple[str, ...]
    verdict: Verdict
    finding: str
    confidence: float | None
    measured_parent_ids: tuple[str, ...]
    measured_relation: str | None
    declared_squared_distance: float | None
    declared_relative_distance: float | None
    measured_squared_distance: float | None
    measured_relative_distance: float | None
    explanation: str
    message: str | None


def declarations(rows: pa.Table) -> list[Declaration]:
    """Declared edges as ``sql/edges/declared.sql`` gives them, in the same order."""
    return [Declaration(**row | {"sources": tuple(row["sources"])}) for row in rows.to_pylist()]


def audit_table(rows: Sequence[AuditedEdge]) -> pa.Table:
    """Rows of ``edges.audit`` as Arrow, in the given order."""
    return pa.Table.from_pylist([asdict(row) for row in rows], contract_of("edges.audit").arrow_schema)
