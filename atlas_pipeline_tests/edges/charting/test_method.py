"""The method as a whole on made populations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from atlas_pipeline.edges.baselines import nearest_earlier
from atlas_pipeline.edges.charting import chart
from atlas_pipeline.edges.charting.proofs import to_precision
from atlas_pipeline.edges.charting.writing import AMBIGUOUS, rule_confidence
from atlas_pipeline_tests.edges.charting.lineages import LAYOUT, correlated_fans, region_and_truth
from atlas_pipeline_tests.edges.populations import pairs, region_of

MARGIN = 0.15


def as_listed(region, *, k):
    """The same region with its nearest models only."""
    distances = np.where(np.eye(region.n_models, dtype=bool), np.inf, region.squared_distances)
    index = np.argsort(distances, axis=1, kind="stable")[:, :k]
    near = np.take_along_axis(distances, index, axis=1)
    return replace(region, squared_distances=None, near_index=np.where(np.isinf(near), -1, index), near_squared=near)


@pytest.fixture(scope="module")
def charted():
    return [(*region_and_truth(seed), chart(region_and_truth(seed)[0])) for seed in range(2)]


def test_correlated_fans_are_charted_better_than_by_the_nearest(charted):
    own = np.mean([len(pairs(edges) & truth) / len(truth) for _, truth, edges in charted])
    nearest = np.mean([len(pairs(nearest_earlier(region)) & truth) / len(truth) for region, truth, _ in charted])
    assert own > nearest + MARGIN
    assert own > 0.7


def test_edges_say_what_they_rest_on(charted):
    for region, truth, edges in charted:
        assert len(edges) == len(truth)
        for edge in edges:
            assert 0 <= edge.confidence <= 1
            assert edge.relation == "finetune"
            assert edge.rule in ("fan", "snake", "nearest")
            assert (edge.rule == "fan") == (edge.evidence.neighbor_rank > 1)
            assert edge.evidence.candidates[0] == edge.parent_id
            assert set(edge.evidence.candidates) <= set(region.model_ids)
            assert edge.is_ambiguous == (edge.evidence.probability < AMBIGUOUS)
            assert edge.evidence.days_apart > 0
        flags = {edge.is_ambiguous for edge in edges}
        assert flags == {True, False}


def test_sure_edges_are_right_more_often_than_unsure_ones(charted):
    rows = [(edge.confidence, bool(pairs([edge]) & truth)) for _, truth, edges in charted for edge in edges]
    bar = np.median([confidence for confidence, _ in rows])
    sure = [right for confidence, right in rows if confidence > bar]
    unsure = [right for confidence, right in rows if confidence <= bar]
    assert np.mean(sure) > np.mean(unsure)


def test_near_lists_give_the_edges_that_all_distances_give():
    vectors, days, _ = correlated_fans(4)
    # No more models than are listed of each.
    dense = region_of(vectors[:30], days=days[:30], layout=LAYOUT)
    wanted, found = chart(dense), chart(as_listed(dense, k=32))
    assert [(e.child_id, e.parent_id, e.rule, e.evidence.candidates) for e in found] == [
        (e.child_id, e.parent_id, e.rule, e.evidence.candidates) for e in wanted
    ]
    assert [e.confidence for e in found] == pytest.approx([e.confidence for e in wanted])
    assert [e.evidence.squared_distance for e in found] == pytest.approx([e.evidence.squared_distance for e in wanted])


def test_short_near_lists_still_give_every_model_a_parent_that_came_before_it():
    region, _ = region_and_truth(1)
    edges = chart(as_listed(region, k=6))
    assert {edge.child_id for edge in edges} == set(region.model_ids[1:])
    assert all(parent < child for child, parent in pairs(edges))


def test_what_can_be_proven_is_proven_whatever_the_dates():
    vectors, days, _ = correlated_fans(2)
    models = [*np.asarray(vectors[:20], dtype=np.float32)]
    cast = to_precision(models[7], 1)
    pruned = np.where(np.abs(models[9]) < 0.3, np.float32(0), models[9])
    scale = np.abs(models[12].reshape(-1, 32)).max(axis=1, keepdims=True) / 127
    int8 = (np.round(models[12].reshape(-1, 32) / scale) * scale).reshape(-1)
    merge = 0.6 * models[3] + 0.4 * models[16]
    models += [cast, pruned, int8, models[5], merge, models[11] + np.float32(0.01)]
    # The cast is dated before its original.
    when = [*days[:20], days[7] - 0.01, 1000, 1001, 1002, 1003, 1004]
    region = region_of(
        models,
        days=when,
        layout=LAYOUT,
        is_quantized=np.arange(26) == 22,
        is_adapter=np.arange(26) == 25,
        base_of=np.where(np.arange(26) == 25, 0, -1),
    )
    found = {}
    for edge in chart(region):
        found.setdefault(int(edge.child_id[-3:]), []).append(edge)
    told = {
        row: sorted((edge.rule, edge.relation, int(edge.parent_id[-3:])) for edge in found[row])
        for row in range(20, 26)
    }
    assert told == {
        20: [("cast", "quantized", 7)],
        21: [("pruned", "finetune", 9)],
        22: [("quantized", "quantized", 12)],
        23: [("duplicate", "duplicate", 5)],
        24: [("merge", "merge", 3), ("merge", "merge", 16)],
        25: [("adapter", "adapter", 0)],
    }
    assert sorted(edge.coefficient for edge in found[24]) == pytest.approx([0.4, 0.6], abs=1e-3)
    known = rule_confidence()
    assert found[20][0].confidence == known["cast"]
    assert found[20][0].evidence.days_apart < 0
    assert found[22][0].evidence.fit_share > 0.99


def test_documented_parents_stay_and_are_not_charted_again():
    region, _ = region_and_truth(0)
    known = {9: ((2, "finetune"),), 14: (), 20: ((3, "merge"), (5, "merge"))}
    edges = chart(replace(region, known_parents=known, known_sources={(9, 2): ("card",)}))
    documented = [edge for edge in edges if edge.origin == "documented"]
    assert pairs(documented) == {(9, 2), (20, 3), (20, 5)}
    assert next(edge for edge in documented if edge.child_id.endswith("009")).evidence.sources == ("card",)
    assert not {9, 14, 20} & {int(edge.child_id[-3:]) for edge in edges if edge.origin == "charted"}


def test_models_of_other_clusters_are_never_kin():
    region, _ = region_and_truth(3)
    clusters = np.arange(region.n_models) % 2
    assert all(
        clusters[child] == clusters[parent] for child, parent in pairs(chart(replace(region, clusters=clusters)))
    )


@pytest.mark.parametrize("relation", ["finetune", "quantized"])
def test_a_documented_child_that_is_dated_before_its_parent_does_not_become_its_parent(relation):
    region, _ = region_and_truth(1)
    # Each of these is among the nearest of the other and came before it.
    known = {row: ((row + 3, relation),) for row in range(0, 30, 7)}
    edges = chart(replace(region, known_parents=known))
    assert {(child, parents[0][0]) for child, parents in known.items()} <= pairs(edges)
    assert not {(parent, child) for child, parent in pairs(edges)} & pairs(edges)
