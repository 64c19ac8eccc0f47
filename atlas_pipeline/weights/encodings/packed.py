"""Integers of a few bits that are packed along the rows, so that a neuron is one range of bytes.

compressed-tensors packs integers into 32-bit words (pack-quantized) with a scale and a zero point for each group; MLX,
with a scale and an offset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from atlas_pipeline.weights.encodings.declared import Declared
from atlas_pipeline.weights.encodings.float4 import find_float4
from atlas_pipeline.weights.encodings.matrix import (
    Opening,
    QuantizedMatrix,
    UnreadMatrix,
    matrix_info,
    read_whole,
)
from atlas_pipeline.weights.encodings.packing import (
    WORD_BITS,
    bit_fields,
    dense_starts,
    n_words,
    padded_starts,
)
from atlas_pipeline.weights.encodings.scaled import SCALE_TYPES, ScaleGrid, fit_scales
from atlas_pipeline.weights.tensors import Encoding, StoredWeights, TensorInfo

Starts = Callable[..., npt.NDArray[np.int64]]

_INTEGER_PARTS: Final = (".weight_scale", ".weight_shape", ".weight_zero_point", ".weight_g_idx")
_FLOAT_PARTS: Final = (".weight_scale", ".weight_global_scale")
_AFFINE_PARTS: Final = (".scales", ".biases")


class PackedIntegers(QuantizedMatrix):
    """(code - zero point) times scale, with codes of 2 to 8 bits in words; without zero points the middle is zero."""

    def __init__(
        self,
        codes: TensorInfo,
        grid: ScaleGrid,
        *,
        shape: tuple[int, int],
        shape_part: TensorInfo,
        zero_point: TensorInfo | None,
        order: TensorInfo | None,
        bits: int,
        starts: Starts,
    ) -> None:
        info = matrix_info(codes, ".weight_packed", shape=shape, dtype=f"INT{bits}")
        super().__init__(info, (codes, grid.scale, shape_part, zero_point, order))
        self._codes = codes
        self._grid = grid
        self._shape_part = shape_part
        self._zero_point = zero_point
        self._order = order
        self._bits = bits
        self._starts = starts

    def cost_bytes(self, n_rows: int) -> int:
        """See Encoding.cost_bytes."""
        whole = (self._shape_part, self._order)
        words = 2 if WORD_BITS % self._bits else 1
        zeros = n_rows * words * self._zero_point.row_bytes if self._zero_point else 0
        fixed = sum(part.n_bytes for part in whole if part)
        return n_rows * self._codes.row_bytes + self._grid.cost_bytes(n_rows) + zeros + fixed

    def _rows(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        n_columns = self.info.n_columns
        own = read_whole(weights, self._shape_part).tolist()
        if tuple(own) != self.info.shape:
            raise self._contradicts(
                weights,
                self._shape_part,
                f"says {own}, while that of another layer, equal in size, says {list(self.info.shape)}",
            )
        words = weights.stored_values(self._codes, indices).view(np.uint32)
        steps = bit_fields(words, self._starts(np.arange(n_columns), bits=self._bits), bits=self._bits)
        values = steps.astype(np.float32)
        tiles = self._tile_of_column(weights)
        if self._zero_point is None:
            values -= np.float32(1 << (self._bits - 1))
        else:
            values -= self._zeros(weights, indices).astype(np.float32)[:, tiles]
        return values * self._grid.of_rows(weights, indices)[:, tiles]

    def _tile_of_column(self, weights: StoredWeights) -> npt.NDArray[np.int64]:
        """Which of the scales beside each other belongs to each column: int64 [in]."""
        columns = np.arange(self.info.n_columns)
        if self._order is not None:
            groups = read_whole(weights, self._order).astype(np.int64)
            # -1 means that columns were left in their order.
            if not (groups == -1).any():
                if groups.min() < 0 or groups.max() >= self._grid.shape[1]:
                    raise self._contradicts(
                        weights, self._order, f"names groups beyond the {self._grid.shape[1]} there are"
                    )
                return groups
        return columns // self._grid.tile[1]

    def _zeros(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Zero points of rows, which are packed down the columns: uint8 [k, tiles]."""
        if self._zero_point is None:
            raise ValueError("This matrix has no zero points.")
        word, offset = np.divmod(self._starts(indices // self._grid.tile[0], bits=self._bits), WORD_BITS)
        both = weights.stored_values(self._zero_point, word).view(np.uint32).astype(np.uint64)
        if WORD_BITS % self._bits:
            # A field of three bits may go on in the next word.
            following = np.minimum(word + 1, self._zero_point.shape[0] - 1)
            far = weights.stored_values(self._zero_point, following).view(np.uint32)
            both |= far.astype(np.uint64) << np.uint64(WORD_BITS)
        fields = both >> offset[:, None].astype(np.uint64) & np.uint64((1 << self._bits) - 1)
        return fields.astype(np.uint8)


class AffineMatrix(QuantizedMatrix):
    """MLX: code times the group's scale, plus the group's offset."""

    def __init__(
        self, codes: TensorInfo, scales: ScaleGrid, offsets: ScaleGrid, *, bits: int, shape: tuple[int, int]
    ) -> None:
        info = matrix_info(codes, ".weight", shape=shape, dtype=f"MLX{bits}")
        super().__init__(info, (codes, scales.scale, offsets.scale))
        self._codes = codes
        self._scales = scales
        self._offsets = offsets
        self._bits = bits

    def cost_bytes(self, n_rows: int) -> int:
        """See Encoding.cost_bytes."""
        tiles = self._scales.cost_bytes(n_rows) + self._offsets.cost_bytes(n_rows)
        return n_rows * self._codes.row_bytes + tiles

    def _rows(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        n_columns = self.info.n_columns
        starts = dense_starts(np.arange(n_columns), bits=self._bits)
        values = bit_fields(weights.stored_values(self._codes, indices), starts, bits=self._bits).astype(np.float32)
        values *= self._scales.spread(self._scales.of_rows(weights, indices), n_columns=n_columns)
        return values + self._offsets.spread(self._offsets.of_rows(weights, indices), n_columns=n_columns)


def find_row_packed(opening: Opening, codes: TensorInfo) -> Encoding:
    """The matrix of a `weight_packed`, which compressed-tensors writes.

    Raises:
        WeightsError: truncated, over_budget or unreadable.
    """
    declared = opening.declared
    stem = codes.name.removesuffix(".weight_packed")
    is_integer = codes.dtype == "I32"
    parts = opening.parts(stem, _INTEGER_PARTS if is_integer else _FLOAT_PARTS)
    scale = parts.get(".weight_scale")
    flaw = None
    if declared.method != "compressed-tensors" or declared.is_sparse:
        flaw = f"is packed by {declared.words}, which is not read"
    elif len(codes.shape) != 2 or codes.dtype not in {"I32", "U8"} or scale is None:
        flaw = f"is packed into {codes.dtype} of the shape {list(codes.shape)} by {declared.words}, which is not read"
    if flaw or scale is None:
        return UnreadMatrix(codes, str(flaw), parts.values())
    if not is_integer:
        return find_float4(codes, parts, declared)
    return _integers(opening, codes, parts)


def _integers(opening: Opening, codes: TensorInfo, parts: dict[str, TensorInfo]) -> Encoding:
    declared = opening.declared
    scale, shape_part = parts[".weight_scale"], parts.get(".weight_shape")
    zero_point, order = parts.get(".weight_zero_point"), parts.get(".weight_g_idx")
    if shape_part is None or shape_part.shape != (2,) or shape_part.dtype not in {"I32", "I64"}:
        return UnreadMatrix(codes, "is packed without a shape", parts.values())
    sides = opening.sample(shape_part, codes.shape, scale.shape).tolist()
    shape = (int(sides[0]), int(sides[1]))
    fits = _integer_layouts(codes, shape, declared) if shape[0] == codes.shape[0] and shape[1] > 0 else []
    grid = fit_scales(scale, shape, declared) if fits else None
    flaw = None
    if "int" not in declared.kinds or len(fits) != 1:
        bits = ", ".join(str(width) for width in sorted(declared.bits)) or "no"
        flaw = f"has the shape {list(codes.shape)} for {list(shape)} numbers, which does not fit {bits} bits"
    elif grid is None or scale.dtype not in SCALE_TYPES:
        flaw = f"has scales of the type {scale.dtype} and the shape {list(scale.shape)}, which do not fit {list(shape)}"
    elif order and (order.shape != (shape[1],) or order.dtype not in {"I32", "I64"}):
        flaw = f"has groups of the shape {list(order.shape)}, which do not fit {list(shape)}"
    if flaw or grid is None:
        return UnreadMatrix(codes, str(flaw), parts.values())
    n_bits, starts = fits[0]
    if zero_point and starts is padded_starts:
        return UnreadMatrix(codes, "has zero points in words with unused bits, which are not read", parts.values())
    n_zero_words = int(starts(np.array([grid.shape[0] - 1]), bits=n_bits)[0] + n_bits - 1) // WORD_BITS + 1
    if zero_point and (zero_point.dtype, zero_point.shape) != ("I32", (n_zero_words, grid.shape[1])):
        flaw = f"has zero points of the type {zero_point.dtype} and the shape {list(zero_point.shape)}"
        return UnreadMatrix(codes, flaw, parts.values())
    return PackedIntegers(
        codes, grid, shape=shape, shape_part=shape_part, zero_point=zero_point, order=order, bits=n_bits, starts=starts
    )


def _integer_layouts(codes: TensorInfo, shape: tuple[int, int], declared: Declared) -> list[tuple[int, Starts]]:
    """Widths and orders of fields that give the stored number of words.

    Older versions of the library fill a word with as many codes as fit, newer ones let codes run on from word to word.
    For 2, 4 and 8 bits that is the same.
    """
    fits: list[tuple[int, Starts]] = []
    for bits in sorted(declared.bits - {1}):
        if n_words(shape[1], bits=bits) == codes.shape[1]:
            fits.append((bits, dense_starts))
        if WORD_BITS % bits and -(-shape[1] // (WORD_BITS // bits)) == codes.shape[1]:
            fits.append((bits, padded_starts))
    return fits


def find_affine(opening: Opening, codes: TensorInfo) -> Encoding | None:
    """The matrix of a `weight` of 32-bit words beside which MLX put scales and offsets; None if it has not got them."""
    module = codes.name.removesuffix(".weight")
    parts = opening.parts(module, _AFFINE_PARTS)
    if len(parts) != len(_AFFINE_PARTS) or codes.dtype != "U32" or len(codes.shape) != 2:
        return None
    widths = opening.declared.affine
    scale, offset = parts[".scales"], parts[".biases"]
    bits, size = widths.get(module, widths.get("", (0, 0)))
    shape = (codes.shape[0], size * scale.shape[-1] if scale.shape else 0)
    is_fit = scale.shape == offset.shape == (shape[0], shape[1] // size if size else 0) and all(shape)
    is_whole = shape[1] % WORD_BITS == 0 and codes.shape[1] == n_words(shape[1], bits=bits)
    if not is_fit or not is_whole or not {scale.dtype, offset.dtype} <= SCALE_TYPES:
        flaw = f"has the shape {list(codes.shape)}, which {bits} bits and scales {list(scale.shape)} do not fit"
        return UnreadMatrix(codes, flaw, parts.values())
    grids = [ScaleGrid(part, (shape[0], shape[1] // size), (1, size)) for part in (scale, offset)]
    return AffineMatrix(codes, *grids, bits=bits, shape=shape)
