"""Safetensors files: the header checked against the file, and rows of the tensors as numbers.

Format: 8 bytes little-endian header length N, N bytes of JSON {name: {dtype, shape, data_offsets: [begin, end]}}, then
the data; offsets count from the end of the header, and the tensors cover the data without holes or overlaps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import ml_dtypes
import numpy as np
import numpy.typing as npt

from atlas_pipeline.weights.bounded_json import parse_json_object
from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.names import canonical_names
from atlas_pipeline.weights.quantization import quantization_of
from atlas_pipeline.weights.tensors import MAX_NAME_LENGTH, FileReader, Float32Array, StoredWeights, TensorInfo

MAX_HEADER_BYTES: Final = 100_000_000
"""The safetensors library's own limit."""

MAX_DIMENSIONS: Final = 64
"""NumPy's limit."""

_LENGTH_BYTES: Final = 8

BITS: Final = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""Every type of the format and its width in bits."""

DECODED: Final[Mapping[str, np.dtype[Any]]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I8": np.dtype(np.int8),
}
"""Types whose rows are read as numbers. The others hold packed codes, indices or masks."""

AUXILIARY_SUFFIXES: Final = (
    ".SCB",
    ".weight_scale",
    ".weight_scale_inv",
    ".input_scale",
    ".absmax",
    ".quant_map",
    ".scales",
    ".cos_cached",
    ".sin_cached",
)
"""Tensors that belong to a quantisation or a cache: a quantised copy has them and its parent has not."""

SCALED_TYPES: Final = frozenset({"I8", "F8_E4M3", "F8_E5M2"})
"""Types that are stored with a scale beside them."""

SCALE_SUFFIXES: Final = (".weight_scale", ".weight_scale_inv")
"""Names of scales; both are multiplied with, in spite of the second name."""

SCALE_BLOCK: Final = 128
"""Rows and columns that share one entry of a two-dimensional `weight_scale_inv`."""


class SafetensorsWeights(StoredWeights):
    """Tensors of one or several safetensors files, with the scales of 8-bit types applied."""

    def _decode(self, info: TensorInfo, indices: npt.NDArray[np.int64]) -> Float32Array:
        stored = self.stored_rows(info, indices).view(DECODED[info.dtype])
        if info.dtype not in SCALED_TYPES:
            # A double beyond float32 becomes infinity, which the caller reports as not finite.
            with np.errstate(over="ignore"):
                return stored.astype(np.float32)
        values = stored.astype(np.float64)
        if len(info.shape) == 2 and (scale := self._scale_of(info)):
            values *= self._scale_rows(scale, info, indices)
            if scale.name.endswith(".SCB"):
                # bitsandbytes' int8: a row's largest magnitude is stored as 127.
                values /= 127.0
        with np.errstate(over="ignore"):
            return values.astype(np.float32)

    def _scale_of(self, info: TensorInfo) -> TensorInfo | None:
        if not info.name.endswith(".weight"):
            return None
        stem = info.name.removesuffix(".weight")
        suffixes = (".SCB", *SCALE_SUFFIXES) if info.dtype == "I8" else SCALE_SUFFIXES
        return next((self.tensors[stem + suffix] for suffix in suffixes if stem + suffix in self.tensors), None)

    def _scale_rows(
        self, scale: TensorInfo, info: TensorInfo, indices: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Factors float64 [k, 1] or [k, columns]: per tensor, row, group of a row, or 128 x 128 block."""
        n_rows, n_columns = info.shape
        blocks = (-(-n_rows // SCALE_BLOCK), -(-n_columns // SCALE_BLOCK))
        readable = DECODED.get(scale.dtype)
        if readable is None or scale.dtype in SCALED_TYPES:
            raise WeightsError("unsupported_format", self._scale_flaw(scale, info, f"has type {scale.dtype}"))
        if math.prod(scale.shape) == 1:
            factors = self.stored_rows(replace(scale, shape=(1, 1)), np.zeros(1, np.int64)).view(readable)
        elif scale.shape in {(n_rows,), (n_rows, 1)}:
            factors = self.stored_rows(scale, indices).view(readable)
        elif scale.shape == blocks and scale.name.endswith("_inv"):
            factors = self.stored_rows(scale, indices // SCALE_BLOCK).view(readable)
            factors = np.repeat(factors, SCALE_BLOCK, axis=1)[:, :n_columns]
        elif len(scale.shape) == 2 and scale.shape[0] == n_rows and scale.shape[1] and n_columns % scale.shape[1] == 0:
            factors = np.repeat(self.stored_rows(scale, indices).view(readable), n_columns // scale.shape[1], axis=1)
        else:
            raise WeightsError("unsupported_format", self._scale_flaw(scale, info, f"has shape {list(scale.shape)}"))
        return factors.astype(np.float64)

    def _scale_flaw(self, scale: TensorInfo, info: TensorInfo, flaw: str) -> str:
        return (
            f"The scale {scale.name!r} of model {self.model_id} {flaw}, which does not fit the {info.dtype} tensor of "
            f"shape {list(info.shape)}."
        )


def open_safetensors(
    readers: Sequence[FileReader], *, model_id: str, tensor_files: Mapping[str, str] | None, config: Mapping[str, Any]
) -> SafetensorsWeights:
    """Opens one or several safetensors files as one model.

    Args:
        readers: The files.
        model_id: The model, for errors.
        tensor_files: An index's map from tensor to file, or None if every tensor of every file counts.
        config: The model's config.json, empty if there is none.

    Raises:
        WeightsError: As `read_header`; invalid_header if the index names a tensor that its file lacks;
            unsupported_format if two files hold a tensor of the same name and no index says which counts.
    """
    headers = {reader.entry.path: read_header(reader) for reader in readers}
    found: dict[str, TensorInfo] = {}
    if tensor_files is None:
        for path, header in headers.items():
            if twice := found.keys() & header.keys():
                name = min(twice)
                raise WeightsError(
                    "unsupported_format",
                    f"Model {model_id} has the tensor {name[:100]!r} both in {found[name].path!r} and in {path!r}: "
                    "these are several models, or variants of one.",
                )
            found |= header
    else:
        for name, path in tensor_files.items():
            if name not in headers[path]:
                raise WeightsError(
                    "invalid_header",
                    f"The index of model {model_id} names the tensor {name[:100]!r}, which {path!r} lacks.",
                )
            found[name] = headers[path][name]
    # Whether a short name is unique shows only when all files are known.
    canonical = canonical_names(found)
    tensors = {name: replace(info, canonical=canonical[name]) for name, info in found.items()}
    return SafetensorsWeights(
        model_id=model_id,
        format="safetensors",
        readers=readers,
        tensors=tensors,
        quantization=quantization_of(tensors.values(), config=config),
    )


def read_header(reader: FileReader) -> dict[str, TensorInfo]:
    """Reads and checks the header of one safetensors file.

    Returns:
        Tensors by name, in the order of the header; canonical names are not yet resolved.

    Raises:
        WeightsError: invalid_header if the header contradicts the format, truncated if the file ends before the header
            or the data do, unsupported_format for a type that the format gained later, unreadable if the repository
            fails.
    """
    size = reader.entry.size_bytes
    first = reader.read(0, min(size, max(_LENGTH_BYTES, reader.gap_bytes)))
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
    if not header.startswith(b"{"):
        raise WeightsError("invalid_header", f"The header of {reader.label[4:]} does not start with a brace.")
    entries = parse_json_object(header, what=f"The header of {reader.label[4:]}", status="invalid_header")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise WeightsError("invalid_header", f"The __metadata__ of {reader.label[4:]} is not an object.")
    tensors = {name: _tensor(name, entry, base=base, reader=reader) for name, entry in entries.items()}
    _check_coverage(tensors, base=base, reader=reader)
    return tensors


def _tensor(name: str, entry: object, *, base: int, reader: FileReader) -> TensorInfo:
    def invalid(flaw: str) -> WeightsError:
        return WeightsError("invalid_header", f"{reader.label}: the tensor {name[:100]!r} {flaw}.")

    if len(name) > MAX_NAME_LENGTH:
        raise invalid(f"has a name of {len(name)} characters")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise invalid("is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str):
        raise invalid("has a dtype that is no text")
    if dtype not in BITS:
        raise WeightsError(
            "unsupported_format", f"{reader.label}: the tensor {name[:100]!r} has the unknown type {dtype[:20]!r}."
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
        path=reader.entry.path,
        start=base + offsets[0],
        stop=base + offsets[1],
        is_readable=dtype in DECODED and len(shape) >= 1 and not name.endswith(AUXILIARY_SUFFIXES),
    )


def _is_list_of_counts(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_coverage(tensors: Mapping[str, TensorInfo], *, base: int, reader: FileReader) -> None:
    end = base
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.stop)):
        if tensor.start != end:
            flaw = "overlaps another" if tensor.start < end else "leaves a hole before it"
            raise WeightsError("invalid_header", f"{reader.label}: the tensor {tensor.name[:100]!r} {flaw}.")
        end = tensor.stop
    if end > reader.entry.size_bytes:
        raise WeightsError(
            "truncated", f"{reader.label} ends at byte {reader.entry.size_bytes}; its tensors end at byte {end}."
        )
    if end < reader.entry.size_bytes:
        surplus = reader.entry.size_bytes - end
        raise WeightsError("invalid_header", f"{reader.label} has {surplus} bytes that belong to no tensor.")
