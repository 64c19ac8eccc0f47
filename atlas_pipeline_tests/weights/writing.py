"""Writes model folders for tests, honest ones with the formats' own libraries and lying ones byte by byte."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import safetensors.numpy

MODEL = "birch/leaf"


def model_folder(root: Path, model_id: str = MODEL) -> Path:
    folder = root / model_id
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_safetensors(
    root: Path, tensors: Mapping[str, np.ndarray], model_id: str = MODEL, *, file: str = "model.safetensors"
) -> Path:
    path = model_folder(root, model_id) / file
    path.parent.mkdir(exist_ok=True)
    safetensors.numpy.save_file(dict(tensors), path)
    return path


def write_json(root: Path, file: str, value: object, model_id: str = MODEL) -> None:
    (model_folder(root, model_id) / file).write_text(json.dumps(value))


def raw_safetensors(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file with any header, also a false length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def write_raw(root: Path, content: bytes, model_id: str = MODEL, *, file: str = "model.safetensors") -> None:
    (model_folder(root, model_id) / file).write_bytes(content)


def write_gguf(
    root: Path,
    tensors: Mapping[str, tuple[np.ndarray, gguf.GGMLQuantizationType]],
    model_id: str = MODEL,
    *,
    file: str = "model.gguf",
    architecture: str = "qwen2",
    values: Mapping[str, int] | None = None,
    tokens: Sequence[str] = (),
) -> Path:
    path = model_folder(root, model_id) / file
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in (values or {}).items():
        writer.add_uint32(key, value)
    if tokens:
        writer.add_array("tokenizer.ggml.tokens", list(tokens))
        writer.add_array("tokenizer.ggml.scores", [0.5] * len(tokens))
    for name, (array, kind) in tensors.items():
        writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_lora(
    root: Path, model_id: str, tensors: Mapping[str, np.ndarray], *, base: str | None, **config: Any
) -> None:
    write_safetensors(root, tensors, model_id, file="adapter_model.safetensors")
    fields = {"peft_type": "LORA", "base_model_name_or_path": base, "r": 4, "lora_alpha": 8} | config
    write_json(
        root, "adapter_config.json", {key: value for key, value in fields.items() if value is not None}, model_id
    )


def random_matrix(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * np.float32(0.05)
