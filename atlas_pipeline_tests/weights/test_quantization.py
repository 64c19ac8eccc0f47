import csv
from pathlib import Path
from typing import Any

import pytest

from atlas_pipeline.weights import TensorInfo, quantization
from atlas_pipeline.weights.quantization import (
    declared_quantization,
    native_precisions,
    quantization_config,
    quantization_of,
)


def tensor(dtype: str, n_bytes: int, name: str = "layers.0.q.weight", *, flaw: str = "") -> TensorInfo:
    return TensorInfo(name, name, (2, 2), dtype, "model.safetensors", 0, n_bytes, is_readable=not flaw, flaw=flaw)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ([], None),
        ([tensor("BF16", 100), tensor("F16", 50)], None),
        ([tensor("BF16", 96), tensor("NF4", 4)], None),
        ([tensor("BF16", 20), tensor("NF4", 80)], "NF4 (type of 80% of the matrices' bytes)"),
        ([tensor("GPTQ4", 60), tensor("AWQ4", 40)], "GPTQ4 (type of 60% of the matrices' bytes)"),
        ([tensor("Q4_K", 50), tensor("F32", 50)], "Q4_K (type of 50% of the matrices' bytes)"),
        ([tensor("F8_E4M3", 10), tensor("BF16", 10)], "F8_E4M3 (type of 50% of the matrices' bytes)"),
        ([tensor("I64", 100), tensor("BF16", 10)], None),
        ([tensor("I32", 100, "q.qweight"), tensor("BF16", 100)], "I32 (type of 50% of the matrices' bytes)"),
        ([tensor("I32", 100, "q.W_q", flaw="is packed by HQQ")], "I32 (type of 100% of the matrices' bytes)"),
        ([tensor("U8", 100, "h.0.attn.bias"), tensor("BF16", 10)], None),
    ],
)
def test_types_say_it(tensors: list[TensorInfo], words: str | None) -> None:
    assert quantization_of(tensors, config={}).words == words
    assert quantization_of(tensors, config={}).is_quantized == (words is not None)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq (quantization_config in config.json)"),
        ({"quantization_config": {"load_in_8bit": True}}, "load_in_8bit (quantization_config in config.json)"),
        ({"quantization_config": {"bits": 4}}, "a method without a name (quantization_config in config.json)"),
        ({"compression_config": {"quant_method": "x"}}, "x (compression_config in config.json)"),
        ({"quantization": {"bits": 4, "group_size": 64}}, "a method without a name (quantization in config.json)"),
        ({"text_config": {"quantization_config": {"quant_method": "awq"}}}, "awq (quantization_config in config.json)"),
        ({"quantization_config": {"quant_method": "x" * 900}}, "x" * 64 + " (quantization_config in config.json)"),
        ({"quantization_config": {}}, None),
        ({"quantization_config": ["gptq"], "text_config": 3}, None),
        ({}, None),
    ],
)
def test_configs_say_it(config: dict[str, Any], words: str | None) -> None:
    assert declared_quantization(config) == words
    assert quantization_of([], config=config).words == words
    assert bool(quantization_config(config)) == (words is not None)


def test_native_precision_is_named_and_no_quantisation() -> None:
    config = {"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}}
    tensors = [tensor("MXFP4", 90), tensor("BF16", 10)]
    words = "MXFP4 (type of 90% of the matrices' bytes); mxfp4, native to gpt_oss (config.json)"
    assert quantization_of(tensors, config=config).words == words
    assert not quantization_of(tensors, config=config).is_quantized
    # Dequantised and still declared: nothing is in low precision, and it was native.
    assert not quantization_of([tensor("BF16", 10)], config=config).is_quantized


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        # Another method, another model, or a GGUF file beside the original's config.json.
        ({"model_type": "gpt_oss", "quantization_config": {"quant_method": "bitsandbytes"}}, "NF4"),
        ({"model_type": "llama", "quantization_config": {"quant_method": "mxfp4"}}, "MXFP4"),
        ({"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}}, "Q4_K"),
        ({"model_type": "deepseek_v3", "quantization_config": {"quant_method": "awq"}}, "AWQ4"),
        ({"model_type": ["gpt_oss"], "quantization_config": {"quant_method": "mxfp4"}}, "MXFP4"),
        ({"model_type": "gpt_oss", "quantization_config": {"quant_method": 4}}, "MXFP4"),
    ],
)
def test_what_is_not_native(config: dict[str, Any], dtype: str) -> None:
    tensors = [tensor(dtype, 90), tensor("BF16", 10)]
    assert quantization_of(tensors, config=config).is_quantized
    assert "native" not in str(quantization_of(tensors, config=config).words)


def test_native_precisions_are_justified() -> None:
    path = Path(quantization.__file__).with_name("native_precision.csv")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["model_type"], row["quant_method"]) for row in rows] == sorted(native_precisions())
    for row in rows:
        assert row["note"]
        assert row["stored_types"]
        assert row["model_type"] == row["model_type"].lower()
        config = {"model_type": row["model_type"], "quantization_config": {"quant_method": row["quant_method"]}}
        assert not quantization_of([tensor(row["stored_types"].split()[0], 10)], config=config).is_quantized
