"""Changes of single matrices as an adapter stores them, and an adapter as weights of its own: the change alone.

A low-rank change is s B A with A [r, in], B [out, r]; for a convolution A is a kernel [r, in, h, w] and B mixes its r
channels (LoRA, Hu et al. 2021). Everything is computed in float64.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from atlas_pipeline.weights.adapters.config import checked_alpha
from atlas_pipeline.weights.adapters.lora_names import Module
from atlas_pipeline.weights.dtypes import FULL_PRECISION
from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.tensors import (
    MAX_ROWS_BYTES,
    Float32Array,
    StoredWeights,
    TensorInfo,
    Weights,
    checked_indices,
)

Float64Array = npt.NDArray[np.float64]

MAX_RANK: Final = 4096
"""No useful adapter has a larger rank."""

MAX_FACTOR_ELEMENTS: Final = 1 << 26
"""Numbers of a factor that is read whole. A of rank 256 for a vocabulary of 256,000 just fits."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """A scaled product of two factors, added to a matrix.

    Attributes:
        a: A, [r, in] or [r, in, h, w].
        b: B, [out, r] or [out, r, 1, 1].
        mid: A kernel [r, r, h, w] between them (LyCORIS' Tucker form; A is [r, in, 1, 1] then), or None.
        scale: s; NaN where `alpha` has it.
        alpha: The tensor that holds alpha, s = alpha / r; read with the rows, for a file may have a thousand.
        is_embedding: Whether the change of an embedding is kept transposed: tokens are its rows.
    """

    a: TensorInfo
    b: TensorInfo
    mid: TensorInfo | None = None
    scale: float = math.nan
    alpha: TensorInfo | None = None
    is_embedding: bool = False

    @property
    def rank(self) -> int:
        """Rank of the factors."""
        return self.b.shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions of the product; those of a 1x1 kernel are left out."""
        if self.is_embedding:
            return (self.a.shape[1], self.b.shape[0])
        kernel = (self.mid or self.a).shape[2:]
        return (self.b.shape[0], self.a.shape[1], *(kernel if math.prod(kernel) != 1 else ()))

    @property
    def n_whole(self) -> int:
        """Numbers of the larger factor among those that are read whole for a few rows."""
        if self.is_embedding:
            return max(math.prod(self.a.shape), math.prod(self.b.shape))
        return max(self.rank * math.prod(self.shape[1:]), math.prod(self.mid.shape) if self.mid else 0)

    @property
    def info(self) -> TensorInfo:
        """The tensor whose rows are those of the change."""
        return self.b

    def rows(self, adapter: StoredWeights, indices: npt.NDArray[np.int64]) -> Float64Array:
        """Rows of the change: float64 [k, in], kernels flattened."""
        if self.is_embedding:
            a = adapter.rows(self.a.name, np.arange(self.rank))[:, indices].astype(np.float64)
            return self._scale(adapter) * (a.T @ _whole(adapter, self.b).T)
        b = adapter.rows(self.b.name, indices).astype(np.float64)
        return self._scale(adapter) * (b @ self._input_factor(adapter))

    def columns(self, adapter: StoredWeights, indices: npt.NDArray[np.int64]) -> Float64Array:
        """Columns of a change with two dimensions, as rows of its transpose: float64 [k, out]."""
        return self._scale(adapter) * (self._input_factor(adapter)[:, indices].T @ _whole(adapter, self.b).T)

    def cost_bytes(self, n_rows: int, *, is_transposed: bool = False) -> int:
        """Bytes that reading this many rows takes, or columns if the change is transposed."""
        is_whole = is_transposed or self.is_embedding
        fixed = self.a.n_bytes + sum(part.n_bytes for part in (self.mid, self.alpha) if part)
        return fixed + (self.b.n_bytes if is_whole else n_rows * self.b.row_bytes)

    def _input_factor(self, adapter: StoredWeights) -> Float64Array:
        """What B is multiplied with: A, after the kernel between them if there is one; float64 [r, in * h * w]."""
        a = _whole(adapter, self.a)
        if self.mid is None:
            return a
        mid = _whole(adapter, self.mid).reshape(self.rank, self.rank, -1)
        return np.einsum("pqk,qi->pik", mid, a).reshape(self.rank, -1)

    def _scale(self, adapter: StoredWeights) -> float:
        if self.alpha is None:
            return self.scale
        what = f"The adapter {adapter.model_id} has an alpha {self.alpha.name[:100]!r} that"
        return checked_alpha(float(adapter.stored_values(self.alpha).reshape(-1)[0]), what) / self.rank


@dataclass(frozen=True, slots=True)
class FullDifference:
    """A difference that is stored as it is, [out, in] or [out, in, h, w], added to a matrix."""

    info: TensorInfo

    @property
    def rank(self) -> int:
        """Not factored."""
        return 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions of the tensor; those of a 1x1 kernel are left out."""
        return squeezed(self.info.shape)

    def rows(self, adapter: StoredWeights, indices: npt.NDArray[np.int64]) -> Float64Array:
        """See LowRank.rows."""
        return adapter.rows(self.info.name, indices).astype(np.float64)

    def columns(self, adapter: StoredWeights, indices: npt.NDArray[np.int64]) -> Float64Array:
        """See LowRank.columns."""
        return np.ascontiguousarray(_whole(adapter, self.info)[:, indices].T)

    def cost_bytes(self, n_rows: int, *, is_transposed: bool = False) -> int:
        """See LowRank.cost_bytes."""
        return self.info.n_bytes if is_transposed else n_rows * self.info.row_bytes


Change = LowRank | FullDifference


@dataclass(frozen=True, slots=True)
class Factors:
    """Numbers that stretch the rows or columns of a matrix: DoRA's magnitudes, IA3's factors.

    Attributes:
        info: The tensor, of any shape with one dimension that is not 1.
        side: Whether there is one for each output neuron or for each input. The inputs of a convolution are channels.
    """

    info: TensorInfo
    side: Literal["out", "in"]

    @property
    def n(self) -> int:
        """How many there are."""
        return math.prod(self.info.shape)

    def values(self, adapter: StoredWeights) -> Float64Array:
        """All of them, float64 [n]."""
        return _whole(adapter, self.info).reshape(-1)


class DeltaWeights(Weights):
    """The change that an adapter makes, without the base: a tensor for each module that it changes.

    Distances between adapters of one base are those between their changes; the base cancels.

    Attributes:
        base_flaw: Why no base could be used.
        rank: The largest rank of a change.
        adapter_kind: `LoRA`, `rsLoRA`, `LoRA (kohya)`, ...
        unmatched: Names of tensors that are no change of a matrix: biases, new heads, replaced tensors.
    """

    is_delta = True

    def __init__(
        self,
        *,
        adapter: StoredWeights,
        changes: Mapping[Module, Change],
        adapter_kind: str,
        base_flaw: str,
        unmatched: Sequence[str] = (),
    ) -> None:
        self.model_id = adapter.model_id
        self.format = "adapter"
        self.files = adapter.files
        self.config = {}
        self.quantization = None
        self.is_quantized = False
        self.meter = adapter.meter
        self.adapter_kind = adapter_kind
        self.base_flaw = base_flaw
        self.rank = max((change.rank for change in changes.values()), default=0)
        self.unmatched = tuple(unmatched)
        self._adapter = adapter
        times = Counter(module.canonical for module in changes)
        # As in canonical_names: where two modules would share a name, each keeps its own.
        self._changes = {
            module.canonical if times[module.canonical] == 1 else module.own_name: changes[module]
            for module in sorted(changes)
        }
        self.tensors = {
            name: replace(change.info, name=name, canonical=name, shape=change.shape, is_readable=True, flaw="")
            for name, change in self._changes.items()
        }

    def rows(self, name: str, indices: Sequence[int] | npt.NDArray[np.integer]) -> Float32Array:
        """See Weights.rows; computed in float64 and rounded once."""
        info = self.tensors[name]
        chosen = checked_indices(info, indices)
        check_size(info, chosen.size, self.model_id)
        with np.errstate(over="ignore", invalid="ignore"):
            return self._changes[name].rows(self._adapter, chosen).astype(np.float32)

    def cost_bytes(self, name: str, n_rows: int) -> int:
        """See Weights.cost_bytes; a factor is read whole, however few the rows."""
        return self._changes[name].cost_bytes(n_rows)


def check_size(info: TensorInfo, n_rows: int, model_id: str) -> None:
    """Raises unsupported_format if this many rows of a product would take too much memory: factors are small."""
    n_bytes = n_rows * info.n_columns * np.dtype(np.float32).itemsize
    if n_bytes > MAX_ROWS_BYTES:
        raise WeightsError(
            "unsupported_format",
            f"{n_rows} rows of the tensor {info.name!r} of model {model_id} take {n_bytes} bytes; at most "
            f"{MAX_ROWS_BYTES} are read at once.",
        )


def low_rank_flaw(change: LowRank) -> str:
    """Why the factors are no product, as a clause; empty if they are one."""
    a, b, mid, alpha = change.a, change.b, change.mid, change.alpha
    shapes = f"A {list(a.shape)}" + (f", kernel {list(mid.shape)}" if mid else "") + f" and B {list(b.shape)}"
    if unread := next((part for part in (a, b, mid) if part and not part.is_readable), None):
        return f"has the factor {unread.name[:100]!r}, which {unread.flaw or f'is stored as {unread.dtype}'}"
    is_product = len(a.shape) >= 2 and len(b.shape) >= 2 and math.prod(b.shape[2:]) == 1 and a.shape[0] == b.shape[1]
    if is_product and change.is_embedding:
        is_product = len(a.shape) == len(b.shape) == 2
    if is_product and mid:
        is_product = math.prod(a.shape[2:]) == 1 and len(mid.shape) > 2 and mid.shape[:2] == (b.shape[1],) * 2
    if not is_product or not 1 <= change.rank <= MAX_RANK or 0 in change.shape:
        return f"has {shapes}, which are no product of a rank up to {MAX_RANK}"
    if change.n_whole > MAX_FACTOR_ELEMENTS:
        return f"has {shapes}, of which one has more than {MAX_FACTOR_ELEMENTS} numbers"
    if alpha and (math.prod(alpha.shape) != 1 or alpha.dtype not in FULL_PRECISION):
        return f"has an alpha of shape {list(alpha.shape)} and type {alpha.dtype}"
    return ""


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the dimensions of a 1x1 kernel: a convolution of that size is a matrix."""
    return shape[:2] if math.prod(shape[2:]) == 1 else shape


def _whole(adapter: StoredWeights, info: TensorInfo) -> Float64Array:
    """All of a factor, float64 [rows, columns]."""
    return adapter.rows(info.name, np.arange(info.shape[0])).astype(np.float64)
