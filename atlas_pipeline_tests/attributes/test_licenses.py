"""License rules as data, and terms along lineage against a plain walk over the graph."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.attributes.licenses import TERMS, license_lineage, license_rules, terms_along
from atlas_pipeline.graph import EdgeList
from atlas_pipeline_tests.components.listings import connected, table_of

SNAPSHOT = "2025-01-01"


def lineage_of(licenses: dict[str, str | None], edges: list[tuple[str, str]]) -> dict[str, dict]:
    """Rows by model, given the license of each model and edges (parent, child)."""
    tables = {
        "components.models": table_of(
            "components.models", [{"model_id": name, "license": text} for name, text in licenses.items()]
        ),
        "components.parents": table_of(
            "components.parents",
            [
                {"child_id": c, "parent_id": p, "is_kept": True, "sources": [], "relations": []}
                | {"disagreeing_sources": []}
                for p, c in edges
            ],
        ),
    }
    with connected(tables) as connection:
        return {row["model_id"]: row for row in license_lineage(connection, SNAPSHOT).to_pylist()}


def test_every_rule_is_one_of_the_known_terms_and_stands_once():
    rules = license_rules().to_pylist()
    names = [rule["license"] for rule in rules]
    assert names == sorted(set(names), key=names.index) and all(name == name.lower() for name in names)
    assert all(0 <= rule["terms"] < 1 << len(TERMS) for rule in rules)
    terms = {rule["license"]: {t for bit, t in enumerate(TERMS) if rule["terms"] >> bit & 1} for rule in rules}
    assert terms["cc-by-nc-sa-4.0"] == {"attribution", "non_commercial", "share_alike"}
    assert terms["cc0-1.0"] == set()
    assert {"other", "unknown"}.isdisjoint(terms)


def test_every_creative_commons_license_asks_for_what_its_name_says():
    words = {"nc": "non_commercial", "nd": "no_derivatives", "sa": "share_alike", "by": "attribution"}
    for rule in license_rules().to_pylist():
        if rule["license"].startswith("cc-"):
            asked = {t for bit, t in enumerate(TERMS) if rule["terms"] >> bit & 1}
            assert asked == {words[word] for word in rule["license"].split("-") if word in words}, rule["license"]
            assert rule["spdx_id"] == rule["license"].upper()


def test_the_first_edge_at_which_terms_are_lost_is_named_for_all_below_it():
    found = lineage_of(
        {"a/nc": "cc-by-nc-4.0", "b/mit": "mit", "c/mit": "mit", "d/none": None},
        [("a/nc", "b/mit"), ("b/mit", "c/mit"), ("c/mit", "d/none")],
    )
    for name in ("b/mit", "c/mit", "d/none"):
        row = found[name]
        assert (row["lost_at_parent_id"], row["lost_at_child_id"]) == ("a/nc", "b/mit")
        assert row["lost_terms"] == ["non_commercial"]
        assert row["inherited_terms"] == ["attribution", "non_commercial"]
    assert found["d/none"]["ancestor_licenses"] == ["cc-by-nc-4.0", "mit"]
    assert found["a/nc"]["lost_at_child_id"] is None and found["a/nc"]["ancestor_licenses"] == []
    assert found["a/nc"]["spdx_id"] == "CC-BY-NC-4.0"


def test_a_model_without_a_license_passes_on_what_it_inherits():
    found = lineage_of(
        {"a/nc": "cc-by-nc-4.0", "b/none": None, "c/mit": "mit"}, [("a/nc", "b/none"), ("b/none", "c/mit")]
    )
    assert found["b/none"]["lost_terms"] == []
    assert (found["c/mit"]["lost_at_parent_id"], found["c/mit"]["lost_at_child_id"]) == ("b/none", "c/mit")
    assert found["c/mit"]["n_unlicensed_ancestors"] == 1


@pytest.mark.parametrize("name", ["other", "my-own-license"])
def test_a_license_without_a_rule_loses_nothing_and_is_marked(name):
    found = lineage_of({"a/nc": "cc-by-nc-4.0", "b/own": name, "c/x": None}, [("a/nc", "b/own"), ("b/own", "c/x")])
    assert found["b/own"]["lost_terms"] == [] and found["b/own"]["has_unknown_license"]
    assert found["c/x"]["has_unknown_license"] and not found["a/nc"]["has_unknown_license"]


def test_an_ancestor_counts_once_however_many_paths_lead_to_it():
    edges = [("a/x", "b/x"), ("a/x", "c/x"), ("b/x", "d/x"), ("c/x", "d/x")]
    found = lineage_of(dict.fromkeys(("a/x", "b/x", "c/x", "d/x")), edges)
    assert found["d/x"]["n_unlicensed_ancestors"] == 3


def test_models_without_an_edge_are_left_out_and_an_empty_atlas_gives_no_rows():
    assert lineage_of({"a/alone": "mit"}, []) == {}


@given(st.data())
def test_terms_along_a_dag_match_a_walk_over_it(data):
    n = data.draw(st.integers(1, 10))
    node = st.integers(0, n - 1)
    drawn = {(min(p), max(p)) for p in data.draw(st.lists(st.tuples(node, node), max_size=25)) if p[0] != p[1]}
    pairs = np.array(sorted(drawn), dtype=np.int64).reshape(-1, 2)
    graph = EdgeList(n, pairs[:, 0], pairs[:, 1])
    has_rule = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    terms = np.array(data.draw(st.lists(st.integers(0, 7), min_size=n, max_size=n))) * has_rule
    found = terms_along(graph, terms, has_rule)
    walked = nx.DiGraph(list(map(tuple, pairs.tolist())))
    walked.add_nodes_from(range(n))
    carried, lossy = {}, {}
    for v in range(n):
        parents = list(walked.predecessors(v))
        carried[v] = int(terms[v]) if has_rule[v] else int(np.bitwise_or.reduce([carried[p] for p in parents] or [0]))
        lossy.update({(p, v): carried[p] & ~int(terms[v]) for p in parents if has_rule[v]})
    for v in range(n):
        ancestors = nx.ancestors(walked, v)
        assert found.inherited[v] == np.bitwise_or.reduce([terms[a] for a in ancestors] or [0])
        above = [(p, c) for p, c in walked.edges if c in ancestors | {v} and lossy.get((p, c))]
        assert found.lost[v] == np.bitwise_or.reduce([lossy[e] for e in above] or [0])
        assert (found.first_edge[v] >= 0) == bool(above)
        if above:
            depth = {
                u: max((len(w) - 1 for s in range(n) for w in nx.all_simple_paths(walked, s, u)), default=0)
                for _, u in above
            }
            first = tuple(pairs[found.first_edge[v]].tolist())
            assert first in above and depth[first[1]] == min(depth.values())
