"""bitsandbytes: 8-bit integers with a scale for each row, and 4-bit codes with a scale for each block of 64.

The 4-bit codes of a matrix are one long list, two to a byte, the first in the high bits; blocks run on from row to row.
Its shape stands in a JSON text that is stored as a tensor (`quant_state`). Its scales (`absmax`) may be 8-bit codes
themselves, with a scale for each block of 256 and a common offset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from atlas_pipeline.weights.bounded_json import parse_json_object
from atlas_pipeline.weights.encodings.matrix import (
    Opening,
    QuantizedMatrix,
    UnreadMatrix,
    matrix_info,
    read_rows,
    read_whole,
)
from atlas_pipeline.weights.encodings.packing import nibbles
from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.tensors import Encoding, StoredWeights, TensorInfo

STATES: Final = {".quant_state.bitsandbytes__nf4": "nf4", ".quant_state.bitsandbytes__fp4": "fp4"}
"""How the names of the JSON texts end, and the type of the codes."""

MAX_STATE_BYTES: Final = 4096
"""A state takes about 200 bytes."""

MAX_BLOCK: Final = 1 << 16
"""Blocks in use have 64 to 4096 numbers."""

_PARTS: Final = (".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map")
_N_CODES: Final = 16
_N_NESTED_CODES: Final = 256


@dataclass(frozen=True, slots=True)
class _State:
    """What the JSON text says.

    Attributes:
        shape: [out, in].
        block: Numbers that share a scale.
        nested_block: Scales that share a scale; 0 if scales are stored as they are.
        nested_offset: Added to every scale; each matrix has its own.
    """

    shape: tuple[int, int]
    block: int
    nested_block: int
    nested_offset: float


class Int8Matrix(QuantizedMatrix):
    """LLM.int8(): code times the row's largest magnitude over 127."""

    def __init__(self, codes: TensorInfo, scale: TensorInfo, order: TensorInfo | None) -> None:
        super().__init__(matrix_info(codes, ".weight", shape=codes.shape, dtype="INT8"), (codes, scale, order))
        self._codes = codes
        self._scale = scale
        self._order = order

    def cost_bytes(self, n_rows: int) -> int:
        """See Encoding.cost_bytes."""
        return n_rows * (self._codes.row_bytes + self._scale.row_bytes) + (self._order.n_bytes if self._order else 0)

    def _rows(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        # 0 is the plain order of rows; the others suit tensor cores of one generation.
        if self._order is not None and read_whole(weights, self._order).any():
            raise WeightsError(
                "unsupported_format",
                f"The tensor {self.info.name!r} of model {weights.model_id} is stored in the order of tensor cores; "
                "it is not read.",
            )
        scales = read_rows(weights, self._scale, (self.info.shape[0], 1), indices).astype(np.float64)
        return np.asarray(weights.stored_values(self._codes, indices) * scales / 127.0)


class FourBitMatrix(QuantizedMatrix):
    """NF4 or FP4: the code's value in a table of 16, times the block's scale."""

    def __init__(
        self, codes: TensorInfo, text: TensorInfo, parts: Mapping[str, TensorInfo], *, kind: str, state: _State
    ) -> None:
        info = matrix_info(codes, ".weight", shape=state.shape, dtype=kind.upper())
        super().__init__(info, (codes, text, *parts.values()))
        self._codes = codes
        self._text = text
        self._parts = parts
        self._kind = kind
        self._state = state

    def cost_bytes(self, n_rows: int) -> int:
        """See Encoding.cost_bytes."""
        _, n_columns = self._state.shape
        scales = self._parts[".absmax"]
        # A row that is no multiple of a block may begin and end within one.
        n_blocks = n_columns // self._state.block + (0 if n_columns % self._state.block == 0 else 2)
        codes = n_rows * (n_columns // 2) if n_columns % 2 == 0 else self._codes.n_bytes
        small = sum(part.n_bytes for suffix, part in self._parts.items() if suffix != ".absmax")
        return codes + n_rows * n_blocks * scales.row_bytes + small + self._text.n_bytes

    def _rows(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        own = _parse(read_whole(weights, self._text), self._kind, what=f"{self._text.name} of {weights.model_id}")
        if replace(own, nested_offset=self._state.nested_offset) != self._state:
            raise self._contradicts(
                weights, self._text, f"says {own}, while that of another layer, equal in size, says {self._state}"
            )
        table = read_whole(weights, self._parts[".quant_map"]).astype(np.float32)
        columns = indices[:, None] * self._state.shape[1] + np.arange(self._state.shape[1])
        scales = self._scales(weights, indices, offset=own.nested_offset)
        first = indices * self._state.shape[1] // self._state.block
        scales = np.take_along_axis(scales, columns // self._state.block - first[:, None], axis=1)
        return table[self._code_rows(weights, indices)] * scales

    def _code_rows(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        n_rows, n_columns = self._state.shape
        if n_columns % 2 == 0:
            stored = weights.stored_rows(_as_bytes(self._codes, n_rows, n_columns // 2), indices)
            return nibbles(stored, is_high_first=True)
        # Every other row begins within a byte; such matrices are small if they occur at all.
        whole = weights.stored_rows(_as_bytes(self._codes, 1, self._codes.n_bytes), np.zeros(1, np.int64))
        return nibbles(whole, is_high_first=True)[0, : n_rows * n_columns].reshape(n_rows, n_columns)[indices]

    def _scales(
        self, weights: StoredWeights, indices: npt.NDArray[np.int64], *, offset: float
    ) -> npt.NDArray[np.float32]:
        """Scales of all blocks that each row touches: float32 [k, blocks]."""
        part = self._parts[".absmax"]
        n_columns, block = self._state.shape[1], self._state.block
        first = indices * n_columns // block
        last = ((indices + 1) * n_columns - 1) // block
        blocks = np.minimum(first[:, None] + np.arange(int((last - first).max()) + 1), part.shape[0] - 1)
        stored = read_rows(weights, part, (part.shape[0], 1), blocks.reshape(-1)).reshape(blocks.shape)
        if not self._state.nested_block:
            return np.asarray(stored, dtype=np.float32)
        table = read_whole(weights, self._parts[".nested_quant_map"]).astype(np.float32)
        outer = read_whole(weights, self._parts[".nested_absmax"]).astype(np.float32)
        scales = table[stored] * outer[blocks // self._state.nested_block]
        return np.asarray(scales + np.float32(offset), dtype=np.float32)


def find_int8(opening: Opening, codes: TensorInfo) -> Encoding:
    """The matrix of an 8-bit tensor beside which there is an `SCB`."""
    stem = codes.name.removesuffix(".weight")
    scale, order = opening.stored[f"{stem}.SCB"], opening.stored.get(f"{stem}.weight_format")
    parts = [scale, *([order] if order else [])]
    if len(codes.shape) != 2 or scale.dtype != "F32" or scale.shape not in {(codes.shape[0],), (codes.shape[0], 1)}:
        return UnreadMatrix(
            codes,
            f"has the shape {list(codes.shape)}, which its {scale.dtype} scale of the shape {list(scale.shape)} does "
            "not fit",
            parts,
        )
    if order and (order.dtype not in {"U8", "I8", "I32", "I64"} or order.n_bytes > MAX_STATE_BYTES):
        return UnreadMatrix(codes, "has a weight_format that is no number", parts)
    return Int8Matrix(codes, scale, order)


def find_four_bit(opening: Opening, text: TensorInfo, suffix: str) -> Encoding:
    """The matrix of a `quant_state`.

    Reads the text of one layer for all of equal size; the others are compared when their rows are read.

    Raises:
        WeightsError: truncated, over_budget or unreadable.
    """
    name = text.name.removesuffix(suffix)
    codes = opening.stored.get(name)
    if codes is None:
        return UnreadMatrix(text, "describes 4-bit codes that are not there")
    parts = opening.parts(name, _PARTS)
    if text.dtype != "U8" or text.n_bytes > MAX_STATE_BYTES or not name.endswith(".weight"):
        return UnreadMatrix(codes, "has a quant_state that is no short text", [text, *parts.values()])
    kind = STATES[suffix]
    try:
        state = _parse(opening.sample(text, codes.n_bytes), kind, what=f"{text.name} of {opening.weights.model_id}")
    except WeightsError as error:
        if error.status != "invalid_header":
            raise
        return UnreadMatrix(codes, f"cannot be decoded: {error.message.removesuffix('.')}", [text, *parts.values()])
    if flaw := _flaw(codes, parts, state):
        return UnreadMatrix(codes, flaw, [text, *parts.values()])
    return FourBitMatrix(codes, text, parts, kind=kind, state=state)


def _parse(text: npt.NDArray[np.uint8], kind: str, *, what: str) -> _State:
    """Reads a `quant_state`; invalid_header if it is none, or of another kind."""
    fields = parse_json_object(text.tobytes(), what=f"The text {what}", status="invalid_header")
    shape: Any = fields.get("shape")
    block: Any = fields.get("blocksize")
    nested_block: Any = fields.get("nested_blocksize", 0)
    offset: Any = fields.get("nested_offset", 0.0)
    flaw = None
    if fields.get("quant_type") != kind:
        flaw = f"has the quant_type {str(fields.get('quant_type'))[:40]!r} instead of {kind!r}"
    elif not isinstance(shape, list) or len(shape) != 2 or not all(type(side) is int and side > 0 for side in shape):
        flaw = "has a shape that is no pair of positive integers"
    elif not all(type(size) is int and 0 <= size <= MAX_BLOCK for size in (block, nested_block)) or not block:
        flaw = f"has a block size that is not 1 to {MAX_BLOCK}"
    elif type(offset) not in {int, float} or not abs(offset) < 1e30:
        flaw = "has a nested_offset that is no number"
    if flaw:
        raise WeightsError("invalid_header", f"The text {what} {flaw}.")
    rows, columns = shape
    return _State((rows, columns), block, nested_block, float(offset))


def _flaw(codes: TensorInfo, parts: Mapping[str, TensorInfo], state: _State) -> str | None:
    """Why stored parts do not fit what the state says; None if they do."""
    n_codes = state.shape[0] * state.shape[1]
    n_blocks = -(-n_codes // state.block)
    if codes.n_bytes != (n_codes + 1) // 2:
        return f"takes {codes.n_bytes} bytes, which do not fit its shape {list(state.shape)}"
    wanted = {".absmax": ("U8" if state.nested_block else "F32", n_blocks), ".quant_map": ("F32", _N_CODES)}
    if state.nested_block:
        wanted |= {
            ".nested_absmax": ("F32", -(-n_blocks // state.nested_block)),
            ".nested_quant_map": ("F32", _N_NESTED_CODES),
        }
    for suffix, (dtype, size) in wanted.items():
        part = parts.get(suffix)
        if part is None or (part.dtype, part.shape) != (dtype, (size,)):
            return f"needs {suffix[1:]} of the type {dtype} and the shape [{size}]"
    return None


def _as_bytes(codes: TensorInfo, n_rows: int, n_columns: int) -> TensorInfo:
    """The codes as rows of bytes, whatever type they are stored in."""
    return replace(codes, shape=(n_rows, n_columns), dtype="U8")
