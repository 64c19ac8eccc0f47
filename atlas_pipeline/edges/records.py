"""An edge and its evidence as values, their Arrow table, and the removal of cycles.

Here belongs what every charting method hands out. How an edge is found belongs to the methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

import numpy as np
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from atlas_pipeline.schema.edges import EVIDENCE

Origin = Literal["documented", "charted"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What an edge rests on; None where a rule does not use a field or it cannot be measured.

    Attributes:
        sources: where a documented edge was read.
        squared_distance: squared Euclidean distance of the sampled neurons of child and parent.
        scaled_distance: that distance over the typical step of their weight cluster.
        relative_distance: that distance over the sum of the squared lengths of both.
        correlation: Pearson correlation, over the child's nearest neighbours, of distance and absolute time span.
        spread: distance of the child's furthest listed neighbour minus that of its nearest, in the unit in which it
            was compared with its threshold.
        neighbor_rank: 1 when the parent is the nearest of the earlier candidates, 2 for the next, and so on.
        days_apart: days from the parent's creation to the child's, negative when the child is older.
        candidates: ids of the candidates, the likeliest first: of an ambiguous edge the group in which the parent is.
        probability: how likely the parent is among its candidates, before calibration.
        own_share: how much of what the parent alone had learnt the child holds, 1 for all; siblings are held beside it.
        equal_share: share of the sampled neurons that child and parent have in common bit by bit.
        fit_share: share of the weights that fit a proof: equal, equal when rounded, within half a step of a level.
        residual: what a merge leaves unexplained, root mean square over that of the weights.
    """

    sources: tuple[str, ...] | None = None
    squared_distance: float | None = None
    scaled_distance: float | None = None
    relative_distance: float | None = None
    correlation: float | None = None
    spread: float | None = None
    neighbor_rank: int | None = None
    days_apart: float | None = None
    candidates: tuple[str, ...] | None = None
    probability: float | None = None
    own_share: float | None = None
    equal_share: float | None = None
    fit_share: float | None = None
    residual: float | None = None


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One model was made from another.

    Attributes:
        child_id: the model that was made.
        parent_id: the model that it was made from.
        relation: finetune, adapter, quantized, merge, duplicate or unknown.
        origin: who says so: the documentation, or charting.
        rule: the rule that made the edge.
        confidence: how sure, 0 to 1; see ``atlas_pipeline.edges.evidence``.
        coefficient: weight of the parent in a merge, where measured.
        is_ambiguous: whether another candidate, or the opposite direction, explains the child as well.
        evidence: what the edge rests on.
    """

    child_id: str
    parent_id: str
    relation: str
    origin: Origin
    rule: str
    confidence: float
    is_ambiguous: bool
    evidence: Evidence
    coefficient: float | None = None


EDGE_SCHEMA: Final = pa.schema(
    [
        pa.field("child_id", pa.string(), nullable=False),
        pa.field("parent_id", pa.string(), nullable=False),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("confidence", pa.float64(), nullable=False),
        pa.field("coefficient", pa.float64()),
        pa.field("is_ambiguous", pa.bool_(), nullable=False),
        pa.field("evidence", EVIDENCE, nullable=False),
    ]
)
"""Columns of ``edges.charted`` that a charting method fills; the stage adds the region."""


def edges_table(edges: Sequence[Edge]) -> pa.Table:
    """Lay edges out as an Arrow table with the columns of ``EDGE_SCHEMA``, one row per edge, in the given order."""
    return pa.Table.from_pylist([asdict(edge) for edge in edges], schema=EDGE_SCHEMA)


def without_cycles(edges: Sequence[Edge]) -> tuple[Edge, ...]:
    """Drop the least certain edges until no model descends from itself.

    In every strongly connected group of models one edge goes at a time, and the groups are sought again: charted
    before documented, a child older than its parent before one that is not, then the lower confidence, then the ids.

    Args:
        edges: Edges between different models.

    Returns:
        The edges kept, sorted by child and parent.
    """
    kept = sorted(edges, key=lambda edge: (edge.child_id, edge.parent_id))
    while True:
        ids, ends = np.unique(
            np.array([(edge.parent_id, edge.child_id) for edge in kept], dtype=np.str_).reshape(-1, 2),
            return_inverse=True,
        )
        parents, children = ends.reshape(-1, 2).T
        links = coo_array((np.ones(len(kept), dtype=bool), (parents, children)), shape=(len(ids), len(ids)))
        _, group = connected_components(links, connection="strong") if kept else (0, ends)
        weakest: dict[int, int] = {}
        for position in np.flatnonzero(group[parents] == group[children]).tolist():
            cycle = int(group[parents[position]])
            if cycle not in weakest or _certainty(kept[position]) < _certainty(kept[weakest[cycle]]):
                weakest[cycle] = position
        if not weakest:
            return tuple(kept)
        dropped = set(weakest.values())
        kept = [edge for position, edge in enumerate(kept) if position not in dropped]


def _certainty(edge: Edge) -> tuple[bool, bool, float, str, str]:
    days = edge.evidence.days_apart
    child_is_older = days is not None and days < 0
    return edge.origin == "documented", not child_is_older, edge.confidence, edge.child_id, edge.parent_id
