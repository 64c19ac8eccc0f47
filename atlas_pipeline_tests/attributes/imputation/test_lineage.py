"""The lineage as arrays: numbers, copies, folds, and groups that may tell an attribute."""

from __future__ import annotations

import numpy as np
import pytest

from atlas_pipeline.attributes.imputation.labels import evidences, proposals, read_labels
from atlas_pipeline.attributes.imputation.lineage import N_FOLDS, read_lineage
from atlas_pipeline_tests.attributes.imputation.lineages import families, lineage_tables
from atlas_pipeline_tests.components.listings import day


def test_models_with_an_edge_are_numbered_by_id():
    models = {
        "b/child": {"parents": [("a/base", "finetune"), ("c/other", "merge", False)], "author": "b"},
        "a/base": {"created_at": day(3)},
        "c/other": {"created_at": day(1)},
        "d/floor": {"created_at": day(2), "created_at_is_floor": True, "parents": [("b/child", "quantized")]},
    }
    with lineage_tables(models) as connection:
        lineage = read_lineage(connection, seed=0)
    assert lineage.model_ids.to_pylist() == ["a/base", "b/child", "d/floor"]
    assert list(zip(lineage.graph.parent.tolist(), lineage.graph.child.tolist(), strict=True)) == [(0, 1), (1, 2)]
    assert lineage.has_parent.tolist() == [False, True, True]
    assert lineage.created.tolist() == [int(day(3).timestamp() * 1_000_000), -1, -1], "a floor is no date"
    assert lineage.author.tolist()[0] == lineage.author.tolist()[2] == -1 < lineage.author.tolist()[1]


def test_copies_are_joined_by_quantized_and_duplicate_edges():
    models = {
        "a/base": {},
        "a/q1": {"parents": [("a/base", "quantized")]},
        "a/q2": {"parents": [("a/base", "quantized")]},
        "a/tuned": {"parents": [("a/base", "finetune")]},
        "a/tuned-again": {"parents": [("a/tuned", "duplicate")]},
    }
    with lineage_tables(models) as connection:
        copies = read_lineage(connection, seed=0).copies.tolist()
    assert copies[0] == copies[1] == copies[2] != copies[3] == copies[4]


def test_folds_hold_whole_regions_and_large_regions_whole_sets_of_siblings():
    models = families(30, seed=0) | {f"z/other{i:03}": {"parents": [("z/other-source", "merge")]} for i in range(60)}
    models["z/other-source"] = {"parents": [("z/root", "finetune")]}
    models["z/root"] = {}
    models |= {f"z/{i:03}": {"parents": [("z/root", "finetune")]} for i in range(60)}
    with lineage_tables(models) as connection:
        first, again = read_lineage(connection, seed=0), read_lineage(connection, seed=0)
        other = read_lineage(connection, seed=1)
    assert (first.fold == again.fold).all() and (first.fold != other.fold).any()
    assert set(first.fold.tolist()) == set(range(N_FOLDS))
    ids = first.model_ids.to_pylist()
    fold = dict(zip(ids, first.fold.tolist(), strict=True))
    for family in range(30):
        members = [model for model in ids if f"m{family:03}" in model or model == f"lab{family:03}/source"]
        assert len(members) == 9 and len({fold[model] for model in members}) == 1
    assert len({fold[f"z/other{i:03}"] for i in range(60)}) == 1
    assert len({fold[f"z/{i:03}"] for i in range(60)}) == 1


@pytest.mark.parametrize("protocol", ["leave_one_out", "without_copies", "by_time"])
def test_no_group_is_drawn_by_what_it_tells(protocol):
    with lineage_tables(families(6, seed=1)) as connection:
        lineage = read_lineage(connection, seed=0)
        labels = read_labels(connection, lineage)
    kinds = evidences(lineage, labels)
    names = {
        attribute: {kind.name for kind in proposals(lineage, labels, kinds, attribute, protocol=protocol)}
        for attribute in labels.codes
    }
    assert {"copies", "hub_relation", "hub_library"} <= names["license"]
    assert not {name for name in names["relation"] if "relation" in name or name == "copies"}
    assert not {name for name in names["library_name"] if "library" in name}


def test_a_protocol_leaves_out_what_it_says():
    models = {
        "a/base": {"license": "x", "created_at": day(5)},
        "a/q1": {"license": "x", "parents": [("a/base", "quantized")], "created_at": day(6)},
        "a/q2": {"license": "x", "parents": [("a/base", "quantized")], "created_at": day(7)},
        "a/tuned": {"license": "y", "parents": [("a/base", "finetune")], "created_at": day(8)},
        "a/undated": {"license": "z", "parents": [("a/base", "finetune")]},
    }
    with lineage_tables(models) as connection:
        lineage = read_lineage(connection, seed=0)
        labels = read_labels(connection, lineage)
    ids, kinds = lineage.model_ids.to_pylist(), evidences(lineage, labels)

    def told(protocol, kind):
        (found,) = [k for k in proposals(lineage, labels, kinds, "license", protocol=protocol) if k.name == kind]
        values = labels.values["license"].to_pylist()
        return {
            ids[model]: (values[value], int(n_for), int(n_votes))
            for model, value, n_for, n_votes in zip(found.model, found.value, found.n_for, found.n_votes, strict=True)
        }

    assert told("leave_one_out", "hub") == {
        "a/q1": ("x", 1, 3),
        "a/q2": ("x", 1, 3),
        "a/tuned": ("x", 2, 3),
        "a/undated": ("x", 2, 3),
    }
    assert told("without_copies", "hub")["a/q1"] == ("y", 1, 2)
    assert told("without_copies", "hub")["a/tuned"] == ("x", 2, 3)
    assert told("without_copies", "parent") == {"a/tuned": ("x", 1, 1), "a/undated": ("x", 1, 1)}
    assert told("by_time", "hub") == {"a/q2": ("x", 1, 1), "a/tuned": ("x", 2, 2)}
    assert told("by_time", "child") == {}, "children come later"
    assert np.isin(lineage.model_ids.to_pylist(), list(models)).all()
