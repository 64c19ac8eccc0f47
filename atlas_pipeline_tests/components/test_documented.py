"""Parents as they were declared: every source, every way to write a name, cycles, models that are gone."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import networkx as nx
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.components.documented import mend_cycles
from atlas_pipeline_tests.components.listings import Atlas, by_hand, day, document

BASE = {"id": "org/Base", "createdAt": day(1)}
FLOOR = datetime(2022, 3, 2, 23, 29, 4, tzinfo=UTC)


def declares(child: str, *parents: str, relation: str | None = None, **row) -> dict:
    """A model whose tags declare its parents."""
    tags = [f"base_model:{parent}" for parent in parents]
    tags += [f"base_model:{relation}:{parent}" for parent in parents if relation]
    return {"id": child, "tags": tags, **row}


def card(child: str, base_model: object, **row) -> dict:
    return {"id": child, "cardData": json.dumps({"base_model": base_model, **row})}


def resolved(declared: list[str], *listed: dict, **options) -> list[tuple[str, str | None]]:
    """Parent id and drop reason of each declared parent, each of a child of its own."""
    rows = [card(f"org/child{i}", text) for i, text in enumerate(declared)]
    edges = document([*rows, BASE, *listed], **options).edges()
    by_child = {child: (parent, row["drop_reason"]) for (child, parent), row in edges.items()}
    assert len(edges) == len(declared)
    return [by_child[row["id"]] for row in rows]


SOURCES = {
    "base_models": {"baseModels": {"relation": "adapter", "models": [{"_id": "1", "id": "org/Base"}, None]}},
    "tag": {"tags": ["base_model:org/Base", "base_model:adapter:org/Base", None, "base_model:"]},
    "card_data": {"cardData": '{"base_model": ["org/Base", null], "base_model_relation": "adapter"}'},
    "adapter_config": {"config": '{"peft": {"base_model_name_or_path": "org/Base", "task_type": "CAUSAL_LM"}}'},
    "annotation": {},
}


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_declares_a_parent_with_its_relation(source):
    hand_made = by_hand([("org/child", "org/Base", "adapter"), ("org/stranger", "org/Base", None)])
    options = {"hand_made": hand_made} if source == "annotation" else {}
    atlas = document([BASE, {"id": "org/child", **SOURCES[source]}], **options)
    (row,) = atlas.parents.to_pylist()
    assert (row["child_id"], row["parent_id"], row["relation"]) == ("org/child", "org/Base", "adapter")
    assert row["sources"] == [source] and row["is_kept"] and row["drop_reason"] is None


def test_sources_add_up_and_the_strongest_words_the_edge():
    child = {
        "id": "org/child",
        "baseModels": {"relation": "quantized", "models": [{"_id": None, "id": "org/Base"}]},
        "tags": ["base_model:ORG/base", "base_model:merge:ORG/base"],
        "cardData": '{"base_model": "https://huggingface.co/org/Base", "base_model_relation": "adapter"}',
        "config": '{"peft": {"base_model_name_or_path": "org/base"}}',
    }
    hand_made = by_hand([("org/child", "org/base", "finetune")])
    (row,) = document([BASE, child], hand_made=hand_made).parents.to_pylist()
    assert row["sources"] == ["adapter_config", "annotation", "base_models", "card_data", "tag"]
    assert (row["relation"], row["declared_parent"]) == ("quantized", "org/Base")
    (row,) = document([BASE, {**child, "baseModels": None}], hand_made=hand_made).parents.to_pylist()
    assert (row["relation"], row["declared_parent"]) == ("merge", "ORG/base")
    (row,) = document([BASE, {**child, "baseModels": None, "tags": None}], hand_made=hand_made).parents.to_pylist()
    assert (row["relation"], row["declared_parent"]) == ("finetune", "org/base")


@pytest.mark.parametrize("config", ['{"peft": {"base_model_name_or_path": ["org/Base"]}}', '{"peft": []}', "{", "null"])
def test_an_adapter_configuration_that_names_no_base_breaks_nothing(config):
    kept = [
        row for row in document([BASE, {"id": "org/child", "config": config}]).parents.to_pylist() if row["is_kept"]
    ]
    assert kept == []


def test_relations_stay_with_their_edges():
    tags = ["base_model:a/x", "base_model:a/y", "base_model:a/z", "base_model:merge:a/x", "base_model:adapter:a/y"]
    atlas = document([{"id": "org/child", "tags": tags}])
    assert {parent: row["relation"] for (_, parent), row in atlas.edges().items()} == {
        "a/x": "merge",
        "a/y": "adapter",
        "a/z": "unknown",
    }


def test_conflicting_relations_of_one_source_are_settled_the_same_way_in_any_order():
    tags = ["base_model:merge:a/x", "base_model:finetune:a/x", "base_model:quantized:a/x"]
    atlas = document([{"id": "org/one", "tags": tags}, {"id": "org/two", "tags": tags[::-1]}])
    assert atlas.parents["relation"].to_pylist() == ["finetune", "finetune"]


def test_tags_with_further_colons_are_no_ids():
    tags = [
        "base_model:a:b:c",
        "base_model:finetune:a/x:v2",
        "base_model:distilled:a/x",
        "base_model:finetune:merge:a/x",
    ]
    atlas = document([{"id": "org/child", "tags": tags}])
    assert atlas.dropped() == {
        ("org/child", parent): "not_a_model_id" for parent in ("a:b:c", "a/x:v2", "distilled:a/x", "merge:a/x")
    }


CARDS = [
    ("org/Base", ["org/Base"]),
    (["org/Base", "org/Base", "a/x"], ["a/x", "org/Base"]),
    ([["org/Base"]], ['["org/Base"]']),
    ({"name": "org/Base"}, ['{"name":"org/Base"}']),
    (7, ["7"]),
    ([7, True], ["7", "true"]),
    (None, []),
    ([], []),
    ("  ", []),
    (["", None], []),
    (" org/Base\n", ["org/Base"]),
]


def test_no_claim_of_a_card_is_lost():
    atlas = document([BASE, *(card(f"org/{i}", base_model) for i, (base_model, _) in enumerate(CARDS))])
    for i, (_, declared) in enumerate(CARDS):
        rows = [row for row in atlas.parents.to_pylist() if row["child_id"] == f"org/{i}"]
        assert sorted(row["declared_parent"] for row in rows) == declared
        for row in rows:
            expected = None if row["declared_parent"] in ("org/Base", "a/x") else "not_a_model_id"
            assert row["drop_reason"] == expected


def test_a_card_that_is_no_object_declares_nothing():
    texts = ['{"base_model": ', "base_model: org/Base", '["base_model"]', '"base_model"', "null"]
    rows = [{"id": f"org/{i}", "cardData": text} for i, text in enumerate(texts)]
    assert document([BASE, *rows]).parents.num_rows == 0


WRITTEN = {
    "org/Base": ("org/Base", None),
    "ORG/base": ("org/Base", None),
    "org/Base/": ("org/Base", None),
    "https://huggingface.co/org/Base": ("org/Base", None),
    "http://www.huggingface.co/org/base/": ("org/Base", None),
    "HTTPS://HuggingFace.co/org/Base": ("org/Base", None),
    "huggingface.co/org/Base": ("org/Base", None),
    "https://hf.co/org/Base/tree/main": ("org/Base", None),
    "https://huggingface.co/org/Base/blob/main/config.json": ("org/Base", None),
    "https://huggingface.co/org/Base?library=transformers#how-to": ("org/Base", None),
    "https://huggingface.co/org/Base/?x": ("org/Base", None),
    "https://huggingface.co/datasets/org/data": ("datasets/org/data", "not_a_model_id"),
    "https://huggingface.co/": ("https://huggingface.co/", "not_a_model_id"),
    "https://example.com/org/Base": ("https://example.com/org/Base", "not_a_model_id"),
    "org/Unlisted-1.5B": ("org/Unlisted-1.5B", None),
    "unlisted": ("unlisted", "not_a_model_id"),
    "N/A": ("N/A", "not_a_model_id"),
    "None": ("None", "not_a_model_id"),
    "org/Base, org/Other": ("org/Base, org/Other", "not_a_model_id"),
    "org/..": ("org/..", "not_a_model_id"),
    "org/.": ("org/.", "not_a_model_id"),
    "a..b/c": ("a..b/c", "not_a_model_id"),
    "/home/me/model": ("/home/me/model", "local_path"),
    "/": ("/", "local_path"),
    "./model": ("./model", "local_path"),
    "../model": ("../model", "local_path"),
    "~/model": ("~/model", "local_path"),
    "out/run/checkpoint-5": ("out/run/checkpoint-5", "local_path"),
    "C:\\models\\base": ("C:\\models\\base", "local_path"),
    "D:/models/base": ("D:/models/base", "local_path"),
    "models\\base": ("models\\base", "local_path"),
    "file:///tmp/base": ("file:///tmp/base", "local_path"),
    "'; drop table claims; --": ("'; drop table claims; --", "not_a_model_id"),
    "x" * 10_000 + "/y": None,
    "öüß/模型": ("öüß/模型", "not_a_model_id"),
}


def test_every_way_to_write_a_parent_is_resolved_or_dropped_with_a_reason():
    """One child for each, so that each stands for itself."""
    children = {f"org/child{i}": text for i, text in enumerate(WRITTEN)}
    atlas = document([BASE, *(card(child, text) for child, text in children.items())])
    assert atlas.parents.num_rows == len(WRITTEN)
    for (child, parent), row in atlas.edges().items():
        text = children[child]
        if WRITTEN[text] is None:
            assert row["drop_reason"] == "not_a_model_id" and len(parent) <= 200 and len(row["declared_parent"]) <= 500
        else:
            assert (parent, row["drop_reason"]) == WRITTEN[text], text
            assert row["declared_parent"] == text


def test_letter_case_decides_between_ids_that_differ_in_it_alone():
    listed = [{"id": "org/base"}, {"id": "ORG/BASE"}]
    found = resolved(["org/base", "ORG/BASE", "oRg/BaSe"], *listed)
    assert [parent for parent, _ in found] == ["org/base", "ORG/BASE", "ORG/BASE"]


def test_of_letter_cases_the_one_that_still_exists_counts_and_else_the_one_that_was_meant():
    child = card("org/child", "org/base")
    gone = [{"id": "org/base"}, {"id": "ORG/BASE"}]
    kept = document({"2024-01-01": gone, "2025-01-01": [child]}).kept()
    assert kept == {("org/child", "org/base")}
    kept = document({"2024-01-01": gone, "2025-01-01": [child, {"id": "Org/Base"}]}).kept()
    assert kept == {("org/child", "Org/Base")}


def test_an_alias_leads_to_the_new_name_unless_the_old_one_still_exists():
    aliases = by_hand(aliases={"bert": "google/bert", "old/x": "new/x", "evil": "../../etc", "na": "N/A"})
    google = {"id": "google/bert"}
    written = ["bert", "BERT", "https://huggingface.co/bert", "old/x", "evil", "na"]
    assert resolved(written, google, hand_made=aliases) == [
        *[("google/bert", None)] * 3,
        ("new/x", None),
        ("../../etc", "local_path"),
        ("N/A", "not_a_model_id"),
    ]
    assert resolved(["bert"], google, {"id": "bert"}, hand_made=aliases) == [("bert", None)]


def test_an_alias_counts_only_once_the_new_name_is_listed():
    aliases = by_hand(aliases={"bert": "google/bert"})
    child = card("org/child", "bert")
    early = document({"2022-01-01": [{"id": "bert"}], "2023-01-01": [child]}, hand_made=aliases)
    assert early.kept() == {("org/child", "bert")}
    assert early.model("bert")["presence"] == "removed"
    moved = {"2022-01-01": [{"id": "bert"}], "2023-01-01": [child, {"id": "google/bert"}]}
    assert document(moved, hand_made=aliases).kept() == {("org/child", "google/bert")}


def test_long_ids_that_are_listed_stay_whole():
    long = "o" * 150 + "/" + "n" * 150
    atlas = document([{"id": long}, declares("org/child", long)])
    assert atlas.kept() == {("org/child", long)}
    assert atlas.models["model_id"].to_pylist() == sorted([long, "org/child"])


def test_a_model_is_not_its_own_parent_in_any_spelling():
    atlas = document([card("org/Self", ["org/self", "https://hf.co/org/Self"])])
    assert atlas.dropped() == {("org/Self", "org/Self"): "self_loop"}
    assert atlas.model("org/Self")["is_source"]


def test_child_is_older_by_dates_and_never_between_two_floors():
    ages = {"org/early": day(1), "org/late": day(3), "org/floor": FLOOR, "org/unknown": None}
    parents = [
        {"id": "p/mid", "createdAt": day(2)},
        {"id": "p/floor", "createdAt": FLOOR},
        {"id": "p/unknown"},
    ]
    children = [declares(name, "p/mid", "p/floor", "p/unknown", createdAt=age) for name, age in ages.items()]
    edges = document([*parents, *children]).edges()
    assert {name: [edges[name, p]["child_is_older"] for p in ("p/mid", "p/floor", "p/unknown")] for name in ages} == {
        "org/early": [True, False, None],
        "org/late": [False, False, None],
        "org/floor": [True, None, None],
        "org/unknown": [None, None, None],
    }


def test_the_older_child_of_a_cycle_of_two_loses_its_parent():
    young, old = declares("a/young", "b/old", createdAt=day(5)), declares("b/old", "a/young", createdAt=day(1))
    atlas = document([young, old])
    assert atlas.kept() == {("a/young", "b/old")}
    assert atlas.dropped() == {("b/old", "a/young"): "cycle"}


def test_age_counts_before_the_strength_of_the_source():
    strong = {"id": "b/old", "createdAt": day(1), "baseModels": {"relation": None, "models": [{"id": "a/young"}]}}
    weak = {**card("a/young", "b/old"), "createdAt": day(5)}
    assert document([strong, weak]).kept() == {("a/young", "b/old")}


def test_without_dates_the_weakest_source_of_a_cycle_of_three_goes():
    rows = [declares("a/1", "a/2"), card("a/2", "a/3"), declares("a/3", "a/1")]
    for order in (rows, rows[::-1], rows[1:] + rows[:1]):
        atlas = document(order)
        assert atlas.dropped() == {("a/2", "a/3"): "cycle"}
        assert len(atlas.kept()) == 2


def test_of_equal_edges_of_a_cycle_the_last_by_name_goes():
    rows = [declares("a/1", "a/2"), declares("a/2", "a/3"), declares("a/3", "a/1")]
    for order in (rows, rows[::-1]):
        assert document(order).dropped() == {("a/3", "a/1"): "cycle"}


def test_edges_beside_a_cycle_stay():
    rows = [declares("a/1", "a/2"), declares("a/2", "a/1", "org/Base"), declares("a/3", "a/2"), BASE]
    assert document(rows).dropped() == {("a/2", "a/1"): "cycle"}


def test_mending_no_parents_gives_none():
    empty = pa.table(
        {
            "child_id": pa.array([], pa.string()),
            "parent_id": pa.array([], pa.string()),
            "child_is_older": pa.array([], pa.bool_()),
            "drop_reason": pa.array([], pa.string()),
            "strength": pa.array([], pa.int32()),
        }
    )
    assert mend_cycles(empty)["is_kept"].to_pylist() == []


def test_parents_that_are_gone_come_back_with_their_own_parents():
    first = [
        {"id": "org/root", "createdAt": day(1), "downloads": 9, "likes": 4},
        declares("org/mid", "org/root", "org/never", createdAt=day(2)),
        declares("org/unrelated", "org/root"),
    ]
    second = [declares("org/leaf", "org/mid", createdAt=day(3)), {"id": "org/alone"}]
    atlas = document({"2024-06-01": first, "2025-01-01": second})
    assert atlas.kept() == {("org/leaf", "org/mid"), ("org/mid", "org/root"), ("org/mid", "org/never")}
    assert {ends: row["stated_in"] for ends, row in atlas.edges().items()} == {
        ("org/leaf", "org/mid"): "2025-01-01",
        ("org/mid", "org/root"): "2024-06-01",
        ("org/mid", "org/never"): "2024-06-01",
    }
    presences = {row["model_id"]: (row["presence"], row["restored_from"]) for row in atlas.models.to_pylist()}
    assert presences == {
        "org/alone": ("present", None),
        "org/leaf": ("present", None),
        "org/mid": ("removed", "2024-06-01"),
        "org/never": ("removed", None),
        "org/root": ("removed", "2024-06-01"),
    }
    root = atlas.model("org/root")
    assert root["created_at"] == day(1) and root["likes"] == 4
    assert root["downloads_30d"] is None, "last year's downloads are not this month's"


def test_the_last_that_was_said_of_a_model_that_is_gone_counts():
    atlas = document(
        {
            "2024-01-01": [declares("org/mid", "org/first")],
            "2024-02-01": [declares("org/mid", "org/second")],
            "2024-03-01": [declares("org/leaf", "org/mid")],
        }
    )
    assert atlas.kept() == {("org/leaf", "org/mid"), ("org/mid", "org/second")}


def test_later_snapshots_are_not_looked_at():
    rows = [declares("org/leaf", "org/mid")]
    alone = document({"2024-01-01": rows})
    assert alone.kept() == {("org/leaf", "org/mid")}
    assert alone.model("org/mid")["restored_from"] is None


def test_a_cycle_with_a_model_that_is_gone_leaves_only_ends_that_are_models():
    """The gone one is nobody's parent once the cycle is mended, so what it said goes too."""
    now = {**card("a/now", "b/gone"), "createdAt": day(1)}
    gone = declares("b/gone", "a/now", "c/else", createdAt=day(2))
    atlas = document({"2024-06-01": [gone], "2025-01-01": [now]})
    assert atlas.dropped() == {("a/now", "b/gone"): "cycle"}
    assert atlas.kept() == set()
    assert atlas.models["model_id"].to_pylist() == ["a/now"]


def test_rejected_rows_declare_nothing():
    rows = [{**declares("org/child", "org/Base"), "is_rejected": True}, BASE]
    atlas = document(rows)
    assert atlas.parents.num_rows == 0 and atlas.models["model_id"].to_pylist() == ["org/Base"]


def test_a_snapshot_of_nothing_is_four_empty_tables():
    atlas = document([])
    assert [t.num_rows for t in (atlas.parents, atlas.models, atlas.regions, atlas.impact)] == [0] * 4


NAMES = ["a/A", "a/a", "b/B", "c/C", "d/D", "e/E"]
DECLARED = [*NAMES, "B/b", "gone/X", "N/A", "./local", "A/a"]
CLAIMS = st.lists(st.tuples(st.sampled_from(DECLARED), st.sampled_from(["tag", "card"])), max_size=3)
LISTING = st.dictionaries(st.sampled_from(NAMES), st.tuples(CLAIMS, st.none() | st.integers(1, 9)), max_size=6)


def _apart(listings: list[dict]) -> dict:
    """Many small hubs as one: a query costs the same, and names with different numbers never meet."""

    def named(name: str, number: int) -> str:
        return f"{name}{number}" if name[0].isalpha() and name != "N/A" else name

    return {
        named(child, number): ([(named(parent, number), source) for parent, source in claims], born)
        for number, listing in enumerate(listings)
        for child, (claims, born) in listing.items()
    }


def _rows(listing: dict) -> list[dict]:
    return [
        {
            "id": name,
            "createdAt": None if born is None else day(born),
            "tags": [f"base_model:{p}" for p, source in claims if source == "tag"],
            "cardData": json.dumps({"base_model": [p for p, source in claims if source == "card"]}),
        }
        for name, (claims, born) in listing.items()
    ]


def _meant(declared: str, now: set[str], ever: set[str]) -> str:
    """Resolution in plain words: itself if it is there, another letter case that is there, itself, another case."""
    if declared in now:
        return declared
    same = sorted(n for n in now if n.lower() == declared.lower())
    before = [declared] if declared in ever else sorted(n for n in ever if n.lower() == declared.lower())
    return (same or before or [declared])[0]


def _invariants(atlas: Atlas, earlier: dict, now: dict) -> None:
    ids = set(atlas.models["model_id"].to_pylist())
    graph = nx.DiGraph((parent, child) for child, parent in atlas.kept())
    assert nx.is_directed_acyclic_graph(graph)
    assert set(graph) <= ids
    removed = {row["model_id"] for row in atlas.models.to_pylist() if row["presence"] == "removed"}
    assert ids == set(now) | removed and not removed & set(now)
    assert removed <= {parent for _, parent in atlas.kept()}
    assert all(row["is_kept"] == (row["drop_reason"] is None) for row in atlas.edges().values())
    ever = set(earlier) | set(now)
    claimed = {(child, _meant(p, set(now), ever)) for child, (claims, _) in now.items() for p, _ in claims}
    restored = {(child, _meant(p, set(now), ever)) for child in removed & ever for p, _ in earlier[child][0]}
    assert set(atlas.edges()) == claimed | restored
    assert len(atlas.parents) == len(atlas.edges())


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(LISTING, LISTING), min_size=5, max_size=25), st.randoms(use_true_random=False))
def test_no_claim_is_lost_every_end_is_a_model_and_the_order_of_rows_is_nothing(hubs, random):
    earlier, now = _apart([before for before, _ in hubs]), _apart([after for _, after in hubs])
    listings = {"2024-01-01": _rows(earlier), "2025-01-01": _rows(now)}
    atlas = document(listings)
    _invariants(atlas, earlier, now)
    for rows in listings.values():
        random.shuffle(rows)
    again = document(listings)
    for table in ("parents", "models", "regions", "impact"):
        assert getattr(again, table).equals(getattr(atlas, table))
