"""The baselines do what their names say, on the same footing as Algorithm 1."""

from __future__ import annotations

import numpy as np
import pytest

from atlas_pipeline.edges.baselines import (
    earliest_root,
    majority,
    nearest_earlier,
    price,
    random_earlier,
    random_root,
    spanning_tree,
)
from atlas_pipeline_tests.edges.populations import pairs, region_of
from atlas_pipeline_tests.edges.test_algorithm1 import line


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


def test_one_level_under_the_earliest_or_under_a_model_drawn():
    region = region_of(line(0, 1, 2, 9), days=[3, 1, 2, 4], clusters=[0, 0, 0, 1])
    assert pairs(earliest_root(region)) == {(0, 1), (2, 1)}
    drawn = [pairs(random_root(region, seed=seed)) for seed in range(60)]
    assert drawn[0] == pairs(random_root(region, seed=0))
    assert all(len(edges) == 2 and len({parent for _, parent in edges}) == 1 for edges in drawn)
    roots = [next(iter(edges))[1] for edges in drawn]
    assert min(np.bincount(roots)) > 8
    assert {edge.rule for edge in random_root(region, seed=0)} == {"root"}
    assert {edge.confidence for edge in earliest_root(region)} == {0.5 / 3}


def test_prices_model_prefers_who_has_children():
    # 1 has four documented children: five chances of the seven that 0, 1 and, once it is there, 6 have.
    known = {2: ((1, "finetune"),), 3: ((1, "finetune"),), 4: ((1, "finetune"),), 5: ((1, "finetune"),), 1: ()}
    region = region_of(line(*range(7)), known_parents=known, days=[0, 1, 3, 4, 5, 6, 2])
    drawn = [price(region, seed=seed) for seed in range(400)]
    parents = [parent for edges in drawn for child, parent in pairs(edges) if child == 6]
    assert len(parents) == 400
    assert set(parents) == {0, 1}
    assert 0.76 < parents.count(1) / 400 < 0.90
    (edge,) = [edge for edge in drawn[0] if edge.child_id == "org/m006"]
    assert edge.rule == "price"
    assert edge.confidence == pytest.approx(0.5 * (5 / 6 if edge.parent_id == "org/m001" else 1 / 6))


def test_prices_model_counts_the_children_that_it_drew():
    region = region_of(np.random.default_rng(1).normal(size=(120, 3)))
    rich = [max(np.bincount([p for _, p in pairs(price(region, seed=seed))])) for seed in range(20)]
    even = [max(np.bincount([p for _, p in pairs(random_earlier(region, seed=seed))])) for seed in range(20)]
    assert np.median(rich) > 1.5 * np.median(even)


def test_spanning_tree_grows_from_the_earliest_whatever_the_dates_of_the_others():
    # In space 0 - 1 - 2 - 3 in a row; 3 is older than 2, yet it hangs on 2.
    edges = spanning_tree(region_of(line(0, 1, 2.5, 4.5), days=[1, 2, 9, 3]))
    assert pairs(edges) == {(1, 0), (2, 1), (3, 2)}
    assert {edge.rule for edge in edges} == {"tree"}
    assert [edge.is_ambiguous for edge in edges] == [False, False, True]


def test_spanning_tree_keeps_documented_parents_and_clusters_apart():
    region = region_of(line(0, 1, 2, 50, 51), clusters=[0, 0, 0, 1, 1], known_parents={2: ((0, "finetune"),)})
    assert pairs(spanning_tree(region)) == {(1, 0), (2, 0), (4, 3)}
