"""4-bit floats with a scale for each group of a row: NVFP4 and MXFP4.

compressed-tensors packs them into bytes (nvfp4- and mxfp4-pack-quantized), ModelOpt does so under other names, and
gpt-oss stacks those of all experts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from atlas_pipeline.weights.encodings.declared import Declared
from atlas_pipeline.weights.encodings.matrix import Opening, QuantizedMatrix, UnreadMatrix, matrix_info, read_whole
from atlas_pipeline.weights.encodings.packing import E2M1, nibbles
from atlas_pipeline.weights.encodings.scaled import SCALE_TYPES, ScaleGrid
from atlas_pipeline.weights.tensors import Encoding, StoredWeights, TensorInfo

NV_GROUP: Final = 16
"""Columns that share a scale in NVFP4."""

MX_GROUP: Final = 32
"""Columns that share a scale in the microscaling formats."""

_MODELOPT_PARTS: Final = (".weight_scale", ".weight_scale_2")
_MX_BYTES: Final = MX_GROUP // 2


class Float4Matrix(QuantizedMatrix):
    """4-bit floats, the first of a byte in its low bits, times the group's scale, which a common one may refine."""

    def __init__(
        self,
        info: TensorInfo,
        codes: TensorInfo,
        grid: ScaleGrid,
        *,
        multiplier: TensorInfo | None = None,
        divisor: TensorInfo | None = None,
    ) -> None:
        super().__init__(info, (codes, grid.scale, multiplier, divisor))
        self._codes = replace(codes, shape=(info.shape[0], info.n_columns // 2))
        self._grid = grid
        self._multiplier = multiplier
        self._divisor = divisor

    def cost_bytes(self, n_rows: int) -> int:
        """See Encoding.cost_bytes."""
        common = sum(part.n_bytes for part in (self._multiplier, self._divisor) if part)
        return n_rows * self._codes.row_bytes + self._grid.cost_bytes(n_rows) + common

    def _rows(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        scales = self._grid.of_rows(weights, indices)
        if self._multiplier is not None:
            scales = scales * read_whole(weights, self._multiplier).astype(np.float32).reshape(())
        if self._divisor is not None:
            scales = scales / read_whole(weights, self._divisor).astype(np.float32).reshape(())
        values = E2M1[nibbles(weights.stored_rows(self._codes, indices), is_high_first=False)]
        return values * self._grid.spread(scales, n_columns=self.info.n_columns)


def find_float4(codes: TensorInfo, parts: Mapping[str, TensorInfo], declared: Declared) -> Encoding:
    """The matrix of a `weight_packed` of bytes, which compressed-tensors writes.

    Args:
        codes: The tensor, a matrix of bytes.
        parts: Its scales, by suffix; at least `.weight_scale`.
        declared: What config.json says.
    """
    scale, divisor = parts[".weight_scale"], parts.get(".weight_global_scale")
    n_rows, n_columns = codes.shape[0], 2 * codes.shape[1]
    is_nv = scale.dtype == "F8_E4M3" and divisor is not None and math.prod(divisor.shape) == 1
    is_mx = scale.dtype in {"U8", "F8_E8M0"} and divisor is None and "mxfp4-pack-quantized" in declared.formats
    size = NV_GROUP if is_nv else MX_GROUP
    is_fit = n_columns > 0 and n_columns % size == 0 and scale.shape == (n_rows, n_columns // size)
    if not (is_nv or is_mx) or not is_fit or (divisor and divisor.dtype not in SCALE_TYPES):
        flaw = f"is packed into bytes by {declared.words} with scales of the type {scale.dtype} and the shape "
        return UnreadMatrix(codes, f"{flaw}{list(scale.shape)}, which is not read", parts.values())
    info = matrix_info(codes, ".weight_packed", shape=(n_rows, n_columns), dtype="NVFP4" if is_nv else "MXFP4")
    return Float4Matrix(info, codes, ScaleGrid(scale, (n_rows, n_columns // size), (1, size)), divisor=divisor)


def find_modelopt(opening: Opening, codes: TensorInfo) -> Encoding | None:
    """The matrix of a `weight` of bytes with ModelOpt's two levels of scales; None if it has not got them."""
    parts = opening.parts(codes.name.removesuffix(".weight"), _MODELOPT_PARTS)
    if len(parts) != len(_MODELOPT_PARTS) or codes.dtype != "U8" or len(codes.shape) != 2:
        return None
    scale, multiplier = parts[".weight_scale"], parts[".weight_scale_2"]
    shape = (codes.shape[0], 2 * codes.shape[1])
    is_fit = shape[1] > 0 and scale.shape == (shape[0], shape[1] // NV_GROUP) and shape[1] % NV_GROUP == 0
    if not is_fit or scale.dtype != "F8_E4M3" or multiplier.dtype != "F32" or math.prod(multiplier.shape) != 1:
        flaw = f"is stored as bytes with scales of the type {scale.dtype} and the shape {list(scale.shape)}"
        return UnreadMatrix(codes, flaw, parts.values())
    info = matrix_info(codes, ".weight", shape=shape, dtype="NVFP4")
    grid = ScaleGrid(scale, (shape[0], shape[1] // NV_GROUP), (1, NV_GROUP))
    return Float4Matrix(info, codes, grid, multiplier=multiplier)


def find_blocks(opening: Opening, codes: TensorInfo) -> Encoding | None:
    """The matrix of gpt-oss's `..._blocks`, rows of all experts below each other; None if it has no `..._scales`.

    Blocks [experts, out, in/32, 16] of bytes and scales [experts, out, in/32] of exponents.
    """
    scale = opening.stored.get(codes.name.removesuffix("_blocks") + "_scales")
    is_fit = scale is not None and scale.dtype == "U8" and codes.shape == (*scale.shape, _MX_BYTES)
    if scale is None or not is_fit or len(scale.shape) < 2 or not all(scale.shape):
        return None
    n_rows, n_blocks = math.prod(scale.shape[:-1]), scale.shape[-1]
    info = replace(
        codes,
        name=codes.name.removesuffix("_blocks"),
        canonical=codes.canonical.removesuffix("_blocks"),
        shape=(n_rows, n_blocks * MX_GROUP),
        dtype="MXFP4",
        is_readable=True,
        flaw="",
    )
    return Float4Matrix(info, codes, ScaleGrid(scale, (n_rows, n_blocks), (1, MX_GROUP)))
