"""Which tensors of a model are parts of quantised matrices.

What is known is read; what looks like a part of a quantisation and is not known stays unread, with the reason. No code
is ever taken for a number because nothing else was recognised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from atlas_pipeline.weights.dtypes import FULL_PRECISION
from atlas_pipeline.weights.encodings.bitsandbytes import STATES, find_four_bit, find_int8
from atlas_pipeline.weights.encodings.declared import declared_by
from atlas_pipeline.weights.encodings.float4 import find_blocks, find_modelopt
from atlas_pipeline.weights.encodings.gptq import find_column_packed
from atlas_pipeline.weights.encodings.matrix import Opening, UnreadMatrix
from atlas_pipeline.weights.encodings.packed import find_affine, find_row_packed
from atlas_pipeline.weights.encodings.scaled import FLOAT8, find_scaled
from atlas_pipeline.weights.quantization import quantization_of
from atlas_pipeline.weights.tensors import Encoding, StoredWeights, TensorInfo

UNREAD_METHODS: Final[Mapping[str, str]] = {
    ".W_q": "HQQ",
    "._data": "Quanto",
    "._weight_qdata": "torchao",
    ".codebooks": "AQLM",
    ".centroids.weight": "VPTQ",
    ".dense_weights": "SpQR",
    ".trellis": "EXL3",
    ".q_weight": "EXL2",
    ".Qidxs": "QuIP#",
    ".bitmask": "a sparse format of compressed-tensors",
    ".scale_packed": "Marlin",
}
"""How the names of tensors end that only one method writes, one that is not read. All tensors of their module belong to
it."""

CODE_NAMES: Final = (".weight", ".weight_packed", ".qweight")
"""Names under which codes stand that no known scheme explains."""

NOT_CODES: Final = FULL_PRECISION | {"BOOL", "I64", "U64", "C64"}
"""Types that hold no codes: numbers, masks, indices."""

AUXILIARY_NAMES: Final = (
    ".SCB",
    ".weight_scale",
    ".weight_scale_inv",
    ".weight_scales",
    ".scale_weight",
    ".qscale_weight",
    ".input_scale",
    ".absmax",
    ".quant_map",
    ".nested_absmax",
    ".nested_quant_map",
    ".scales",
    ".biases",
    ".cos_cached",
    ".sin_cached",
)
"""Numbers that belong to a quantisation or a cache: a quantised copy has them and its parent has not."""


def encode_quantized(weights: StoredWeights) -> None:
    """Puts a model's quantised matrices in the place of their parts, and says whether and how it is quantised.

    Args:
        weights: The model as its files store it; its `tensors`, `quantization` and `is_quantized` are set.

    Raises:
        WeightsError: As `find_encodings`.
    """
    weights.encode(find_encodings(weights))
    found = quantization_of(weights.tensors.values(), config=weights.config)
    weights.quantization, weights.is_quantized = found.words, found.is_quantized


def find_encodings(weights: StoredWeights) -> list[Encoding]:
    """The quantised matrices of a model, in the order of their names.

    Reads little: of the tensors that say a matrix's shape, one for all layers.

    Args:
        weights: The model, before `encode`.

    Returns:
        Encodings for `StoredWeights.encode`. Matrices that cannot be read are among them, with `is_readable` False and
        the reason as `flaw`, so that none of their parts is taken for weights.

    Raises:
        WeightsError: truncated, over_budget or unreadable.
    """
    if all(i.dtype in FULL_PRECISION and not i.name.endswith(AUXILIARY_NAMES) for i in weights.stored.values()):
        return []
    opening = Opening(weights, declared_by(weights.config))
    found: dict[str, Encoding] = {}
    taken: set[str] = set()
    for candidate in _candidates(opening):
        encoding = _checked(opening, candidate)
        if taken.isdisjoint(encoding.parts) and encoding.info.name not in found:
            found[encoding.info.name] = encoding
            taken |= encoding.parts
    return [found[name] for name in sorted(found)]


def _checked(opening: Opening, encoding: Encoding) -> Encoding:
    """The encoding, unread where its parts do not lie in their file as their shapes say, or its name is taken."""
    if not encoding.info.is_readable:
        return encoding
    parts = [opening.stored[name] for name in sorted(encoding.parts)]
    codes = next(part for part in parts if (part.path, part.start) == (encoding.info.path, encoding.info.start))
    if flawed := [part for part in parts if part.flaw]:
        return UnreadMatrix(codes, flawed[0].flaw, parts)
    if encoding.info.name in opening.stored and encoding.info.name not in encoding.parts:
        return UnreadMatrix(codes, f"stands for {encoding.info.name[:100]!r}, which is stored as well", parts)
    return encoding


def _candidates(opening: Opening) -> Iterator[Encoding]:
    """Everything that may be an encoding; of two that want the same tensor, the first has it."""
    yield from _of_unread_methods(opening)
    for info in opening.stored.values():
        if encoding := _known(opening, info):
            yield encoding
    for info in opening.stored.values():
        if info.flaw:
            continue
        if info.name.endswith(AUXILIARY_NAMES):
            yield UnreadMatrix(info, "belongs to a quantisation or a cache and is no weight")
        elif info.name.endswith(CODE_NAMES) and info.dtype not in NOT_CODES:
            yield UnreadMatrix(info, f"is stored as {info.dtype} by {opening.declared.words}, which is not read")


def _known(opening: Opening, info: TensorInfo) -> Encoding | None:
    name, stored = info.name, opening.stored
    for suffix in STATES:
        if name.endswith(suffix):
            return find_four_bit(opening, info, suffix)
        if name + suffix in stored:
            return None
    if name.endswith(".qweight"):
        return find_column_packed(opening, info)
    if name.endswith(".weight_packed"):
        return find_row_packed(opening, info)
    if name.endswith("_blocks") and info.dtype == "U8":
        return find_blocks(opening, info)
    if info.dtype == "I8" and name.endswith(".weight") and f"{name.removesuffix('.weight')}.SCB" in stored:
        return find_int8(opening, info)
    if name.endswith(".weight") and info.dtype in {"U8", "U32"}:
        return find_modelopt(opening, info) if info.dtype == "U8" else find_affine(opening, info)
    is_float8 = info.dtype in FLOAT8 and bool(info.shape) and not name.endswith(AUXILIARY_NAMES)
    return find_scaled(opening, info) if is_float8 or (info.dtype == "I8" and name.endswith(".weight")) else None


def _of_unread_methods(opening: Opening) -> Iterator[UnreadMatrix]:
    methods = {
        name.removesuffix(suffix): method
        for name in opening.stored
        for suffix, method in UNREAD_METHODS.items()
        if name.endswith(suffix)
    }
    if not methods:
        return
    parts: dict[str, list[TensorInfo]] = {}
    for name, info in opening.stored.items():
        ends = [place for place, character in enumerate(name) if character == "."]
        if module := next((name[:end] for end in ends if name[:end] in methods), None):
            parts.setdefault(module, []).append(info)
    for module, infos in parts.items():
        # The largest tensor holds the codes.
        codes = max(infos, key=lambda info: (info.n_bytes, info.name))
        yield UnreadMatrix(codes, f"is packed by {methods[module]}, which is not read", infos)
