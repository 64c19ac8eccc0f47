"""The header of a GGUF file, read by ranges and checked against the file.

Format (ggml's specification, versions 2 and 3, little endian): magic `GGUF`, version u32, number of tensors u64,
number of key-value pairs u64; the pairs (key string, type u32, value); per tensor its name, number of dimensions u32,
dimensions u64 (innermost first), type u32, offset u64; padding to `general.alignment`; the data. A string is a length
u64 and bytes.

The `gguf` package's own reader maps a local file and trusts its counts; this one reads ranges and bounds every count
by the bytes that are left.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Final

from gguf import GGMLQuantizationType
from gguf.constants import GGML_QUANT_SIZES, GGUF_DEFAULT_ALIGNMENT, GGUFValueType

from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.tensors import MAX_NAME_LENGTH, FileReader, TensorInfo

MAX_HEADER_BYTES: Final = 100_000_000
"""A vocabulary of 256,000 tokens takes about 10 MB; as for safetensors, nothing honest needs 100 MB."""

MAX_TEXT_BYTES: Final = 1 << 16
"""Longer texts (chat templates, licences) are skipped."""

MAX_DIMENSIONS: Final = 4
"""ggml's limit."""

MAX_NESTING: Final = 4
"""Arrays of arrays are allowed by the format and used by nobody."""

MAX_ALIGNMENT: Final = 1 << 20
"""Alignments in use are 32 to 4096."""

UNREAD_TYPES: Final = frozenset({"I8", "I16", "I32", "I64", "Q8_1", "Q8_K"})
"""Plain integers, which hold no weights, and types that only occur inside ggml's arithmetic."""

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_READ_AHEAD_BYTES: Final = 1 << 20
_MIN_PAIR_BYTES: Final = 13
_MIN_TENSOR_BYTES: Final = 24

_SCALARS: Final = {
    GGUFValueType.UINT8: struct.Struct("<B"),
    GGUFValueType.INT8: struct.Struct("<b"),
    GGUFValueType.UINT16: struct.Struct("<H"),
    GGUFValueType.INT16: struct.Struct("<h"),
    GGUFValueType.UINT32: struct.Struct("<I"),
    GGUFValueType.INT32: struct.Struct("<i"),
    GGUFValueType.FLOAT32: struct.Struct("<f"),
    GGUFValueType.BOOL: struct.Struct("<?"),
    GGUFValueType.UINT64: struct.Struct("<Q"),
    GGUFValueType.INT64: struct.Struct("<q"),
    GGUFValueType.FLOAT64: struct.Struct("<d"),
}
_U32: Final = _SCALARS[GGUFValueType.UINT32]
_U64: Final = _SCALARS[GGUFValueType.UINT64]

Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says about itself.

    Attributes:
        values: Scalar and short text values by key; None for arrays and long texts, which are skipped.
        tensors: Tensors by name; shapes outermost dimension first; canonical names are not yet resolved.
    """

    values: dict[str, Scalar | None]
    tensors: dict[str, TensorInfo]


class _Cursor:
    """Takes bytes from the start of a file one after another, reading ahead by ranges."""

    def __init__(self, reader: FileReader) -> None:
        self.reader = reader
        self.position = 0
        self._data = bytearray()

    def invalid(self, flaw: str) -> WeightsError:
        return WeightsError("invalid_header", f"{self.reader.label} {flaw}.")

    def take(self, n_bytes: int) -> bytes:
        end = self.position + n_bytes
        if end > len(self._data):
            self._extend(end)
        data = bytes(self._data[self.position : end])
        self.position = end
        return data

    def skip(self, n_bytes: int) -> None:
        if self.position + n_bytes > len(self._data):
            self._extend(self.position + n_bytes)
        self.position += n_bytes

    def scalar(self, layout: struct.Struct) -> int:
        return layout.unpack(self.take(layout.size))[0]

    def text(self, what: str) -> str:
        length = self.count(what, 1)
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise self.invalid(f"has {what} that is not UTF-8") from None

    def count(self, what: str, item_bytes: int) -> int:
        """A count that the file can hold: each item takes at least `item_bytes`."""
        number = self.scalar(_U64)
        if number * item_bytes > self.reader.entry.size_bytes - self.position:
            raise WeightsError(
                "truncated", f"{self.reader.label} ends before the {number} items of {what} that it claims."
            )
        return number

    def _extend(self, end: int) -> None:
        if end > MAX_HEADER_BYTES:
            raise self.invalid(f"has a header of more than {MAX_HEADER_BYTES} bytes")
        stop = max(end, min(len(self._data) + _READ_AHEAD_BYTES, self.reader.entry.size_bytes))
        self._data += self.reader.read(len(self._data), stop)


def read_gguf_header(reader: FileReader) -> GgufHeader:
    """Reads and checks the header of one GGUF file.

    Raises:
        WeightsError: invalid_header if it contradicts the format, truncated if the file ends before the header or the
            data do, unsupported_format for another version, byte order or tensor type, unreadable if the repository
            fails.
    """
    cursor = _Cursor(reader)
    if cursor.take(len(_MAGIC)) != _MAGIC:
        raise cursor.invalid("does not start with GGUF")
    version = cursor.scalar(_U32)
    if version not in _VERSIONS:
        raise WeightsError("unsupported_format", f"{reader.label} has GGUF version {version} or is big endian.")
    n_tensors = cursor.count("tensors", _MIN_TENSOR_BYTES)
    n_pairs = cursor.count("key-value pairs", _MIN_PAIR_BYTES)
    values: dict[str, Scalar | None] = {}
    for _ in range(n_pairs):
        key = cursor.text("a key")
        if key in values:
            raise cursor.invalid(f"has the key {key[:100]!r} twice")
        values[key] = _value(cursor, _value_type(cursor), key=key, depth=0)
    described = [_description(cursor) for _ in range(n_tensors)]
    alignment = values.get("general.alignment", GGUF_DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise cursor.invalid(f"has the alignment {alignment!r}, which is no power of two")
    base = -(-cursor.position // alignment) * alignment
    tensors: dict[str, TensorInfo] = {}
    for name, dims, type_number, offset in described:
        if name in tensors:
            raise cursor.invalid(f"has the tensor {name[:100]!r} twice")
        if offset % alignment:
            raise cursor.invalid(f"has the tensor {name[:100]!r} at offset {offset}, which is not aligned")
        tensors[name] = _tensor(cursor, name, dims, type_number, start=base + offset)
    _check_extent(tensors, reader)
    return GgufHeader(values=values, tensors=tensors)


def _value_type(cursor: _Cursor) -> GGUFValueType:
    number = cursor.scalar(_U32)
    try:
        return GGUFValueType(number)
    except ValueError:
        raise cursor.invalid(f"has a value of the unknown type {number}") from None


def _value(cursor: _Cursor, kind: GGUFValueType, *, key: str, depth: int) -> Scalar | None:
    if kind in _SCALARS:
        return cursor.scalar(_SCALARS[kind])
    if kind == GGUFValueType.STRING:
        length = cursor.count(f"the text {key[:100]!r}", 1)
        if length > MAX_TEXT_BYTES:
            cursor.skip(length)
            return None
        return cursor.take(length).decode("utf-8", errors="replace")
    if depth == MAX_NESTING:
        raise cursor.invalid(f"has arrays in {key[:100]!r} that are nested too deeply")
    items = _value_type(cursor)
    what = f"the array {key[:100]!r}"
    if items in _SCALARS:
        width = _SCALARS[items].size
        cursor.skip(cursor.count(what, width) * width)
    elif items == GGUFValueType.STRING:
        for _ in range(cursor.count(what, _U64.size)):
            cursor.skip(cursor.count(what, 1))
    else:
        for _ in range(cursor.count(what, _U32.size + _U64.size)):
            _value(cursor, items, key=key, depth=depth + 1)
    return None


def _description(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name = cursor.text("a tensor's name")
    if len(name) > MAX_NAME_LENGTH:
        raise cursor.invalid(f"has the tensor {name[:100]!r} with a name of {len(name)} characters")
    n_dimensions = cursor.scalar(_U32)
    if not 1 <= n_dimensions <= MAX_DIMENSIONS:
        raise cursor.invalid(f"has the tensor {name[:100]!r} with {n_dimensions} dimensions")
    dims = tuple(cursor.scalar(_U64) for _ in range(n_dimensions))
    return name, dims, cursor.scalar(_U32), cursor.scalar(_U64)


def _tensor(cursor: _Cursor, name: str, dims: tuple[int, ...], type_number: int, *, start: int) -> TensorInfo:
    try:
        kind = GGMLQuantizationType(type_number)
    except ValueError:
        raise WeightsError(
            "unsupported_format",
            f"{cursor.reader.label}: the tensor {name[:100]!r} has the unknown type {type_number}.",
        ) from None
    block_size, block_bytes = GGML_QUANT_SIZES[kind]
    if not all(dims) or dims[0] % block_size:
        raise cursor.invalid(f"has the tensor {name[:100]!r} with a shape that {kind.name} cannot have")
    return TensorInfo(
        name=name,
        canonical=name,
        shape=dims[::-1],
        dtype=kind.name,
        path=cursor.reader.entry.path,
        start=start,
        stop=start + math.prod(dims) // block_size * block_bytes,
        is_readable=kind.name not in UNREAD_TYPES,
    )


def _check_extent(tensors: dict[str, TensorInfo], reader: FileReader) -> None:
    end = 0
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.stop)):
        if tensor.start < end:
            raise WeightsError("invalid_header", f"{reader.label}: the tensor {tensor.name[:100]!r} overlaps another.")
        end = tensor.stop
    if end > reader.entry.size_bytes:
        raise WeightsError(
            "truncated", f"{reader.label} ends at byte {reader.entry.size_bytes}; its tensors end at byte {end}."
        )
