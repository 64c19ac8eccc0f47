"""Named tensors of a model and their rows, read from the repository by byte range.

Here belongs what all file formats share. How a header is parsed belongs in a format's module; how a quantisation
stores a matrix, in `encodings`.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from atlas_pipeline.repositories import (
    BudgetSpent,
    FileEntry,
    ModelDisabled,
    ModelGated,
    ModelNotFound,
    Repository,
    RepositoryError,
    ShortRead,
)
from atlas_pipeline.weights.dtypes import FULL_PRECISION, NUMPY
from atlas_pipeline.weights.errors import Status, WeightsError

Float32Array = npt.NDArray[np.float32]

InTurn = Callable[..., Iterable[Any]]

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
        flaw: Why it cannot be read, where it holds weights: a clause such as "is packed in a way that is not known".
    """

    name: str
    canonical: str
    shape: tuple[int, ...]
    dtype: str
    path: str
    start: int
    stop: int
    is_readable: bool
    flaw: str = ""

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


class Meter:
    """Counts the bytes that one model's sampling takes, and stops it at a limit. Threads may share one."""

    def __init__(self, limit_bytes: int | None = None) -> None:
        """Starts at zero.

        Args:
            limit_bytes: Bytes that may be read; None for as many as it takes.
        """
        self.limit_bytes = limit_bytes
        self.bytes_read = 0
        self._lock = threading.Lock()

    def spend(self, n_bytes: int, label: str) -> None:
        """Count bytes that are about to be read from what `label` names.

        Raises:
            WeightsError: over_budget if that would be more than the limit; nothing is counted then.
        """
        with self._lock:
            if self.limit_bytes is not None and self.bytes_read + n_bytes > self.limit_bytes:
                raise WeightsError(
                    "over_budget",
                    f"{label} needs {n_bytes} bytes more, after {self.bytes_read} of {self.limit_bytes} that one model "
                    "may take.",
                )
            self.bytes_read += n_bytes


class FileReader:
    """Reads ranges of one file and counts the bytes."""

    def __init__(self, repository: Repository, model_id: str, entry: FileEntry, meter: Meter | None = None) -> None:
        self.model_id = model_id
        self.entry = entry
        self.gap_bytes = repository.gap_bytes
        self.meter = meter or Meter()
        self._repository = repository

    @property
    def label(self) -> str:
        """The file in words, for errors."""
        return f"The file {self.entry.path!r} of model {self.model_id}"

    def read(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop).

        Raises:
            WeightsError: truncated if the file ends earlier, over_budget, unreadable if the repository fails.
        """
        return self.read_ranges([(start, stop)])[0]

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Bytes of several ranges [start, stop), in their order; errors as in `read`."""
        if not ranges:
            return []
        end = max(stop for _, stop in ranges)
        if end > self.entry.size_bytes:
            raise WeightsError("truncated", f"{self.label} ends at byte {self.entry.size_bytes}, before byte {end}.")
        self.meter.spend(sum(stop - start for start, stop in ranges), self.label)
        try:
            return self._repository.read_ranges(self.model_id, self.entry.path, ranges)
        except RepositoryError as error:
            raise repository_failure(error) from error


_STATUS_OF_FAILURES: Final[Mapping[type[RepositoryError], Status]] = {
    ModelNotFound: "not_found",
    ModelGated: "gated",
    ModelDisabled: "disabled",
    BudgetSpent: "over_budget",
    ShortRead: "truncated",
}


def repository_failure(error: RepositoryError) -> WeightsError:
    """What a repository's failure means for a model: its own status where there is one, else unreadable."""
    return WeightsError(_STATUS_OF_FAILURES.get(type(error), "unreadable"), str(error))


class Weights(ABC):
    """The tensors of one model.

    Attributes:
        model_id: The model.
        format: `safetensors`, `gguf`, `pytorch` or `adapter`.
        files: The weight files, sorted by path.
        tensors: Every tensor that holds weights, by name: as stored, or the matrix that an encoding stands for.
        config: The model's config.json, empty if there is none.
        quantization: In words the low precision in which the weights are stored and how that is known; None if there
            is none.
        is_quantized: Whether that is a quantisation, and not the precision in which the model was made.
        meter: Has counted the bytes read so far.
        base_id: The base to which an adapter is applied; None for other models and where the change stands alone.
        adapter_kind: The kind of an adapter, such as `LoRA`; None for other models.
        rank: The largest rank of an adapter's changes; None for other models.
        is_delta: Whether the rows are those of an adapter's change alone, without a base.
    """

    model_id: str
    format: str
    files: tuple[FileEntry, ...]
    tensors: Mapping[str, TensorInfo]
    config: Mapping[str, Any]
    quantization: str | None
    is_quantized: bool
    meter: Meter
    base_id: str | None = None
    adapter_kind: str | None = None
    rank: int | None = None
    is_delta: bool = False

    @property
    def bytes_total(self) -> int:
        """Size of the weight files together."""
        return sum(entry.size_bytes for entry in self.files)

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

    def rows_of(self, wanted: Sequence[tuple[str, npt.NDArray[np.int64]]], in_turn: InTurn = map) -> list[Float32Array]:
        """Rows of several tensors, each as `rows` gives them; errors as there.

        Args:
            wanted: Names and row numbers.
            in_turn: Works as `map` does; that of an executor reads at the same time.
        """
        return list(in_turn(lambda name_and_indices: self.rows(*name_and_indices), wanted))

    @abstractmethod
    def cost_bytes(self, name: str, n_rows: int) -> int:
        """Bytes that reading this many rows of a tensor takes, without what is read along with them.

        Raises:
            KeyError: If there is no such tensor.
        """


class Encoding(ABC):
    """How one weight matrix is stored where a row of numbers is not simply a row of one tensor.

    A quantised matrix is spread over several tensors (codes, scales, zero points); some layouts keep a neuron as a
    column. An encoding stands for the matrix as it is used: output neurons as rows.

    Attributes:
        info: The matrix: its name (ending in `.weight`), shape [out, in], name of the encoding as dtype (`NF4`,
            `GPTQ4`, ...), and file and byte range of the tensor with the codes.
        parts: Names of the stored tensors that it is made of; they are no tensors of the model any more.
    """

    info: TensorInfo
    parts: frozenset[str]

    @abstractmethod
    def rows(self, weights: StoredWeights, indices: npt.NDArray[np.int64]) -> Float32Array:
        """Rows as numbers, float32 [k, in]; row numbers are in range. Raises WeightsError as `Weights.rows`."""

    @abstractmethod
    def cost_bytes(self, n_rows: int) -> int:
        """Bytes that reading this many rows takes; where neurons are columns, those of the whole matrix."""


class StoredWeights(Weights):
    """Weights whose rows lie in files of the model itself.

    Attributes:
        stored: Every tensor as the files name it, also the parts of encodings.
        metadata: What the header of a single file says beside its tensors.
    """

    metadata: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        *,
        model_id: str,
        format: str,  # noqa: A002 - the column's name
        readers: Sequence[FileReader],
        tensors: Mapping[str, TensorInfo],
        config: Mapping[str, Any],
    ) -> None:
        self.model_id = model_id
        self.format = format
        self.files = tuple(sorted(reader.entry for reader in readers))
        self.stored = tensors
        self.tensors = tensors
        self.config = config
        self.quantization = None
        self.is_quantized = False
        self.meter = readers[0].meter if readers else Meter()
        self._readers = {reader.entry.path: reader for reader in readers}
        self._encodings: dict[str, Encoding] = {}

    def encode(self, encodings: Sequence[Encoding]) -> None:
        """Puts the matrices that encodings stand for in the place of their parts."""
        self._encodings = {encoding.info.name: encoding for encoding in encodings}
        parts = frozenset[str]().union(*(encoding.parts for encoding in encodings))
        plain = {name: info for name, info in self.stored.items() if name not in parts}
        self.tensors = plain | {name: encoding.info for name, encoding in self._encodings.items()}

    def rows(self, name: str, indices: Sequence[int] | npt.NDArray[np.integer]) -> Float32Array:
        """See Weights.rows."""
        info = self.tensors[name]
        if not info.is_readable:
            raise WeightsError(
                "unsupported_format",
                f"The tensor {name!r} of model {self.model_id} {info.flaw or f'is stored as {info.dtype}'}; "
                "it is not read.",
            )
        chosen = checked_indices(info, indices)
        encoding = self._encodings.get(name)
        return encoding.rows(self, chosen) if encoding else self._decode(info, chosen)

    def rows_of(self, wanted: Sequence[tuple[str, npt.NDArray[np.int64]]], in_turn: InTurn = map) -> list[Float32Array]:
        """See Weights.rows_of; where all are plain rows of numbers, each file is asked once for all of its ranges."""
        is_plain = type(self) is StoredWeights and self._encodings.keys().isdisjoint(name for name, _ in wanted)
        infos = [self.tensors[name] for name, _ in wanted]
        if not is_plain or not all(info.is_readable and info.dtype in FULL_PRECISION for info in infos):
            return super().rows_of(wanted, in_turn)
        reads = [
            self._row_read(info, checked_indices(info, indices))
            for info, (_, indices) in zip(infos, wanted, strict=True)
        ]
        ranges: dict[str, list[tuple[int, int]]] = {}
        for info, read in zip(infos, reads, strict=True):
            ranges.setdefault(info.path, []).extend(read.ranges)
        parts = in_turn(lambda path: iter(self._readers[path].read_ranges(ranges[path])), ranges)
        of_file = dict(zip(ranges, parts, strict=True))
        with np.errstate(over="ignore"):
            return [
                read.assembled([next(of_file[info.path]) for _ in read.ranges])
                .view(NUMPY[info.dtype])
                .astype(np.float32)
                for info, read in zip(infos, reads, strict=True)
            ]

    def cost_bytes(self, name: str, n_rows: int) -> int:
        """See Weights.cost_bytes."""
        encoding = self._encodings.get(name)
        return encoding.cost_bytes(n_rows) if encoding else n_rows * self.tensors[name].row_bytes

    def _decode(self, info: TensorInfo, indices: npt.NDArray[np.int64]) -> Float32Array:
        if info.dtype not in FULL_PRECISION:
            raise WeightsError(
                "unsupported_format", f"The tensor {info.name!r} of model {self.model_id} is stored as {info.dtype}."
            )
        # A double beyond float32 becomes infinity, which the caller reports as not finite.
        with np.errstate(over="ignore"):
            return self.stored_values(info, indices).astype(np.float32)

    def stored_values(self, info: TensorInfo, indices: npt.NDArray[np.int64] | None = None) -> npt.NDArray[Any]:
        """A stored tensor, or rows of it, in its own type.

        Args:
            info: One of `stored`, of a type in `NUMPY`.
            indices: Rows, int64 [k]; all if None.

        Returns:
            [k, columns] with dimensions after the first flattened, or if all were asked for the tensor's shape.
        """
        if indices is None:
            data = self._readers[info.path].read(info.start, info.stop)
            return np.frombuffer(data, dtype=NUMPY[info.dtype]).reshape(info.shape)
        return self.stored_rows(info, indices).view(NUMPY[info.dtype])

    def stored_rows(self, info: TensorInfo, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Rows as they are stored: uint8 [k, row_bytes]. Near rows share one range (`Repository.gap_bytes`)."""
        reader = self._readers[info.path]
        read = self._row_read(info, indices)
        return read.assembled(reader.read_ranges(read.ranges))

    def _row_read(self, info: TensorInfo, indices: npt.NDArray[np.int64]) -> RowRead:
        if indices.size * info.row_bytes > MAX_ROWS_BYTES:
            raise WeightsError(
                "unsupported_format",
                f"{indices.size} rows of the tensor {info.name!r} of model {self.model_id} take "
                f"{indices.size * info.row_bytes} bytes; at most {MAX_ROWS_BYTES} are read at once.",
            )
        return RowRead.of(info, indices, gap_bytes=self._readers[info.path].gap_bytes)


@dataclass(frozen=True, slots=True)
class RowRead:
    """The byte ranges that hold rows of a tensor, and how the rows are found in them.

    Attributes:
        ranges: Byte ranges [start, stop) of the file; near rows share one.
        row_bytes: Stored bytes of a row.
        place: int64 [k], of each row asked for its number among all rows that the ranges hold, one after the other.
    """

    ranges: list[tuple[int, int]]
    row_bytes: int
    place: npt.NDArray[np.int64]

    @classmethod
    def of(cls, info: TensorInfo, indices: npt.NDArray[np.int64], *, gap_bytes: int) -> RowRead:
        """Plan the reading of rows, in any order, also repeated."""
        width = info.row_bytes
        if indices.size == 1:
            start = info.start + int(indices[0]) * width
            return cls([(start, start + width)], width, np.zeros(1, np.int64))
        wanted, position = np.unique(indices, return_inverse=True)
        ends = _run_ends(wanted, row_bytes=width, gap_bytes=gap_bytes)
        firsts = [0, *(last + 1 for last in ends[:-1])] if ends else []
        spans = [(int(wanted[first]), int(wanted[last]) + 1) for first, last in zip(firsts, ends, strict=True)]
        ranges = [(info.start + first * width, info.start + stop * width) for first, stop in spans]
        place = np.zeros(wanted.size, np.int64)
        n_before = 0
        for first, last, (start, stop) in zip(firsts, ends, spans, strict=True):
            place[first : last + 1] = wanted[first : last + 1] - start + n_before
            n_before += stop - start
        return cls(ranges, width, place[position.reshape(-1)])

    def assembled(self, parts: Sequence[bytes]) -> npt.NDArray[np.uint8]:
        """Rows in the order asked for, uint8 [k, row_bytes], of what the ranges gave."""
        if not self.row_bytes:
            return np.empty((self.place.size, 0), np.uint8)
        held = np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), dtype=np.uint8)
        return held.reshape(-1, self.row_bytes)[self.place] if self.place.size != 1 else held.reshape(1, -1)


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
