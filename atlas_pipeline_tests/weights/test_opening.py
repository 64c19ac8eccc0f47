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
    write_raw(tmp_path, b"hdf", file="tf_model.h5")
    assert _status(tmp_path) == "unsupported_format"
    write_raw(tmp_path, b"pickle", file="pytorch_model.bin")
    assert find_weights(FolderRepository(tmp_path), MODEL).format == "pytorch"
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
    assert _status(tmp_path, "birch/missing") == "not_found"


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


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        ({"model.safetensors": 8, "other.safetensors": 99}, ["model.safetensors"]),
        ({"model.fp16.safetensors": 99, "model.safetensors": 8}, ["model.safetensors"]),
        ({"a.fp16.safetensors": 99, "a.safetensors": 8}, ["a.safetensors"]),
        ({"a.safetensors": 8, "b.safetensors": 9}, ["b.safetensors"]),
        ({"a.safetensors": 8, "b.safetensors": 8}, ["a.safetensors"]),
        ({"x-Q4_K_M.gguf": 5, "x-f16.gguf": 16, "mmproj-f16.gguf": 99}, ["x-f16.gguf"]),
        (
            {"x-00001-of-00002.gguf": 9, "x-00002-of-00002.gguf": 9, "y.gguf": 12},
            ["x-00001-of-00002.gguf", "x-00002-of-00002.gguf"],
        ),
        # A model of which a shard is missing is none.
        ({"x-00001-of-00002.gguf": 90, "y.gguf": 12}, ["y.gguf"]),
        (
            {
                "model-00001-of-00002.safetensors": 9,
                "model-00002-of-00002.safetensors": 9,
                "consolidated.safetensors": 9,
            },
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ),
        ({"optimizer.pt": 99, "pytorch_model.bin": 9, "rng_state_0.pth": 9}, ["pytorch_model.bin"]),
        ({"deep/er/w.safetensors": 9}, ["deep/er/w.safetensors"]),
        ({"deep/w.safetensors": 9, "w.safetensors": 1}, ["w.safetensors"]),
        (
            {
                "text_encoder/model.safetensors": 99,
                "unet/diffusion_pytorch_model.fp16.safetensors": 8,
                "unet/diffusion_pytorch_model.safetensors": 16,
                "vae/diffusion_pytorch_model.safetensors": 99,
                "v1-5-pruned.safetensors": 999,
            },
            ["unet/diffusion_pytorch_model.safetensors"],
        ),
    ],
)
def test_one_model_of_a_repository_counts(tmp_path: Path, files: dict[str, int], chosen: list[str]) -> None:
    for file, size in files.items():
        path = model_folder(tmp_path) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    assert [entry.path for entry in find_weights(FolderRepository(tmp_path), MODEL).entries] == chosen


def test_an_index_left_over_beside_a_whole_model_is_not_read(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"w": random_matrix(4, 8)})
    write_json(tmp_path, "model.safetensors.index.json", {"weight_map": {"w": "gone.safetensors"}})
    assert set(open_weights(FolderRepository(tmp_path), MODEL).tensors) == {"w"}


def test_the_config_of_a_pipelines_part_counts(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"w": random_matrix(4, 8)}, file="unet/diffusion_pytorch_model.safetensors")
    write_json(tmp_path, "config.json", {"which": "whole"})
    assert open_weights(FolderRepository(tmp_path), MODEL).config == {"which": "whole"}
    write_json(tmp_path, "unet/config.json", {"which": "part"})
    assert open_weights(FolderRepository(tmp_path), MODEL).config == {"which": "part"}


def test_only_a_file_with_a_models_name_outweighs_an_adapter(tmp_path: Path) -> None:
    write_lora(tmp_path, MODEL, {"q.lora_A.weight": random_matrix(4, 8)}, base="a/b")
    for file in ("value_head.safetensors", "value_head.bin", "checkpoint-9/adapter_model.safetensors"):
        path = model_folder(tmp_path) / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(99))
    found = find_weights(FolderRepository(tmp_path), MODEL)
    assert (found.format, [entry.path for entry in found.entries]) == ("adapter", ["adapter_model.safetensors"])
    write_raw(tmp_path, bytes(9), file="model.safetensors")
    assert find_weights(FolderRepository(tmp_path), MODEL).format == "safetensors"


@pytest.mark.parametrize("folder", ["", "unet/"])
def test_the_index_is_read_only_where_the_names_of_shards_do_not_say_enough(tmp_path: Path, folder: str) -> None:
    index = f"{folder}model.safetensors.index.json"
    for file in ("left.safetensors", "right.safetensors", "stray.safetensors"):
        write_safetensors(tmp_path, {file: random_matrix(2, 4)}, file=f"{folder}{file}")
    where = {"a": "left.safetensors", "b": "right.safetensors"}
    write_json(tmp_path, index, {"weight_map": where})
    found = find_weights(FolderRepository(tmp_path), MODEL)
    assert [entry.path for entry in found.entries] == [f"{folder}left.safetensors", f"{folder}right.safetensors"]
    assert found.tensor_files == {name: f"{folder}{path}" for name, path in where.items()}
    for outside in ("../left.safetensors", "/etc/passwd", "missing.safetensors", 7):
        write_json(tmp_path, index, {"weight_map": {"a": outside}})
        assert _status(tmp_path) == "invalid_header"
    for number in (1, 2):
        write_safetensors(
            tmp_path, {str(number): random_matrix(2, 4)}, file=f"{folder}x-{number:05}-of-00002.safetensors"
        )
    for file in ("left.safetensors", "right.safetensors", "stray.safetensors"):
        (model_folder(tmp_path) / f"{folder}{file}").unlink()
    assert set(open_weights(FolderRepository(tmp_path), MODEL).tensors) == {"1", "2"}


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
