from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.weights import WeightsError, adapter_base_name, open_adapter, open_weights
from atlas_pipeline_tests.weights.writing import random_matrix, write_gguf, write_json, write_lora, write_safetensors

BASE, ADAPTER = "birch/base", "alder/lora"
QUERY, OTHER = "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj"
W_QUERY, W_OTHER = random_matrix(24, 16, seed=1), random_matrix(12, 16, seed=2)
A, B = random_matrix(4, 16, seed=3), random_matrix(24, 4, seed=4)
PAIR = {f"base_model.model.{QUERY}.lora_A.weight": A, f"base_model.model.{QUERY}.lora_B.weight": B}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_safetensors(tmp_path, {f"{QUERY}.weight": W_QUERY, f"{OTHER}.weight": W_OTHER}, BASE)
    return tmp_path


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"lora_alpha": 8}, 8 / 4),
        ({"lora_alpha": 8, "use_rslora": True}, 8 / 2),
        ({"lora_alpha": 8, "r": 64}, 8 / 4),
        ({"lora_alpha": 8, "alpha_pattern": {"self_attn.q_proj": 20}}, 20 / 4),
        ({"lora_alpha": 8, "alpha_pattern": {QUERY: 20}}, 20 / 4),
        ({"lora_alpha": 8, "alpha_pattern": {"k_proj": 20}}, 8 / 4),
        ({"lora_alpha": 8, "init_lora_weights": "gaussian"}, 8 / 4),
    ],
)
def test_rows_are_base_plus_scaled_product(root: Path, config: dict[str, Any], scale: float) -> None:
    write_lora(root, ADAPTER, PAIR, base=BASE, **config)
    weights = open_adapter(FolderRepository(root), ADAPTER)
    rows = [23, 0, 7, 7]
    expected = W_QUERY.astype(np.float64) + scale * (B.astype(np.float64) @ A.astype(np.float64))
    np.testing.assert_array_equal(weights.rows(f"{QUERY}.weight", rows), expected.astype(np.float32)[rows])
    np.testing.assert_array_equal(weights.rows(f"{OTHER}.weight", [3]), W_OTHER[[3]])
    assert weights.format == "adapter"
    assert weights.base.model_id == BASE
    assert weights.quantization is None
    assert weights.bytes_total == (root / ADAPTER / "adapter_model.safetensors").stat().st_size
    with pytest.raises(IndexError):
        weights.rows(f"{QUERY}.weight", [24])


def test_layers_that_store_inputs_first(root: Path) -> None:
    stored = random_matrix(16, 24, seed=9)
    write_safetensors(root, {"transformer.h.0.attn.c_attn.weight": stored}, "birch/conv")
    name = "base_model.model.transformer.h.0.attn.c_attn"
    write_lora(
        root, ADAPTER, {f"{name}.lora_A.weight": A, f"{name}.lora_B.weight": B}, base="birch/conv", fan_in_fan_out=True
    )
    rows = open_adapter(FolderRepository(root), ADAPTER).rows("transformer.h.0.attn.c_attn.weight", [15, 2])
    expected = stored.astype(np.float64) + 2 * (B.astype(np.float64) @ A.astype(np.float64)).T
    np.testing.assert_array_equal(rows, expected.astype(np.float32)[[15, 2]])


def test_a_gguf_base_meets_by_canonical_names(root: Path) -> None:
    write_gguf(root, {"blk.0.attn_q.weight": (random_matrix(24, 32), Kind.Q8_0)}, "birch/quantised")
    a = random_matrix(4, 32, seed=5)
    pair = {f"base_model.model.{QUERY}.lora_A.weight": a, f"base_model.model.{QUERY}.lora_B.weight": B}
    write_lora(root, ADAPTER, pair, base="birch/quantised")
    repository = FolderRepository(root)
    base = open_weights(repository, "birch/quantised").rows("blk.0.attn_q.weight", [3]).astype(np.float64)
    rows = open_adapter(repository, ADAPTER).rows("blk.0.attn_q.weight", [3])
    np.testing.assert_array_equal(
        rows, (base + 2 * (B[[3]].astype(np.float64) @ a.astype(np.float64))).astype(np.float32)
    )


def test_whole_tensors_replace_those_of_the_base(root: Path) -> None:
    changed = random_matrix(12, 16, seed=7)
    extra = {f"base_model.model.{OTHER}.weight": changed, "base_model.model.score.weight": random_matrix(2, 16)}
    write_lora(root, ADAPTER, PAIR | extra, base=BASE)
    weights = open_adapter(FolderRepository(root), ADAPTER)
    np.testing.assert_array_equal(weights.rows(f"{OTHER}.weight", [11, 0]), changed[[11, 0]])
    assert set(weights.tensors) == {f"{QUERY}.weight", f"{OTHER}.weight"}


def test_the_documented_base_comes_first(root: Path) -> None:
    other = {f"{QUERY}.weight": W_QUERY + 1, f"{OTHER}.weight": W_OTHER}
    write_safetensors(root, other, "birch/other")
    write_lora(root, ADAPTER, PAIR, base=BASE)
    repository = FolderRepository(root)
    assert adapter_base_name(repository, ADAPTER) == BASE
    assert open_adapter(repository, ADAPTER).base.model_id == BASE
    assert open_adapter(repository, ADAPTER, base_ids=["birch/other"]).base.model_id == "birch/other"
    assert open_adapter(repository, ADAPTER, base_ids=["birch/gone"]).base.model_id == BASE


@pytest.mark.parametrize("base", [None, "", "birch/missing", "../../etc", "/home/someone/checkpoint", ADAPTER])
def test_without_a_usable_base(root: Path, base: str | None) -> None:
    write_lora(root, ADAPTER, PAIR, base=base)
    _fails(root, "missing_base")


def test_an_unreadable_base_is_named(root: Path) -> None:
    (root / BASE / "model.safetensors").write_bytes(b"broken")
    write_lora(root, ADAPTER, PAIR, base=BASE)
    _fails(root, "missing_base", BASE)


@pytest.mark.parametrize(
    ("tensors", "config", "words"),
    [
        (PAIR, {"peft_type": "LOHA"}, "LOHA"),
        (PAIR, {"use_dora": True}, "DoRA"),
        (PAIR, {"init_lora_weights": "pissa_niter_4"}, "pissa"),
        (PAIR, {"target_parameters": ["w"]}, "parameters"),
        (PAIR, {"alpha_pattern": {"(a+)+$": 3}}, "alpha_pattern"),
        (PAIR, {"alpha_pattern": [1]}, "alpha_pattern"),
        (PAIR, {"lora_alpha": "8"}, "lora_alpha"),
        (PAIR, {"lora_alpha": True}, "lora_alpha"),
        (PAIR, {"lora_alpha": 10**60}, "lora_alpha"),
        (PAIR | {f"base_model.model.{QUERY}.lora_magnitude_vector": np.ones(24, np.float32)}, {}, "magnitude"),
        ({name: value for name, value in PAIR.items() if "lora_A" in name}, {}, "only one of A and B"),
        ({name.replace("q_proj", "x_proj"): value for name, value in PAIR.items()}, {}, "x_proj"),
        ({name: value.T.copy() for name, value in PAIR.items()}, {}, "do not fit"),
        (PAIR, {"fan_in_fan_out": True}, "do not fit"),
        ({"base_model.model.score.weight": A}, {}, "no tensor"),
    ],
)
def test_adapters_that_are_not_read(
    root: Path, tensors: dict[str, np.ndarray], config: dict[str, Any], words: str
) -> None:
    write_lora(root, ADAPTER, tensors, base=BASE, **config)
    _fails(root, "unsupported_adapter", words)


def test_broken_adapter_configs(root: Path) -> None:
    write_lora(root, ADAPTER, PAIR, base=BASE)
    for content in ("{", "[]", '{"peft_type": "LORA", "peft_type": "LORA"}'):
        (root / ADAPTER / "adapter_config.json").write_text(content)
        _fails(root, "unsupported_adapter", ADAPTER)
    with pytest.raises(WeightsError, match=r"no adapter_config\.json"):
        open_adapter(FolderRepository(root), BASE)
    write_json(root, "adapter_config.json", {"peft_type": "LORA", "lora_alpha": 8}, BASE)
    with pytest.raises(WeightsError, match=r"no adapter_model\.safetensors"):
        open_adapter(FolderRepository(root), BASE)


def _fails(root: Path, status: str, words: str = "") -> None:
    with pytest.raises(WeightsError) as caught:
        open_adapter(FolderRepository(root), ADAPTER)
    assert caught.value.status == status
    assert words in caught.value.message
    assert ADAPTER in caught.value.message
