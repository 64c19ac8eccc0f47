"""What models report of themselves as codes, and the groups of the lineage whose majority may tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from atlas_pipeline.attributes.imputation.lineage import Lineage, integers
from atlas_pipeline.attributes.imputation.majorities import (
    majority_of_earlier,
    majority_without_family,
    majority_without_own,
)
from atlas_pipeline.attributes.imputation.proposals import Proposals
from atlas_pipeline.schema.attributes import ATTRIBUTES
from atlas_pipeline.storage import run_query


@dataclass(frozen=True)
class Labels:
    """Reported labels of the models of a lineage.

    Attributes:
        codes: for each attribute int64 [n], the position in ``values``; -1 where nothing is reported.
        values: for each attribute its distinct values, sorted.
        hub: int64 [n], the set of sibling leaves; -1 for none.
        can_have: for each attribute bool [n], whether a model can have one such label: only a model with parents has a
            relation, and one with parents of several relations has not one.
    """

    codes: dict[str, np.ndarray]
    values: dict[str, pa.Array]
    hub: np.ndarray
    can_have: dict[str, np.ndarray]


@dataclass(frozen=True)
class Evidence:
    """One kind of group, who votes in which and who asks which.

    Attributes:
        name: of the kind.
        voter: int32 [v], models that vote, possibly in several groups.
        group: int32 [v], the group in which each votes, from 0.
        asker: int32 [a], models that ask, possibly several groups.
        asked_group: int32 [a], the group that each asks.
        is_of_members: whether who asks a group is one of its voters, once.
        drawn_by: attributes by which groups are drawn; such a group must not tell that attribute.
    """

    name: str
    voter: np.ndarray
    group: np.ndarray
    asker: np.ndarray
    asked_group: np.ndarray
    is_of_members: bool
    drawn_by: tuple[str, ...] = ()


def read_labels(connection: duckdb.DuckDBPyConnection, lineage: Lineage) -> Labels:
    """The labels of the models of a lineage.

    Args:
        connection: as ``read_lineage`` left it, and with components.impact.
        lineage: the lineage.
    """
    rows = run_query(connection, "attributes/labels")
    coded = {attribute: _coded(rows[attribute]) for attribute in ATTRIBUTES}
    can_have = {attribute: np.ones(lineage.n_models, dtype=bool) for attribute in ATTRIBUTES}
    can_have["relation"] = lineage.has_parent & ~rows["has_mixed_relations"].to_numpy().astype(bool)
    return Labels(
        {attribute: codes for attribute, (codes, _) in coded.items()},
        {attribute: values for attribute, (_, values) in coded.items()},
        integers(rows["hub"]),
        can_have,
    )


def evidences(lineage: Lineage, labels: Labels) -> list[Evidence]:
    """Every kind of group that may tell an attribute, the nearest first.

    Args:
        lineage: the lineage.
        labels: its labels.
    """
    everyone = np.arange(lineage.n_models, dtype=np.int32)
    parent, child = lineage.graph.parent.astype(np.int32), lineage.graph.child.astype(np.int32)
    found = [
        Evidence("parent", parent, child, everyone, everyone, is_of_members=False),
        Evidence("child", child, parent, everyone, everyone, is_of_members=False),
        # Copies are known by their relation.
        _of_members("copies", everyone, lineage.copies, drawn_by=("relation",)),
        _of_members("author_parent", child, _joined(parent, lineage.author[child])),
    ]
    for base, voter, group in (
        ("hub", everyone, labels.hub),
        ("sibling", child, parent),
        ("author_region", everyone, _joined(lineage.region, lineage.author)),
        ("region", everyone, lineage.region),
        ("graph", everyone, np.zeros(lineage.n_models, dtype=np.int64)),
    ):
        found.append(_of_members(base, voter, group))
        for name, attribute in (("relation", "relation"), ("library", "library_name")):
            condition = _joined(group, labels.codes[attribute][voter])
            found.append(_of_members(f"{base}_{name}", voter, condition, drawn_by=(attribute,)))
    return found


def proposals(
    lineage: Lineage, labels: Labels, kinds: Sequence[Evidence], attribute: str, *, protocol: str
) -> list[Proposals]:
    """The majority of each group that a model may ask, with those labels left out that a protocol leaves out.

    Args:
        lineage: the lineage.
        labels: its labels.
        kinds: the kinds of groups; those that are drawn by the attribute itself are passed over.
        attribute: the attribute to be told.
        protocol: leave_one_out (the model's own label is left out), without_copies (those of its copies too) or
            by_time (those of all models that are not earlier; a model without a date neither votes nor asks).
    """
    codes, created, copies = labels.codes[attribute], lineage.created, lineage.copies
    found = []
    for kind in kinds:
        if attribute in kind.drawn_by:
            continue
        is_vote = codes[kind.voter] >= 0
        voter, group, asked = kind.voter[is_vote], kind.group[is_vote], kind.asked_group
        value = codes[voter]
        if protocol == "by_time":
            told = majority_of_earlier(group, value, created[voter], asked_group=asked, asking_time=created[kind.asker])
        elif protocol == "without_copies":
            told = majority_without_family(
                group, value, copies[voter], asked_group=asked, asking_family=copies[kind.asker]
            )
        else:
            own_value = codes[kind.asker] if kind.is_of_members else np.full(len(kind.asker), -1)
            told = majority_without_own(group, value, asked_group=asked, own_value=own_value)
        has_votes = np.flatnonzero(told.value >= 0)
        columns = (kind.asker, told.value, told.n_for, told.n_votes)
        found.append(Proposals(kind.name, *(column[has_votes].astype(np.int32) for column in columns)))
    return found


def strata(labels: Labels, attribute: str) -> np.ndarray:
    """Models for which proposals are measured apart, int64 [n]: by relation, unless that is what is to be told."""
    codes = labels.codes["relation"]
    return np.zeros_like(codes) if attribute == "relation" else codes + 1


def _joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Codes of pairs of codes, int64 [n]; -1 where either is -1."""
    pairs = first.astype(np.int64) * (int(second.max(initial=0)) + 1) + second
    return np.where((first >= 0) & (second >= 0), pairs, -1)


def _of_members(name: str, voter: np.ndarray, group: np.ndarray, *, drawn_by: tuple[str, ...] = ()) -> Evidence:
    """Groups whose members ask them, numbered without gaps; a member alone has nobody to ask."""
    _, inverse, counts = np.unique(group, return_inverse=True, return_counts=True)
    is_asked = (group >= 0) & (counts[inverse] > 1)
    voter, inverse = voter[is_asked], inverse[is_asked].astype(np.int32)
    return Evidence(name, voter, inverse, voter, inverse, is_of_members=True, drawn_by=drawn_by)


def _coded(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Codes of a column of texts in the order of its distinct values, and the values."""
    values = pc.unique(column.drop_null()).sort()
    return pc.fill_null(pc.index_in(column, value_set=values), -1).to_numpy().astype(np.int64), values
