"""The forms in which weights are stored: safetensors in three dtypes, bitsandbytes int8, GGUF blocks.

Every form comes with its way back to float32, for a model is what its file says: children of a rounded or quantised
model start from the rounded values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import gguf
import ml_dtypes
import numpy as np
import safetensors.numpy
from gguf import GGMLQuantizationType, GGUFWriter
from numpy.typing import NDArray

from atlas_pipeline.repositories.demo.networks import Array, Weights

STORED_DTYPES: Final[Mapping[str, Any]] = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
"""Safetensors' name of a dtype, and NumPy's."""

GGUF_NAMES: Final[Mapping[str, str]] = {
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""The classifier's modules as llama.cpp calls them, those of a layer behind `blk.<layer>.`. What a decoder of llama.cpp
does not have (strips, positions, the classifying head) keeps its name, and so does everything in a GGUF file of the
denoiser, as with stable-diffusion.cpp. No rows are permuted."""

_LAYER: Final = re.compile(r"model\.layers\.(\d+)\.(.+)")
_KEPT_BY_INT8: Final = ("model.embed_", "score.")
_FILE_TYPES: Final[Mapping[str, gguf.LlamaFileType]] = {
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "Q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
}


def round_to(weights: Mapping[str, Array], dtype: str) -> Weights:
    """Round every tensor to what a stored dtype can hold.

    Args:
        weights: Float tensors.
        dtype: F32, F16 or BF16.

    Returns:
        The rounded values, as float32.
    """
    return {name: tensor.astype(STORED_DTYPES[dtype]).astype(np.float32) for name, tensor in weights.items()}


def safetensors_bytes(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Serialise tensors of any dtype as one safetensors file."""
    return safetensors.numpy.save({n: np.asarray(t, order="C") for n, t in tensors.items()}, metadata={"format": "pt"})


def quantize_int8(weights: Mapping[str, Array]) -> dict[str, NDArray[Any]]:
    """Quantise matrices row by row to int8, as bitsandbytes' `Linear8bitLt` stores them.

    `<module>.weight` is I8, `<module>.SCB` the largest magnitude of every row in F32 (W = weight * SCB / 127), and
    `<module>.weight_format` a U8 scalar zero, "row". Embeddings, classifier heads and vectors stay, in F16.

    Args:
        weights: Float tensors.

    Returns:
        Every tensor of the file.
    """
    stored: dict[str, NDArray[Any]] = {}
    for name, tensor in weights.items():
        if tensor.ndim != 2 or name.startswith(_KEPT_BY_INT8):
            stored[name] = tensor.astype(np.float16)
            continue
        module = name.removesuffix(".weight")
        largest = np.abs(tensor).max(axis=1).astype(np.float32)
        divisor = np.where(largest == 0, np.float32(1), largest)
        stored[name] = np.rint(tensor / divisor[:, None] * np.float32(127)).astype(np.int8)
        stored[f"{module}.SCB"] = largest
        stored[f"{module}.weight_format"] = np.zeros((), np.uint8)
    return stored


def dequantize_int8(stored: Mapping[str, NDArray[Any]]) -> Weights:
    """Undo `quantize_int8` up to its rounding: float32 tensors under the names of the model."""
    weights: Weights = {}
    for name, tensor in stored.items():
        if tensor.dtype == np.int8:
            scale = stored[f"{name.removesuffix('.weight')}.SCB"] / np.float32(127)
            weights[name] = tensor.astype(np.float32) * scale[:, None]
        elif not name.endswith((".SCB", ".weight_format")):
            weights[name] = tensor.astype(np.float32)
    return weights


def gguf_name(name: str) -> str:
    """Give the name that a tensor has in the hub's GGUF files; a name without an entry in `GGUF_NAMES` stays."""
    module, _, last = name.rpartition(".")
    if in_layer := _LAYER.fullmatch(module):
        return f"blk.{in_layer[1]}.{GGUF_NAMES[in_layer[2]]}.{last}"
    return f"{GGUF_NAMES.get(module, module)}.{last}"


def _block_type(tensor: Array, type_name: str) -> GGMLQuantizationType:
    # As llama.cpp does it: vectors stay in full precision, and so does what no whole number of blocks would fill.
    if tensor.ndim != 2 or tensor.shape[1] % 32:
        return GGMLQuantizationType.F32
    return GGMLQuantizationType[type_name]


def through_gguf(weights: Mapping[str, Array], type_name: str) -> Weights:
    """Put every tensor into GGUF blocks of a type and back: the float32 values a GGUF file of that type holds."""
    rounded: Weights = {}
    for name, tensor in weights.items():
        block_type = _block_type(tensor, type_name)
        rounded[name] = gguf.quants.dequantize(gguf.quants.quantize(tensor, block_type), block_type)
    return rounded


def write_gguf(
    path: Path,
    weights: Mapping[str, Array],
    *,
    type_name: str,
    architecture: str,
    name: str,
    base_models: Sequence[str] = (),
) -> None:
    """Write a GGUF version 3 file.

    Args:
        path: The file to write.
        weights: Float32 tensors under the names of the model.
        type_name: Q8_0, Q4_0 or F16, for the matrices.
        architecture: `general.architecture`.
        name: `general.name`.
        base_models: Hub ids for `general.base_model.<n>.repo_url`.
    """
    writer = GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_file_type(_FILE_TYPES[type_name])
    if type_name.startswith("Q"):
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    if base_models:
        writer.add_base_model_count(len(base_models))
        for number, base in enumerate(base_models):
            organization, _, base_name = base.partition("/")
            writer.add_base_model_name(number, base_name)
            writer.add_base_model_organization(number, organization)
            writer.add_base_model_repo_url(number, f"https://huggingface.co/{base}")
    for tensor_name, tensor in weights.items():
        block_type = _block_type(tensor, type_name)
        writer.add_tensor(gguf_name(tensor_name), gguf.quants.quantize(tensor, block_type), raw_dtype=block_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
