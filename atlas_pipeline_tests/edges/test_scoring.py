"""Scores worked out by hand, and their bounds on any prediction."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.edges.records import Edge, Evidence
from atlas_pipeline.edges.scoring import TrueEdge, score

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


def line(scores, subset, breakdown="all", value=""):
    (found,) = [s for s in scores if (s.subset, s.breakdown, s.breakdown_value) == (subset, breakdown, value)]
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


PAIRS = st.sets(st.tuples(st.sampled_from(MODELS), st.sampled_from(MODELS)).filter(lambda pair: pair[0] != pair[1]))


@settings(max_examples=60, deadline=None)
@given(guess=PAIRS, real=PAIRS, documented=st.sets(st.sampled_from(MODELS)))
def test_shares_stay_within_bounds_and_lines_are_unique(guess, real, documented):
    truth = [TrueEdge(child_id=c, parent_id=p, relation="finetune", pattern="single") for c, p in sorted(real)]
    edges = [predicted(c, p) for c, p in sorted(guess)]
    scores = score(edges, truth, method="ours", model_ids=MODELS, documented=documented)
    keys = [(s.subset, s.breakdown, s.breakdown_value) for s in scores]
    assert len(set(keys)) == len(keys)
    for s in scores:
        assert all(share is None or 0 <= share <= 1 for share in (s.accuracy, s.precision, s.recall, s.f1))
        if s.precision and s.recall:
            assert abs(s.f1 - 2 * s.precision * s.recall / (s.precision + s.recall)) < 1e-12
