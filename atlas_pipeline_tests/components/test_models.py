"""Cleaned models: what each attribute is read from, and what stays unknown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from atlas_pipeline_tests.components.listings import day, document

FLOOR = datetime(2022, 3, 2, 23, 29, 4, tzinfo=UTC)


def model(**row) -> dict:
    """The cleaned row of one model, alone on the hub, with its region and impact."""
    return document([{"id": "org/model", **row}]).model("org/model")


def models(*rows: dict) -> list[dict]:
    """The cleaned rows of models that have nothing to do with each other, in their order."""
    found = document([{"id": f"org/{i}", **row} for i, row in enumerate(rows)]).models.to_pylist()
    by_id = {row["model_id"]: row for row in found}
    return [by_id[f"org/{i}"] for i in range(len(rows))]


def test_what_the_source_does_not_say_stays_unknown():
    """Null and never zero or false, or totals and shares would be of what nobody counted."""
    found = model()
    unknown = set(found) - {
        *("snapshot", "model_id", "author", "created_at_is_floor", "is_quantized", "presence"),
        *("region_id", "region_name", "region_size", "region_partition", "is_source"),
        *("depth", "shortest_depth", "is_leaf", "n_children", "n_descendants", "descendant_downloads"),
        *("sub_tree_downloads", "merge_share_downloads", "path_counted_downloads"),
    }
    assert {name: found[name] for name in unknown} == dict.fromkeys(unknown)
    assert {"downloads_30d", "downloads_all_time", "likes", "n_parameters", "has_card", "has_weights"} <= unknown
    assert (found["author"], found["presence"], found["is_quantized"]) == ("org", "present", False)


def test_counts_below_zero_are_none():
    below, zero = models(
        {"downloads": -1, "downloadsAllTime": -5, "likes": -2, "safetensors": {"parameters": [], "total": -7}},
        {"downloads": 0, "downloadsAllTime": 2**62, "likes": 0, "safetensors": {"parameters": [], "total": 0}},
    )
    names = ("downloads_30d", "downloads_all_time", "likes", "n_parameters")
    assert [below[name] for name in names] == [None] * 4
    assert [zero[name] for name in names] == [0, 2**62, 0, 0]


def test_parameters_are_counted_by_safetensors_before_gguf():
    gguf = json.dumps({"total": 5, "architecture": "llama"})
    rows = [{"gguf": gguf, "safetensors": {"parameters": [("F32", 3)], "total": 3}}, {"gguf": gguf}]
    rows += [{"gguf": f'{{"total": {total}}}'} for total in ('"many"', "-1", "1e300", "null", "[1]")]
    assert [row["n_parameters"] for row in models(*rows)] == [3, 5, *[None] * 5]


QUANTIZED = {
    "tag": {"tags": ["gptq"]},
    "bits": {"tags": ["4-bit"]},
    "base model tag": {"tags": ["base_model:quantized:org/base"]},
    "base models": {"baseModels": {"relation": "quantized", "models": [{"_id": None, "id": "org/base"}]}},
    "config": {"config": '{"quantization_config": {"bits": 4}}'},
    "gguf": {"gguf": '{"total": 5}'},
    "dtype": {"safetensors": {"parameters": [("F32", 1), ("F8_E4M3", 9)], "total": 10}},
    "file": {"siblings": ["README.md", "model.Q4_K_M.GGUF"]},
}
PLAIN = {
    "half precision": {"safetensors": {"parameters": [("BF16", 9), ("F16", 1)], "total": 10}},
    "no quantization": {"config": '{"quantization_config": null}'},
    "no gguf": {"gguf": "null"},
    "mention": {"tags": ["base_model:finetune:org/base-gguf", "quantization", None]},
    "broken": {"config": '{"quantization_config": {', "gguf": "{", "tags": None},
    "merge": {"baseModels": {"relation": "merge", "models": []}},
}


def test_each_signal_of_quantization_suffices_and_others_do_not():
    found = models(*QUANTIZED.values(), *PLAIN.values())
    is_quantized = {signal: row["is_quantized"] for signal, row in zip([*QUANTIZED, *PLAIN], found, strict=True)}
    assert is_quantized == {**dict.fromkeys(QUANTIZED, True), **dict.fromkeys(PLAIN, False)}


PRESENCE = {
    ("model-00001-of-00002.safetensors",): ("present", True),
    ("unet/diffusion_pytorch_model.BIN", "README.md"): ("present", True),
    ("ppo-LunarLander-v2.zip",): ("present", True),
    ("model.ckpt.data-00000-of-00001",): ("present", True),
    ("sklearn_model.pkl",): ("present", True),
    (".gitattributes", "README.md", "config.json"): ("without_weights", False),
    ("training_args.bin", "optimizer.pt", "scheduler.pt", "tokenizer.pkl"): ("without_weights", False),
    ("model.safetensors.index.json", "weights.ptx", "notes.pb.txt"): ("without_weights", False),
    (): ("without_weights", False),
    None: ("present", None),
}


def test_presence_is_told_by_the_files_and_unknown_without_them():
    found = models(*({"siblings": None if files is None else list(files)} for files in PRESENCE))
    for row, (files, expected) in zip(found, PRESENCE.items(), strict=True):
        assert (row["presence"], row["has_weights"]) == expected, files
        assert row["has_card"] == (None if files is None else "README.md" in files)


def test_parameter_counts_prove_weights_that_no_file_shows():
    counts = {"parameters": [("F32", 1)], "total": 1}
    beside_files, alone = models({"siblings": ["README.md"], "safetensors": counts}, {"safetensors": counts})
    assert beside_files["presence"] == "present" and alone["has_weights"] is True


def test_a_card_is_known_by_its_file_or_its_front_matter():
    found = models({"siblings": ["docs/README.md"], "cardData": "{}"}, {"cardData": "{}"})
    assert [row["has_card"] for row in found] == [False, True]


def test_license_is_read_from_the_tag_and_else_from_the_card():
    apache = '{"license": "apache-2.0"}'
    cards = [
        '{"license": ["cc-by-4.0", "mit"]}',
        '{"license": []}',
        '{"license": {"name": "x"}}',
        '{"license": 5}',
        "{",
    ]
    found = models(
        {"tags": ["license:mit"], "cardData": apache},
        {"tags": ["license:", "x"], "cardData": apache},
        *({"cardData": card} for card in cards),
    )
    assert [row["license"] for row in found] == ["mit", "apache-2.0", "cc-by-4.0", *[None] * 4]


def test_model_type_is_read_from_config_then_tags_then_gguf():
    rows = [
        {"id": "a/config", "config": '{"model_type": "bert", "architectures": ["BertModel", "X"]}', "tags": ["gpt2"]},
        {"id": "a/gpt2", "config": '{"model_type": "gpt2"}'},
        {"id": "a/task", "config": '{"model_type": "fill-mask"}', "pipeline_tag": "fill-mask"},
        {"id": "a/library", "config": '{"model_type": "timm"}', "library_name": "timm"},
        {"id": "a/license", "config": '{"model_type": "license:mit"}'},
        {"id": "b/tag", "tags": ["fill-mask", "timm", "license:mit", "gpt2", "bert"], "gguf": '{"architecture": "x"}'},
        {"id": "b/unknown", "config": '{"model_type": "unknown"}', "gguf": '{"architecture": "llama"}'},
        {"id": "b/gguf", "tags": ["new-one"], "gguf": '{"architecture": "llama"}'},
        {"id": "b/number", "config": '{"model_type": 5, "architectures": "BertModel"}'},
        {"id": "b/broken", "config": "[1]", "tags": ["unknown"]},
    ]
    found = {row["model_id"]: (row["model_type"], row["architecture"]) for row in document(rows).models.to_pylist()}
    assert found["a/config"] == ("bert", "BertModel")
    assert found["b/tag"] == ("gpt2", None), "of the tags that are model types of others, the first"
    assert found["b/unknown"] == ("llama", None)
    assert found["b/gguf"] == ("llama", None)
    assert found["b/number"] == ("5", None)
    assert found["b/broken"] == (None, None)


def test_the_floor_of_the_hubs_clock_is_marked_and_nothing_beside_it():
    times = {
        "a/floor": FLOOR,
        "a/floor5": FLOOR + timedelta(seconds=1, microseconds=999_999),
        "a/before": FLOOR - timedelta(microseconds=1),
        "a/after": FLOOR + timedelta(seconds=2),
        "a/none": None,
    }
    rows = document([{"id": name, "createdAt": time} for name, time in times.items()]).models.to_pylist()
    assert [row["model_id"] for row in rows if row["created_at_is_floor"]] == ["a/floor", "a/floor5"]
    assert {row["model_id"]: row["created_at"] for row in rows} == times


def test_modality_follows_the_task():
    tasks = ["fill-mask", "text-to-image", "text-to-speech", "any-to-any", "robotics", "juggling", None]
    found = models(*({"pipeline_tag": task} for task in tasks))
    assert [row["modality"] for row in found] == ["nlp", "vision", "audio", "multimodal", "other", None, None]


def test_author_is_the_sources_or_the_first_part_of_the_id():
    rows = [{"id": "a/x", "author": "someone"}, {"id": "b/x", "author": ""}, {"id": "c/x"}, {"id": "gpt2"}]
    authors = [row["author"] for row in document(rows).models.to_pylist()]
    assert authors == ["someone", "b", "c", None]


def test_a_model_of_an_earlier_snapshot_alone_is_none_of_this_one():
    atlas = document({"2024-01-01": [{"id": "a/gone", "createdAt": day(1)}], "2025-01-01": [{"id": "a/here"}]})
    assert atlas.models["model_id"].to_pylist() == ["a/here"]
