"""Every number of section 3 on a hub small enough to count by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from atlas_pipeline_tests.trends.graphs import hub, measured

FLOOR = {"created_at": datetime(2022, 3, 2, 23, 29, 4, tzinfo=UTC), "created_at_is_floor": True}


def day(number: int) -> dict:
    return {"created_at": datetime(2024, 1, number, tzinfo=UTC)}


NLP = {"modality": "nlp", "pipeline_tag": "text-generation", "has_card": True}
IMAGES = {"modality": "vision", "pipeline_tag": "text-to-image", "has_card": True}
CLASSES = {"modality": "vision", "pipeline_tag": "image-classification", "has_card": True}
SOUND = {"modality": "audio", "pipeline_tag": "text-to-speech", "has_card": False}

MODELS = {
    # Region of ten: base -> tuned, odd, quant; tuned + odd -> mix -> deep -> deeper; deeper + base -> deepest.
    "a/base": NLP | day(10) | {"downloads_30d": 100},
    "a/tuned": NLP | day(20) | {"downloads_30d": 50},
    "a/odd": NLP | day(5),
    "a/quant": NLP | day(30) | {"downloads_30d": 300, "is_quantized": True},
    "a/qlora": NLP | day(31) | {"downloads_30d": 10},
    "a/gguf": NLP | day(30) | {"downloads_30d": 7, "is_quantized": True},
    "a/mix": NLP | day(30) | {"downloads_30d": 1000},
    "a/deep": NLP | day(31) | {"downloads_30d": 40},
    "a/deeper": NLP | {"downloads_30d": 0},
    "a/deepest": NLP | {"downloads_30d": 20},
    # Two regions of vision: three children of v/images, of which two are a hub; one child of v/classes.
    "v/images": IMAGES | FLOOR | {"downloads_30d": 10},
    "v/lora1": IMAGES | day(2) | {"downloads_30d": 1},
    "v/lora2": IMAGES | day(2) | {"downloads_30d": 1},
    "v/mix": IMAGES | FLOOR | {"downloads_30d": 1},
    "v/classes": CLASSES,
    "v/classes-tuned": CLASSES,
    # A removed source with two children, which are a hub.
    "old/gone": {"presence": "removed"},
    "old/one": SOUND,
    "old/two": SOUND,
    # No edges.
    "i/nothing": {"has_card": False},
    "i/licensed": {"has_card": False, "license": "mit"},
    "i/unclear": {"is_quantized": True},
}
EDGES = [
    ("a/tuned", "a/base", "finetune"),
    ("a/odd", "a/base", "finetune"),
    ("a/quant", "a/base", "quantized"),
    ("a/qlora", "a/quant", "finetune"),
    ("a/gguf", "a/tuned", "quantized"),
    ("a/mix", "a/tuned", "merge"),
    ("a/mix", "a/odd", "merge"),
    ("a/deep", "a/mix", "finetune"),
    ("a/deeper", "a/deep", "adapter"),
    ("a/deepest", "a/deeper", "merge"),
    ("a/deepest", "a/base", "merge"),
    ("v/lora1", "v/images", "adapter"),
    ("v/lora2", "v/images", "adapter"),
    ("v/mix", "v/images", "merge"),
    ("v/mix", "v/classes", "merge"),
    ("v/classes-tuned", "v/classes", "finetune"),
    ("old/one", "old/gone", "finetune"),
    ("old/two", "old/gone", "unknown"),
]
EVALUATED = {"a/base": ["leaderboard", "model_index"], "a/tuned": ["leaderboard"], "x/unlisted": ["card_table"]}

EXPECTED = {
    "models": (21, None),
    "edges": (18, None),
    "merges": (3, None),
    "regions": (3, None),
    "largest_region_members": (10, 19),
    "sources": (4, None),
    "sources_removed": (1, 4),
    "removed_most_references": (2, 2),
    "hub_members": (4, 19),  # two of v/images, two of old/gone
    "hub_members_of_all": (4, 22),
    # With children and downloads: base, tuned, quant, mix, deep, deeper, v/images. More below: base, tuned, deeper.
    "impact_beyond_own": (3, 7),
    # And odd, v/classes and old/gone, whose own are unknown; below odd and v/classes there are some.
    "impact_beyond_own_of_all": (5, 10),
    # Only base has two paths to a descendant that is downloaded: mix and what follows by tuned and by odd.
    "impact_inflated": (1, 10),
    "impact_largest_inflation": (1, 9),
    "quantized_leaves": (1, 2),
    "quantized_leaves_by_relation": (1, 2),
    "quantized_parents": (1, 18),
    "quantized_parents_of_finetunes": (1, 6),
    "quantized_vision": (0, 6),
    "quantized_nlp": (2, 10),
    # Dated at both ends: nine of a and two of v; between v/images and v/mix there are two floors.
    "time_forward_edges": (9, 10),
    "time_forward_children": (8, 9),
    "depth_1_vision": (4, 4),
    "depth_1_vision_by_shortest_path": (4, 4),
    "depth_1_nlp": (3, 9),
    "depth_1_nlp_by_shortest_path": (4, 9),
    "depth_5_nlp": (1, 9),
    "depth_5_nlp_by_shortest_path": (0, 9),
    "adapters_generative_vision": (2, 3),
    "adapters_discriminative_vision": (0, 1),
    "finetunes_discriminative_vision": (1, 1),
    "adapters_audio": (0, 2),
    "adapters_nlp": (1, 9),
    "merge_rate_nlp": (2, 9),
    "merge_rate_vision": (1, 4),
    "merge_rate_nlp_over_vision": (2, 1),
    # Merged: mix, deepest. Children of tuned, odd, deeper and base that are no merges: gguf, tuned, odd, quant.
    "merge_influence_nlp": (2, 4),
    "merge_influence_nlp_by_paths": (2, 4),
    "documentation_edge": (18, 21),
    # i/unclear says nothing, but its card is unknown; old/one and old/two have an edge, i/licensed a license.
    "documentation_none": (1, 20),
    "documentation_no_card": (4, 20),
    "documentation_evaluation": (1, 21),
    "documentation_evaluation_anywhere": (2, 21),
}
RATIOS = {
    # base: 100 own, 1427 below; two paths lead to mix and deep, three to deepest.
    "impact_largest_inflation": (1527 + 1000 + 40 + 2 * 20) / 1527,
    "merge_rate_nlp_over_vision": (2 / 9) / (1 / 4),
    # Below mix 60, below deepest 0; below gguf 0, tuned 1067, odd 1060, quant 10.
    "merge_influence_nlp": (60 / 2) / (2137 / 4),
    "merge_influence_nlp_by_paths": (60 / 2) / (2137 / 4),
}
PAPER = {
    "hub_members": 0.79,
    "impact_beyond_own": 0.5,
    "quantized_leaves": 0.9941,
    "time_forward_edges": 0.9973,
    "sources_removed": pytest.approx(0.0476, abs=1e-4),
    "removed_most_references": 3038,
    "depth_1_vision": 0.96,
    "depth_1_nlp": 0.55,
    "depth_5_nlp": 0.05,
    "quantized_vision": 0.0015,
    "merge_rate_nlp_over_vision": 35,
    "merge_influence_nlp": 1.3,
    "documentation_none": 0.6,
    "documentation_no_card": 0.5,
    "documentation_evaluation": 0.15,
    "quantized_parents": None,
}


def statistics(*tables) -> dict[str, dict]:
    return {row["statistic"]: row for row in measured("statistics", *tables)}


def test_every_statistic_counts_what_it_says():
    found = statistics(hub(MODELS, EDGES, dropped=[("a/base", "a/deepest", "merge")], evaluated=EVALUATED))
    assert {name: (row["n_cases"], row["n_total"]) for name, row in found.items()} == EXPECTED
    assert {name: row["value"] for name, row in found.items() if row["unit"] == "ratio"} == pytest.approx(RATIOS)
    for row in found.values():
        if row["unit"] == "count":
            assert row["value"] == row["n_cases"]
        assert row["description"].endswith(".")
    assert {name: found[name]["paper_value"] for name in PAPER} == PAPER


def test_of_an_empty_hub_nothing_is_known():
    found = statistics(hub({}))
    assert set(found) == set(EXPECTED)
    assert {row["value"] for row in found.values() if row["unit"] != "count"} == {None}
    assert {row["n_total"] for row in found.values()} == {0, None}
    assert {name: row["value"] for name, row in found.items() if row["unit"] == "count"} == {
        "models": 0,
        "edges": 0,
        "merges": 0,
        "regions": 0,
        "sources": 0,
        "removed_most_references": None,
    }


def test_a_snapshot_that_cannot_tell_gives_no_number():
    """Cards known only where there is one, no dates, nobody's downloads, no vision models."""
    models = {"m/base": {"has_card": True, "modality": "nlp"}, "m/child": {"modality": "nlp"}}
    found = statistics(hub(models, [("m/child", "m/base", "finetune")]))
    for name in (
        "documentation_none",
        "documentation_no_card",
        "documentation_evaluation",
        "time_forward_edges",
        "time_forward_children",
        "impact_beyond_own",
        "impact_largest_inflation",
        "depth_1_vision",
        "merge_rate_vision",
        "merge_rate_nlp_over_vision",
        "merge_influence_nlp",
        "sources_removed",
    ):
        row = found[name]
        assert (row["n_total"], row["value"]) == ((1, 0) if name == "sources_removed" else (0, None)), name
    assert statistics(hub(models | {"m/child": {"has_card": True}}))["documentation_no_card"]["value"] == 0
    assert statistics(hub(models | {"m/child": {"has_card": False}}))["documentation_no_card"]["value"] == 0.5


def test_a_rate_over_none_is_no_rate():
    models = {name: {"modality": "nlp"} for name in "abc"} | {name: {"modality": "vision"} for name in "xy"}
    found = statistics(hub(models, [("c", "a", "merge"), ("c", "b", "merge"), ("y", "x", "finetune")]))
    assert found["merge_rate_nlp"]["value"] == 1
    assert found["merge_rate_vision"]["value"] == 0
    assert found["merge_rate_nlp_over_vision"]["value"] is None
    assert found["merge_influence_nlp"]["value"] is None, "nobody has siblings"
