"""Named tensors of a model and their rows, read from the repository by byte range.

Here belong what all file formats share. How a header is parsed and how bytes become numbers belongs in a format's
module.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from atlas_pipeline.repositories import FileEntry, Repository, RepositoryError, ShortRead
from atlas_pipeline.weights.errors import WeightsError

Float32Array = npt.NDArray[np.float32]

MAX_ROWS_BYTES: Final = 1 << 28
"""Stored bytes of one request for rows (256 MiB): a tensor may claim a row of any length."""

MAX_NAME_LENGTH: Final = 1000
"""Characters of a tensor's name; the longest in use have about 150. Names are taken apart, so they must be bounded."""

MAX_RUN_BYTES: Final = 1 << 26
"""Neighbouring rows are joined into ranges of at most 64 MiB (or one row), which bounds what a failed request costs."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a model as its file describes it.

    Attributes:
        name: The name in the file.
        canonical: The name under which the same tensor is known in every format (`canonical_names`).
        shape: Dimensions, outermost first; a row is one index of the first.
        dtype: The file format's own name of the type: `BF16`, `I8`, `Q4_K`, ...
        path: The file.
        start: First byte in the file.
        stop: First byte after it.
        is_readable: Whether `Weights.rows` can turn it into numbers, and it holds weights rather than bookkeeping of a
            quantisation.
    """

    name: str
    canonical: str
    shape: tuple[int, ...]
    dtype: str
    path: str
    start: int
    stop: int
    is_readable: bool

    @property
    def n_columns(self) -> int:
        """Elements of one row."""
        return math.prod(self.shape[1:])

    @property
    def n_bytes(self) -> int:
        """Stored bytes."""
        return self.stop - self.start

    @property
    def row_bytes(self) -> int:
        """Stored bytes of one row; rows are contiguous in all supported formats."""
        return self.n_bytes // self.shape[0] if self.shape and self.shape[0] else 0


class FileReader:
    """Reads ranges of one file and counts the bytes."""

    def __init__(self, repository: Repository, model_id: str, entry: FileEntry) -> None:
        self.model_id = model_id
        self.entry = entry
        self.gap_bytes = repository.gap_bytes
        self.bytes_read = 0
        self._repository = repository

    @property
    def label(self) -> str:
        """The file in words, for errors."""
        return f"The file {self.entry.path!r} of model {self.model_id}"

    def read(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop).

        Raises:
            WeightsError: truncated if the file ends earlier, unreadable if the repository fails.
        """
        if stop > self.entry.size_bytes:
            raise WeightsError("truncated", f"{self.label} ends at byte {self.entry.size_bytes}, before byte {stop}.")
        try:
            data = self._repository.read(self.model_id, self.entry.path, start, stop)
        except ShortRead as error:
            raise WeightsError("truncated", str(error)) from error
        except RepositoryError as error:
            raise WeightsError("unreadable", str(error)) from error
        self.bytes_read += len(data)
        return data


class Weights(ABC):
    """The tensors of one model.

    Attributes:
        model_id: The model.
        format: `safetensors`, `gguf` or `adapter`.
        files: The weight files, sorted by path.
        tensors: Every tensor by its name in the file.
        quantization: In words how the weights are quantised and how that is known; None if they are not.
    """

    def __init__(
        self,
        *,
        model_id: str,
        format: str,  # noqa: A002 - the column's name
        files: Sequence[FileEntry],
        tensors: Mapping[str, TensorInfo],
        quantization: str | None,
    ) -> None:
        self.model_id = model_id
        self.format = format
        self.files = tuple(files)
        self.tensors = tensors
        self.quantization = quantization

    @property
    def bytes_total(self) -> int:
        """Size of the weight files together."""
        return sum(entry.size_bytes for entry in self.files)

    @property
    @abstractmethod
    def bytes_read(self) -> int:
        """Bytes read so far by range: headers, rows, and gaps read along with them."""

    @abstractmethod
    def rows(self, name: str, indices: Sequence[int] | npt.NDArray[np.integer]) -> Float32Array:
        """Rows of a tensor as numbers.

        Args:
            name: A key of `tensors`.
            indices: Row numbers, in any order, also repeated.

        Returns:
            float32 [k, columns] in the order asked for; dimensions after the first are flattened.

        Raises:
            KeyError: If there is no such tensor.
            IndexError: If a row number is out of range.
            WeightsError: If the rows cannot be read or decoded.
        """


class StoredWeights(Weights):
    """Weights whose rows lie in files of the model itself."""

    def __init__(
        self,
        *,
        model_id: str,
        format: str,  # noqa: A002
        readers: Sequence[FileReader],
        tensors: Mapping[str, TensorInfo],
        quantization: str | None,
    ) -> None:
        super().__init__(
            model_id=model_id,
            format=format,
            files=sorted(reader.entry for reader in readers),
            tensors=tensors,
            quantization=quantization,
        )
        self._readers = {reader.entry.path: reader for reader in readers}

    @property
    def bytes_read(self) -> int:
        """Bytes read so far by range."""
        return sum(reader.bytes_read for reader in self._readers.values())

    def rows(self, name: str, indices: Sequence[int] | npt.NDArray[np.integer]) -> Float32Array:
        """See Weights.rows."""
        info = self.tensors[name]
        if not info.is_readable:
            raise WeightsError(
                "unsupported_format",
                f"The tensor {name!r} of model {self.model_id} is stored as {info.dtype}, which is not read.",
            )
        chosen = checked_indices(info, indices)
        return self._decode(info, chosen)

    @abstractmethod
    def _decode(self, info: TensorInfo, indices: npt.NDArray[np.int64]) -> Float32Array: ...

    def stored_rows(self, info: TensorInfo, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Rows as they are stored: uint8 [k, row_bytes]. Near rows share one range (`Repository.gap_bytes`)."""
        width = info.row_bytes
        reader = self._readers[info.path]
        wanted, position = np.unique(indices, return_inverse=True)
        if wanted.size * width > MAX_ROWS_BYTES:
            raise WeightsError(
                "unsupported_format",
                f"{wanted.size} rows of the tensor {info.name!r} of model {self.model_id} take {wanted.size * width} "
                f"bytes; at most {MAX_ROWS_BYTES} are read at once.",
            )
        stored = np.empty((wanted.size, width), dtype=np.uint8)
        first = 0
        for last in _run_ends(wanted, row_bytes=width, gap_bytes=reader.gap_bytes):
            start = info.start + int(wanted[first]) * width
            data = reader.read(start, info.start + (int(wanted[last]) + 1) * width)
            block = np.frombuffer(data, dtype=np.uint8).reshape(-1, width)
            stored[first : last + 1] = block[wanted[first : last + 1] - wanted[first]]
            first = last + 1
        return stored[position.reshape(-1)]


def checked_indices(info: TensorInfo, indices: Sequence[int] | npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Row numbers as int64 [k]; raises IndexError if one is out of range or the tensor is a scalar."""
    chosen = np.asarray(indices, dtype=np.int64).reshape(-1)
    n_rows = info.shape[0] if info.shape else 0
    if chosen.size and (chosen.min() < 0 or chosen.max() >= n_rows):
        raise IndexError(
            f"The tensor {info.name!r} has {n_rows} rows; rows {chosen.min()} to {chosen.max()} were asked for."
        )
    return chosen


def _run_ends(wanted: npt.NDArray[np.int64], *, row_bytes: int, gap_bytes: int) -> list[int]:
    """Positions in sorted row numbers at which a range ends."""
    if not wanted.size or not row_bytes:
        return []
    ends = []
    first = 0
    far = np.diff(wanted) - 1 > gap_bytes // row_bytes
    for last in range(wanted.size):
        is_end = last + 1 == wanted.size or far[last]
        if is_end or (int(wanted[last + 1]) - int(wanted[first]) + 1) * row_bytes > MAX_RUN_BYTES:
            ends.append(last)
            first = last + 1
    return ends
