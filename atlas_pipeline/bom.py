"""A model's pedigree as a CycloneDX ML-BOM: what it was made from, with licenses and how sure each edge is."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final
from urllib.parse import quote

from cyclonedx.model import ExternalReference, ExternalReferenceType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from atlas_pipeline import questions

DEEPEST: Final = 20
"""Generations of ancestors; what reads a BOM, and what writes it, goes down into each by recursion."""

NAMESPACE: Final = uuid.UUID("6f1f2a52-3a0e-5d0c-9b86-2f6b7d3e8a41")
"""Of the serial numbers: the same pedigree has the same one."""

PAGES: Final = "https://huggingface.co/"


def ml_bom(found: questions.Pedigree, *, snapshot: str) -> str:
    """The pedigree as CycloneDX 1.6 JSON; the same atlas gives the same bytes.

    A parent stands under each of its children, its own parents under the first of these. What is known of the edge
    (relation, rule, origin, confidence, ambiguity) stands with the parent as ``atlas:`` properties.

    Args:
        found: the model with the edges above it.
        snapshot: date of the snapshot that the atlas shows, YYYY-MM-DD; the BOM's own date.

    Returns:
        JSON text (CycloneDX 1.6, ECMA-424).
    """
    component = _component(found.model, [])
    component.bom_ref.value = component.purl.to_string() if component.purl else None
    _add_ancestors(component, found)
    tool = Component(name="atlas-pipeline", type=ComponentType.APPLICATION, version=version("atlas-pipeline"))
    made_at = datetime.fromisoformat(snapshot).replace(tzinfo=UTC)
    bom = Bom(metadata=BomMetaData(component=component, tools=None, timestamp=made_at), serial_number=uuid.UUID(int=0))
    bom.metadata.tools.components.add(tool)
    identity = json.dumps([found.model["model_id"], snapshot, found.as_json()["edges_above"]], default=str)
    bom.serial_number = uuid.uuid5(NAMESPACE, identity)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _add_ancestors(component: Component, found: questions.Pedigree) -> None:
    parents_of = defaultdict(list)
    for edge in found.above:
        parents_of[edge["child_id"]].append(edge)
    pending, seen = [(component, str(found.model["model_id"]), 0)], set()
    while pending:
        child, child_id, generation = pending.pop(0)
        if child_id in seen or not parents_of[child_id]:
            continue
        if generation == DEEPEST:
            child.properties.add(Property(name="atlas:ancestors_left_out", value="true"))
            continue
        seen.add(child_id)
        parents = [(edge["parent_id"], _component(edge, _properties(edge))) for edge in parents_of[child_id]]
        child.pedigree = Pedigree(ancestors=[parent for _, parent in parents])
        pending += [(parent, parent_id, generation + 1) for parent_id, parent in parents]


def _component(row: questions.Row, properties: list[Property]) -> Component:
    model_id = str(row.get("parent_id") or row["model_id"])
    group, _, name = model_id.rpartition("/")
    url = PackageURL(type="huggingface", namespace=group or None, name=name)
    gone = [Property(name="atlas:presence", value=str(row["presence"]))] if row.get("presence") != "present" else []
    page = ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(PAGES + quote(model_id)))
    return Component(
        name=name,
        group=group or None,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        # An SPDX id or not: authors write what they like, so that it is a name and never claimed to be an id.
        licenses=[DisjunctiveLicense(name=str(row["license"]))] if row.get("license") else [],
        purl=url,
        properties=[*properties, *gone],
        external_references=[page],
    )


def _properties(edge: questions.Row) -> list[Property]:
    names = ("relation", "rule", "origin", "confidence", "is_ambiguous", "coefficient")
    known = {name: edge[name] for name in names if edge.get(name) is not None}
    return [Property(name=f"atlas:{name}", value=_value(value)) for name, value in known.items()]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)
