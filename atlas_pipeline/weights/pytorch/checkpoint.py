"""PyTorch checkpoints as weights, without PyTorch and without unpickling: rows read from the archive by byte range.

`archive` finds the bytes, `pickled` the descriptions, `state` the tensors that are the model's. A
tensor is a view of its storage: an offset, and for each dimension the step to the next number. Where that is not one
row after another (a transposed matrix, a part of one, channels last), rows are gathered from the numbers they show.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from atlas_pipeline.weights.dtypes import FULL_PRECISION, NUMPY
from atlas_pipeline.weights.encodings import encode_quantized
from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.names import canonical_names
from atlas_pipeline.weights.pytorch.archive import MemberReader, TorchArchive, open_archive
from atlas_pipeline.weights.pytorch.globals import Opaque, StoredTensor
from atlas_pipeline.weights.pytorch.pickled import read_pickle
from atlas_pipeline.weights.pytorch.state import named_tensors
from atlas_pipeline.weights.tensors import MAX_ROWS_BYTES, FileReader, StoredWeights, TensorInfo

TORCH_SUFFIXES: Final = (".bin", ".pt", ".pth", ".ckpt")
"""Names of files that `open_torch` takes."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _View:
    """A tensor whose numbers do not lie one row after another.

    Attributes:
        strides: Bytes from one number to the next, for each dimension.
        row_bytes: From a row's first number to behind its last.
    """

    strides: tuple[int, ...]
    row_bytes: int

    def has_rows_apart(self, n_rows: int, *, of: int) -> bool:
        """Whether that many of all rows can be read, and better are, without the others."""
        return len(self.strides) > 1 and self.strides[0] >= self.row_bytes and n_rows < of


class TorchWeights(StoredWeights):
    """Tensors of one or several PyTorch checkpoints."""

    def __init__(
        self,
        *,
        model_id: str,
        readers: Sequence[MemberReader],
        tensors: Mapping[str, TensorInfo],
        config: Mapping[str, Any],
        views: Mapping[str, _View],
    ) -> None:
        super().__init__(model_id=model_id, format="pytorch", readers=readers, tensors=tensors, config=config)
        self._views = views

    def stored_values(self, info: TensorInfo, indices: npt.NDArray[np.int64] | None = None) -> npt.NDArray[Any]:
        """See StoredWeights.stored_values."""
        if indices is not None or self._view_of(info) is None:
            return super().stored_values(info, indices)
        rows = self.stored_rows(info, np.arange(info.shape[0]))
        return rows.view(NUMPY[info.dtype]).reshape(info.shape)

    def stored_rows(self, info: TensorInfo, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """See StoredWeights.stored_rows; where a tensor's rows interleave, all of it is read."""
        view = self._view_of(info)
        if view is None:
            return super().stored_rows(info, indices)
        wanted, position = np.unique(indices, return_inverse=True)
        n_bytes = self._cost_of_view(info, view, wanted.size)
        if n_bytes > MAX_ROWS_BYTES:
            raise WeightsError(
                "unsupported_format",
                f"{wanted.size} rows of the tensor {info.name!r} of model {self.model_id} take {n_bytes} bytes; at "
                f"most {MAX_ROWS_BYTES} are read at once.",
            )
        reader = self._readers[info.path]
        number = np.dtype((np.void, NUMPY[info.dtype].itemsize))
        stored = np.empty((wanted.size, *info.shape[1:]), dtype=number)
        if view.has_rows_apart(wanted.size, of=info.shape[0]):
            starts = [info.start + int(index) * view.strides[0] for index in wanted]
            parts = reader.read_ranges([(start, start + view.row_bytes) for start in starts])
            for row, part in zip(stored, parts, strict=True):
                row[...] = _strided(part, number, info.shape[1:], view.strides[1:])
        else:
            stored[...] = _strided(reader.read(info.start, info.stop), number, info.shape, view.strides)[wanted]
        return stored.reshape(wanted.size, info.n_columns).view(np.uint8)[position.reshape(-1)]

    def cost_bytes(self, name: str, n_rows: int) -> int:
        """See Weights.cost_bytes."""
        view = self._views.get(name)
        if view is None or name in self._encodings:
            return super().cost_bytes(name, n_rows)
        return self._cost_of_view(self.tensors[name], view, n_rows)

    def _view_of(self, info: TensorInfo) -> _View | None:
        view = self._views.get(info.name)
        # Who reads a tensor's bytes under another shape takes them to lie in a row.
        if view is not None and info.shape != self.stored[info.name].shape:
            raise WeightsError(
                "unsupported_format",
                f"The tensor {info.name!r} of model {self.model_id} belongs to a quantisation and is a view of others' "
                "numbers; it is not read.",
            )
        return view

    @staticmethod
    def _cost_of_view(info: TensorInfo, view: _View, n_rows: int) -> int:
        return n_rows * view.row_bytes if view.has_rows_apart(n_rows, of=info.shape[0]) else info.n_bytes


def open_torch(readers: Sequence[FileReader], *, model_id: str, config: Mapping[str, Any]) -> TorchWeights:
    """Opens one or several PyTorch checkpoints as one model.

    No code in them is run; what would have to be run to be known is left out with a warning, and a file that names code
    no checkpoint needs is refused (`pickled`).

    Args:
        readers: The files: one, or the shards of one model.
        model_id: The model, for errors.
        config: The model's config.json, empty if there is none.

    Returns:
        The model, quantised matrices as numbers (`encode_quantized`).

    Raises:
        WeightsError: As `open_archive`, `read_pickle`, `named_tensors` and `encode_quantized`; invalid_header if a
            tensor does not fit its storage; unsupported_format if a file holds no named tensors, or two hold one of
            the same name.
    """
    found: dict[str, TensorInfo] = {}
    views: dict[str, _View] = {}
    members = []
    for reader in readers:
        archive = open_archive(reader)
        tensors = _tensors(archive, reader)
        if twice := found.keys() & tensors.keys():
            name = min(twice)
            raise WeightsError(
                "unsupported_format",
                f"Model {model_id} has the tensor {name[:100]!r} both in {found[name].path!r} and in "
                f"{reader.entry.path!r}: these are several models, or parts of each tensor.",
            )
        for name, tensor in tensors.items():
            found[name], view = _placed(name, tensor, archive)
            if view:
                views[name] = view
        members.append(archive.reader)
    canonical = canonical_names(found)
    infos = {name: replace(info, canonical=canonical[name]) for name, info in found.items()}
    weights = TorchWeights(model_id=model_id, readers=members, tensors=infos, config=config, views=views)
    encode_quantized(weights)
    return weights


def _tensors(archive: TorchArchive, reader: FileReader) -> dict[str, StoredTensor | Opaque]:
    content = read_pickle(archive.pickle, what=reader.label)
    tensors = named_tensors(content.value, what=reader.label)
    others = f"objects that only running {str(content.foreign)[:100]!r} and the like would make"
    if not tensors:
        only = f", only {others}" if content.foreign else ""
        raise WeightsError("unsupported_format", f"{reader.label} holds no named tensors of a model{only}.")
    if content.foreign:
        _logger.warning("%s also holds %s; they are left out.", reader.label, others)
    return tensors


def _placed(name: str, tensor: StoredTensor | Opaque, archive: TorchArchive) -> tuple[TensorInfo, _View | None]:
    """A tensor's place in the file, and how it views it if not row by row."""
    path = archive.reader.entry.path
    if isinstance(tensor, Opaque):
        flaw = f"would have to be made by running {tensor.origin[:100]!r}"
        return TensorInfo(name, name, (), "unknown", path, 0, 0, is_readable=False, flaw=flaw), None
    storage = archive.storages.get(tensor.storage.key)
    if storage is None or storage.size != tensor.storage.n_bytes:
        has = "there is none" if storage is None else f"has {storage.size}"
        raise WeightsError(
            "invalid_header",
            f"{archive.reader.label}: the tensor {name[:100]!r} needs a storage of {tensor.storage.n_bytes} bytes "
            f"and {has}.",
        )
    width, n_numbers = tensor.item_bytes, math.prod(tensor.shape)
    span = _span(tensor.shape, tensor.strides) if n_numbers else 0
    flaw = tensor.flaw
    if not flaw and n_numbers > span:
        flaw = "shows the same numbers in several places"
    start = storage.start + tensor.offset * width if n_numbers else storage.start
    info = TensorInfo(
        name=name,
        canonical=name,
        shape=tensor.shape,
        dtype=tensor.dtype,
        path=path,
        start=start,
        stop=start + span * width,
        is_readable=tensor.dtype in FULL_PRECISION and len(tensor.shape) >= 1 and not flaw,
        flaw=flaw,
    )
    if flaw or not n_numbers or _is_row_by_row(tensor):
        return info, None
    strides = tuple(stride * width for stride in tensor.strides)
    return info, _View(strides, _span(tensor.shape[1:], tensor.strides[1:]) * width)


def _span(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Numbers from the first that a view shows to behind the last."""
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def _is_row_by_row(tensor: StoredTensor) -> bool:
    step = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def _strided(
    data: bytes, number: np.dtype[np.void], shape: Sequence[int], strides: Sequence[int]
) -> npt.NDArray[np.void]:
    """The view of bytes that a shape and strides in bytes describe; its span has been checked to be theirs."""
    flat = np.frombuffer(data, dtype=number)
    return np.lib.stride_tricks.as_strided(flat, shape=tuple(shape), strides=tuple(strides), writeable=False)
