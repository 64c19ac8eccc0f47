"""What all encodings share: the model while they are looked for, the matrix that they stand for, and its limits."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from atlas_pipeline.weights.dtypes import NUMPY
from atlas_pipeline.weights.encodings.declared import Declared
from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.tensors import MAX_ROWS_BYTES, Encoding, Float32Array, StoredWeights, TensorInfo

MAX_VALUES: Final = 1 << 27
"""Numbers of one request for rows (512 MiB of float32): stored bytes bound them badly where a number takes two bits."""

MAX_SAMPLES: Final = 512
"""Small tensors that are read when a model is opened: one for each kind of matrix, of which there are about twenty."""

_LAYER_NUMBER = re.compile(r"(?<=\.)\d{1,9}(?=\.)")


class Opening:
    """A model while its encodings are looked for.

    Attributes:
        weights: The model.
        stored: Its tensors as the files name them.
        declared: What its config.json says.
    """

    def __init__(self, weights: StoredWeights, declared: Declared) -> None:
        self.weights = weights
        self.stored: Mapping[str, TensorInfo] = weights.stored
        self.declared = declared
        self._samples: dict[Hashable, npt.NDArray[Any]] = {}
        self._has_names: dict[tuple[str, ...], bool] = {}

    def has_names(self, endings: tuple[str, ...]) -> bool:
        """Whether the name of any tensor ends so."""
        if endings not in self._has_names:
            self._has_names[endings] = any(name.endswith(endings) for name in self.stored)
        return self._has_names[endings]

    def parts(self, stem: str, suffixes: Iterable[str]) -> dict[str, TensorInfo]:
        """Those tensors of a module that are there, by suffix."""
        return {suffix: self.stored[stem + suffix] for suffix in suffixes if stem + suffix in self.stored}

    def sample(self, info: TensorInfo, *key: Hashable) -> npt.NDArray[Any]:
        """A small tensor's content, read once for all that differ only in the numbers of their layers.

        Every layer has such a tensor, and each would cost a request; whoever takes another layer's content has to
        compare it with its own when it reads rows.

        Args:
            info: The tensor.
            key: What must be equal, too, for two tensors to be taken for copies.

        Raises:
            WeightsError: unsupported_format after MAX_SAMPLES; truncated, over_budget or unreadable.
        """
        key = (_LAYER_NUMBER.sub("0", info.name), *key)
        if key not in self._samples:
            if len(self._samples) == MAX_SAMPLES:
                raise WeightsError(
                    "unsupported_format",
                    f"Model {self.weights.model_id} has more than {MAX_SAMPLES} kinds of quantised matrices.",
                )
            self._samples[key] = read_whole(self.weights, info)
        return self._samples[key]


class UnreadMatrix(Encoding):
    """A matrix whose numbers cannot be told from what is stored: its tensor stays, with the reason."""

    def __init__(self, codes: TensorInfo, flaw: str, parts: Iterable[TensorInfo] = ()) -> None:
        self.info = replace(codes, is_readable=False, flaw=flaw)
        self.parts = frozenset({codes.name, *(part.name for part in parts)})

    def rows(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> Float32Array:
        """Never; see Encoding.rows."""
        raise WeightsError(
            "unsupported_format", f"The tensor {self.info.name!r} of model {weights.model_id} {self.info.flaw}."
        )

    def cost_bytes(self, n_rows: int) -> int:
        """See Encoding.cost_bytes."""
        return n_rows * self.info.row_bytes


class QuantizedMatrix(Encoding):
    """A matrix that is computed from codes and scales; a subclass says how."""

    def __init__(self, info: TensorInfo, parts: Iterable[TensorInfo | None]) -> None:
        self.info = info
        self.parts = frozenset(part.name for part in parts if part is not None)

    def rows(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> Float32Array:
        """See Encoding.rows."""
        shape = (indices.size, self.info.n_columns)
        if shape[0] * shape[1] > MAX_VALUES:
            raise WeightsError(
                "unsupported_format",
                f"{shape[0]} rows of the tensor {self.info.name!r} of model {weights.model_id} have "
                f"{shape[0] * shape[1]} numbers; at most {MAX_VALUES} are computed at once.",
            )
        if not shape[0] * shape[1]:
            return np.empty(shape, dtype=np.float32)
        # Scales beyond float32 become infinite, which the caller reports as not finite.
        with np.errstate(over="ignore", invalid="ignore", under="ignore", divide="ignore"):
            return np.ascontiguousarray(self._rows(weights, indices), dtype=np.float32)

    @abstractmethod
    def _rows(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The rows [k, columns], at least one."""

    def _contradicts(self, weights: StoredWeights, part: TensorInfo, flaw: str) -> WeightsError:
        return WeightsError("invalid_header", f"The tensor {part.name!r} of model {weights.model_id} {flaw}.")


def matrix_info(codes: TensorInfo, suffix: str, *, shape: tuple[int, ...], dtype: str) -> TensorInfo:
    """The matrix that codes stand for: their place in the file, and the module's `.weight` as name.

    Args:
        codes: The tensor with the codes.
        suffix: How its name ends, instead of `.weight`.
        shape: [out, in] of the matrix.
        dtype: Name of the encoding.
    """
    return replace(
        codes,
        name=codes.name.removesuffix(suffix) + ".weight",
        canonical=codes.canonical.removesuffix(suffix) + ".weight",
        shape=shape,
        dtype=dtype,
        is_readable=True,
        flaw="",
    )


def read_whole(weights: StoredWeights, info: TensorInfo) -> npt.NDArray[Any]:
    """All of a tensor, in its own type and shape; unsupported_format if that is too much at once."""
    if info.n_bytes > MAX_ROWS_BYTES:
        raise WeightsError(
            "unsupported_format",
            f"The tensor {info.name!r} of model {weights.model_id} has to be read as a whole and takes {info.n_bytes} "
            f"bytes; at most {MAX_ROWS_BYTES} are read at once.",
        )
    return weights.stored_values(info)


def read_rows(
    weights: StoredWeights, info: TensorInfo, shape: tuple[int, int], indices: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """Rows of a tensor that is taken for a matrix of this shape, in its own type: [k, shape[1]].

    Args:
        weights: The model.
        info: One of its stored tensors.
        shape: Rows and columns; as many elements as the tensor has.
        indices: Rows, int64 [k].
    """
    return weights.stored_rows(replace(info, shape=shape), indices).view(NUMPY[info.dtype])
