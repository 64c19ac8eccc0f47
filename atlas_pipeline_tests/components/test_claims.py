"""Every source of a parent, what each name means, and what happens when sources disagree."""

from __future__ import annotations

import json

import pytest

from atlas_pipeline_tests.components.listings import by_hand, document


def row(model_id: str, **columns) -> dict:
    return {"id": model_id, **columns}


def said(source: str, parent: str, *, relation=None, role=None, quote=None) -> dict:
    return {"source": source, "declared_parent": parent, "relation": relation, "role": role, "quote": quote}


def gguf(**metadata) -> str:
    return json.dumps({"architecture": "llama", **metadata})


def test_every_source_is_kept_beside_the_others():
    child = row(
        "org/child",
        baseModels={"relation": "finetune", "models": [{"_id": "1", "id": "org/base"}]},
        tags=["base_model:org/base", "base_model:finetune:org/base"],
        cardData=json.dumps({"base_model": "org/base"}),
        config=json.dumps({"_name_or_path": "org/base", "peft": {"base_model_name_or_path": "org/base"}}),
        gguf=gguf(**{"general.source.repo_url": "https://huggingface.co/org/base"}),
    )
    atlas = document(
        [child, row("org/base")],
        hand_made=by_hand([("org/child", "org/base", "finetune")]),
        cards=[
            {
                "model_id": "org/child",
                "statements": [
                    said("mergekit", "org/base", relation="merge", role="base", quote="base_model: org/base"),
                    said("card_text", "org/base", relation="finetune", quote="a fine-tuned version of org/base"),
                ],
            }
        ],
    )
    (edge,) = atlas.edges().values()
    assert edge["sources"] == [
        *("adapter_config", "annotation", "base_models", "card_data", "card_text", "config"),
        *("gguf", "mergekit", "tag"),
    ]
    assert (edge["relation"], edge["relations"]) == ("finetune", ["adapter", "finetune", "merge", "quantized"])
    assert edge["is_kept"] and edge["disagreeing_sources"] == []
    assert len(atlas.claimed()) == 9, "the untyped tag repeats the typed one"
    quoted = atlas.claimed()["org/child", "card_text", "org/base"]
    assert quoted["quote"] == "a fine-tuned version of org/base"
    assert atlas.claimed()["org/child", "mergekit", "org/base"]["role"] == "base"


@pytest.mark.parametrize(
    ("written", "meant", "resolution"),
    [
        ("org/base", "org/base", "exact"),
        ("ORG/Base", "org/base", "letter_case"),
        ("old/base", "org/base", "alias"),
        ("https://huggingface.co/org/base/tree/main", "org/base", "exact"),
        ("other/unknown", "other/unknown", "unlisted"),
    ],
)
def test_a_name_is_understood_and_says_how(written, meant, resolution):
    child = row("org/child", cardData=json.dumps({"base_model": written}))
    atlas = document([child, row("org/base")], hand_made=by_hand(aliases={"old/base": "org/base"}))
    claim = atlas.claimed()["org/child", "card_data", written]
    assert (claim["parent_id"], claim["resolution"], claim["drop_reason"]) == (meant, resolution, None)
    assert atlas.kept() == {("org/child", meant)}


@pytest.mark.parametrize(
    ("written", "reason"),
    [("/workspace/out/checkpoint-9", "local_path"), ("N/A", "not_a_model_id"), ("org/child", "self_loop")],
)
def test_a_claim_that_cannot_stand_says_why(written, reason):
    atlas = document([row("org/child", cardData=json.dumps({"base_model": written}))])
    assert atlas.claimed()["org/child", "card_data", written]["drop_reason"] == reason
    assert atlas.dropped() == {("org/child", written): reason}


def test_prose_does_not_stand_against_a_plain_statement_but_stays_visible():
    atlas = document(
        [row("org/child", tags=["base_model:org/base"]), row("org/base"), row("org/other")],
        cards=[{"model_id": "org/child", "statements": [said("card_text", "org/other", relation="finetune")]}],
    )
    assert atlas.kept() == {("org/child", "org/base")}
    assert atlas.dropped() == {("org/child", "org/other"): "outweighed"}
    edges = atlas.edges()
    assert edges["org/child", "org/base"]["disagreeing_sources"] == ["card_text"]
    assert edges["org/child", "org/other"]["disagreeing_sources"] == ["tag"]


def test_prose_counts_where_nothing_else_names_a_usable_parent():
    """A local path in the metadata is no parent, so it does not outweigh the sentence."""
    atlas = document(
        [row("org/child", cardData=json.dumps({"base_model": "/workspace/out"})), row("org/base")],
        cards=[{"model_id": "org/child", "statements": [said("card_text", "org/base", relation="finetune")]}],
    )
    assert atlas.kept() == {("org/child", "org/base")}
    assert atlas.dropped() == {("org/child", "/workspace/out"): "local_path"}
    assert atlas.edges()["org/child", "org/base"]["relation"] == "finetune"


def test_a_sentence_outweighs_the_name_that_a_model_was_loaded_by():
    child = row("org/child", config=json.dumps({"_name_or_path": "org/checkpoint"}))
    atlas = document(
        [child, row("org/base"), row("org/checkpoint")],
        cards=[{"model_id": "org/child", "statements": [said("card_text", "org/base")]}],
    )
    assert atlas.kept() == {("org/child", "org/base")}
    assert atlas.dropped() == {("org/child", "org/checkpoint"): "outweighed"}


def test_a_model_that_was_loaded_by_its_own_name_says_nothing():
    atlas = document([row("org/Child", config=json.dumps({"_name_or_path": "org/child"}))])
    assert atlas.claims.num_rows == 0


def test_the_configuration_of_a_merge_adds_what_the_metadata_leaves_out():
    atlas = document(
        [row("org/merge", cardData=json.dumps({"base_model": ["org/a"]})), row("org/a"), row("org/b")],
        cards=[
            {
                "model_id": "org/merge",
                "statements": [
                    said("mergekit", "org/a", relation="merge", role="merged"),
                    said("mergekit", "org/b", relation="merge", role="merged"),
                ],
            }
        ],
    )
    assert atlas.kept() == {("org/merge", "org/a"), ("org/merge", "org/b")}
    assert atlas.edges()["org/merge", "org/b"]["disagreeing_sources"] == ["card_data"]


BASE_OF_CARD = {"general.base_model.0.repo_url": "https://huggingface.co/meta/Base"}


def test_a_gguf_file_names_its_grandparent_and_the_parent_is_found_by_name():
    listing = [
        row("quants/Chat-7B-i1-GGUF", gguf=gguf(**BASE_OF_CARD)),
        row("org/Chat-7B", tags=["base_model:finetune:meta/Base"]),
        row("org/Chat-13B", tags=["base_model:finetune:meta/Base"]),
        row("meta/Base"),
    ]
    atlas = document(listing)
    assert atlas.kept() == {
        ("quants/Chat-7B-i1-GGUF", "org/Chat-7B"),
        ("org/Chat-7B", "meta/Base"),
        ("org/Chat-13B", "meta/Base"),
    }
    (claim,) = [c for c in atlas.claims.to_pylist() if c["source"] == "gguf"]
    assert (claim["parent_id"], claim["resolution"], claim["relation"]) == ("org/Chat-7B", "nearer", "quantized")


@pytest.mark.parametrize("makers", [[], ["org/Chat-7B", "other/chat-7b"]], ids=["nobody", "two"])
def test_without_one_clear_parent_the_grandparent_stands_as_an_ancestor(makers):
    listing = [
        row("quants/Chat-7B-GGUF", gguf=gguf(**BASE_OF_CARD)),
        *(row(name, tags=["base_model:finetune:meta/Base"]) for name in makers),
        row("meta/Base"),
    ]
    atlas = document(listing)
    assert ("quants/Chat-7B-GGUF", "meta/Base") in atlas.kept()
    assert [c["resolution"] for c in atlas.claims.to_pylist() if c["source"] == "gguf"] == ["ancestor"]


def test_the_source_that_a_gguf_file_names_is_the_parent_itself():
    metadata = {**BASE_OF_CARD, "general.source.huggingface.repository": "org/Chat-7B"}
    atlas = document([row("quants/x-GGUF", gguf=gguf(**metadata)), row("org/Chat-7B"), row("meta/Base")])
    assert atlas.kept() == {("quants/x-GGUF", "org/Chat-7B")}
    assert atlas.dropped() == {("quants/x-GGUF", "meta/Base"): "outweighed"}, "a mere ancestor"


@pytest.mark.parametrize("text", ["[]", "{", '"general.base_model.0.repo_url"', '{"general.base_model.x.repo_url": 1}'])
def test_broken_gguf_metadata_says_nothing(text):
    assert document([row("org/x", gguf=text + " general.base_model.")]).claims.num_rows == 0


def test_what_the_card_of_an_earlier_snapshot_says_counts_until_a_later_card_replaces_it():
    listings = {"2024-01-01": [row("org/child"), row("org/base")], "2025-01-01": [row("org/child"), row("org/base")]}
    earlier = {"model_id": "org/child", "snapshot": "2024-01-01", "statements": [said("card_text", "org/base")]}
    assert document(listings, cards=[earlier]).kept() == {("org/child", "org/base")}
    later = {"model_id": "org/child", "snapshot": "2025-01-01", "statements": []}
    assert document(listings, cards=[earlier, later]).kept() == set()
