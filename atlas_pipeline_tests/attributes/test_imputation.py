"""Imputation and its scores against brute force: nobody votes for himself, ties are settled by name."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.attributes.imputation import imputed, scores
from atlas_pipeline.schema import contract_of
from atlas_pipeline.schema.attributes import ATTRIBUTES
from atlas_pipeline_tests.components.listings import SNAPSHOT, connected, table_of

LABEL = st.none() | st.sampled_from(["a", "b", "c", "d"])
LEAF = st.fixed_dictionaries(
    {
        # Siblings have their parents in common, so a hub lies in one region.
        "place": st.sampled_from([("h1", "r1"), ("h2", "r1"), ("h3", "r2"), (None, "r1"), (None, "r2")]),
        "license": LABEL,
        "model_type": LABEL,
        "relations": st.lists(st.sampled_from(["merge", "finetune", "unknown"]), max_size=3),
    }
)


def results(leaves: list[dict]) -> tuple[list[dict], list[dict]]:
    """Rows of imputed and of scores, under their contracts."""
    own = [{"model_id": f"m/{i:03}", **leaf} for i, leaf in enumerate(leaves)]

    def rows(table: str, *names: str) -> pa.Table:
        return table_of(table, [{n: row[n] for n in ("model_id", *names) if n in row} for row in own])

    edges = [
        {"child_id": r["model_id"], "parent_id": f"p/{i}", "relation": relation, "sources": ["tag"], "is_kept": i < 2}
        for r in own
        for i, relation in enumerate(r.get("relations", []))
    ]
    tables = {
        "components.models": rows("components.models", "license", "model_type"),
        "components.impact": rows("components.impact", "hub_id"),
        "components.regions": rows("components.regions", "region_id"),
        "components.parents": table_of("components.parents", edges),
    }
    found = []
    with connected(tables) as connection:
        for name, made in (("imputed", imputed), ("scores", scores)):
            contract = contract_of(f"attributes.{name}")
            table = made(connection, SNAPSHOT)
            found.append(table.select(contract.arrow_schema.names).cast(contract.arrow_schema).to_pylist())
    return found[0], found[1]


def labels_of(leaf: dict) -> dict[str, str | None]:
    """Labels by attribute; a relation is one only if all kept edges that have one agree."""
    relations = set(leaf["relations"][:2]) - {"unknown"}
    relation = relations.pop() if len(relations) == 1 else None
    return {
        **dict.fromkeys(ATTRIBUTES),
        "license": leaf["license"],
        "model_type": leaf["model_type"],
        "relation": relation,
    }


def majority(votes: list[str | None]) -> tuple[str, int, int] | None:
    """Most frequent label, the first by name of those; its votes, and all votes."""
    counted = Counter(vote for vote in votes if vote is not None)
    if not counted:
        return None
    value = min(counted, key=lambda label: (-counted[label], label))
    return value, counted[value], counted.total()


@settings(max_examples=25, deadline=None)
@given(st.lists(LEAF, min_size=1, max_size=14))
def test_imputation_and_scores_are_what_brute_force_says(drawn):
    leaves = [{**leaf, **dict(zip(("hub_id", "region_id"), leaf["place"], strict=True))} for leaf in drawn]
    labels = [labels_of(leaf) for leaf in leaves]
    groups = {
        "hub_majority": [leaf["hub_id"] for leaf in leaves],
        "region_majority": [leaf["region_id"] for leaf in leaves],
        "graph_majority": [""] * len(leaves),
    }
    predicted = {
        (method, i, attribute): majority(
            [labels[j][attribute] for j in range(len(leaves)) if j != i and group[j] == group[i]]
        )
        for method, group in groups.items()
        for i in range(len(leaves))
        for attribute in ATTRIBUTES
        if group[i] is not None
    }
    rows, scored = results(leaves)
    assert {(row["model_id"], row["attribute"]): row for row in rows} == {
        (f"m/{i:03}", attribute): {
            "snapshot": SNAPSHOT,
            "model_id": f"m/{i:03}",
            "attribute": attribute,
            "value": found[0],
            "method": "hub_majority",
            "n_votes": found[2],
            "confidence": pytest.approx(found[1] / found[2]),
            "reported_value": labels[i][attribute],
        }
        for (method, i, attribute), found in predicted.items()
        if method == "hub_majority" and found
    }
    assert sorted((r["attribute"], r["method"]) for r in scored) == sorted((a, m) for a in ATTRIBUTES for m in groups)
    for row in scored:
        attribute = row["attribute"]
        population = [
            i
            for i in range(len(leaves))
            if labels[i][attribute] is not None and predicted.get(("hub_majority", i, attribute))
        ]
        right = sum(predicted[row["method"], i, attribute][0] == labels[i][attribute] for i in population)
        assert (row["n_models"], row["n_correct"]) == (len(population), right)
        assert row["accuracy"] == (pytest.approx(right / len(population)) if population else None)


def test_a_model_alone_in_its_opinion_does_not_hear_itself():
    leaves = [{"hub_id": "h", "region_id": "r", "license": text} for text in ("z", None, "z", "a")]
    rows, _ = results(leaves)
    assert {row["model_id"]: (row["value"], row["n_votes"]) for row in rows} == {
        "m/000": ("a", 2),
        "m/001": ("z", 3),
        "m/002": ("a", 2),
        "m/003": ("z", 2),
    }


def test_the_order_of_models_settles_no_tie():
    leaves = [{"hub_id": "h", "region_id": "r", "license": text} for text in ("b", "c", "a", "c", "b", "a", None)]
    first, second = results(leaves)[0], results(leaves[::-1])[0]
    assert next(r["value"] for r in first if r["reported_value"] is None) == "a"
    assert sorted((r["reported_value"] or "", r["value"]) for r in first) == sorted(
        (r["reported_value"] or "", r["value"]) for r in second
    )
