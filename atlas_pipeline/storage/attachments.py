"""Arrays that lie beside a table as one safetensors file: sampled neurons, dense distance matrices."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from safetensors.numpy import load, save


def pack(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Arrays and text metadata as the bytes of a safetensors file; the same input gives the same bytes."""
    contiguous = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    content = save(contiguous, dict(metadata) or None)
    header, data = _split(content)
    ordered = {
        "__metadata__": dict(sorted(metadata.items())),
        **{n: header[n] for n in sorted(header) if n != "__metadata__"},
    }
    text = json.dumps(ordered, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def unpack(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a safetensors file that ``pack`` wrote."""
    header, _ = _split(content)
    return load(content), dict(header.get("__metadata__", {}))


def _split(content: bytes) -> tuple[dict, bytes]:
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]
