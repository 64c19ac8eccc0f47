"""Declared against measured parents, on measured edges and regions made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.edges.audit import CONTRADICTION, audit
from atlas_pipeline.edges.audit_partitions import audited_edges
from atlas_pipeline.edges.audit_records import VERDICTS, Declaration, audit_table, declarations
from atlas_pipeline.edges.partitions import Measured
from atlas_pipeline.edges.records import Edge, Evidence
from atlas_pipeline.schema import contract_of
from atlas_pipeline.schema.edges import FINDINGS
from atlas_pipeline.storage import run_query
from atlas_pipeline_tests.edges.populations import region_of
from atlas_pipeline_tests.quality.sound_tables import (
    BASE,
    DOCUMENTED,
    GRANDCHILD,
    ORPHAN,
    SIBLING,
    TUNED,
    connect,
    find,
    sound_rows,
)

CHILD, PARENT, OTHER, TOP, BELOW = "lab/child", "lab/parent", "lab/other", "lab/top", "lab/below"


def declared(child=CHILD, parent=PARENT, relation="finetune", **fields):
    """A declaration between two sampled models of one shape; nothing is known of dates."""
    plain = {"child_format": "safetensors", "child_group": "g", "parent_group": "g", "sources": ("tag",)}
    return Declaration(child_id=child, parent_id=parent, region_id="r", relation=relation, **{**plain, **fields})


def edge(child, parent, *, rule="nearest", relation="finetune", confidence=0.99, is_ambiguous=False, candidates=None):
    return Edge(
        child_id=child,
        parent_id=parent,
        relation=relation,
        origin="charted",
        rule=rule,
        confidence=confidence,
        is_ambiguous=is_ambiguous,
        evidence=Evidence(candidates=candidates),
    )


def quantized(child, parent, **fields):
    return edge(child, parent, rule="quantized", relation="quantized", **fields)


def judged(declaration, *measured, regions=()):
    """The one row of an audit of one declared edge."""
    (row,) = audit([declaration], measured, regions)
    return row


def apart(**positions):
    """A region of models on a line, by name without the organisation; names with ``far`` are in another cluster."""
    rng = np.random.default_rng(0)
    base, away, direction = (rng.normal(size=(3, 400)) * np.array([[1.0], [1.0], [0.01]])).astype(np.float32)
    return region_of(
        [(away if name.startswith("far") else base) + position * direction for name, position in positions.items()],
        model_ids=tuple(f"lab/{name}" for name in positions),
        clusters=[name.startswith("far") for name in positions],
    )


# -- agreement -------------------------------------------------------------------------------------------------------


def test_a_measured_parent_agrees_and_two_witnesses_are_surer_than_one():
    row = judged(declared(), edge(CHILD, PARENT, confidence=0.7))
    assert (row.verdict, row.finding, row.measured_parent_ids) == ("agrees", "parent_confirmed", (PARENT,))
    assert row.confidence == pytest.approx(0.95 * 0.7 / (0.95 * 0.7 + 0.05 * 0.3))
    assert row.message is None
    assert PARENT in row.explanation


def test_a_declaration_decides_an_ambiguous_measurement():
    doubtful = edge(CHILD, PARENT, confidence=0.4, is_ambiguous=True, candidates=(PARENT, OTHER))
    assert judged(declared(), doubtful).verdict == "agrees"
    row = judged(declared(parent=OTHER), doubtful)
    assert (row.verdict, row.finding, row.confidence) == ("undecided", "ambiguous", None)


@pytest.mark.parametrize(
    "twin",
    [
        edge(PARENT, OTHER, rule="duplicate", relation="duplicate"),
        quantized(PARENT, OTHER),
        quantized(OTHER, PARENT),
    ],
    ids=str,
)
def test_a_twin_of_the_measured_parent_is_as_good(twin):
    row = judged(declared(), edge(CHILD, OTHER), twin)
    assert (row.verdict, row.finding) == ("agrees", "parent_confirmed")
    assert "holds the same weights" in row.explanation
    unsure = replace(twin, confidence=0.2)
    assert judged(declared(), edge(CHILD, OTHER), unsure).verdict != "agrees"


def test_the_parent_of_a_copy_is_the_parent_of_the_child():
    copy = edge(CHILD, OTHER, rule="duplicate", relation="duplicate")
    assert judged(declared(), copy, edge(OTHER, PARENT)).finding == "parent_confirmed"


def test_the_base_of_a_merge_agrees_if_it_is_an_ancestor():
    merged = (
        edge(CHILD, "lab/a", rule="merge", relation="merge"),
        edge(CHILD, "lab/b", rule="merge", relation="merge"),
    )
    lineage = (*merged, edge("lab/a", PARENT), edge("lab/b", PARENT))
    base = declared(relation="merge", is_merge_base=True)
    assert judged(base, *lineage).verdict == "agrees"
    assert judged(replace(base, is_merge_base=False), *lineage).verdict == "undecided"


# -- contradiction ---------------------------------------------------------------------------------------------------


def test_one_doubtful_measurement_does_not_contradict_a_card():
    region = apart(child=0, parent=2, other=1)
    doubtful = judged(declared(), edge(CHILD, OTHER, confidence=0.9), regions=[region])
    assert (doubtful.verdict, doubtful.finding) == ("undecided", "ambiguous")
    sure = judged(declared(), edge(CHILD, OTHER, confidence=0.995), regions=[region])
    assert (sure.verdict, sure.finding) == ("contradicts", "other_parent")
    assert sure.confidence >= CONTRADICTION
    # The further the declared parent lies, the less doubt it takes the benefit of.
    far = judged(declared(), edge(CHILD, OTHER, confidence=0.9), regions=[apart(child=0, parent=20, other=1)])
    assert far.verdict == "contradicts"
    assert far.measured_squared_distance * 400 == pytest.approx(far.declared_squared_distance, rel=1e-4)


def test_what_the_declared_parent_is_instead():
    sure = {"confidence": 0.9999}
    up = edge(CHILD, OTHER, **sure)
    findings = {
        "ancestor_not_parent": (up, edge(OTHER, TOP, **sure), edge(TOP, PARENT, **sure)),
        "sibling_declared": (up, edge(PARENT, OTHER, **sure)),
        "other_parent": (up, edge(PARENT, TOP, **sure)),
        "quantization_of_other": (quantized(CHILD, OTHER, **sure), edge(PARENT, TOP, **sure)),
        "descendant_declared": (edge(BELOW, CHILD, **sure), edge(PARENT, BELOW, **sure), up),
    }
    for finding, measured in findings.items():
        row = judged(declared(child_is_quantized=finding.startswith("quant")), *measured)
        assert (row.verdict, row.finding, row.measured_parent_ids) == ("contradicts", finding, (OTHER,)), finding
        assert PARENT in row.explanation
        assert f"base_model: {OTHER}\n" in row.message


def test_a_sibling_of_one_sweep_does_not_contradict_the_parent_of_both():
    """Members of a sweep lie much nearer to each other than to their parent, so distances do not count there."""
    region = apart(child=0, other=1, parent=60)
    measured = (edge(CHILD, OTHER, confidence=0.9), edge(OTHER, PARENT, confidence=0.9))
    assert judged(declared(), *measured, regions=[region]).finding == "ambiguous"
    assert judged(declared(), measured[0], regions=[region]).finding == "other_parent"


def test_unrelated_weights_contradict_whoever_was_measured():
    region = apart(child=0, other=1, far_parent=0)
    declaration = declared(parent="lab/far_parent")
    row = judged(declaration, edge(CHILD, OTHER, confidence=0.6), regions=[region])
    assert (row.verdict, row.finding) == ("contradicts", "unrelated_weights")
    assert 0.8 < row.declared_relative_distance < 1.2
    assert f"base_model: {OTHER}" in row.message
    alone = judged(declaration, regions=[region])
    assert (alone.finding, alone.measured_parent_ids) == ("unrelated_weights", ())
    assert "base_model:" not in alone.message
    # Of two clusters, and yet not as far as strangers are: nothing is said.
    kin = replace(region, vectors=region.vectors + np.float32(0.7))
    assert 0.5 < judged(declaration, regions=[kin]).declared_relative_distance < 0.8
    assert judged(declaration, regions=[kin]).finding == "ambiguous"


# -- merges ----------------------------------------------------------------------------------------------------------


def test_parents_of_a_merge_that_are_not_named():
    merged = [edge(CHILD, name, rule="merge", relation="merge", confidence=0.9999) for name in (OTHER, PARENT)]
    row = judged(declared(), *merged)
    assert (row.verdict, row.finding, row.measured_relation) == ("contradicts", "missing_merge_parents", "merge")
    assert f"base_model:\n  - {PARENT}\n  - {OTHER}\nbase_model_relation: merge\n" in row.message
    both = audit([declared(relation="merge"), declared(parent=OTHER, relation="merge")], merged, [])
    assert [each.verdict for each in both] == ["agrees", "agrees"]


def test_a_parent_of_a_merge_can_go_unseen_but_not_one_of_a_quantised_merge():
    card = declared(relation="merge", child_is_quantized=True)
    assert judged(card, edge(CHILD, OTHER, confidence=0.9999)).finding == "ambiguous"
    # The card of the merge was copied to its quantisation, and names the merge's parents.
    copied = (quantized(CHILD, OTHER, confidence=0.9999), edge(OTHER, PARENT), edge(OTHER, TOP))
    row = judged(card, *copied)
    assert row.finding == "ancestor_not_parent"
    assert f"base_model: {OTHER}\nbase_model_relation: quantized\n" in row.message


def test_the_suggestion_keeps_what_is_right():
    measured = [edge(CHILD, name, rule="merge", relation="merge", confidence=0.9999) for name in ("lab/a", "lab/b")]
    rows = audit([declared(parent=p, relation="merge") for p in ("lab/a", "lab/x")], measured, [])
    assert [row.finding for row in rows] == ["missing_merge_parents", "other_parent"]
    for row in rows:
        assert "base_model:\n  - lab/a\n  - lab/b\nbase_model_relation: merge\n" in row.message


# -- what stays undecided --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"parent_status": "gated"}, "gated"),
        ({"parent_status": None}, "parent were sampled"),
        ({"child_status": "no_weights"}, "no_weights"),
        ({"parent_group": "h"}, "shapes"),
        ({"relation": "adapter", "child_format": "adapter", "child_base_id": PARENT}, "adapter"),
    ],
)
def test_what_cannot_be_compared(fields, says):
    row = judged(declared(**fields), edge(CHILD, OTHER, confidence=0.9999))
    assert (row.verdict, row.finding, row.confidence, row.message) == ("undecided", "not_comparable", None, None)
    assert says in row.explanation


def test_a_parent_of_other_shapes_is_contradicted_where_a_relative_was_found():
    own, others = apart(child=0, other=1, third=2), apart(parent=0)
    declaration = declared(parent_group="h")
    found = edge(CHILD, OTHER, confidence=0.6)
    row = judged(declaration, found, regions=[own, others])
    assert (row.finding, row.declared_relative_distance) == ("unrelated_weights", None)
    assert f"base_model: {OTHER}\n" in row.message
    # Others of the cluster say the same: the two kinds may be one in another layout.
    second = replace(declaration, child_id="lab/third")
    rows = audit([declaration, second], [found, edge("lab/third", OTHER)], [own, others])
    assert [each.finding for each in rows] == ["not_comparable", "not_comparable"]
    for changed in (
        {"relation": "merge"},
        {"parent_format": "safetensors", "child_format": "gguf"},
        {"parent_group": "h", "parent_id": "lab/elsewhere"},
    ):
        assert judged(replace(declaration, **changed), found, regions=[own, others]).finding == "not_comparable"
    assert judged(declaration, regions=[own, others]).finding == "not_comparable"
    assert judged(declaration, replace(found, confidence=0.4), regions=[own, others]).finding == "not_comparable"


def test_a_proof_excludes_a_near_parent_that_does_not_fit():
    region = apart(child=0, other=1, parent=1.1)
    proven = quantized(CHILD, OTHER, confidence=0.97)
    fits = replace(proven, evidence=Evidence(fit_share=1.0, candidates=(OTHER,)))
    both = replace(proven, evidence=Evidence(fit_share=1.0, candidates=(OTHER, PARENT)))
    declaration = declared(relation="quantized", child_is_quantized=True)
    assert judged(declaration, proven, regions=[region]).finding == "ambiguous"
    assert judged(declaration, fits, regions=[region]).finding == "quantization_of_other"
    assert judged(declaration, both, regions=[region]).finding == "ambiguous"


def test_partial_and_full_samples_of_one_shape_are_compared():
    declaration = declared(child_group="g-anchors", child_is_quantized=True)
    assert judged(declaration, quantized(CHILD, OTHER, confidence=0.9999)).finding == "quantization_of_other"


def test_a_child_older_than_its_parent_is_contradicted_by_weights_alone():
    older = declared(days_apart=-0.5)
    for measured in ((), (edge(CHILD, OTHER, confidence=0.9999),), (edge(PARENT, CHILD, confidence=0.9999),)):
        row = judged(older, *measured)
        assert (row.verdict, row.finding) == ("undecided", "child_older_than_parent")
        assert "12 hours" in row.explanation
    assert judged(older, edge(CHILD, PARENT)).finding == "parent_confirmed"
    is_quantized = replace(older, child_is_quantized=True)
    assert judged(is_quantized, quantized(CHILD, OTHER, confidence=0.9999)).finding == "quantization_of_other"
    assert judged(older, quantized(PARENT, CHILD, confidence=0.9999)).finding == "descendant_declared"
    assert judged(replace(older, days_apart=0.5)).finding == "ambiguous"


# -- properties ------------------------------------------------------------------------------------------------------

NAMES = [f"lab/{name}" for name in "abcdef"]
edges_strategy = st.lists(
    st.builds(
        edge,
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        rule=st.sampled_from(["nearest", "quantized", "merge", "duplicate", "anything"]),
        relation=st.sampled_from(["finetune", "quantized", "merge", "duplicate", "adapter"]),
        confidence=st.sampled_from([0.0, 0.3, 0.9, 0.999, 1.0]),
        is_ambiguous=st.booleans(),
        candidates=st.none() | st.just(tuple(NAMES)),
    ),
    max_size=12,
)
declarations_strategy = st.lists(
    st.builds(
        declared,
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.sampled_from(["finetune", "adapter", "quantized", "merge", "duplicate", "unknown"]),
        days_apart=st.sampled_from([None, -1.0, 1.0]),
        child_format=st.sampled_from(["safetensors", "gguf", "adapter"]),
        child_is_quantized=st.booleans(),
        child_status=st.sampled_from(["ok", "gated", None]),
        is_merge_base=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda each: (each.child_id, each.parent_id),
)


@settings(max_examples=80, deadline=None)
@given(declarations_strategy, edges_strategy, st.booleans())
def test_any_audit_keeps_its_promises(declarations, measured, has_region):
    region = apart(**dict.fromkeys("abcdef", 0.0) | {"b": 1.0, "c": 2.0})
    acyclic = [each for each in measured if each.child_id > each.parent_id]
    unique = list({(each.child_id, each.parent_id): each for each in acyclic}.values())
    distinct = [each for each in declarations if each.child_id != each.parent_id]
    rows = audit(distinct, unique, [region] if has_region else [])
    assert [(row.child_id, row.parent_id) for row in rows] == [(d.child_id, d.parent_id) for d in distinct]
    assert rows == audit(distinct, unique[::-1], [region] if has_region else []), "the order of edges does not matter"
    for row in rows:
        assert row.verdict == VERDICTS[row.finding]
        assert (row.message is not None) == (row.verdict == "contradicts")
        assert (row.confidence is None) == (row.verdict == "undecided")
        assert row.confidence is None or 0 <= row.confidence <= 1
        assert row.verdict != "contradicts" or row.confidence >= CONTRADICTION
        assert row.explanation.endswith(".")
    assert audit_table(rows).schema == contract_of("edges.audit").arrow_schema


def test_every_finding_has_a_verdict_and_is_in_the_contract():
    assert set(VERDICTS) == set(FINDINGS)


# -- the table -------------------------------------------------------------------------------------------------------


def test_declared_edges_come_with_what_is_known_of_both_ends():
    rows = sound_rows()
    find(rows, "features.tensors", model_id=TUNED)["hidden_quantization"] = "4-bit values in floats"
    latest = {"snapshot": "2026-02-01", "child_id": SIBLING}
    find(rows, "components.claims", **latest)["role"] = "base"
    for table in ("components.models", "components.claims", "components.parents", "components.regions"):
        rows[table] = [each for each in rows[table] if each["snapshot"] == "2026-02-01"]
    find(rows, "components.models", model_id=BASE)["created_at_is_floor"] = True
    with connect(rows) as connection:
        found = {
            each.child_id: each
            for partition in ("bucket-00", "bucket-01")
            for each in declarations(run_query(connection, "edges/declared", partition=partition))
        }
    assert {(child, each.parent_id) for child, each in found.items()} == set(DOCUMENTED)
    assert found[TUNED].child_has_hidden_quantization
    assert not found[GRANDCHILD].child_has_hidden_quantization
    assert (found[SIBLING].is_merge_base, found[TUNED].is_merge_base) == (True, False)
    assert (found[TUNED].days_apart, found[GRANDCHILD].days_apart) == (None, 2.0)
    assert (found[ORPHAN].parent_status, found[ORPHAN].child_status) == ("no_weights", "ok")
    assert found[TUNED].sources == ("tag",)


def test_a_wrong_card_is_found_from_tables_and_vectors():
    """The card of SIBLING names a stranger; everything else is as the weights say."""
    rows = sound_rows()
    for table in ("components.models", "components.claims", "components.parents", "components.regions"):
        rows[table] = [each for each in rows[table] if each["snapshot"] == "2026-02-01"]
    rng = np.random.default_rng(1)
    base, stranger, *steps = rng.normal(size=(5, 300))
    vectors = np.array([base, base + steps[0] / 50, stranger, base + (steps[0] + steps[1]) / 50], dtype=np.float32)
    names = [BASE, TUNED, SIBLING, GRANDCHILD]
    rows["features.models"] = [each for each in rows["features.models"] if each["model_id"] in names]
    squared = ((vectors[:, None].astype(float) - vectors[None]) ** 2).sum(axis=2)
    measured = Measured({"g": names}, {"g": vectors}, {"g/squared": squared, "g/clusters": np.array([0, 0, 1, 0])})
    with connect(rows) as connection:
        table = audited_edges(connection, "bucket-00", measured, n_neighbors=5, seed=0)
    audited = {row["child_id"]: row for row in table.to_pylist()}
    assert {child: row["finding"] for child, row in audited.items()} == {
        TUNED: "parent_confirmed",
        SIBLING: "unrelated_weights",
        GRANDCHILD: "parent_confirmed",
    }
    assert audited[SIBLING]["declared_relative_distance"] == pytest.approx(1, abs=0.2)
