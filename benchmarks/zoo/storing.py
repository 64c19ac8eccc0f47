"""Writes a model's folder as it would lie on a hub; no name in it tells where the model comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gguf
import ml_dtypes
import numpy as np
import safetensors.numpy
import torch
from gguf import GGUFWriter
from numpy.typing import NDArray

from atlas_pipeline.repositories.demo.formats import GGUF_NAMES
from benchmarks.zoo.networks import Weights, config_of
from benchmarks.zoo.plans import Family, FloatType, LoraTuning, PlannedModel, Quantization
from benchmarks.zoo.quantizing import Tensors, block_type
from benchmarks.zoo.quantizing import config_of as quantization_config
from benchmarks.zoo.training import Run

FLOATS: Final[Mapping[FloatType, Any]] = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}

_TORCH_NAMES: Final = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_STORED_NAMES: Final = {np.dtype(kind): name for name, kind in FLOATS.items()} | {
    np.dtype(np.int8): "I8",
    np.dtype(np.uint8): "U8",
    np.dtype(np.int32): "I32",
    np.dtype(ml_dtypes.float8_e4m3fn): "F8_E4M3",
}
_LAYER: Final = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
_OUTER: Final = {"model.embed_tokens": "token_embd", "lm_head": "output", "model.norm": "output_norm"}


@dataclass(frozen=True)
class Listed:
    """What a hub reads from a folder.

    Attributes:
        files: names, sorted.
        config: what the listing keeps of the configuration.
        n_parameters: values of each stored type; None without a full safetensors file.
        gguf: summary of a GGUF header.
    """

    files: tuple[str, ...]
    config: Mapping[str, Any] | None
    n_parameters: Mapping[str, int] | None
    gguf: Mapping[str, Any] | None


def rounded(weights: Weights, dtype: FloatType) -> Weights:
    """The float32 values of weights that are stored in a type."""
    return {name: tensor.astype(FLOATS[dtype]).astype(np.float32) for name, tensor in weights.items()}


def store(folder: Path, plan: PlannedModel, tensors: Tensors) -> Listed:
    """Write a model with all its weights.

    Args:
        folder: the model's folder, which must not exist yet.
        plan: says which family, format and layout it has.
        tensors: what the file holds; float32 for GGUF files.
    """
    folder.mkdir(parents=True)
    is_quantised = isinstance(plan.making, Quantization) and not plan.making.is_dequantized
    kind = plan.making.kind if isinstance(plan.making, Quantization) and is_quantised else None
    if plan.layout == "gguf" or (kind is not None and kind.startswith("gguf")):
        type_name = kind.removeprefix("gguf-").upper() if kind else plan.dtype
        write_gguf(folder / f"{plan.model_id.partition('/')[2]}.gguf", plan, tensors, type_name)
        return _listed(folder, None, None, {"total": _size(tensors), "architecture": _architecture(plan.family)})

    config = _config(plan, kind)
    inner = _weights_folder(folder, plan.family)
    stem = "diffusion_pytorch_model" if plan.family.startswith("unet") else "model"
    if plan.layout == "torch":
        _write_torch(inner / ("pytorch_model.bin" if stem == "model" else f"{stem}.bin"), tensors)
    elif plan.layout == "sharded":
        _write_shards(inner, stem, tensors)
    elif plan.layout == "prefixed":
        _write_safetensors(inner / f"{stem}.safetensors", _prefixed(tensors, plan.family))
    else:
        _write_safetensors(inner / f"{stem}.safetensors", tensors)
    _write_json(inner / "config.json", config)
    n_parameters = None if plan.layout == "torch" else _n_parameters(tensors)
    kept = ("architectures", "model_type", "quantization_config")
    shown: dict[str, Any] = {key: config[key] for key in kept if key in config}
    return _listed(folder, shown, n_parameters, None)


def store_copy(folder: Path, original: Path, listed: Listed) -> Listed:
    """Write a model again, byte for byte; a GGUF file gets the name of its new repository."""
    paths = sorted(path for path in original.rglob("*") if path.is_file())
    if not paths:
        raise FileNotFoundError(f"there is nothing to copy in {original.name}")
    for path in paths:
        name = path.relative_to(original)
        target = folder / (name if path.suffix != ".gguf" else f"{folder.name}.gguf")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return _listed(folder, listed.config, listed.n_parameters, listed.gguf)


def store_adapter(folder: Path, making: LoraTuning, run: Run, base_id: str) -> Listed:
    """Write a LoRA adapter in PEFT's layout."""
    folder.mkdir(parents=True)
    tensors: Tensors = {}
    for module, (a, b) in run.factors.items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = a
        tensors[f"base_model.model.{module}.lora_B.weight"] = b
    _write_safetensors(folder / "adapter_model.safetensors", tensors)
    config = {
        "base_model_name_or_path": base_id,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": making.alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": making.rank,
        "target_modules": sorted({module.rpartition(".")[2] for module in run.factors}),
        "use_dora": False,
        "use_rslora": False,
    }
    _write_json(folder / "adapter_config.json", config)
    return _listed(folder, {"peft": {"base_model_name_or_path": base_id}}, None, None)


def write_gguf(path: Path, plan: PlannedModel, weights: Weights, type_name: str) -> None:
    """Write a GGUF file, for decoders with llama.cpp's names and its order of the rows of q and k."""
    writer = GGUFWriter(path, _architecture(plan.family))
    config = config_of(plan.family)
    if plan.family.startswith("llama"):
        writer.add_head_count(config["num_attention_heads"])
        writer.add_head_count_kv(config["num_key_value_heads"])
        writer.add_block_count(config["num_hidden_layers"])
        writer.add_embedding_length(config["hidden_size"])
    for name, tensor in weights.items():
        own = block_type(tensor, type_name)
        shown = np.ascontiguousarray(_for_llama_cpp(name, tensor, config))
        stored = gguf.quants.quantize(shown, own)
        writer.add_tensor(gguf_name(name, plan.family), stored, raw_dtype=own)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_name(name: str, family: Family) -> str:
    """A tensor's name in a GGUF file; what llama.cpp does not know keeps its name."""
    if not family.startswith("llama"):
        return name
    stem, _, kind = name.rpartition(".")
    if match := _LAYER.fullmatch(name):
        return f"blk.{match[1]}.{GGUF_NAMES[match[2]]}.{match[3]}"
    return f"{_OUTER.get(stem, stem)}.{kind}"


def _for_llama_cpp(name: str, tensor: NDArray[Any], config: Mapping[str, Any]) -> NDArray[Any]:
    """A tensor with the halves of each head interleaved, if it is q or k of a decoder."""
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    module = name.removesuffix(".weight").rpartition(".")[2]
    if module not in heads or heads[module] not in config:
        return tensor
    n_heads = config[heads[module]]
    return tensor.reshape(n_heads, 2, -1, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape)


def _architecture(family: Family) -> str:
    return str(config_of(family)["model_type"])


def _config(plan: PlannedModel, kind: str | None) -> dict[str, Any]:
    config = config_of(plan.family) | {"torch_dtype": _TORCH_NAMES[plan.dtype]}
    if plan.pattern == "head_swap" and plan.family.startswith("llama"):
        config["architectures"] = ["LlamaForSequenceClassification"]
    if kind is not None and (said := quantization_config(kind)):  # type: ignore[arg-type]
        config["quantization_config"] = said
    return config


def _weights_folder(folder: Path, family: Family) -> Path:
    if not family.startswith("unet"):
        return folder
    _write_json(
        folder / "model_index.json", {"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    )
    (folder / "unet").mkdir()
    return folder / "unet"


def _prefixed(tensors: Tensors, family: Family) -> Tensors:
    """Names as another wrapper saves them: with a prefix more, or for the ViT with one less."""
    if family.startswith("vit"):
        return {name.removeprefix("vit."): tensor for name, tensor in tensors.items()}
    return {f"module.{name}": tensor for name, tensor in tensors.items()}


def _write_safetensors(path: Path, tensors: Tensors) -> None:
    ordered = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    path.write_bytes(safetensors.numpy.save(ordered, metadata={"format": "pt"}))


def _write_shards(folder: Path, stem: str, tensors: Tensors) -> None:
    names = sorted(tensors)
    cuts = [names[: len(names) // 2], names[len(names) // 2 :]]
    located: dict[str, str] = {}
    for number, part in enumerate(cuts, start=1):
        file = f"{stem}-{number:05}-of-{len(cuts):05}.safetensors"
        _write_safetensors(folder / file, {name: tensors[name] for name in part})
        located |= dict.fromkeys(part, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": located}
    _write_json(folder / f"{stem}.safetensors.index.json", index)


def _write_torch(path: Path, tensors: Tensors) -> None:
    kinds = {np.dtype(ml_dtypes.bfloat16): torch.bfloat16}
    held = {}
    for name, tensor in sorted(tensors.items()):
        kind = kinds.get(tensor.dtype)
        plain = torch.from_numpy(np.array(tensor.astype(np.float32) if kind else tensor))
        held[name] = plain.to(kind) if kind else plain
    torch.save(held, path)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _n_parameters(tensors: Tensors) -> dict[str, int]:
    counts: dict[str, int] = {}
    for tensor in tensors.values():
        name = _STORED_NAMES[tensor.dtype]
        counts[name] = counts.get(name, 0) + tensor.size
    return counts


def _size(tensors: Tensors) -> int:
    return sum(tensor.size for tensor in tensors.values())


def _listed(
    folder: Path,
    config: Mapping[str, Any] | None,
    n_parameters: Mapping[str, int] | None,
    summary: Mapping[str, Any] | None,
) -> Listed:
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return Listed(tuple(files), config, n_parameters, summary)
