"""Trend tables on hubs small enough to count by hand: who is counted, where, and what the shares are of."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.schema import TABLES
from atlas_pipeline_tests.trends.graphs import SNAPSHOT, Edge, hub, measured

NAMES = [table.split(".")[1] for table in TABLES if table.startswith("trends.")]
EARLIER = "2024-06-01"
FLOOR = datetime(2022, 3, 2, 23, 29, 4, tzinfo=UTC)
DATES = [
    None,
    datetime(2024, 1, 31, 23, 59, tzinfo=UTC),
    datetime(2024, 2, 1, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    FLOOR,
]
RELATIONS = ("finetune", "adapter", "quantized", "merge", "duplicate", "unknown")
MODEL = st.fixed_dictionaries(
    {
        "modality": st.sampled_from([None, "nlp", "vision"]),
        "created_at": st.sampled_from(DATES),
        "downloads_30d": st.sampled_from([None, 0, 7]),
        "presence": st.sampled_from(["present", "without_weights", "removed"]),
        "has_card": st.sampled_from([None, False, True]),
        "license": st.sampled_from([None, "mit"]),
        "library_name": st.sampled_from([None, "peft"]),
    }
).map(lambda row: row | {"created_at_is_floor": row["created_at"] == FLOOR})
PAIR = st.tuples(st.integers(0, 9), st.integers(0, 9))


@st.composite
def hubs(draw, snapshot=SNAPSHOT, min_size=0):
    """A hub of up to ten models; a child has a greater number than its parents, so that there is no cycle."""
    models = {f"m/{i}": row for i, row in enumerate(draw(st.lists(MODEL, min_size=min_size, max_size=10)))}
    pairs = draw(st.sets(PAIR.filter(lambda pair: pair[0] > pair[1]), max_size=20))
    edges: list[Edge] = [
        (f"m/{c}", f"m/{p}", draw(st.sampled_from(RELATIONS))) for c, p in sorted(pairs) if c < len(models)
    ]
    n_kept = draw(st.integers(0, len(edges)))
    evaluated = {name: ["model_index"] for name in draw(st.sets(st.sampled_from(["m/0", "m/1", "m/99"])))}
    tables = hub(models, edges[:n_kept], dropped=edges[n_kept:], evaluated=evaluated, snapshot=snapshot)
    return models, edges[:n_kept], tables


@settings(max_examples=6, deadline=None)
@given(hubs())
def test_every_trend_of_any_hub_keeps_its_contract_and_counts_nobody_twice(made):
    models, edges, tables = made
    for name in NAMES:
        key = TABLES[f"trends.{name}"].key
        rows = measured(name, tables)
        keys = [tuple(row[column] for column in key) for row in rows]
        assert len(set(keys)) == len(keys)
        for row in rows:
            for column in TABLES[f"trends.{name}"].columns:
                assert column.nullable or row[column.name] is not None
                if column.values and row[column.name] is not None:
                    assert row[column.name] in column.values
        match name:
            case "relations_by_month":
                assert sum(row["n_edges"] for row in rows) == len(edges)
            case "relation_types":
                assert sum(row["n_edges"] for row in rows if row["modality"] == "all") == len(edges)
            case "depth_by_modality":
                assert sum(row["n_models"] for row in rows) == len({end for c, p, _ in edges for end in (c, p)})
            case "growth":
                assert rows == [], "there is no snapshot before"
            case "top_impact":
                assert len(rows) == len(models)
            case "technique_rates":
                for grouping in ("all", "modality", "family"):
                    finetune = [r for r in rows if (r["grouping"], r["technique"]) == (grouping, "finetune")]
                    assert sum(r["n_models"] for r in finetune) == len({c for c, _, _ in edges})
                    assert sum(r["n_using"] for r in finetune) == len({c for c, _, r in edges if r == "finetune"})


@settings(max_examples=10, deadline=None)
@given(hubs())
def test_levels_hold_as_many_items_as_the_items_say(made):
    _, _, tables = made
    items, levels = measured("documentation_items", tables), measured("documentation_levels", tables)
    for modality in {row["modality"] for row in levels}:
        said = sum(r["n_documented"] for r in items if r["modality"] == modality)
        assert said == sum(r["n_items"] * r["n_models"] for r in levels if r["modality"] == modality)
    for name, n in Counter(row["item"] for row in items).items():
        of_item = [row for row in items if row["item"] == name]
        for count in ("n_models", "n_documented"):
            (of_all,) = [row[count] for row in of_item if row["modality"] == "all"]
            assert of_all == sum(row[count] for row in of_item if row["modality"] != "all")
        assert n == len({row["modality"] for row in items})


@settings(max_examples=10, deadline=None)
@given(hubs(EARLIER, min_size=1), hubs(), hubs("2023-01-01"))
def test_growth_balances_between_any_two_snapshots(previous, current, long_before):
    rows = measured("growth", long_before[2], previous[2], current[2])
    assert {row["previous_snapshot"] for row in rows} == {EARLIER}
    found = {(row["thing"], row["change"]): row["n"] for row in rows}
    before, now = ({m for m, row in made[0].items() if row["presence"] != "removed"} for made in (previous, current))
    assert [found["models", c] for c in ("new", "gone", "stayed")] == [
        len(now - before),
        len(before - now),
        len(now & before),
    ]
    old, new = ({(c, p): r for c, p, r in made[1]} for made in (previous, current))
    both = old.keys() & new.keys()
    assert [found["edges", c] for c in ("new", "gone", "stayed", "changed")] == [
        len(new) - len(both),
        len(old) - len(both),
        sum(old[e] == new[e] for e in both),
        sum(old[e] != new[e] for e in both),
    ]
    assert {row["thing"]: row["n_current"] for row in rows} == {"models": len(now), "edges": len(new)}
    assert {row["thing"]: row["n_previous"] for row in rows} == {"models": len(before), "edges": len(old)}


def test_a_month_is_that_of_the_childs_creation_in_utc_and_a_floor_is_no_month():
    models = {"m": {"created_at": DATES[2]}} | {
        f"m{i}": {"created_at": at, "created_at_is_floor": at == FLOOR} for i, at in enumerate(DATES)
    }
    edges = [(f"m{i}", "m", "finetune") for i in range(len(DATES))]
    rows = measured("relations_by_month", hub(models, edges))
    assert {row["month_at"]: row["n_edges"] for row in rows} == {
        datetime(1, 1, 1, tzinfo=UTC): 1,
        datetime(2024, 1, 1, tzinfo=UTC): 1,
        datetime(2024, 2, 1, tzinfo=UTC): 1,
        None: 2,
    }


def test_depth_is_counted_of_models_with_an_edge():
    models = {name: {"modality": "nlp"} for name in "abcd"} | {"e": {}}
    rows = measured(
        "depth_by_modality", hub(models, [("b", "a", "finetune"), ("c", "b", "merge"), ("c", "a", "merge")])
    )
    assert {(r["modality"], r["depth"]): (r["n_models"], r["share"]) for r in rows} == {
        ("nlp", depth): (1, pytest.approx(1 / 3)) for depth in range(3)
    }


def test_documentation_is_of_those_that_the_snapshot_can_tell_of():
    models = {
        "a": {"has_card": True, "license": "mit", "modality": "nlp", "pipeline_tag": "text-generation"},
        "b": {"has_card": False, "model_type": "llama"},
        "c": {"license": "mit"},
        "gone": {"presence": "removed", "license": "mit", "library_name": "peft"},
    }
    evaluated = {"a": ["leaderboard"], "b": ["leaderboard", "model_index"], "gone": ["model_index"]}
    tables = hub(models, [("b", "a", "finetune")], dropped=[("c", "a", "finetune")], evaluated=evaluated)
    rows = measured("documentation_items", tables)
    found = {row["item"]: (row["n_documented"], row["n_models"]) for row in rows if row["modality"] == "all"}
    assert found == {
        "card": (1, 2),
        "parents": (1, 3),
        "license": (2, 3),
        "pipeline_tag": (1, 3),
        "library_name": (0, 0),  # only a removed model has one
        "model_type": (1, 3),
        "evaluation": (1, 3),  # a leaderboard is not the model's own word
    }
    assert {row["share"] for row in rows if row["item"] == "library_name"} == {None}
    assert {r["item"]: r["n_documented"] for r in rows if r["modality"] == "nlp"}["license"] == 1
    levels = measured("documentation_levels", tables)
    assert {r["n_items"]: r["n_models"] for r in levels if r["modality"] == "all"} == {1: 1, 3: 2}


def test_relations_are_counted_per_edge_and_per_child():
    models = {name: {"modality": "nlp"} for name in "abc"} | {"d": {"modality": "vision"}}
    edges = [("c", "a", "merge"), ("c", "b", "merge"), ("d", "a", "finetune")]
    rows = measured("relation_types", hub(models, edges, dropped=[("b", "a", "adapter")]))
    assert {(r["modality"], r["relation"]): (r["n_edges"], r["n_children"], r["share"]) for r in rows} == {
        ("nlp", "merge"): (2, 1, 1.0),
        ("vision", "finetune"): (1, 1, 1.0),
        ("all", "merge"): (2, 1, pytest.approx(2 / 3)),
        ("all", "finetune"): (1, 1, pytest.approx(1 / 3)),
    }


def test_techniques_by_quarter_and_family_and_small_families_together():
    models, edges = {}, []
    for region in range(14):
        # Region 00 has fourteen children, region 13 one: the last two are no families of their own.
        models[f"base{region:02}"] = {"modality": "nlp"}
        for child in range(14 - region):
            name = f"child{region:02}-{child:02}"
            models[name] = {"modality": "nlp", "created_at": datetime(2024, 5, 1 + child, tzinfo=UTC)}
            edges.append((name, f"base{region:02}", "adapter" if child % 2 else "quantized"))
    # Made in two ways, the second half of a quarter later.
    models["both"] = {"modality": "vision", "created_at": datetime(2024, 7, 1, tzinfo=UTC)}
    edges += [("both", "base00", "merge"), ("both", "child00-00", "finetune")]
    rows = measured("technique_rates", hub(models, edges))
    families = {row["group"] for row in rows if row["grouping"] == "family"}
    assert families == {f"base{region:02}" for region in range(12)} | {"other"}
    spring, summer = datetime(2024, 4, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)
    found = {(r["grouping"], r["group"], r["quarter_at"], r["technique"]): (r["n_using"], r["n_models"]) for r in rows}
    assert found["all", "all", spring, "adapter"] == (49, 105)
    assert found["all", "all", spring, "merge"] == (0, 105)
    assert found["family", "base00", spring, "quantized"] == (7, 14)
    assert found["family", "other", spring, "quantized"] == (2, 3)
    for technique, n in {"merge": 1, "finetune": 1, "adapter": 0, "quantized": 0, "duplicate": 0}.items():
        assert found["modality", "vision", summer, technique] == (n, 1)
    assert ("modality", "nlp", summer, "merge") not in found


def test_merged_models_beside_their_siblings():
    downloads = {"base": 5, "other": 5, "mix": 10, "twin": 20, "plain": 4, "odd": None, "far": 100, "seen": 8, "kid": 6}
    models = {name: {"downloads_30d": n, "modality": "nlp"} for name, n in downloads.items()}
    models["seen"]["modality"] = "vision"
    edges = [
        ("mix", "base", "merge"),
        ("mix", "other", "merge"),
        ("twin", "other", "merge"),
        ("plain", "base", "finetune"),
        ("odd", "other", "unknown"),
        ("seen", "base", "finetune"),  # no sibling within its modality
        ("kid", "plain", "finetune"),  # a child of a sibling is none
    ]
    rows = {(r["modality"], r["measure"]): r for r in measured("merge_influence", hub(models, edges))}
    assert {modality for modality, _ in rows} == {"nlp", "all"}
    found = rows["nlp", "downloads"]
    # mix counts once, though it has two parents with other children; what odd has is unknown.
    assert (found["n_merged"], found["mean_merged"]) == (2, 15)
    assert (found["n_siblings"], found["mean_siblings"]) == (2, 4)
    assert found["ratio"] == 15 / 4
    assert found["share_of_groups_ahead"] == 1, "of base alone: of the siblings under other, no downloads are known"
    assert (rows["all", "downloads"]["n_siblings"], rows["all", "downloads"]["mean_siblings"]) == (3, 6)
    below = rows["nlp", "descendant_downloads"]
    assert (below["mean_merged"], below["mean_siblings"], below["ratio"]) == (0, 3, 0)
    assert below["share_of_groups_ahead"] == 0
    lone = measured("merge_influence", hub({"a": {}, "b": {}, "c": {}}, [("c", "a", "merge"), ("c", "b", "merge")]))
    assert {(r["n_siblings"], r["mean_siblings"], r["ratio"], r["share_of_groups_ahead"]) for r in lone} == {
        (0, None, None, None)
    }


def test_top_impact_is_the_first_hundred_and_their_own_rank():
    models = {f"m{i:03}": {"downloads_30d": 1000 - i} for i in range(110)} | {"source": {"downloads_30d": None}}
    rows = measured("top_impact", hub(models, [("m001", "source", "finetune"), ("m000", "source", "merge")]))
    assert len(rows) == 100
    assert [(r["model_id"], r["sub_tree_downloads"]) for r in rows[:3]] == [
        ("source", 1999),
        ("m000", 1000),
        ("m001", 999),
    ]
    assert [r["rank_by_downloads"] for r in rows[:3]] == [111, 1, 2], "unknown downloads rank last"
    assert rows[-1]["model_id"] == "m098"


def test_removed_models_and_what_broke_with_them():
    models = {
        "old/much": {"presence": "removed", "restored_from": EARLIER},
        "old/little": {"presence": "removed"},
        "a": {"downloads_30d": 5},
        "b": {"downloads_30d": 6},
        "c": {"downloads_30d": 7},
    }
    edges = [
        ("a", "old/much", "finetune"),
        ("b", "old/much", "finetune"),
        ("c", "a", "merge"),
        ("c", "old/little", "merge"),
    ]
    rows = measured("removed_models", hub(models, edges, dropped=[("b", "old/little", "unknown")]))
    found = [tuple(row.values())[1:] for row in rows]
    assert found == [("old/much", EARLIER, 2, 3, 18), ("old/little", None, 1, 1, 7)]
