"""Is a model quantised, and how is that known?

Tensor types decide, as in the paper's data set (App. D): float types down to 16 bits are how models are trained; 8
bits and fewer, and GGUF's block types, are quantisations. A config.json that declares a quantisation decides as well.
Models that were trained in 8 or 4 bits are called quantised too; telling those apart needs knowledge of the model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from atlas_pipeline.weights.tensors import TensorInfo

FULL_PRECISION: Final = frozenset({"F64", "F32", "F16", "BF16"})
"""Types, in safetensors and GGUF alike, in which models are trained."""

MIN_SHARE: Final = 0.05
"""A model is quantised when at least this share of the bytes of its matrices has a quantised type. Embeddings usually
stay in 16 bits and can be most of a small model; a stray mask or lookup table is far less than a twentieth."""

_NOT_WEIGHTS: Final = (".bias", "masked_bias", "_mask", "position_ids", "relative_position_index", ".g_idx", ".qzeros")
_PACKED_INTEGERS: Final = (".qweight", ".weight_packed")
_INTEGER_TYPES: Final = frozenset({"I16", "U16", "I32", "U32", "I64", "U64", "BOOL", "C64"})
_MAX_METHOD_LENGTH: Final = 64


def declared_quantization(config: Mapping[str, Any]) -> str | None:
    """What config.json declares: its `quantization_config` in words; None if there is none or it is no object."""
    declared = config.get("quantization_config")
    if not isinstance(declared, dict) or not declared:
        return None
    method = declared.get("quant_method")
    if not isinstance(method, str):
        flags = [flag for flag in ("load_in_8bit", "load_in_4bit") if declared.get(flag) is True]
        method = flags[0] if flags else "a method without a name"
    return f"{method[:_MAX_METHOD_LENGTH]} (quantization_config in config.json)"


def stored_quantization(tensors: Iterable[TensorInfo]) -> str | None:
    """The quantised type of most bytes of the matrices, or None if they are in full precision."""
    n_bytes: dict[str, int] = defaultdict(int)
    for tensor in tensors:
        if len(tensor.shape) < 2 or tensor.name.endswith(_NOT_WEIGHTS):
            continue
        # Plain integers are indices unless a packing scheme says otherwise.
        if tensor.dtype in _INTEGER_TYPES and not tensor.name.endswith(_PACKED_INTEGERS):
            continue
        n_bytes[tensor.dtype] += tensor.n_bytes
    quantized = {dtype: size for dtype, size in n_bytes.items() if dtype not in FULL_PRECISION}
    total = sum(n_bytes.values())
    if not quantized or sum(quantized.values()) < MIN_SHARE * total:
        return None
    dtype = max(sorted(quantized), key=lambda kind: quantized[kind])
    return f"{dtype} (type of {quantized[dtype] / total:.0%} of the matrices' bytes)"


def quantization_of(tensors: Iterable[TensorInfo], *, config: Mapping[str, Any]) -> str | None:
    """How a model is quantised, from its tensors and its config.json; None if it is not."""
    found = [words for words in (stored_quantization(tensors), declared_quantization(config)) if words]
    return "; ".join(found) or None
