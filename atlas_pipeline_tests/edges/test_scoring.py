"""Scores worked out by hand, and their bounds on any prediction."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.edges.records import Edge, Evidence
from atlas_pipeline.edges.scoring import TrueEdge, score, twin_groups

MODELS = ("root", "a", "b", "c", "m", "late_root")
TRUTH = [
    TrueEdge(child_id="a", parent_id="root", relation="finetune", pattern="fan"),
    TrueEdge(child_id="b", parent_id="root", relation="finetune", pattern="fan"),
    TrueEdge(child_id="c", parent_id="b", relation="finetune", pattern="snake"),
    TrueEdge(child_id="m", parent_id="a", relation="merge", pattern="merge"),
    TrueEdge(child_id="m", parent_id="c", relation="merge", pattern="merge"),
    TrueEdge(child_id="late_root", parent_id="gone", relation="finetune", pattern="single"),
]


def predicted(child, parent, rule="nearest"):
    return Edge(
        child_id=child,
        parent_id=parent,
        relation="finetune",
        origin="documented" if rule == "known" else "charted",
        rule=rule,
        confidence=0.5,
        is_ambiguous=False,
        evidence=Evidence(),
    )


EDGES = [
    predicted("a", "root", "known"),
    predicted("b", "a", "snake"),
    predicted("c", "b", "snake"),
    predicted("m", "a"),
    predicted("late_root", "root"),
]


def found_line(scores, subset, breakdown="all", value="", *, matching="strict"):
    wanted = (matching, subset, breakdown, value)
    (found,) = [s for s in scores if (s.matching, s.subset, s.breakdown, s.breakdown_value) == wanted]
    return found


def line(scores, *wanted, **matching):
    found = found_line(scores, *wanted, **matching)
    return found.n_models, found.n_edges, found.accuracy, found.precision, found.recall, found.f1


def test_figures_are_those_worked_out_by_hand():
    scores = score(EDGES, TRUTH, method="ours", model_ids=MODELS, documented=["a"])
    # True edges within the region: 5; the edge to a model elsewhere is left out, so late_root is a source.
    assert line(scores, "all") == (4, 5, 2 / 4, 3 / 5, 3 / 5, 6 / 10)
    assert line(scores, "undocumented") == (3, 4, 1 / 3, 2 / 4, 2 / 4, 4 / 8)
    assert line(scores, "all", "rule", "known") == (1, 1, 1.0, 1.0, None, None)
    assert line(scores, "all", "rule", "snake") == (2, 2, 1 / 2, 1 / 2, None, None)
    # One parent of a merge and a parent for a source: edges half right, models all wrong.
    assert line(scores, "all", "rule", "nearest") == (2, 2, 0.0, 1 / 2, None, None)
    assert line(scores, "all", "pattern", "fan") == (2, 2, 1 / 2, 1 / 2, 1 / 2, 2 / 4)
    assert line(scores, "all", "pattern", "merge") == (1, 1, 0.0, 1.0, 1 / 2, 2 / 3)
    # Of the sources root and late_root one is left without a parent, and no other model is.
    assert line(scores, "all", "pattern", "source") == (2, 1, 1 / 2, 1.0, 1 / 2, 2 / 3)
    assert line(scores, "all", "relation", "merge") == line(scores, "all", "pattern", "merge")
    assert line(scores, "all", "relation", "finetune") == (3, 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3)
    # The merge was charted with one parent, and so not as one.
    assert line(scores, "all", "parents", "several") == (1, 0, 0.0, None, 0.0, 0.0)
    assert {s.method for s in scores} == {"ours"}
    assert not [s for s in scores if s.subset == "undocumented" and s.breakdown_value == "known"]


def test_perfect_prediction_is_perfect():
    edges = [predicted(edge.child_id, edge.parent_id) for edge in TRUTH if edge.parent_id != "gone"]
    for found in score(edges, TRUTH, method="ours", model_ids=MODELS):
        assert (found.accuracy, found.precision) == (1.0, 1.0) or found.n_edges == 0
        assert found.recall in (1.0, None)


def test_nothing_to_divide_by_gives_none():
    assert line(score([], TRUTH, method="ours", model_ids=MODELS), "all") == (4, 0, 0.0, None, 0.0, 0.0)
    empty = score([], [], method="ours", model_ids=[])
    assert line(empty, "all") == (0, 0, None, None, None, None)
    assert line(empty, "all", "pattern", "source") == (0, 0, None, None, None, None)


def test_merges_are_found_missed_and_made_up():
    truth = [*TRUTH, TrueEdge(child_id="c", parent_id="a", relation="merge", pattern="merge")]
    guess = [("m", "a"), ("m", "c"), ("b", "root"), ("b", "a"), ("c", "b")]
    scores = score([predicted(c, p) for c, p in guess], truth, method="ours", model_ids=MODELS)
    # Of m and c, which have two parents, m was found whole and c as a child of one; b has one and was given two.
    assert line(scores, "all", "parents", "several") == (2, 4, 1 / 2, 1 / 2, 1 / 2, 1 / 2)


TWINS = [
    TrueEdge(child_id="copy", parent_id="root", relation="duplicate", pattern="reupload"),
    TrueEdge(child_id="small", parent_id="copy", relation="quantized", pattern="gguf"),
    TrueEdge(child_id="half", parent_id="a", relation="finetune", pattern="cast"),
    TrueEdge(child_id="a", parent_id="root", relation="finetune", pattern="single"),
    TrueEdge(child_id="b", parent_id="small", relation="adapter", pattern="qlora"),
    TrueEdge(child_id="m", parent_id="a", relation="merge", pattern="merge"),
    TrueEdge(child_id="m", parent_id="b", relation="merge", pattern="merge"),
]


def test_twins_are_what_holds_the_same_weights():
    groups = twin_groups(TWINS)
    assert groups["copy"] == groups["root"] == groups["small"]
    assert groups["half"] == groups["a"] != groups["root"]
    assert "b" not in groups
    assert "m" not in groups


def test_a_twin_of_the_true_parent_is_right_where_twins_are():
    models = ("root", "copy", "small", "half", "a", "b", "m")
    guess = [
        ("copy", "root"),
        ("small", "root"),
        ("half", "a"),
        ("a", "copy"),
        ("b", "root"),
        ("m", "half"),
        ("m", "a"),
    ]
    scores = score([predicted(c, p) for c, p in guess], TWINS, method="ours", model_ids=models)
    assert line(scores, "all") == (6, 7, 2 / 6, 3 / 7, 3 / 7, 3 / 7)
    # Both parents of m are one group, and b is missing: six of seven predicted, six of seven true, all but m.
    assert line(scores, "all", matching="twins") == (6, 7, 5 / 6, 7 / 7, 6 / 7, pytest.approx(12 / 13))
    assert line(scores, "all", "pattern", "qlora", matching="twins") == (1, 1, 1.0, 1.0, 1.0, 1.0)
    assert line(scores, "all", "pattern", "source", matching="twins") == line(scores, "all", "pattern", "source")


def test_candidates_are_those_named_by_an_edge_and_its_evidence():
    listed = [replace(predicted("b", "a"), evidence=Evidence(candidates=("a", "root"))), predicted("a", "root")]
    scores = score([*listed, predicted("m", "a")], TRUTH, method="ours", model_ids=MODELS)
    found = found_line(scores, "all")
    # Of five true edges a, b and one of m's two; m's other and c's are named nowhere. Named: 1 of a, 2 of b, 1 of m.
    assert (found.candidates_recall, found.mean_candidates) == (3 / 5, 4 / 4)
    assert found_line(scores, "all", "pattern", "snake").candidates_recall == 0.0
    assert found_line(scores, "all", "rule", "nearest").candidates_recall is None


def test_confidence_of_charted_edges_is_weighed_against_the_outcome():
    edges = [replace(edge, confidence=sure) for edge, sure in zip(EDGES, (1.0, 0.8, 0.95, 0.9, 0.2), strict=True)]
    scores = score(edges, TRUTH, method="ours", model_ids=MODELS)
    found = found_line(scores, "all")
    # The documented edge does not count: wrong 0.8, right 0.95, right 0.9, wrong 0.2.
    assert found.mean_confidence == pytest.approx(2.85 / 4)
    assert found.brier_score == pytest.approx((0.64 + 0.0025 + 0.01 + 0.04) / 4)
    assert found.expected_calibration_error == pytest.approx((0.8 + 0.15 + 0.2) / 4)
    bins = {
        s.breakdown_value: s for s in scores if (s.matching, s.subset, s.breakdown) == ("strict", "all", "confidence")
    }
    assert {name: (s.n_edges, s.precision) for name, s in bins.items()} == {
        "0.2-0.3": (1, 0.0),
        "0.8-0.9": (1, 0.0),
        "0.9-1.0": (2, 1.0),
    }
    assert bins["0.9-1.0"].mean_confidence == pytest.approx(0.925)
    assert found_line(scores, "all", "rule", "known").mean_confidence is None


PAIRS = st.sets(st.tuples(st.sampled_from(MODELS), st.sampled_from(MODELS)).filter(lambda pair: pair[0] != pair[1]))


KINDS = st.sampled_from([("finetune", "single"), ("quantized", "gguf"), ("duplicate", "reupload"), ("merge", "merge")])


@settings(max_examples=60, deadline=None)
@given(guess=PAIRS, real=PAIRS, documented=st.sets(st.sampled_from(MODELS)), data=st.data())
def test_shares_stay_within_bounds_and_lines_are_unique(guess, real, documented, data):
    kinds = [data.draw(KINDS) for _ in real]
    truth = [
        TrueEdge(child_id=child, parent_id=parent, relation=relation, pattern=pattern)
        for (child, parent), (relation, pattern) in zip(sorted(real), kinds, strict=True)
    ]
    edges = [predicted(c, p) for c, p in sorted(guess)]
    scores = score(edges, truth, method="ours", model_ids=MODELS, documented=documented)
    by_key = {(s.matching, s.subset, s.breakdown, s.breakdown_value): s for s in scores}
    assert len(by_key) == len(scores)
    for s in scores:
        shares = (s.accuracy, s.precision, s.recall, s.f1, s.candidates_recall, s.brier_score)
        assert all(share is None or 0 <= share <= 1 for share in shares)
        if s.precision and s.recall:
            assert abs(s.f1 - 2 * s.precision * s.recall / (s.precision + s.recall)) < 1e-12
        if s.recall is not None and s.candidates_recall is not None:
            assert s.recall <= s.candidates_recall
    for (matching, *rest), strict in by_key.items():
        if matching == "strict":
            with_twins = by_key["twins", *rest]
            assert (with_twins.n_models, with_twins.n_edges) == (strict.n_models, strict.n_edges)
            for share in ("accuracy", "precision", "recall"):
                assert getattr(strict, share) is None or getattr(with_twins, share) >= getattr(strict, share)
