"""Ancestors, twins and distances of a measured atlas."""

from __future__ import annotations

import pytest

from atlas_pipeline.edges.audit_lineage import MeasuredLineage, distances
from atlas_pipeline_tests.edges.populations import Population
from atlas_pipeline_tests.edges.test_audit import edge


def test_ancestors_are_as_sure_as_the_surest_way_to_them():
    lineage = MeasuredLineage(
        [edge("d", "b", confidence=0.5), edge("d", "c", confidence=0.9), edge("b", "a"), edge("c", "a", confidence=0.8)]
    )
    assert lineage.ancestors("d") == {
        "b": (1, 0.5),
        "c": (1, 0.9),
        "a": (2, pytest.approx(0.9 * 0.8)),
    }
    assert (lineage.source("d"), lineage.source("a")) == ("a", "a")


def test_distances_are_those_of_the_vectors():
    population = Population()
    base = population.base()
    population.finetune(base)
    region = population.region()
    one, other = region.model_ids
    measured = distances([region], [(one, other), (other, one), (one, "no/model")])
    assert set(measured) == {(one, other), (other, one)}
    assert measured[one, other].squared == pytest.approx(region.squared_distances[0, 1], rel=1e-12)
    assert measured[one, other].relative == pytest.approx(region.relative_distance(0, 1), rel=1e-12)
