"""The snapshots list what lies on disk, and their metadata errs in the ways it is meant to."""

from __future__ import annotations

import json
from datetime import datetime
from math import prod

import duckdb
import pytest
from huggingface_hub import ModelCard

_REMOVED = "dusty-lighthouse/former-withdrawn"
_UNLISTED = "dusty-lighthouse/former-unseen"


def _card(row):
    return json.loads(row["cardData"] or "{}")


def _named_parents(row):
    """Every parent that a row of hub-stats names, read as a consumer would."""
    named = _card(row).get("base_model") or []
    named = [named] if isinstance(named, str) else list(named)
    named += [model["id"] for model in (row["baseModels"] or {"models": []})["models"]]
    named += [tag.split(":", 2)[-1] for tag in row["tags"] if tag.startswith("base_model:")]
    peft = json.loads(row["config"] or "{}").get("peft")
    return {*named, peft["base_model_name_or_path"]} if peft else set(named)


def test_columns_are_those_of_hub_stats(hub):
    columns = duckdb.sql(f"describe from '{hub.places.hub_stats}/2025-12-01/models.parquet'").fetchall()
    types = {name: kind for name, kind, *_ in columns}
    assert types["createdAt"] == types["lastModified"] == "TIMESTAMP"
    assert types["siblings"] == "STRUCT(rfilename VARCHAR)[]"
    assert types["baseModels"] == "STRUCT(relation VARCHAR, models STRUCT(_id VARCHAR, id VARCHAR)[])"
    assert types["safetensors"].startswith("STRUCT(parameters STRUCT(F32 BIGINT")
    assert types["tags"] == "VARCHAR[]"
    assert types["cardData"] == types["gguf"] == types["config"] == "VARCHAR"
    assert types["downloads"] == types["downloadsAllTime"] == types["likes"] == "BIGINT"
    assert types["trendingScore"] == "DOUBLE"


def test_the_second_snapshot_lists_exactly_the_folders(hub):
    folders = {f"{path.parent.name}/{path.name}" for path in hub.places.weights.glob("*/*")}
    assert set(hub.second) == folders
    for model_id, row in hub.second.items():
        assert [s["rfilename"] for s in row["siblings"]] == sorted(p.name for p in hub.folder(model_id).iterdir())
        assert row["author"] == model_id.split("/")[0]


def test_the_first_snapshot_knows_only_its_past(hub):
    assert set(hub.first) - set(hub.second) == {_REMOVED}
    later = set(hub.second) - set(hub.first)
    assert len(later) >= 10
    cut = datetime(2025, 6, 1)  # noqa: DTZ001 - naive like the column
    assert all(row["createdAt"] < cut and row["lastModified"] < cut for row in hub.first.values())
    assert all(hub.second[model_id]["createdAt"] >= cut for model_id in later)
    for model_id in set(hub.first) & set(hub.second):
        before, after = hub.first[model_id], hub.second[model_id]
        assert before["createdAt"] == after["createdAt"] <= before["lastModified"] <= after["lastModified"]
        assert before["downloadsAllTime"] <= after["downloadsAllTime"]
        assert before["likes"] <= after["likes"]
    assert any(hub.first[i]["downloads"] != hub.second[i]["downloads"] for i in set(hub.first) & set(hub.second))


def test_downloads_have_a_heavy_tail(hub):
    counts = sorted((row["downloads"] for row in hub.second.values()), reverse=True)
    assert sum(counts[: len(counts) // 10]) > 0.7 * sum(counts)
    assert counts[-1] == 0
    assert all(0 <= row["downloads"] <= row["downloadsAllTime"] for row in hub.second.values())


def test_safetensors_total_counts_values(hub):
    n_checked = 0
    for model_id, row in hub.second.items():
        path = hub.folder(model_id) / "model.safetensors"
        assert (row["safetensors"] is not None) == path.is_file()
        if row["safetensors"] is None:
            continue
        n_checked += 1
        raw = path.read_bytes()
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        counts = {}
        for name, tensor in header.items():
            if name != "__metadata__":
                counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + prod(tensor["shape"])
        assert {k: v for k, v in row["safetensors"]["parameters"].items() if v is not None} == counts
        assert row["safetensors"]["total"] == sum(counts.values())
    assert n_checked > 70


def test_gguf_column_describes_the_files(hub):
    described = {model_id: json.loads(row["gguf"]) for model_id, row in hub.second.items() if row["gguf"]}
    assert set(described) == {e["child_id"] for e in hub.truth if e["pattern"] == "gguf"}
    assert all(d["architecture"].startswith("digits_") and d["total"] > 20_000 for d in described.values())


def test_cards_on_disk_are_the_card_data(hub):
    n_cards = 0
    for model_id, row in hub.second.items():
        path = hub.folder(model_id) / "README.md"
        assert path.is_file() == (row["cardData"] is not None)
        if path.is_file():
            n_cards += 1
            assert ModelCard(path.read_text()).data.to_dict() == _card(row)
    assert 0.6 * len(hub.second) < n_cards < len(hub.second)


def test_about_four_in_ten_models_report_a_measurement(hub):
    reporting = [row for row in hub.second.values() if "model-index" in _card(row)]
    assert 0.3 < len(reporting) / len(hub.second) < 0.5


def test_truth_knows_what_is_documented(hub):
    rows = {**hub.second, **{_REMOVED: hub.first[_REMOVED]}}
    for edge in hub.truth:
        named = {name.casefold() for name in _named_parents(rows[edge["child_id"]])}
        assert edge["is_documented"] == (edge["parent_id"].casefold() in named), edge
    share = sum(edge["is_documented"] for edge in hub.truth) / len(hub.truth)
    assert 0.25 <= share <= 0.40


def test_documentation_comes_in_three_ways(hub):
    ways = set()
    for row in hub.second.values():
        has_tags = any(tag.startswith("base_model:") for tag in row["tags"])
        ways.add((row["baseModels"] is not None, has_tags, "base_model" in _card(row)))
        assert not any(tag.count(":") > 2 for tag in row["tags"])
    assert {(True, True, True), (False, True, False), (False, False, True), (False, False, False)} <= ways


def test_stated_relations_are_the_hubs_words(hub):
    relations = {row["baseModels"]["relation"] for row in hub.second.values() if row["baseModels"]}
    assert relations == {"finetune", "adapter", "quantized", "merge"}
    relation = {edge["child_id"]: edge["relation"] for edge in hub.truth}
    for model_id, row in hub.second.items():
        if row["baseModels"] and relation[model_id] != "duplicate":
            assert row["baseModels"]["relation"] == relation[model_id]


def test_the_removed_parent_is_gone_but_declared(hub):
    children = [edge["child_id"] for edge in hub.truth if edge["parent_id"] == _REMOVED]
    assert len(children) == 2
    assert _REMOVED not in hub.second
    assert not hub.folder(_REMOVED).exists()
    assert hub.first[_REMOVED]["safetensors"]["total"] > 20_000
    assert all(_REMOVED in _named_parents(hub.second[child]) for child in children)
    assert any(hub.first[c]["baseModels"] and not hub.second[c]["baseModels"] for c in children if c in hub.first)


def test_the_unlisted_parent_was_never_there(hub):
    assert not {_UNLISTED} & (set(hub.first) | set(hub.second))
    children = [edge["child_id"] for edge in hub.truth if edge["parent_id"] == _UNLISTED]
    assert len(children) == 2
    assert all(_UNLISTED in _named_parents(hub.second[child]) for child in children)


def test_metadata_holds_a_cycle_a_self_loop_and_names_of_nothing(hub):
    named = {model_id: _named_parents(row) for model_id, row in hub.second.items()}
    a, b = "night-orchard/former-ouroboros-a", "night-orchard/former-ouroboros-b"
    assert (named[a], named[b]) == ({b}, {a})
    true = {(edge["child_id"], edge["parent_id"]) for edge in hub.truth}
    assert (b, a) in true
    assert (a, b) not in true
    assert [i for i, parents in named.items() if i in parents] == ["sleepy-comet/former-selfie"]
    everything = set().union(*named.values())
    nowhere = everything - set(hub.second) - {_REMOVED, _UNLISTED}
    assert nowhere == {
        "N/A",
        "./models/strip-former",
        "./outputs/strip-former/checkpoint-40",
        "Lanternfish-Lab/Strip-Former-73K",
    }


@pytest.mark.parametrize("column", ["_id", "sha"])
def test_identifiers_are_distinct_hex(hub, column):
    values = [row[column] for row in hub.second.values()]
    assert len(set(values)) == len(values)
    assert all(int(value, 16) >= 0 and len(value) == {"_id": 24, "sha": 40}[column] for value in values)
