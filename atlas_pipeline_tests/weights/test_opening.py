import logging
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.weights import WeightsError, find_weights, open_weights
from atlas_pipeline_tests.weights.writing import (
    MODEL,
    model_folder,
    random_matrix,
    write_gguf,
    write_json,
    write_lora,
    write_raw,
    write_safetensors,
)


def _status(root: Path, model_id: str = MODEL) -> str:
    with pytest.raises(WeightsError, match=model_id if ".." not in model_id else "no model id") as caught:
        open_weights(FolderRepository(root), model_id)
    return caught.value.status


def test_safetensors_come_before_gguf_and_pickles(tmp_path: Path) -> None:
    write_raw(tmp_path, b"pickle", file="pytorch_model.bin")
    assert _status(tmp_path) == "unsupported_format"
    write_gguf(tmp_path, {"blk.0.ffn_up.weight": (random_matrix(4, 32), Kind.Q8_0)})
    assert open_weights(FolderRepository(tmp_path), MODEL).format == "gguf"
    write_safetensors(tmp_path, {"w": random_matrix(4, 32)})
    assert open_weights(FolderRepository(tmp_path), MODEL).format == "safetensors"


def test_models_without_weights(tmp_path: Path) -> None:
    model_folder(tmp_path)
    assert _status(tmp_path) == "no_weights"
    write_json(tmp_path, "config.json", {})
    write_raw(tmp_path, b"x", file="training_args.bin")
    assert _status(tmp_path) == "no_weights"
    assert _status(tmp_path, "birch/missing") == "no_weights"


def test_refused_ids_and_links_are_unreadable(tmp_path: Path) -> None:
    assert _status(tmp_path, "../outside") == "unreadable"
    (model_folder(tmp_path) / "model.safetensors").symlink_to("/etc/hostname")
    assert _status(tmp_path) == "unreadable"


def test_an_adapter_is_no_full_model(tmp_path: Path) -> None:
    write_lora(tmp_path, MODEL, {"base_model.model.q.lora_A.weight": random_matrix(4, 8)}, base="a/b")
    assert find_weights(FolderRepository(tmp_path), MODEL).format == "adapter"
    assert _status(tmp_path) == "missing_base"
    write_safetensors(tmp_path, {"w": random_matrix(4, 32)})
    assert open_weights(FolderRepository(tmp_path), MODEL).format == "safetensors"


def test_files_in_folders_count_only_without_files_at_the_top(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"unet.w": random_matrix(4, 8)}, file="unet/diffusion_pytorch_model.safetensors")
    assert set(open_weights(FolderRepository(tmp_path), MODEL).tensors) == {"unet.w"}
    write_safetensors(tmp_path, {"w": random_matrix(4, 8)}, file="whole.safetensors")
    assert set(open_weights(FolderRepository(tmp_path), MODEL).tensors) == {"w"}


@pytest.mark.parametrize(
    ("dtype", "quantized"),
    [
        (np.float64, False),
        (np.float32, False),
        (np.float16, False),
        (np.int8, True),
        (np.uint8, True),
        (np.int64, False),
        (np.bool_, False),
    ],
)
def test_tensor_types_decide_about_quantisation(tmp_path: Path, dtype: type, quantized: bool) -> None:
    write_safetensors(tmp_path, {"q.weight": np.ones((32, 32), dtype), "embed.weight": random_matrix(16, 16)})
    assert (open_weights(FolderRepository(tmp_path), MODEL).quantization is not None) == quantized


def test_masks_and_stray_tables_do_not_make_a_model_quantised(tmp_path: Path) -> None:
    tensors = {
        "h.0.attn.bias": np.ones((1, 1, 64, 64), np.uint8),
        "table": np.ones((4, 4), np.int8),
        "w": random_matrix(32, 32),
    }
    write_safetensors(tmp_path, tensors)
    assert open_weights(FolderRepository(tmp_path), MODEL).quantization is None


def test_packed_integers_are_quantised(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"q.qweight": np.ones((32, 32), np.int32), "w": random_matrix(16, 16)})
    assert open_weights(FolderRepository(tmp_path), MODEL).quantization == "I32 (type of 80% of the matrices' bytes)"


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"load_in_8bit": True}, "load_in_8bit"),
        ({"bits": 4}, "without a name"),
        ({}, None),
        (None, None),
        ("gptq", None),
    ],
)
def test_a_config_can_declare_a_quantisation(tmp_path: Path, declared: object, words: str | None) -> None:
    write_safetensors(tmp_path, {"w": random_matrix(4, 8)})
    write_json(tmp_path, "config.json", {"quantization_config": declared})
    quantization = open_weights(FolderRepository(tmp_path), MODEL).quantization
    assert quantization is None if words is None else words in str(quantization)


def test_a_broken_config_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_safetensors(tmp_path, {"w": random_matrix(4, 8)})
    write_raw(tmp_path, b'{"a": ' * 1000, file="config.json")
    with caplog.at_level(logging.WARNING):
        assert open_weights(FolderRepository(tmp_path), MODEL).quantization is None
    assert MODEL in caplog.text
