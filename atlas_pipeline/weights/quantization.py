"""Is a model quantised, and how is that known?

Tensor types decide, as in the paper's data set (App. D): float types down to 16 bits are how models are trained; 8
bits and fewer, GGUF's block types and the encodings of quantised matrices are quantisations. A config.json that
declares a quantisation decides as well. Some models were published in low precision by those who trained them; they are
no quantised version of anything, and are named in `native_precision.csv`.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from atlas_pipeline.weights.dtypes import FULL_PRECISION
from atlas_pipeline.weights.tensors import TensorInfo

MIN_SHARE: Final = 0.05
"""A model is quantised when at least this share of the bytes of its matrices has a quantised type. Embeddings usually
stay in 16 bits and can be most of a small model; a stray mask or lookup table is far less than a twentieth."""

DECLARATIONS: Final = ("quantization_config", "compression_config", "quantization")
"""Where config.json declares a quantisation; the second name is an older one of compressed-tensors, the third MLX's."""

_NOT_WEIGHTS: Final = (".bias", "masked_bias", "_mask", "position_ids", "relative_position_index", ".g_idx", ".qzeros")
_PACKED_INTEGERS: Final = (".qweight", ".weight_packed")
_INTEGER_TYPES: Final = frozenset({"I16", "U16", "I32", "U32", "I64", "U64", "BOOL", "C64"})
_MAX_METHOD_LENGTH: Final = 64
_NATIVE: Final = Path(__file__).with_name("native_precision.csv")


def quantization_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The object in which config.json declares a quantisation, empty if there is none.

    Models of several modalities declare it for the whole or for their text part.
    """
    text = config.get("text_config")
    for place in (config, text if isinstance(text, dict) else {}):
        for key in DECLARATIONS:
            declared = place.get(key)
            if isinstance(declared, dict) and declared:
                return declared
    return {}


def declared_quantization(config: Mapping[str, Any]) -> str | None:
    """What config.json declares: its method in words; None if there is none or it is no object."""
    declared = quantization_config(config)
    if not declared:
        return None
    method = declared.get("quant_method")
    if not isinstance(method, str):
        flags = [flag for flag in ("load_in_8bit", "load_in_4bit") if declared.get(flag) is True]
        method = flags[0] if flags else "a method without a name"
    key = next(key for key in DECLARATIONS if declared in (config.get(key), _text_part(config).get(key)))
    return f"{method[:_MAX_METHOD_LENGTH]} ({key} in config.json)"


def _stored_quantization(shares: Mapping[str, float]) -> str | None:
    """The quantised type of most bytes of the matrices, or None if they are in full precision."""
    quantized = {dtype: share for dtype, share in shares.items() if dtype not in FULL_PRECISION}
    if not quantized or sum(quantized.values()) < MIN_SHARE:
        return None
    dtype = max(sorted(quantized), key=lambda kind: quantized[kind])
    return f"{dtype} (type of {quantized[dtype]:.0%} of the matrices' bytes)"


@dataclass(frozen=True, slots=True)
class Quantization:
    """The precision of a model.

    Attributes:
        words: Its low precision, how that is known, and where it was made so as in "mxfp4, native to gpt_oss
            (config.json)"; None if there is none.
        is_quantized: Whether it is in low precision and was not made so.
    """

    words: str | None
    is_quantized: bool


def quantization_of(tensors: Iterable[TensorInfo], *, config: Mapping[str, Any]) -> Quantization:
    """The precision of a model, from its tensors and its config.json."""
    shares = _shares(tensors)
    native = _native_precision(shares, config)
    found = [words for words in (_stored_quantization(shares), native or declared_quantization(config)) if words]
    return Quantization("; ".join(found) or None, is_quantized=bool(found) and native is None)


@cache
def native_precisions() -> dict[tuple[str, str], frozenset[str]]:
    """Types in which models of a model type were published by those who trained them, by (model_type, quant_method)."""
    with _NATIVE.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {(row["model_type"], row["quant_method"]): frozenset(row["stored_types"].split()) for row in rows}


def _native_precision(shares: Mapping[str, float], config: Mapping[str, Any]) -> str | None:
    model_type, method = config.get("model_type"), quantization_config(config).get("quant_method")
    if not isinstance(model_type, str) or not isinstance(method, str):
        return None
    native = native_precisions().get((model_type, method.lower()))
    if native is None:
        return None
    # A GGUF file beside the original's config.json is a quantised version all the same.
    low = {dtype for dtype in shares if dtype not in FULL_PRECISION}
    return f"{method.lower()}, native to {model_type} (config.json)" if low <= native else None


def _shares(tensors: Iterable[TensorInfo]) -> dict[str, float]:
    """Share of the matrices' bytes by type."""
    n_bytes: dict[str, int] = defaultdict(int)
    for tensor in tensors:
        if len(tensor.shape) < 2 or tensor.name.endswith(_NOT_WEIGHTS):
            continue
        # Plain integers are indices unless a packing scheme says otherwise.
        is_packed = tensor.name.endswith(_PACKED_INTEGERS) or bool(tensor.flaw)
        if tensor.dtype in _INTEGER_TYPES and not is_packed:
            continue
        n_bytes[tensor.dtype] += tensor.n_bytes
    total = sum(n_bytes.values())
    return {dtype: size / total for dtype, size in n_bytes.items() if size}


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    text = config.get("text_config")
    return text if isinstance(text, dict) else {}
