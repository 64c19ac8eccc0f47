"""Codes of 8 bits that are numbers already, times a scale for each tensor, row, group of a row or block.

Written by compressed-tensors (int-, float-, naive- and mxfp8-quantized), DeepSeek, Transformers' fine-grained FP8,
fbgemm, ModelOpt and ComfyUI.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from atlas_pipeline.weights.encodings.declared import Declared
from atlas_pipeline.weights.encodings.matrix import Opening, QuantizedMatrix, UnreadMatrix, matrix_info, read_rows
from atlas_pipeline.weights.encodings.packing import powers_of_two
from atlas_pipeline.weights.tensors import Encoding, StoredWeights, TensorInfo

FLOAT8: Final = frozenset({"F8_E4M3", "F8_E5M2"})
"""Types of 8-bit floats."""

SCALES: Final = (".weight_scale", ".weight_scale_inv", ".scale_weight", ".qscale_weight")
"""Names of scales; all are multiplied with, in spite of the second name (DeepSeek's; the last two are ComfyUI's and
Mistral's)."""

SCALE_TYPES: Final = frozenset({"F32", "F16", "BF16", "F8_E8M0"})
"""Types of scales that are numbers as they are stored."""

DEFAULT_BLOCK: Final = (128, 128)
"""Rows and columns that share one entry of a `weight_scale_inv` whose config does not say (DeepSeek-V3's)."""

_ZERO_POINT: Final = ".weight_zero_point"
_ZERO_TYPES: Final = frozenset({"I8", "I32", *SCALE_TYPES, *FLOAT8})
_OTHER_SCALES: Final = ("_scale", "_scale_inv")
_MARKS: Final = (*SCALES, "_scale_inv", ".input_scale", "scaled_fp8")


@dataclass(frozen=True, slots=True)
class ScaleGrid:
    """Scales over a matrix: one for every tile, tiles at the lower and right edge may be cut.

    Attributes:
        scale: The tensor.
        shape: Tiles below and beside each other; as many as it has elements.
        tile: Rows and columns of a tile.
    """

    scale: TensorInfo
    shape: tuple[int, int]
    tile: tuple[int, int]

    def of_rows(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Scales of rows: float32 [k, shape[1]]."""
        stored = read_rows(weights, self.scale, self.shape, indices // self.tile[0])
        return powers_of_two(stored) if self.scale.dtype == "U8" else stored.astype(np.float32)

    def spread(self, tiles: npt.NDArray[np.float32], *, n_columns: int) -> npt.NDArray[np.float32]:
        """Values of tiles as values of columns, [k, shape[1]] to [k, n_columns]; one tile stays one column."""
        return np.repeat(tiles, self.tile[1], axis=1)[:, :n_columns] if self.shape[1] > 1 else tiles

    def cost_bytes(self, n_rows: int) -> int:
        """Bytes of the scales of this many rows of different tiles."""
        return min(n_rows, self.shape[0]) * (self.scale.n_bytes // self.shape[0])


def fit_scales(scale: TensorInfo, shape: tuple[int, int], declared: Declared) -> ScaleGrid | None:
    """How a tensor of scales lies over a matrix; None if its shape fits no way that is known or declared.

    Args:
        scale: The tensor.
        shape: [out, in] of the matrix.
        declared: Block and group sizes that the config names.
    """
    n_rows, n_columns = shape
    if not n_rows or not n_columns:
        return None
    if math.prod(scale.shape) == 1:
        return ScaleGrid(scale, (1, 1), (n_rows, n_columns))
    if scale.shape in {(n_rows,), (n_rows, 1)}:
        return ScaleGrid(scale, (n_rows, 1), (1, n_columns))
    if len(scale.shape) != 2:
        return None
    found = (scale.shape[0], scale.shape[1])
    block = declared.block or (DEFAULT_BLOCK if scale.name.endswith("_inv") else None)
    if block and found == (-(-n_rows // block[0]), -(-n_columns // block[1])):
        return ScaleGrid(scale, found, block)
    if found[0] != n_rows:
        return None
    for size in sorted(declared.group_sizes):
        if found[1] == -(-n_columns // size):
            return ScaleGrid(scale, found, (1, size))
    # Without a declared size only equal groups can be told.
    if declared.group_sizes or not found[1] or n_columns % found[1]:
        return None
    return ScaleGrid(scale, found, (1, n_columns // found[1]))


class ScaledMatrix(QuantizedMatrix):
    """(code - zero point) times scale."""

    def __init__(
        self, codes: TensorInfo, grid: ScaleGrid, *, zero_point: TensorInfo | None = None, dtype: str | None = None
    ) -> None:
        info = matrix_info(codes, ".weight", shape=codes.shape, dtype=dtype or codes.dtype)
        super().__init__(info, (codes, grid.scale, zero_point))
        self._codes = codes
        self._grid = grid
        self._zero_point = zero_point

    def cost_bytes(self, n_rows: int) -> int:
        """See Encoding.cost_bytes."""
        zeros = (
            min(n_rows, self._grid.shape[0]) * (self._zero_point.n_bytes // self._grid.shape[0])
            if self._zero_point
            else 0
        )
        return n_rows * self._codes.row_bytes + self._grid.cost_bytes(n_rows) + zeros

    def _rows(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        n_columns = self.info.n_columns
        values = weights.stored_values(self._codes, indices).astype(np.float32)
        if self._zero_point is not None:
            zeros = read_rows(weights, self._zero_point, self._grid.shape, indices // self._grid.tile[0])
            values -= self._grid.spread(zeros.astype(np.float32), n_columns=n_columns)
        return values * self._grid.spread(self._grid.of_rows(weights, indices), n_columns=n_columns)


class PlainFloat8(QuantizedMatrix):
    """8-bit floats that are the numbers themselves: a cast, as in many checkpoints of diffusion models."""

    def __init__(self, codes: TensorInfo) -> None:
        super().__init__(replace(codes, is_readable=True, flaw=""), (codes,))
        self._codes = codes

    def cost_bytes(self, n_rows: int) -> int:
        """See Encoding.cost_bytes."""
        return n_rows * self._codes.row_bytes

    def _rows(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        return weights.stored_values(self._codes, indices)


def find_scaled(opening: Opening, codes: TensorInfo) -> Encoding:
    """The matrix of a tensor of 8-bit integers or floats.

    Floats without a scale are taken as they are only if nothing in the model speaks of scales: neither its config.json,
    nor another of its tensors. Integers with a scale are read only where compressed-tensors declares integers, for
    other methods put two 4-bit codes into each.

    Args:
        opening: The model.
        codes: A tensor of the type I8 or one of FLOAT8.
    """
    declared = opening.declared
    stem = codes.name.removesuffix(".weight")
    scales = opening.parts(stem, SCALES) if stem != codes.name else opening.parts(stem, _OTHER_SCALES)
    if not scales:
        if codes.dtype in FLOAT8 and declared.method == "" and not opening.has_names(_MARKS):
            return PlainFloat8(codes)
        return UnreadMatrix(codes, f"is stored as {codes.dtype} without a scale, in a model with {declared.words}")
    scale = next(iter(scales.values()))
    is_known = codes.dtype in FLOAT8 or (declared.method == "compressed-tensors" and "int" in declared.kinds)
    is_exponent = scale.dtype == "U8" and "mxfp8-quantized" in declared.formats
    zero_point = opening.stored.get(stem + _ZERO_POINT)
    grid = None
    if len(scales) == 1 and stem != codes.name and len(codes.shape) == 2:
        grid = fit_scales(scale, (codes.shape[0], codes.shape[1]), declared)
    flaw = None
    if not is_known:
        flaw = f"is stored as {codes.dtype} by {declared.words}, which is not read"
    elif not is_exponent and scale.dtype not in SCALE_TYPES:
        flaw = f"has a scale of the type {scale.dtype}, which is not read"
    elif grid is None:
        flaw = f"has the shape {list(codes.shape)}, which its scale of the shape {list(scale.shape)} does not fit"
    elif zero_point and (zero_point.shape != scale.shape or zero_point.dtype not in _ZERO_TYPES):
        flaw = f"has zero points of the shape {list(zero_point.shape)} and the type {zero_point.dtype}"
    if flaw or grid is None:
        return UnreadMatrix(codes, str(flaw), [*scales.values(), *([zero_point] if zero_point else [])])
    return ScaledMatrix(codes, grid, zero_point=zero_point, dtype="MXFP8" if is_exponent else None)
