"""What every charting method promises, whatever region it is given."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.edges.comparison import CHARTING_METHOD, methods
from atlas_pipeline_tests.edges.populations import region_of, shuffled
from atlas_pipeline_tests.edges.test_algorithm1 import line, regions

METHODS = methods(n_neighbors=3, seed=7)
WITHOUT_MERGES = {"algorithm1_without_merges", "algorithm1_without_greedy"}
"""Methods that are not given documented merges."""


def test_the_methods_of_the_papers_tables_are_all_there():
    assert CHARTING_METHOD in METHODS
    table2 = {"random_root", "random_earlier", "majority", "price", "mother", "algorithm1_resolved"}
    table3 = {
        f"algorithm1_without_{name}" for name in ("greedy", "quantization", "deduplication", "time", "fans", "merges")
    }
    assert table2 | table3 | {"algorithm1_printed", "spanning_tree", "nearest_earlier"} <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=30, deadline=None)
@given(region=regions(), data=st.data())
def test_any_region_gives_a_dag_that_keeps_what_is_documented(name, region, data):
    edges = METHODS[name](region)
    graph = nx.DiGraph((edge.parent_id, edge.child_id) for edge in edges)
    assert nx.is_directed_acyclic_graph(graph)
    assert graph.number_of_edges() == len(edges)
    assert set(graph) <= set(region.model_ids)
    assert all(0 <= edge.confidence <= 1 for edge in edges)
    known = {
        child: parents
        for child, parents in region.known_parents.items()
        if name not in WITHOUT_MERGES or (len(parents) < 2 and all(relation != "merge" for _, relation in parents))
    }
    documented = nx.DiGraph(
        (region.model_ids[parent], region.model_ids[child]) for child, parents in known.items() for parent, _ in parents
    )
    kept = {(edge.parent_id, edge.child_id) for edge in edges if edge.origin == "documented"}
    # Documents that contradict each other lose an edge; nothing else does.
    assert kept <= set(documented.edges)
    assert kept == set(documented.edges) or not nx.is_directed_acyclic_graph(documented)
    assert not {edge.child_id for edge in edges if edge.origin == "charted"} & {region.model_ids[row] for row in known}
    order = np.array(data.draw(st.permutations(range(region.n_models))), dtype=np.int64)
    assert METHODS[name](shuffled(region, order)) == edges


DEGENERATE = {
    "no model": region_of(np.zeros((0, 2))),
    "one model": region_of(line(0)),
    "one model each": region_of(line(0, 1, 2), clusters=[0, 1, 2]),
    "copies": region_of(line(0, 0, 0, 0)),
    "zeros": region_of(np.zeros((3, 4))),
    "copies without dates": region_of(
        np.array([[0, 0]] * 5 + [[0, 1], [0, 0], [0, -1]]),
        days=[0.0, 0.0, *[float("nan")] * 5, 0.0],
        is_adapter=np.arange(8) == 6,
    ),
    "no dates": region_of(line(0, 1, 3, 4, 9), days=[float("nan")] * 5),
    "one date": region_of(line(0, 1, 3, 4, 9), days=[1] * 5),
    "all quantised": region_of(line(0, 1, 3), is_quantized=np.ones(3, dtype=bool)),
    "all documented": region_of(line(0, 1, 3), known_parents={0: (), 1: ((0, "finetune"),), 2: ()}),
}


@pytest.mark.parametrize("region", DEGENERATE.values(), ids=DEGENERATE)
@pytest.mark.parametrize("name", METHODS)
def test_degenerate_regions_are_charted_without_a_warning(name, region):
    edges = METHODS[name](region)
    assert len({edge.child_id for edge in edges}) == len(edges) < max(region.n_models, 1)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {CHARTING_METHOD}))
def test_methods_that_need_all_distances_say_so(name):
    region = region_of(line(0, 1, 3))
    near = {"near_index": np.array([[1], [0], [1]]), "near_squared": np.array([[1.0], [1.0], [4.0]])}
    with pytest.raises(ValueError, match="3 models has no distance matrix"):
        METHODS[name](replace(region, squared_distances=None, **near))
