"""PyTorch checkpoints for tests, honest ones and lying ones: pickles by instruction, archives byte by byte."""

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.weights import WeightsError
from atlas_pipeline.weights.pytorch.checkpoint import TorchWeights, open_torch
from atlas_pipeline.weights.tensors import FileReader
from atlas_pipeline_tests.weights.writing import MODEL, model_folder

STORAGE_CLASSES = {
    "F64": "DoubleStorage",
    "F32": "FloatStorage",
    "F16": "HalfStorage",
    "BF16": "BFloat16Storage",
    "I64": "LongStorage",
    "I8": "CharStorage",
    "U8": "ByteStorage",
}


def text(value: str) -> bytes:
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def number(value: int) -> bytes:
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def group(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def counts(values: Sequence[int]) -> bytes:
    return group(*map(number, values))


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return named(module, name) + group(*arguments) + b"R"


def mapping(items: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def program(value: bytes) -> bytes:
    return b"\x80\x02" + value + b"."


def storage(key: str, dtype: str, n_numbers: int) -> bytes:
    reference = (text("storage"), named("torch", STORAGE_CLASSES[dtype]), text(key), text("cpu"), number(n_numbers))
    return group(*reference) + b"Q"


def tensor(stored: bytes, shape: Sequence[int], strides: Sequence[int] | None = None, offset: int = 0) -> bytes:
    if strides is None:
        strides = [int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape))]
    hooks = call("collections", "OrderedDict")
    arguments = (stored, number(offset), counts(shape), counts(strides), b"\x89", hooks)
    return call("torch._utils", "_rebuild_tensor_v2", *arguments)


@dataclass(frozen=True)
class Padded:
    """A member of this many zeros, which take no place on a disk."""

    size: int


def write_archive(
    path: Path, members: Mapping[str, bytes | Padded], *, alignment: int = 64, comment: bytes = b""
) -> None:
    """A checkpoint's archive as a file."""
    with path.open("wb") as stream:
        stream_archive(stream, members, alignment=alignment, comment=comment)


def stream_archive(
    stream: IO[bytes], members: Mapping[str, bytes | Padded], *, alignment: int = 64, comment: bytes = b""
) -> None:
    """A zip archive as PyTorch lays it out: padded headers, sizes behind the bytes, zip64 where it is needed."""
    directory = b""
    for name, content in members.items():
        raw = name.encode()
        at = stream.tell()
        size = content.size if isinstance(content, Padded) else len(content)
        is_large, is_far = size >= 0xFFFFFFFF, at >= 0xFFFFFFFF
        values = (size,) * 2 * is_large + (at,) * is_far
        zip64 = struct.pack(f"<HH{len(values)}Q", 1, 8 * len(values), *values) if values else b""
        padding = -(at + 30 + len(raw) + len(zip64) + 4) % alignment
        extra = zip64 + struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        stream.write(struct.pack("<4s5HIIIHH", b"PK\x03\x04", 0, 0x808, 0, 0, 0, 0, 0, 0, len(raw), len(extra)))
        stream.write(raw + extra)
        if isinstance(content, Padded):
            stream.seek(size, io.SEEK_CUR)
        else:
            stream.write(content)
        stream.write(struct.pack("<4sIQQ" if values else "<4sIII", b"PK\x07\x08", 0, size, size))
        sizes = (0xFFFFFFFF if is_large else size,) * 2
        place = 0xFFFFFFFF if is_far else at
        directory += struct.pack(
            "<4s6H3I5HII", b"PK\x01\x02", 0, 0, 0x808, 0, 0, 0, 0, *sizes, len(raw), len(zip64), 0, 0, 0, 0, place
        )
        directory += raw + zip64
    at, n_members = stream.tell(), len(members)
    stream.write(directory)
    end = stream.tell()
    stream.write(struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, n_members, n_members, len(directory), at))
    stream.write(struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1))
    place = min(at, 0xFFFFFFFF)
    stream.write(
        struct.pack("<4s4HIIH", b"PK\x05\x06", 0, 0, n_members, n_members, len(directory), place, len(comment))
    )
    stream.write(comment)


def write_repacked(path: Path, members: Mapping[str, bytes]) -> None:
    """The same as another program packs it: no padding, sizes before the bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def checkpoint(
    value: bytes, storages: Mapping[str, bytes | Padded], *, root: str = "archive"
) -> dict[str, bytes | Padded]:
    """Members of a checkpoint with this content."""
    members: dict[str, bytes | Padded] = {f"{root}/data.pkl": program(value), f"{root}/byteorder": b"little"}
    members |= {f"{root}/data/{key}": content for key, content in storages.items()}
    return members | {f"{root}/version": b"3\n"}


def state_dict(tensors: Mapping[str, np.ndarray]) -> tuple[bytes, dict[str, bytes | Padded]]:
    """Instructions for a dictionary of float32 matrices, and their storages."""
    values, storages = {}, {}
    for key, (name, array) in enumerate(tensors.items()):
        content = array.astype("<f4")
        values[name] = tensor(storage(str(key), "F32", content.size), content.shape)
        storages[str(key)] = content.tobytes()
    return mapping(values), storages


def torch_path(root: Path, file: str = "pytorch_model.bin", model_id: str = MODEL) -> Path:
    return model_folder(root, model_id) / file


def write_state_dict(root: Path, tensors: Mapping[str, np.ndarray], *, file: str = "pytorch_model.bin") -> Path:
    path = torch_path(root, file)
    write_archive(path, checkpoint(*state_dict(tensors)))
    return path


def open_checkpoint(
    root: Path, *files: str, model_id: str = MODEL, repository: FolderRepository | None = None
) -> TorchWeights:
    repository = repository or FolderRepository(root)
    entries = {entry.path: entry for entry in repository.files(model_id)}
    readers = [FileReader(repository, model_id, entries[file]) for file in files or ("pytorch_model.bin",)]
    return open_torch(readers, model_id=model_id, config={})


def refuses(root: Path, status: str, words: str, *files: str, model_id: str = MODEL) -> None:
    with pytest.raises(WeightsError) as caught:
        open_checkpoint(root, *files, model_id=model_id)
    assert caught.value.status == status
    assert words in caught.value.message
    assert model_id in caught.value.message
