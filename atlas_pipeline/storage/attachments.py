"""Arrays that lie beside a table as one safetensors file: sampled neurons, dense distance matrices."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import numpy as np

TYPES: Final[Mapping[str, np.dtype]] = {
    "BOOL": np.dtype("?"),
    "I8": np.dtype("<i1"),
    "U16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
}
"""Names that the format gives to types."""

_CHUNK_BYTES: Final = 1 << 24
_ALIGNMENT: Final = 64


@dataclass(frozen=True, eq=False)
class Attachment:
    """Arrays and text metadata; the same ones give the same bytes.

    Attributes:
        arrays: arrays of a type in ``TYPES`` by name; memory maps are written without being read whole.
        metadata: texts by name.
    """

    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    def write_to(self, stream: IO[bytes]) -> None:
        """Write a safetensors file.

        Raises:
            KeyError: an array's type is not one of ``TYPES``.
        """
        names = {kind: name for name, kind in TYPES.items()}
        header: dict[str, object] = {"__metadata__": dict(sorted(self.metadata.items()))} if self.metadata else {}
        end = 0
        for name, array in sorted(self.arrays.items()):
            start, end = end, end + array.nbytes
            kind = names[array.dtype.newbyteorder("<")]
            header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [start, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        # Padded so that the arrays lie where a memory map of them is aligned.
        text += b" " * (-(len(text) + 8) % _ALIGNMENT)
        stream.write(len(text).to_bytes(8, "little") + text)
        for _, array in sorted(self.arrays.items()):
            flat = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C").reshape(-1)
            step = max(1, _CHUNK_BYTES // array.dtype.itemsize)
            for first in range(0, flat.size, step):
                stream.write(flat[first : first + step].tobytes())


def unpack(content: bytes | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a safetensors file that an ``Attachment`` wrote.

    Args:
        content: its bytes, or a local file, whose arrays are then mapped into memory, not read.
    """
    buffer: np.ndarray = (
        np.memmap(content, dtype=np.uint8, mode="r")
        if isinstance(content, Path)
        else np.frombuffer(content, dtype=np.uint8)
    )
    base = 8 + int.from_bytes(buffer[:8].tobytes(), "little")
    header = json.loads(buffer[8:base].tobytes())
    metadata = header.pop("__metadata__", {})
    arrays = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        arrays[name] = buffer[base + start : base + end].view(TYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays, metadata
