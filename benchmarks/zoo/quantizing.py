"""Quantisers: a model's weights in fewer bits, as files hold them, and the numbers that they then stand for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import gguf
import ml_dtypes
import numpy as np
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from benchmarks.zoo.networks import Weights
from benchmarks.zoo.plans import QuantizedType

Tensors = dict[str, NDArray[Any]]

NF4: Final = np.array(
    [
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
        0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ],
    dtype=np.float32,
)  # fmt: skip
"""The sixteen values of NormalFloat (Dettmers et al. 2023, appendix E)."""

NF4_BLOCK: Final = 64
GPTQ_GROUP: Final = 32
GPTQ_ZERO: Final = 8

_FLOAT8_MOST: Final = 448.0
_KEPT: Final = ("embed", "lm_head", "score", "classifier", "time_", "proj_in", "proj_out", "conv")


def is_quantised(name: str, tensor: NDArray[Any]) -> bool:
    """Whether quantisers for Transformers and diffusers take a tensor: matrices inside the blocks, but no heads."""
    return tensor.ndim == 2 and not any(part in name for part in _KEPT)


def quantised(weights: Weights, kind: QuantizedType) -> tuple[Tensors, Weights]:
    """Quantise a model.

    Args:
        weights: float32 arrays by tensor name.
        kind: the format; what it does not quantise becomes float16.

    Returns:
        The tensors of the file and the float32 values of the model's tensors; for GGUF the file's tensors are those
        values, and `write_gguf` puts them into blocks again, which changes nothing.
    """
    values: Weights = {}
    if kind.startswith("gguf"):
        values = gguf_values(weights, kind.removeprefix("gguf-").upper())
        return dict(values), values
    stored: Tensors = {}
    quantise = {"bnb-int8": _int8, "bnb-nf4": _nf4, "fp8": _fp8, "gptq-4bit": _gptq}[kind]
    for name, tensor in weights.items():
        if is_quantised(name, tensor):
            parts, values[name] = quantise(name.removesuffix(".weight"), tensor)
            stored |= parts
        else:
            stored[name] = tensor.astype(np.float16)
            values[name] = stored[name].astype(np.float32)
    return stored, values


def config_of(kind: QuantizedType) -> dict[str, Any]:
    """What config.json says of a quantisation, under `quantization_config`."""
    match kind:
        case "bnb-int8":
            return {"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False}
        case "bnb-nf4":
            return {
                "quant_method": "bitsandbytes",
                "load_in_8bit": False,
                "load_in_4bit": True,
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_use_double_quant": False,
            }
        case "fp8":
            return {"quant_method": "compressed-tensors", "format": "float-quantized"}
        case "gptq-4bit":
            return {"quant_method": "gptq", "bits": 4, "group_size": GPTQ_GROUP, "sym": True, "desc_act": False}
        case _:
            return {}


def _int8(module: str, tensor: NDArray[np.float32]) -> tuple[Tensors, NDArray[np.float32]]:
    """Rows of int8 with their largest magnitude, as bitsandbytes' Linear8bitLt."""
    largest = np.abs(tensor).max(axis=1).astype(np.float32)
    divisor = np.where(largest == 0, np.float32(1), largest)
    codes = np.rint(tensor / divisor[:, None] * np.float32(127)).astype(np.int8)
    stored: Tensors = {
        f"{module}.weight": codes,
        f"{module}.SCB": largest,
        f"{module}.weight_format": np.zeros((), np.uint8),
    }
    return stored, (codes.astype(np.float64) * largest[:, None].astype(np.float64) / 127).astype(np.float32)


def _nf4(module: str, tensor: NDArray[np.float32]) -> tuple[Tensors, NDArray[np.float32]]:
    """Four-bit codes with the largest magnitude of each block, as bitsandbytes' Linear4bit."""
    blocks = tensor.reshape(-1, NF4_BLOCK)
    largest = np.abs(blocks).max(axis=1)
    scaled = blocks / np.where(largest == 0, np.float32(1), largest)[:, None]
    codes = np.searchsorted((NF4[1:] + NF4[:-1]) / 2, scaled.reshape(-1)).astype(np.uint8)
    state = {"quant_type": "nf4", "blocksize": NF4_BLOCK, "dtype": "float16", "shape": list(tensor.shape)}
    name = f"{module}.weight"
    stored: Tensors = {
        name: (codes[0::2] << 4 | codes[1::2])[:, None],
        f"{name}.absmax": largest.astype(np.float32),
        f"{name}.quant_map": NF4,
        f"{name}.quant_state.bitsandbytes__nf4": np.frombuffer(json.dumps(state).encode(), np.uint8),
    }
    return stored, (NF4[codes].reshape(blocks.shape) * largest[:, None]).reshape(tensor.shape)


def _fp8(module: str, tensor: NDArray[np.float32]) -> tuple[Tensors, NDArray[np.float32]]:
    """Eight-bit floats (e4m3) with a scale for each row, as compressed-tensors."""
    scale = (np.abs(tensor).max(axis=1, keepdims=True) / np.float32(_FLOAT8_MOST)).astype(np.float32)
    scale = np.where(scale == 0, np.float32(1), scale)
    codes = (tensor / scale).astype(ml_dtypes.float8_e4m3fn)
    return {f"{module}.weight": codes, f"{module}.weight_scale": scale}, codes.astype(np.float32) * scale


def _gptq(module: str, tensor: NDArray[np.float32]) -> tuple[Tensors, NDArray[np.float32]]:
    """Four-bit codes in groups of inputs, packed as GPTQ packs them; every weight is rounded for itself."""
    n_out, n_in = tensor.shape
    groups = np.arange(n_in) // GPTQ_GROUP
    largest = np.abs(tensor.reshape(n_out, -1, GPTQ_GROUP)).max(axis=2)
    scales = np.maximum(largest / 7.5, 1e-6).astype(np.float16)
    steps = scales.astype(np.float32)[:, groups]
    codes = np.clip(np.rint(tensor / steps) + GPTQ_ZERO, 0, 15).astype(np.uint32)
    zeros = np.full((scales.shape[1], n_out), GPTQ_ZERO - 1, np.uint32)
    stored: Tensors = {
        f"{module}.qweight": np.ascontiguousarray(_packed(codes).T),
        f"{module}.qzeros": _packed(zeros),
        f"{module}.scales": np.ascontiguousarray(scales.T),
        f"{module}.g_idx": groups.astype(np.int32),
    }
    return stored, (codes.astype(np.float32) - GPTQ_ZERO) * steps


def _packed(codes: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Four-bit codes [k, n] in words of eight, the first lowest: [k, n / 8]."""
    shifts = np.arange(0, 32, 4, dtype=np.uint32)
    words = np.bitwise_or.reduce(codes.reshape(len(codes), -1, 8) << shifts, axis=2)
    return words.astype(np.uint32).view(np.int32)


def block_type(tensor: NDArray[Any], kind: str) -> GGMLQuantizationType:
    """The type that a tensor has in a GGUF file: vectors, and what fills no blocks, stay in full precision."""
    if tensor.ndim != 2 or tensor.shape[1] % 32:
        return GGMLQuantizationType.F32
    return GGMLQuantizationType[kind]


def gguf_values(weights: Mapping[str, NDArray[np.float32]], kind: str) -> Weights:
    """The float32 values that a GGUF file of a type (Q8_0, Q5_0, Q4_0, F16, F32) holds."""
    values: Weights = {}
    for name, tensor in weights.items():
        own = block_type(tensor, kind)
        values[name] = gguf.quants.dequantize(gguf.quants.quantize(tensor, own), own).reshape(tensor.shape)
    return values
