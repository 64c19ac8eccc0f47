"""Writes a model's folder as it would lie on a hub: weights, configuration, card.

A folder is `<org>/<name>/` with one weights file (two in a GGUF repository of two types), config.json or
adapter_config.json, and README.md where the model has a card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import ModelCardData
from numpy.typing import NDArray

from atlas_pipeline.repositories.demo.formats import (
    STORED_DTYPES,
    quantize_int8,
    safetensors_bytes,
    write_gguf,
)
from atlas_pipeline.repositories.demo.lineage import (
    Documentation,
    FineTuning,
    Gguf,
    Int8,
    LinearMerge,
    LoraTuning,
    SphericalMerge,
)
from atlas_pipeline.repositories.demo.making import MadeModel
from atlas_pipeline.repositories.demo.networks import IMAGE_SIZE, N_CLASSES, STRIP_HEIGHT, Array, StripFormer

Card = Mapping[str, Any]
"""What the YAML front matter of a model card says."""

_DTYPE_NAMES = {np.dtype(np.int8): "I8", np.dtype(np.uint8): "U8"} | {
    np.dtype(dtype): name for name, dtype in STORED_DTYPES.items()
}

_SENTENCES = {
    FineTuning: "a fine-tuned version of",
    LoraTuning: "a LoRA adapter for",
    Int8: "a quantized version of",
    Gguf: "a quantized version of",
    LinearMerge: "a merge of",
    SphericalMerge: "a merge of",
}
"""How a card says in prose what its front matter says too."""


@dataclass(frozen=True)
class Package:
    """What a hub reads from a folder's files.

    `files` are their names, `config` what the hub keeps of the configuration, `n_parameters` counts values per stored
    dtype (None without a full safetensors file), `gguf` is the summary of a GGUF file's header.
    """

    files: tuple[str, ...]
    config: Mapping[str, Any] | None
    n_parameters: Mapping[str, int] | None
    gguf: Mapping[str, Any] | None


def model_config(made: MadeModel) -> dict[str, Any]:
    """Describe the architecture, and the quantisation if any, in the words of a transformers config.json."""
    network = made.network
    config: dict[str, Any] = {"model_type": network.model_type}
    if isinstance(network, StripFormer):
        config |= {
            "architectures": ["DigitsFormerForImageClassification"],
            "hidden_size": network.width,
            "intermediate_size": network.mlp_width,
            "num_attention_heads": network.n_heads,
            "num_hidden_layers": network.n_layers,
            "num_labels": N_CLASSES,
            "strip_height": STRIP_HEIGHT,
        }
    else:
        config |= {"architectures": ["DigitsDenoiserModel"], "hidden_sizes": [192, 96, 32, 96, 192]}
    names = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "I8": "float16"}
    config |= {"image_size": IMAGE_SIZE, "torch_dtype": names.get(made.dtype, "float32")}
    if made.dtype == "I8":
        config["quantization_config"] = {
            "quant_method": "bitsandbytes",
            "load_in_8bit": True,
            "load_in_4bit": False,
            "llm_int8_threshold": 6.0,
            "llm_int8_skip_modules": ["score"] if isinstance(network, StripFormer) else [],
        }
    return config


def _adapter_config(made: MadeModel, making: LoraTuning) -> dict[str, Any]:
    return {
        "base_model_name_or_path": made.plan.adapter_base,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": making.alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": making.rank,
        "target_modules": sorted(making.modules),
        "task_type": "FEATURE_EXTRACTION",
        "use_dora": False,
        "use_rslora": False,
    }


def _hub_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the Hub's listing keeps of a config.json."""
    return {key: config[key] for key in ("architectures", "model_type", "quantization_config") if key in config}


def _json_bytes(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _n_parameters(tensors: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for tensor in tensors.values():
        dtype = _DTYPE_NAMES[tensor.dtype]
        counts[dtype] = counts.get(dtype, 0) + tensor.size
    return counts


def _full_tensors(made: MadeModel) -> dict[str, NDArray[Any]]:
    if made.dtype == "I8":
        return quantize_int8(made.unrounded)
    return {name: tensor.astype(STORED_DTYPES[made.dtype]) for name, tensor in made.weights.items()}


def _adapter_tensors(made: MadeModel) -> dict[str, Array]:
    tensors: dict[str, Array] = {}
    for module, pair in (made.adapters or {}).items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = pair.down
        tensors[f"base_model.model.{module}.lora_B.weight"] = pair.up
    return tensors


def _readme(made: MadeModel, card: Card) -> bytes:
    plan = made.plan
    what = "classifies 8x8 images of digits" if isinstance(made.network, StripFormer) else "restores noisy 8x8 digits"
    text = f"---\n{ModelCardData(**card).to_yaml()}\n---\n\n# {plan.name}\n\nA small network that {what}.\n"
    if "base_model" in card:
        named = card["base_model"] if isinstance(card["base_model"], list) else [card["base_model"]]
        links = " and ".join(f"[{name}](https://huggingface.co/{name})" for name in named)
        text += f"\nThis model is {_SENTENCES.get(type(plan.making), 'made from')} {links}.\n"
    return text.encode()


def _gguf_bases(source: MadeModel) -> tuple[str, ...]:
    """The base models that llama.cpp's converter copies from the source's card: the file's grandparents."""
    in_card = source.plan.documentation in (Documentation.BASE_MODELS, Documentation.CARD)
    return tuple(name for name in source.plan.declared if "/" in name) if in_card else ()


def package(folder: Path, made: MadeModel, parents: Sequence[MadeModel], *, card: Card | None) -> Package:
    """Write the folder of a model.

    Args:
        folder: Where to write; created.
        made: The model.
        parents: The models it was made from.
        card: Its card's front matter, None for a model without a card.

    Returns:
        What a hub's listing shows of the files.
    """
    folder.mkdir(parents=True)
    making = made.plan.making
    config: Mapping[str, Any] | None = None
    n_parameters: Mapping[str, int] | None = None
    summary: Mapping[str, Any] | None = None
    if isinstance(making, Gguf):
        for type_name in making.types:
            write_gguf(
                folder / f"{parents[0].plan.name}.{type_name}.gguf",
                made.unrounded,
                type_name=type_name,
                architecture=made.network.model_type,
                name=parents[0].plan.name,
                base_models=_gguf_bases(parents[0]),
            )
        total = sum(tensor.size for tensor in made.unrounded.values())
        summary = {"total": total, "architecture": made.network.model_type}
    elif isinstance(making, LoraTuning) and not making.is_merged:
        (folder / "adapter_model.safetensors").write_bytes(safetensors_bytes(_adapter_tensors(made)))
        adapter_config = _adapter_config(made, making)
        (folder / "adapter_config.json").write_bytes(_json_bytes(adapter_config))
        kept = ("base_model_name_or_path", "task_type")
        config = {"peft": {key: adapter_config[key] for key in kept}}
    else:
        tensors = _full_tensors(made)
        (folder / "model.safetensors").write_bytes(safetensors_bytes(tensors))
        full_config = model_config(made)
        (folder / "config.json").write_bytes(_json_bytes(full_config))
        config, n_parameters = _hub_config(full_config), _n_parameters(tensors)
    if card is not None:
        (folder / "README.md").write_bytes(_readme(made, card))
    files = sorted(folder.iterdir())
    for path in files:
        path.chmod(0o644)
    return Package(tuple(path.name for path in files), config, n_parameters, summary)
