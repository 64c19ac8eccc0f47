"""Regions and impact: names that last, and totals against brute force."""

from __future__ import annotations

import re

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.components.families import model_families
from atlas_pipeline_tests.components.listings import day, document


def child_of(model_id: str, *parents: str, **row) -> dict:
    return {"id": model_id, "tags": [f"base_model:{parent}" for parent in parents], **row}


def region_ids(rows) -> dict[str, str]:
    return {row["model_id"]: row["region_id"] for row in document(rows).regions.to_pylist()}


def test_a_region_is_named_after_its_oldest_source_and_described_by_its_greatest():
    rows = [
        {"id": "z/oldest", "createdAt": day(1)},
        {"id": "a/great", "createdAt": day(2)},
        child_of("b/merge", "z/oldest", "a/great", createdAt=day(3)),
        child_of("c/leaf", "a/great", createdAt=day(4)),
        {"id": "d/undated"},
    ]
    found = {row["model_id"]: row for row in document(rows).regions.to_pylist()}
    for name in ("z/oldest", "a/great", "b/merge", "c/leaf"):
        assert (found[name]["region_id"], found[name]["region_name"]) == ("z--oldest", "a/great")
        assert found[name]["region_size"] == 4
    assert [name for name, row in found.items() if row["is_source"]] == ["a/great", "d/undated", "z/oldest"]
    assert (found["d/undated"]["region_id"], found["d/undated"]["region_size"]) == ("d--undated", 1)


def test_ids_of_regions_last_when_models_are_added():
    rows = [{"id": "m/root", "createdAt": day(5)}, child_of("m/leaf", "m/root", createdAt=day(6))]
    before = region_ids(rows)
    later = [
        {"id": "a/new", "createdAt": day(9)},
        {"id": "b/undated"},
        child_of("a/merge", "m/leaf", "a/new", "b/undated", createdAt=day(10)),
    ]
    after = region_ids(rows + later)
    assert {name: after[name] for name in before} == before
    assert set(after.values()) == {"m--root"}


def test_a_source_that_is_gone_still_names_its_region():
    rows = [{"id": "m/root", "createdAt": day(5)}, child_of("a/leaf", "m/root", createdAt=day(6))]
    assert set(region_ids({"2024-02-01": rows, "2025-01-01": rows[1:]}).values()) == {"m--root"}


def test_regions_of_ids_that_differ_by_dashes_and_slashes_are_two():
    ids = ["a--b/c", "a/b--c", "a--b--c", "a-/b", "a/-b", "a---b", "a/b", "a--b", "a-b/c-d"]
    found = region_ids([{"id": name} for name in ids])
    assert len(set(found.values())) == len(ids)
    assert found["a/b"] == "a--b" and found["a-b/c-d"] == "a-b--c-d"
    assert not any("/" in region_id for region_id in found.values())


def partitions_of(rows, *, large_region_models: int) -> dict[str, str]:
    found = document(rows, large_region_models=large_region_models).regions.to_pylist()
    return {row["model_id"]: row["region_partition"] for row in found}


def test_regions_of_a_large_model_type_have_a_partition_and_others_share_buckets():
    rows = [{"id": f"a/{i}", "config": '{"model_type": "big/../one"}'} for i in range(5)]
    rows += [{"id": "b/1", "config": '{"model_type": "small"}'}, {"id": "c/1"}]
    found = document(rows, large_region_models=5).regions.to_pylist()
    partitions = {row["model_id"]: row["region_partition"] for row in found}
    assert {partitions[f"a/{i}"] for i in range(5)} == {"type-bigone"}
    assert all(partitions[name].startswith("bucket-") and len(partitions[name]) == 9 for name in ("b/1", "c/1"))
    assert document(rows[::-1], large_region_models=5).regions.to_pylist() == found


@pytest.mark.parametrize(("n_models", "is_small"), [(6, True), (7, False)])
def test_a_small_hub_has_one_partition_so_that_every_model_meets_every_other(n_models, is_small):
    rows = [{"id": f"a/{i}", "config": f'{{"model_type": "type{i}"}}'} for i in range(n_models - 2)]
    rows += [{"id": "b/silent"}, {"id": "c/file", "gguf": '{"architecture": "type0"}'}]
    found = partitions_of(rows, large_region_models=7)
    assert (set(found.values()) == {"bucket-00"}) == is_small
    assert found["a/0"] == found["c/file"]


KIN = {
    "llama": ({"config": '{"model_type": "llama"}'}, {"gguf": '{"architecture": "llama"}'}),
    "mistral in GGUF": ({"config": '{"model_type": "mistral"}'}, {"gguf": '{"architecture": "llama"}'}),
    "spelling": ({"config": '{"model_type": "qwen2_moe"}'}, {"gguf": '{"architecture": "qwen2moe"}'}),
    "two names": ({"config": '{"model_type": "deepseek_v3"}'}, {"gguf": '{"architecture": "deepseek2"}'}),
    "class alone": ({"config": '{"architectures": ["GPT2LMHeadModel"]}'}, {"gguf": '{"architecture": "gpt2"}'}),
    "class of a head": (
        {"config": '{"architectures": ["Qwen3MoeForCausalLM"]}'},
        {"gguf": '{"architecture": "qwen3moe"}'},
    ),
}


@pytest.mark.parametrize("name", KIN)
def test_models_that_share_weights_meet_in_a_large_hub_whatever_names_they_go_by(name):
    parent, child = KIN[name]
    others = [{"id": f"o/{i}", "config": '{"model_type": "other"}'} for i in range(3)]
    found = partitions_of([{"id": "a/parent", **parent}, {"id": "b/child", **child}, *others], large_region_models=2)
    assert found["a/parent"] == found["b/child"]
    assert found["a/parent"].startswith("type-")
    assert found["o/0"] == "type-other"


def test_families_are_folded_names_and_no_family_is_renamed_again():
    table = model_families().to_pydict()
    assert len(set(table["model_type"])) == len(table["model_type"]) > 0
    assert not set(table["model_type"]) & set(table["family"])
    assert all(re.fullmatch("[a-z0-9]+", name) for names in table.values() for name in names)


def test_of_two_model_types_that_are_as_frequent_the_first_by_name_counts():
    rows = [
        {"id": "a/root", "config": '{"model_type": "zeta"}'},
        child_of("b/leaf", "a/root", config='{"model_type": "alpha"}'),
    ]
    for order in (rows, rows[::-1]):
        found = document(order, large_region_models=1).regions["region_partition"].to_pylist()
        assert found == ["type-alpha"] * 2


def test_hubs_are_leaves_with_the_same_parents():
    rows = [
        {"id": "p/1"},
        {"id": "p/2"},
        *(child_of(f"a/{i}", "p/1") for i in range(2)),
        *(child_of(f"b/{i}", "p/2", "p/1") for i in range(2)),
        child_of("c/alone", "p/2"),
        child_of("d/parent", "p/1"),
        child_of("e/leaf", "d/parent"),
        child_of("f/self", "f/self", "p/1"),
        {"id": "g/isolated"},
    ]
    found = {row["model_id"]: row["hub_id"] for row in document(rows).impact.to_pylist()}
    assert {name: hub for name, hub in found.items() if hub} == {
        "a/0": "p/1",
        "a/1": "p/1",
        "b/0": "p/1 + p/2",
        "b/1": "p/1 + p/2",
        "f/self": "p/1",
    }


@st.composite
def dags(draw):
    n = draw(st.integers(1, 60))
    child = st.integers(0, n - 1)
    pairs = draw(st.lists(st.tuples(child, child).filter(lambda p: p[0] != p[1]), max_size=3 * n))
    downloads = draw(st.lists(st.none() | st.integers(0, 2**40), min_size=n, max_size=n))
    return n, {(min(p), max(p)) for p in pairs}, downloads


@settings(max_examples=12, deadline=None)
@given(dags())
def test_impact_is_what_brute_force_says(dag):
    n, edges, downloads = dag
    graph = nx.DiGraph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from(edges)
    rows = [child_of(f"m/{i}", *(f"m/{p}" for p in graph.predecessors(i)), downloads=downloads[i]) for i in range(n)]
    atlas = document(rows)
    found = {int(row["model_id"][2:]): row for row in atlas.impact.to_pylist()}
    own = [count or 0 for count in downloads]
    depth = {}
    for node in nx.topological_sort(graph):
        depth[node] = max((depth[p] + 1 for p in graph.predecessors(node)), default=0)
    share = dict(enumerate(map(float, own)))
    for node in reversed(list(nx.topological_sort(graph))):
        for parent in graph.predecessors(node):
            share[parent] += share[node] / graph.in_degree(node)
    for node in graph:
        below = nx.descendants(graph, node)
        expected = {
            "depth": depth[node],
            "is_leaf": graph.out_degree(node) == 0,
            "n_children": graph.out_degree(node),
            "n_descendants": len(below),
            "descendant_downloads": sum(own[d] for d in below),
            "sub_tree_downloads": own[node] + sum(own[d] for d in below),
            "merge_share_downloads": pytest.approx(share[node], rel=1e-9, abs=1e-6),
        }
        assert {name: found[node][name] for name in expected} == expected
    regions = {}
    for row in atlas.regions.to_pylist():
        regions.setdefault(row["region_id"], set()).add(int(row["model_id"][2:]))
    assert sorted(map(sorted, regions.values())) == sorted(map(sorted, nx.weakly_connected_components(graph)))
    sources = [row for row in atlas.impact.to_pylist() if row["depth"] == 0]
    assert np.isclose(sum(row["merge_share_downloads"] for row in sources), sum(own))
