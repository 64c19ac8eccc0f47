"""Declared relations against what files and weights hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from atlas_pipeline.edges.records import Evidence
from atlas_pipeline_tests.edges.populations import region_of
from atlas_pipeline_tests.edges.test_audit import OTHER, PARENT, declared, edge, judged


def stored():
    """A parent, and models that hold its numbers in fewer bits or after training."""
    rng = np.random.default_rng(2)
    parent = rng.normal(size=4096).astype(np.float32)
    step = np.abs(parent).max() / 127
    held = {
        "parent": parent,
        "cast": parent.astype(np.float16),
        "int8": np.round(parent / step) * step,
        "tuned": parent + 0.003 * rng.normal(size=4096),
        "copy": parent,
    }
    return region_of(list(held.values()), model_ids=tuple(f"lab/{name}" for name in held))


@pytest.mark.parametrize(
    ("child", "fields", "relation"),
    [
        ("tuned", {"relation": "adapter"}, "finetune"),
        ("int8", {"relation": "adapter", "child_format": "gguf", "child_is_quantized": True}, "quantized"),
        ("tuned", {"child_format": "adapter"}, "adapter"),
        ("tuned", {"relation": "quantized", "child_format": "adapter"}, "adapter"),
        ("tuned", {"relation": "adapter", "parent_status": "gated"}, "finetune"),
        ("int8", {"child_is_quantized": True}, "quantized"),
        ("int8", {"child_is_quantized": True, "relation": "merge"}, "quantized"),
        ("cast", {"child_shapes": "s", "parent_shapes": "s"}, "quantized"),
        ("tuned", {"relation": "quantized"}, "finetune"),
        ("copy", {"child_sha256": "x", "parent_sha256": "x"}, "duplicate"),
        ("tuned", {"relation": "duplicate"}, "finetune"),
    ],
)
@pytest.mark.parametrize("measured", [PARENT, OTHER])
def test_a_wrong_relation(child, fields, relation, measured):
    """Whether or not the declared parent is the one that was measured."""
    name = f"lab/{child}"
    row = judged(declared(child=name, **fields), edge(name, measured, confidence=0.8), regions=[stored()])
    assert (row.verdict, row.finding, row.measured_relation) == ("contradicts", "wrong_relation", relation)
    assert f"base_model: {PARENT}" in row.message
    assert ("base_model_relation: " + relation in row.message) == (relation != "duplicate")


@pytest.mark.parametrize(
    ("child", "fields"),
    [
        ("int8", {"relation": "unknown", "child_is_quantized": True}),
        ("tuned", {"relation": "quantized", "child_format": "gguf"}),
        ("cast", {"relation": "quantized"}),
        ("int8", {"relation": "quantized"}),
        ("tuned", {"relation": "quantized", "child_has_hidden_quantization": True}),
        # Trained, then stored in 8 bits.
        ("tuned", {"child_is_quantized": True}),
        # A new head on a body that was only rounded: the tensors have other shapes.
        ("cast", {"child_shapes": "s", "parent_shapes": "t"}),
        # Equal sampled neurons: training may have left all but the head alone.
        ("copy", {"child_sha256": "x", "parent_sha256": "y"}),
        ("copy", {"relation": "quantized"}),
        ("copy", {"relation": "duplicate"}),
        ("tuned", {"relation": "merge"}),
    ],
)
def test_relations_that_the_weights_do_not_exclude(child, fields):
    name = f"lab/{child}"
    row = judged(declared(child=name, **fields), edge(name, PARENT, confidence=0.999), regions=[stored()])
    assert (row.verdict, row.finding) == ("agrees", "parent_confirmed")


def test_a_parent_of_which_the_child_can_be_a_quantisation_is_not_contradicted():
    """Of two models that differ by little, a quantisation can fit both."""
    found = edge("lab/int8", OTHER, rule="quantized", relation="quantized", confidence=0.98)
    found = replace(found, evidence=Evidence(fit_share=1.0, candidates=(OTHER,)))
    for parent, finding in ((PARENT, "ambiguous"), ("lab/tuned", "quantization_of_other")):
        card = declared("lab/int8", parent, "quantized", child_is_quantized=True)
        assert judged(card, found, regions=[stored()]).finding == finding
