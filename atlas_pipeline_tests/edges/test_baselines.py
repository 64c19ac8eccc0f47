"""The baselines do what their names say, on the same footing as Algorithm 1."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.edges.baselines import majority, nearest_earlier, random_earlier
from atlas_pipeline_tests.edges.populations import pairs, region_of, shuffled
from atlas_pipeline_tests.edges.test_algorithm1 import line, regions

METHODS = {
    "nearest_earlier": nearest_earlier,
    "majority": majority,
    "random_earlier": lambda region: random_earlier(region, seed=7),
}


def test_nearest_earlier_knows_no_leaves():
    quantized = np.array([False, True, False])
    assert pairs(nearest_earlier(region_of(line(0, 1, 1.5), is_quantized=quantized))) == {(1, 0), (2, 1)}


def test_majority_takes_the_busiest_documented_parent():
    known = {2: ((1, "finetune"),), 3: ((1, "finetune"),), 4: ((0, "finetune"),)}
    region = region_of(line(0, 1, 2, 3, 4, 5, 90, 91), clusters=[0] * 6 + [1] * 2, known_parents=known)
    edges = majority(region)
    # 0 descends from the busiest too, which is later: this baseline knows no time.
    assert pairs(edges) == {(2, 1), (3, 1), (4, 0), (5, 1), (0, 1), (7, 6)}
    assert {edge.rule for edge in edges} == {"known", "majority"}


def test_majority_without_documentation_is_one_level_under_the_earliest():
    assert pairs(majority(region_of(line(0, 1, 2), days=[3, 1, 2]))) == {(0, 1), (2, 1)}


def test_random_parents_are_earlier_evenly_spread_and_repeatable():
    region = region_of(np.random.default_rng(0).normal(size=(6, 3)))
    drawn = [pairs(random_earlier(region, seed=seed)) for seed in range(300)]
    assert drawn[0] == pairs(random_earlier(region, seed=0))
    assert all(parent < child for edges in drawn for child, parent in edges)
    counts = np.bincount([parent for edges in drawn for child, parent in edges if child == 5], minlength=5)
    assert counts.sum() == 300
    assert counts.min() > 30
    confidence = [edge.confidence for edge in random_earlier(region, seed=0)]
    assert confidence == [0.5 / earlier for earlier in range(1, 6)]


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40, deadline=None)
@given(region=regions(), data=st.data())
def test_baselines_are_acyclic_and_do_not_depend_on_the_order_of_the_models(method, region, data):
    edges = METHODS[method](region)
    assert nx.is_directed_acyclic_graph(nx.DiGraph((edge.parent_id, edge.child_id) for edge in edges))
    order = np.array(data.draw(st.permutations(range(region.n_models))), dtype=np.int64)
    assert METHODS[method](shuffled(region, order)) == edges
