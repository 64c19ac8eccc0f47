"""GPTQ and AWQ: a few bits a weight, packed into 32-bit words with the neurons as columns.

One neuron therefore costs the whole matrix. GPTQ packs the inputs of a neuron into words below each other; AWQ packs
eight neurons into a word, in an order that suits its kernel. Both give each group of inputs a scale and a zero point:
weight = (code - zero point) * scale. GPTQ files of version 1 store the zero point less one. Which version a file has is
told by its values, because config.json is often wrong about it, and the wrong one shifts every weight by a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from atlas_pipeline.weights.encodings.declared import Declared
from atlas_pipeline.weights.encodings.matrix import (
    Opening,
    QuantizedMatrix,
    UnreadMatrix,
    matrix_info,
    read_whole,
)
from atlas_pipeline.weights.encodings.packing import WORD_BITS, bit_fields, dense_starts, n_words
from atlas_pipeline.weights.tensors import MAX_ROWS_BYTES, Encoding, StoredWeights, TensorInfo

GPTQ_BITS: Final = (2, 3, 4, 8)
"""Widths that GPTQ's own layout has."""

READ_METHODS: Final = frozenset({"", "gptq", "awq", "auto-round", "intel/auto-round"})
"""Values of `quant_method` whose `qweight` has one of the two layouts; AutoRound writes both."""

READ_FORMATS: Final = frozenset(
    {
        "gptq",
        "gptq_v2",
        "gemm",
        "auto_round",
        *(f"auto_round:{name}" for name in ("gptq", "auto_gptq", "awq", "auto_awq")),
    }
)
"""Names of layouts in config.json that are read; marlin, gemv, exllama and others order the same bits differently."""

AWQ_ORDER: Final = np.array([0, 4, 1, 5, 2, 6, 3, 7], dtype=np.int64)
"""Place in its word of each of eight neurons, as AWQ's gemm kernel wants them."""

N_JUDGED: Final = 64
"""Neurons whose mean tells an asymmetric file's version."""

_PARTS: Final = (".scales", ".qzeros", ".g_idx")
_AWQ_BITS: Final = 4
_AWQ_PACKED: Final = WORD_BITS // _AWQ_BITS
_SCALE_TYPES: Final = frozenset({"F16", "BF16", "F32"})
_BORDERLINE: Final = 0.25


class _ColumnMatrix(QuantizedMatrix):
    """A matrix that is stored as [in, out] and has to be read whole."""

    def __init__(
        self, codes: TensorInfo, parts: Mapping[str, TensorInfo], *, shape: tuple[int, int], dtype: str
    ) -> None:
        super().__init__(matrix_info(codes, ".qweight", shape=shape, dtype=dtype), (codes, *parts.values()))
        self._codes = codes
        self._parts = parts
        self._n_groups = parts[".scales"].shape[0]

    def cost_bytes(self, n_rows: int) -> int:
        """See Encoding.cost_bytes."""
        return self._codes.n_bytes + sum(part.n_bytes for part in self._parts.values()) if n_rows else 0

    def _words(self, weights: StoredWeights, info: TensorInfo) -> npt.NDArray[np.uint32]:
        return read_whole(weights, info).view(np.uint32)

    def _group_of_input(self, weights: StoredWeights) -> npt.NDArray[np.int64]:
        """Which group each input belongs to: int64 [in]."""
        n_inputs = self.info.shape[1]
        order = self._parts.get(".g_idx")
        if order is None:
            return np.arange(n_inputs) // -(-n_inputs // self._n_groups)
        groups = read_whole(weights, order).astype(np.int64)
        if groups.min() < 0 or groups.max() >= self._n_groups:
            raise self._contradicts(
                weights, order, f"names groups {groups.min()} to {groups.max()}, of which there are {self._n_groups}"
            )
        return groups

    def _dequantized(
        self,
        codes: npt.NDArray[np.uint8],
        zeros: npt.NDArray[np.uint8],
        scales: npt.NDArray[np.float32],
        groups: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float32]:
        """Codes [k, in], zero points and scales [groups, k] as numbers [k, in]; exact until the one product."""
        steps = codes.astype(np.float32)
        steps -= zeros.T.astype(np.float32)[:, groups]
        return steps * scales.T[:, groups]


class GptqMatrix(_ColumnMatrix):
    """GPTQ's layout, also as AutoGPTQ, GPTQModel and AutoRound write it."""

    def __init__(
        self,
        codes: TensorInfo,
        parts: Mapping[str, TensorInfo],
        *,
        shape: tuple[int, int],
        bits: int,
        is_second_version: bool,
    ) -> None:
        super().__init__(codes, parts, shape=shape, dtype=f"GPTQ{bits}")
        self._bits = bits
        self._is_second_version = is_second_version

    def _rows(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        words = self._words(weights, self._codes)
        zero_words = self._words(weights, self._parts[".qzeros"])
        scales = read_whole(weights, self._parts[".scales"]).astype(np.float32)
        groups = self._group_of_input(weights)
        if self._first_version(words, zero_words, scales, groups):
            zeros = self._zeros_plus_one(zero_words, indices)
        else:
            zeros = self._fields(zero_words, indices)
        return self._dequantized(self._codes_of(words, indices), zeros, scales[:, indices], groups)

    def _codes_of(self, words: npt.NDArray[np.uint32], neurons: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return self._fields(np.ascontiguousarray(words[:, neurons].T), np.arange(self.info.shape[1]))

    def _fields(self, words: npt.NDArray[np.uint32], fields: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return bit_fields(words, dense_starts(fields, bits=self._bits), bits=self._bits)

    def _zeros_plus_one(self, words: npt.NDArray[np.uint32], neurons: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Zero points of version 1.

        One was subtracted from whole words where fields fill them, so it may have borrowed from the next field, and is
        added to whole words again.
        """
        if WORD_BITS % self._bits == 0:
            ones = np.uint32(sum(1 << start for start in range(0, WORD_BITS, self._bits)))
            return self._fields(words + ones, neurons)
        return (self._fields(words, neurons) + np.uint8(1)) & np.uint8((1 << self._bits) - 1)

    def _first_version(
        self,
        words: npt.NDArray[np.uint32],
        zero_words: npt.NDArray[np.uint32],
        scales: npt.NDArray[np.float32],
        groups: npt.NDArray[np.int64],
    ) -> bool:
        """Whether one has to be added to the zero points.

        Symmetric quantisation has all zero points in the middle of the range, or one below it as version 1 stores them.
        Otherwise weights have a mean near zero with the right zero points, and one step off with the wrong ones.
        """
        zeros = self._fields(zero_words, np.arange(self.info.shape[0]))
        middle = 1 << (self._bits - 1)
        if (zeros == zeros[0, 0]).all() and zeros[0, 0] in {middle - 1, middle}:
            return bool(zeros[0, 0] == middle - 1)
        judged = np.unique(np.linspace(0, self.info.shape[0] - 1, N_JUDGED).astype(np.int64))
        values = self._dequantized(self._codes_of(words, judged), zeros[:, judged], scales[:, judged], groups)
        steps = scales[:, judged].T[:, groups]
        shift = float(values.sum(dtype=np.float64) / max(float(np.abs(steps).sum(dtype=np.float64)), 1e-30))
        if abs(shift - 0.5) < _BORDERLINE:
            return not self._is_second_version
        return shift > 0.5


class AwqMatrix(_ColumnMatrix):
    """AWQ's gemm layout."""

    def _rows(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        codes = self._neurons(self._words(weights, self._codes), indices)
        zeros = self._neurons(self._words(weights, self._parts[".qzeros"]), indices)
        scales = read_whole(weights, self._parts[".scales"])[:, indices].astype(np.float32)
        return self._dequantized(np.ascontiguousarray(codes.T), zeros, scales, self._group_of_input(weights))

    def _neurons(self, words: npt.NDArray[np.uint32], neurons: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        word, place = np.divmod(neurons, _AWQ_PACKED)
        shifts = (AWQ_ORDER[place] * _AWQ_BITS).astype(np.uint32)
        return ((words[:, word] >> shifts) & np.uint32((1 << _AWQ_BITS) - 1)).astype(np.uint8)


def find_column_packed(opening: Opening, codes: TensorInfo) -> Encoding:
    """The matrix of a `qweight`: GPTQ's or AWQ's, as the shapes of its parts say; unread if they say neither."""
    declared = opening.declared
    parts = opening.parts(codes.name.removesuffix(".qweight"), _PARTS)
    flaw = _flaw(codes, parts, declared)
    if flaw:
        return UnreadMatrix(codes, flaw, parts.values())
    scales, zeros = parts[".scales"].shape, parts[".qzeros"].shape
    n_groups, n_outputs = scales
    if (codes.shape[1], zeros) == (n_outputs, (n_groups, zeros[1])) and (found := _gptq_bits(codes, parts)):
        bits, n_inputs = found
        return GptqMatrix(
            codes,
            parts,
            shape=(n_outputs, n_inputs),
            bits=bits,
            is_second_version="gptq_v2" in declared.formats,
        )
    is_awq = codes.shape[1] * _AWQ_PACKED == n_outputs and zeros == (n_groups, codes.shape[1])
    if is_awq and ".g_idx" not in parts and codes.shape[0] % n_groups == 0:
        return AwqMatrix(codes, parts, shape=(n_outputs, codes.shape[0]), dtype=f"AWQ{_AWQ_BITS}")
    return UnreadMatrix(
        codes,
        f"has the shape {list(codes.shape)}, which scales {list(scales)} and zero points {list(zeros)} fit neither as "
        "GPTQ's nor as AWQ's",
        parts.values(),
    )


def _flaw(codes: TensorInfo, parts: Mapping[str, TensorInfo], declared: Declared) -> str | None:
    if declared.method not in READ_METHODS or not declared.formats <= READ_FORMATS:
        return f"is packed by {declared.words}, which is not read"
    if codes.dtype != "I32" or len(codes.shape) != 2 or not all(codes.shape):
        return f"is packed into {codes.dtype} of the shape {list(codes.shape)}, which is not read"
    scales, zeros, order = (parts.get(suffix) for suffix in _PARTS)
    if scales is None or zeros is None:
        return "is packed without scales or zero points"
    if scales.dtype not in _SCALE_TYPES or zeros.dtype != "I32" or (order and order.dtype not in {"I32", "I64"}):
        return f"has scales of the type {scales.dtype} and zero points of the type {zeros.dtype}, which is not read"
    if any(len(part.shape) != 2 or not all(part.shape) for part in (scales, zeros)) or (
        order and len(order.shape) != 1
    ):
        return "has scales, zero points or groups that are no matrices"
    if codes.n_bytes > MAX_ROWS_BYTES:
        return f"has to be read as a whole and takes {codes.n_bytes} bytes; at most {MAX_ROWS_BYTES} are read at once"
    return None


def _gptq_bits(codes: TensorInfo, parts: Mapping[str, TensorInfo]) -> tuple[int, int] | None:
    """Bits of a code and number of inputs, told by the shapes; None if no width fits, or more than one."""
    n_groups, n_outputs = parts[".scales"].shape
    order = parts.get(".g_idx")
    fits = []
    for bits in GPTQ_BITS:
        n_inputs = order.shape[0] if order else codes.shape[0] * WORD_BITS // bits
        is_filled = n_words(n_inputs, bits=bits) == codes.shape[0] and n_groups <= n_inputs
        # Words of three bits come in threes, which hold 32 codes.
        is_whole = bits != 3 or not (codes.shape[0] % 3 or n_outputs % WORD_BITS)
        if is_filled and is_whole and n_words(n_outputs, bits=bits) == parts[".qzeros"].shape[1]:
            fits.append((bits, n_inputs))
    return fits[0] if len(fits) == 1 else None
