"""Ways to break sound rows of ``edges.audit``."""

from __future__ import annotations

from atlas_pipeline_tests.quality.breakages import Breakage, change, drop
from atlas_pipeline_tests.quality.sound_tables import BASE, GONE, ORPHAN, SIBLING, SNAPSHOTS, TUNED

AUDIT = "edges.audit"
OF_SIBLING = {"snapshot": SNAPSHOTS[-1], "child_id": SIBLING}

BROKEN_AUDITS = (
    Breakage(
        f"{AUDIT}/audited_edges_are_documented",
        "an edge that was dropped since",
        change("components.parents", OF_SIBLING, is_kept=False, drop_reason="cycle"),
        1,
        (SIBLING, BASE),
    ),
    Breakage(
        f"{AUDIT}/audited_edges_are_documented",
        "other sources",
        change(AUDIT, {"child_id": TUNED}, declared_sources=["card_text"]),
        1,
        (TUNED, "tag"),
    ),
    Breakage(
        f"{AUDIT}/documented_edges_are_audited",
        "one is missing",
        drop(AUDIT, child_id=ORPHAN),
        1,
        (ORPHAN, GONE),
    ),
    Breakage(
        f"{AUDIT}/findings_have_their_verdict",
        "what cannot be compared contradicts",
        change(AUDIT, {"child_id": ORPHAN}, verdict="contradicts"),
        1,
        (ORPHAN, "not_comparable"),
    ),
    Breakage(
        f"{AUDIT}/findings_have_their_verdict",
        "sure of nothing",
        change(AUDIT, {"child_id": ORPHAN}, confidence=0.9),
        1,
        (ORPHAN, "0.9"),
    ),
    Breakage(
        f"{AUDIT}/contradictions_name_what_was_found",
        "a contradiction without a word",
        change(AUDIT, {"child_id": SIBLING}, message=" "),
        1,
        (SIBLING,),
    ),
    Breakage(
        f"{AUDIT}/contradictions_name_what_was_found",
        "a message to somebody who is right",
        change(AUDIT, {"child_id": TUNED}, message="Have a look."),
        1,
        (TUNED,),
    ),
    Breakage(
        f"{AUDIT}/contradictions_name_what_was_found",
        "a contradiction by nothing",
        change(AUDIT, {"child_id": SIBLING}, measured_parent_ids=[]),
        1,
        (SIBLING,),
    ),
    Breakage(
        f"{AUDIT}/contradictions_name_what_was_found",
        "the wrong relation is the right one",
        change(AUDIT, {"child_id": SIBLING}, finding="wrong_relation"),
        1,
        (SIBLING,),
    ),
    Breakage(
        f"{AUDIT}/unrelated_parents_are_far",
        "an unrelated parent that is near",
        change(AUDIT, {"child_id": SIBLING}, finding="unrelated_weights"),
        1,
        (SIBLING, "0.2"),
    ),
    Breakage(
        f"{AUDIT}/unrelated_parents_are_far",
        "an unrelated parent nearer than the measured one",
        change(
            AUDIT,
            {"child_id": SIBLING},
            finding="unrelated_weights",
            declared_relative_distance=0.9,
            measured_squared_distance=3.0,
        ),
        1,
        (SIBLING, "0.9"),
    ),
    Breakage(
        f"{AUDIT}/measured_parents_are_other_models",
        "a model is its own measured parent",
        change(AUDIT, {"child_id": TUNED}, measured_parent_ids=[TUNED]),
        1,
        (TUNED,),
    ),
    Breakage(
        f"{AUDIT}/measured_parents_are_other_models",
        "the measured parent is contradicted",
        change(AUDIT, {"child_id": SIBLING}, measured_parent_ids=[BASE]),
        1,
        (SIBLING, BASE),
    ),
)
