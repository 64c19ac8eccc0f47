"""The pseudo code as printed: its slips do what the text says they do."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.edges.algorithm1 import chart
from atlas_pipeline.edges.paper import chart_as_printed
from atlas_pipeline_tests.edges.populations import Population, pairs, region_of
from atlas_pipeline_tests.edges.test_algorithm1 import line, regions

INF, NAN = float("inf"), float("nan")


def literal(region, *, k, threshold, percentile):
    """The pseudo code once more, in plain Python, for one cluster of dated models."""
    order = region.chronology.tolist()
    n = len(order)
    distance = [[INF if i == j else float(region.squared_distances[i, j]) for j in order] for i in order]
    times = [float(region.created_at[row]) for row in order]
    found, correlations = {}, {}
    for i, row in enumerate(order):
        if region.is_quantized[row]:
            distance[i] = [INF] * n
        for j in range(i + 1, n):
            if distance[i][j] == 0:
                distance[j] = [INF] * n
        near = sorted(range(n), key=lambda x: distance[x][i])[1:k]
        later = sorted(range(n - i - 1), key=lambda x: distance[x + i + 1][i])[1:k]
        d, t = [distance[x][i] for x in near], [abs(times[x] - times[i]) for x in near]
        if len(d) > 1 and INF not in d and len(set(d)) > 1 and len(set(t)) > 1:
            correlations[i] = np.corrcoef(d, t)[0, 1]
        if near and later:
            found[i] = later, d[-1] - d[0] if d[0] < INF else NAN
    rho = np.percentile(list(correlations.values()), percentile) if correlations else INF
    edges = set()
    for i, (later, spread) in found.items():
        # A correlation that ties with the threshold is decided by the last digit of either sum.
        if abs(correlations.get(i, INF) - rho) < 1e-9 and not spread > threshold:
            return None
        is_first = spread > threshold or correlations.get(i, -INF) > rho
        parent = later[0] if is_first else min(later, key=lambda x: times[x])
        if parent != i:
            edges.add((order[i], order[parent]))
    return edges


@settings(max_examples=80, deadline=None)
@given(region=regions(is_plain=True), k=st.integers(1, 5), threshold=st.sampled_from([0.05, 30.5, INF]))
def test_a_plain_copy_of_the_pseudo_code_agrees(region, k, threshold):
    expected = literal(region, k=k, threshold=threshold, percentile=55)
    if expected is None:
        return
    edges = pairs(chart_as_printed(region, n_neighbors=k, spread_threshold=threshold, snake_percentile=55))
    # What runs in circles is broken up, and nothing else is left out.
    is_acyclic = nx.is_directed_acyclic_graph(nx.DiGraph(expected))
    assert edges == expected if is_acyclic else edges < expected


def test_numbers_within_the_slice_are_used_for_all_models():
    edges = chart_as_printed(region_of(line(0, 10, 20, 30, 40)), spread_threshold=0)
    # 0 passes over the nearest later model, 1, and takes number 1 of the slice that begins with 1: it stands for 2, but
    # is read as 1. Number 1 is all that 1 itself finds, which gives nothing, and what 2 finds. 3 has one later model.
    assert pairs(edges) == {(0, 1), (2, 1)}
    assert {edge.rule for edge in edges} == {"nearest"}


def test_hardly_any_parent_is_found_where_the_resolved_reading_finds_all():
    population = Population()
    population.snake(population.base(), length=14)
    truth = {(row, row - 1) for row in range(1, 15)}
    assert pairs(chart(population.region())) == truth
    assert len(pairs(chart_as_printed(population.region())) & truth) <= 1


def test_arguments_out_of_range_are_refused():
    for name, value in (("n_neighbors", 0), ("snake_percentile", 101)):
        with pytest.raises(ValueError, match=name):
            chart_as_printed(region_of(line(0, 1)), **{name: value})
