"""Safetensors files: the header checked against the file, tensors as byte ranges.

Format: 8 bytes little-endian header length N, N bytes of JSON {name: {dtype, shape, data_offsets: [begin, end]}}, then
the data; offsets count from the end of the header, and the tensors cover the data without holes or overlaps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from atlas_pipeline.weights.bounded_json import parse_json_object
from atlas_pipeline.weights.dtypes import BITS, FULL_PRECISION
from atlas_pipeline.weights.encodings import encode_quantized
from atlas_pipeline.weights.errors import Status, WeightsError
from atlas_pipeline.weights.names import canonical_names
from atlas_pipeline.weights.tensors import MAX_NAME_LENGTH, FileReader, StoredWeights, TensorInfo

MAX_HEADER_BYTES: Final = 100_000_000
"""The safetensors library's own limit."""

FIRST_READ_BYTES: Final = 1 << 14
"""Read at once where requests are dear: the header of a shard of a 7B model takes 11 kB."""

MAX_KEPT_BYTES: Final = 1 << 20
"""Larger headers are not kept for the next model."""

MAX_DIMENSIONS: Final = 64
"""NumPy's limit."""

_LENGTH_BYTES: Final = 8


def open_safetensors(
    readers: Sequence[FileReader], *, model_id: str, tensor_files: Mapping[str, str] | None, config: Mapping[str, Any]
) -> StoredWeights:
    """Opens one or several safetensors files as one model.

    Args:
        readers: The files.
        model_id: The model, for errors.
        tensor_files: An index's map from tensor to file, or None if every tensor of every file counts.
        config: The model's config.json, empty if there is none.

    Returns:
        The model, quantised matrices as numbers (`encode_quantized`).

    Raises:
        WeightsError: invalid_header if a header contradicts the format, or the index names what its file lacks;
            truncated if a file ends before its header or data do; unsupported_format for a type that the format gained
            later, or if two files hold a tensor of the same name and no index says which counts; unreadable if the
            repository fails; as `encode_quantized`.
    """
    headers = tuple(_stored_header(reader) for reader in readers)
    try:
        model = _model(headers, None if tensor_files is None else tuple(tensor_files.items()))
    except _HeaderFlaw as flaw:
        raise WeightsError(flaw.status, f"Model {model_id}: {flaw.sentence}") from None
    weights = StoredWeights(
        model_id=model_id, format="safetensors", readers=readers, tensors=model.tensors, config=config
    )
    weights.metadata = model.metadata
    encode_quantized(weights)
    return weights


@dataclass(frozen=True, slots=True)
class _StoredHeader:
    """A header as it is stored, with what decides about its meaning; that of relatives is often the same."""

    path: str
    size_bytes: int
    content: bytes

    @property
    def base(self) -> int:
        """Where the data begin."""
        return _LENGTH_BYTES + len(self.content)

    @property
    def is_small(self) -> bool:
        return len(self.content) <= MAX_KEPT_BYTES


class _Model(NamedTuple):
    """What headers say: tensors by name, and the metadata of a single file."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, Any]


class _HeaderFlaw(Exception):
    """What is wrong with a file, whatever model it belongs to."""

    def __init__(self, status: Status, sentence: str) -> None:
        super().__init__(sentence)
        self.status: Status = status
        self.sentence = sentence


def _stored_header(reader: FileReader) -> _StoredHeader:
    size = reader.entry.size_bytes
    first = reader.read(0, min(size, max(_LENGTH_BYTES, min(FIRST_READ_BYTES, reader.gap_bytes))))
    if len(first) < _LENGTH_BYTES:
        raise WeightsError("truncated", f"{reader.label} has {size} bytes and no safetensors header.")
    length = int.from_bytes(first[:_LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise WeightsError(
            "invalid_header", f"{reader.label} claims a header of {length} bytes; the limit is {MAX_HEADER_BYTES}."
        )
    base = _LENGTH_BYTES + length
    header = first[_LENGTH_BYTES:base]
    if len(header) < length:
        header += reader.read(_LENGTH_BYTES + len(header), base)
    return _StoredHeader(reader.entry.path, size, header)


def _model(headers: tuple[_StoredHeader, ...], tensor_files: tuple[tuple[str, str], ...] | None) -> _Model:
    """A model's tensors; worked out once for all models with these files."""
    is_small = all(header.is_small for header in headers)
    return _kept_model(headers, tensor_files) if is_small else _kept_model.__wrapped__(headers, tensor_files)


@lru_cache(maxsize=8)
def _kept_model(headers: tuple[_StoredHeader, ...], tensor_files: tuple[tuple[str, str], ...] | None) -> _Model:
    read = {header.path: _read(header) for header in headers}
    by_path = {path: model.tensors for path, model in read.items()}
    found: dict[str, TensorInfo] = {}
    if tensor_files is None:
        for path, tensors in by_path.items():
            if twice := found.keys() & tensors.keys():
                name = min(twice)
                raise _HeaderFlaw(
                    "unsupported_format",
                    f"the tensor {name[:100]!r} is both in {found[name].path!r} and in {path!r}: these are several "
                    "models, or variants of one.",
                )
            found |= tensors
    else:
        for name, path in tensor_files:
            if name not in by_path[path]:
                raise _HeaderFlaw("invalid_header", f"the index names the tensor {name[:100]!r}, which {path!r} lacks.")
            found[name] = by_path[path][name]
    # Whether a short name is unique shows only when all files are known.
    canonical = canonical_names(found)
    tensors = {name: replace(info, canonical=canonical[name]) for name, info in found.items()}
    metadata = read[headers[0].path].metadata if len(headers) == 1 else {}
    return _Model(MappingProxyType(tensors), MappingProxyType(metadata))


def _read(header: _StoredHeader) -> _Model:
    what = f"the header of the file {header.path!r}"
    if not header.content.startswith(b"{"):
        raise _HeaderFlaw("invalid_header", f"{what} does not start with a brace.")
    try:
        entries = parse_json_object(header.content, what=what, status="invalid_header")
    except WeightsError as error:
        raise _HeaderFlaw(error.status, error.message) from None
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise _HeaderFlaw("invalid_header", f"the __metadata__ in {what} is not an object.")
    tensors = {name: _tensor(name, entry, header) for name, entry in entries.items()}
    _check_coverage(tensors, header)
    return _Model(tensors, metadata)


def _tensor(name: str, entry: object, header: _StoredHeader) -> TensorInfo:
    def invalid(flaw: str) -> _HeaderFlaw:
        return _HeaderFlaw("invalid_header", f"the tensor {name[:100]!r} in {header.path!r} {flaw}.")

    if len(name) > MAX_NAME_LENGTH:
        raise invalid(f"has a name of {len(name)} characters")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise invalid("is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str):
        raise invalid("has a dtype that is no text")
    if dtype not in BITS:
        raise _HeaderFlaw(
            "unsupported_format",
            f"the tensor {name[:100]!r} in {header.path!r} has the unknown type {dtype[:20]!r}.",
        )
    if not _is_list_of_counts(shape) or len(shape) > MAX_DIMENSIONS:
        raise invalid(f"has a shape that is no list of at most {MAX_DIMENSIONS} non-negative integers")
    if not _is_list_of_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise invalid("has data_offsets that are no ascending pair")
    # Python integers do not overflow, so a product of huge dimensions simply fails to match.
    if math.prod(shape) * BITS[dtype] != 8 * (offsets[1] - offsets[0]):
        raise invalid(f"of shape {str(shape)[:100]} and type {dtype} does not fit its {offsets[1] - offsets[0]} bytes")
    return TensorInfo(
        name=name,
        canonical=name,
        shape=tuple(shape),
        dtype=dtype,
        path=header.path,
        start=header.base + offsets[0],
        stop=header.base + offsets[1],
        is_readable=dtype in FULL_PRECISION and len(shape) >= 1,
    )


def _is_list_of_counts(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_coverage(tensors: Mapping[str, TensorInfo], header: _StoredHeader) -> None:
    end, what = header.base, f"the file {header.path!r}"
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.stop)):
        if tensor.start != end:
            flaw = "overlaps another" if tensor.start < end else "leaves a hole before it"
            raise _HeaderFlaw("invalid_header", f"the tensor {tensor.name[:100]!r} in {what} {flaw}.")
        end = tensor.stop
    if end > header.size_bytes:
        raise _HeaderFlaw("truncated", f"{what} ends at byte {header.size_bytes}; its tensors end at byte {end}.")
    if end < header.size_bytes:
        raise _HeaderFlaw("invalid_header", f"{what} has {header.size_bytes - end} bytes that belong to no tensor.")
