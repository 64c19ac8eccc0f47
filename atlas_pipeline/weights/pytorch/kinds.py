"""What stands in the place of a PyTorch checkpoint and is none: told by its first bytes, so that people learn why."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

_LEGACY: Final = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_WEB_PAGE: Final = re.compile(rb"\s{0,100}<(?:!doctype html|html|\?xml)", re.IGNORECASE)
_COMPRESSED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd")

_OTHER_KINDS: Final[Mapping[str, Callable[[bytes], bool]]] = {
    "was saved by PyTorch before 1.6 or in its way, as pickles without an archive": lambda head: _LEGACY in head[:20],
    "was saved by PyTorch before 0.1.10, as a tar archive": lambda head: head[257:262] == b"ustar",
    "is a pickle that PyTorch did not write": lambda head: head[:1] == b"\x80" and b"\x02" <= head[1:2] <= b"\x05",
    "is an HDF5 file": lambda head: head.startswith(b"\x89HDF"),
    "is a GGUF file under another name": lambda head: head.startswith(b"GGUF"),
    "is a file of ggml's before GGUF": lambda head: head.startswith((b"lmgg", b"fmgg", b"tjgg")),
    "is a safetensors file under another name": lambda head: head[8:10] == b'{"',
    "is compressed": lambda head: head.startswith(_COMPRESSED),
}
_NO_WEIGHTS: Final[Mapping[str, Callable[[bytes], bool]]] = {
    "is a pointer of Git LFS; the weights were not fetched": lambda head: head.startswith(b"version https://git-lfs"),
    "is a web page in the place of weights": lambda head: _WEB_PAGE.match(head) is not None,
}


def other_kind(head: bytes) -> str | None:
    """Weights of a kind that is not read here, as a clause ("is an HDF5 file"); None if the first bytes tell of none.

    Args:
        head: At least the first 300 bytes, or all there are.
    """
    return next((kind for kind, is_kind in _OTHER_KINDS.items() if is_kind(head)), None)


def no_weights(head: bytes) -> str | None:
    """What people find where weights should be, as a clause; None if the first bytes tell of nothing known."""
    return next((kind for kind, is_kind in _NO_WEIGHTS.items() if is_kind(head)), None)
