"""Algorithm 1 without one of its assumptions goes wrong just there."""

from __future__ import annotations

import numpy as np
import pytest

from atlas_pipeline.edges.ablations import ASSUMPTIONS, chart_without
from atlas_pipeline.edges.algorithm1 import chart
from atlas_pipeline_tests.edges.populations import Population, pairs, region_of
from atlas_pipeline_tests.edges.test_algorithm1 import line

NAN = float("nan")


def test_without_quantization_a_quantised_model_becomes_a_parent():
    region = region_of(line(0, 10, 10.5), is_quantized=np.array([False, True, False]))
    assert pairs(chart(region)) == {(1, 0), (2, 0)}
    assert pairs(chart_without(region, "quantization")) == {(1, 0), (2, 1)}


def test_without_deduplication_copies_have_children():
    # The third model is nearest to both copies; without the search for them the later one competes.
    region = region_of(line(0, 4, 4, 5), days=[0, 2, 1, 3], known_parents={2: ((0, "finetune"),)})
    assert pairs(chart(region)) == {(2, 0), (1, 2), (3, 2)}
    edges = chart_without(region, "deduplication")
    assert {edge.rule for edge in edges} == {"known", "nearest"}
    assert {edge.relation for edge in edges} == {"finetune"}


def test_without_time_the_tree_grows_from_the_earliest_model():
    region = region_of(line(0, 1, 2.5, 4.5), days=[1, 2, 9, 3])
    assert pairs(chart(region)) == {(1, 0), (2, 1), (3, 1)}
    assert pairs(chart_without(region, "time")) == {(1, 0), (2, 1), (3, 2)}
    # Quantised models stay leaves, and copies children of their originals.
    leaves = region_of(line(0, 1, 2, 2), is_quantized=np.array([False, True, False, False]))
    assert pairs(chart_without(leaves, "time")) == {(1, 0), (2, 0), (3, 2)}


def test_without_fans_the_nearest_is_always_taken():
    # Members that share half of their update are as near to each other as to their origin.
    generator = np.random.default_rng(3)
    base, shared = generator.normal(size=(2, 400))
    members = [base + 0.01 * shared + 0.01 * generator.normal(size=400) for _ in range(8)]
    region = region_of([base, *members])
    assert "fan" in {edge.rule for edge in chart(region)}
    edges = chart_without(region, "fans")
    assert {edge.rule for edge in edges} == {"nearest"}
    assert {edge.evidence.neighbor_rank for edge in edges} == {1}


def test_without_merges_documented_ones_are_charted_with_one_parent():
    known = {2: ((0, "merge"), (1, "merge")), 3: ((2, "finetune"),), 1: ()}
    region = region_of(line(0, 4, 2.5, 2.6), known_parents=known)
    assert pairs(chart(region)) == {(2, 0), (2, 1), (3, 2)}
    for assumption in ("merges", "greedy"):
        edges = chart_without(region, assumption)
        assert pairs(edges) == {(2, 1), (3, 2)}
        assert [edge.origin for edge in edges] == ["charted", "documented"]


def test_one_tree_for_all_differs_where_dates_are_unknown():
    # Greedily, models without a date come last, by their ids; the tree takes the cheaper way through them.
    region = region_of(line(0, 9, 5), days=[0, NAN, NAN])
    assert pairs(chart(region)) == {(1, 0), (2, 1)}
    edges = chart_without(region, "greedy")
    assert pairs(edges) == {(2, 0), (1, 2)}
    assert {edge.rule for edge in edges} == {"tree"}


def test_one_tree_for_all_is_the_greedy_answer_where_dates_are_known():
    population = Population(seed=5)
    base = population.base()
    for child in population.fan(base, size=5):
        population.snake(child, length=3)
        population.int8(child)
        population.copy(child)
    region = population.region()
    assert pairs(chart_without(region, "greedy")) == pairs(chart(region))


def test_what_is_no_assumption_is_refused():
    with pytest.raises(ValueError, match="no assumption"):
        chart_without(region_of(line(0, 1)), "haste")
    assert len(ASSUMPTIONS) == 6
