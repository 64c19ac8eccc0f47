"""The zip archive of a PyTorch checkpoint: its members and where their bytes lie, in a few small reads.

`torch.save` (since 1.6) writes an uncompressed zip archive: `<root>/data.pkl` describes the tensors, each file
`<root>/data/<key>` is one storage, and the bytes of each begin at a multiple of 64. A zip archive ends in a directory
of its members, which says where a member's own header begins and not how long it is. To read those headers would take
a request for each tensor. Their lengths are predicted instead, from how `torch.save` pads them, and believed where the
bytes up to the next member come out right; where they do not (an archive that was packed anew), the headers are read.
When bytes of a member are first asked for, its header is read along, so a wrong place is an error, never wrong numbers.
"""

from __future__ import annotations

import bisect
import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.pytorch.kinds import no_weights, other_kind
from atlas_pipeline.weights.tensors import FileReader

MAX_DIRECTORY_BYTES: Final = 1 << 22
"""The archive's directory takes about 80 bytes a tensor: 4 MiB are 50,000 tensors in one file."""

MAX_PICKLE_BYTES: Final = 1 << 25
"""A model of 7 billion parameters has a data.pkl of 45 kB; 32 MiB leave room for an optimizer and for callbacks."""

MAX_HEADERS_READ: Final = 10_000
"""Headers of members that are read where they cannot be predicted: the tensors of a large model."""

FIRST_READ_BYTES: Final = 1 << 16
"""Read at once from either end where requests are dear: data.pkl and directory of a model of 7 billion parameters."""

_LEAST_READ_BYTES: Final = 1 << 10
_ALIGNMENT: Final = 64
_WORD_BYTES: Final = 16
_HEADER: Final = struct.Struct("<4s5HIIIHH")
_SIGNATURE: Final = b"PK\x03\x04"
_ZIP64_SIZE: Final = 0xFFFFFFFF
_DESCRIPTOR_BYTES: Final = (16, 24)
_HAS_DESCRIPTOR: Final = 0x08
_IS_ENCRYPTED: Final = 0x01
_IS_UTF8: Final = 0x800


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """One file in the archive: its own header, then its bytes.

    Attributes:
        start: First of its bytes.
        size: How many.
        header: First byte of its header, which ends where its bytes begin.
        name: Its name as written there.
    """

    start: int
    size: int
    header: int
    name: bytes


class MemberReader(FileReader):
    """Reads ranges of a checkpoint, and with the first range of each member the header that says where it lies."""

    def __init__(self, reader: FileReader, members: Sequence[Member]) -> None:
        """Takes over a file's reader.

        Args:
            reader: The file.
            members: Those that will be read.
        """
        self.model_id = reader.model_id
        self.entry = reader.entry
        self.gap_bytes = reader.gap_bytes
        self.meter = reader.meter
        self._reader = reader
        self._members = sorted(members)
        self._starts = [member.start for member in self._members]
        self._checked: set[Member] = set()

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """See FileReader.read_ranges; raises invalid_header too, where a member does not lie where it should."""
        found = {self._members[bisect.bisect_right(self._starts, start) - 1] for start, stop in ranges if stop > start}
        members = sorted(found - self._checked)
        parts = self._reader.read_ranges([*ranges, *((member.header, member.start) for member in members)])
        for member, header in zip(members, parts[len(ranges) :], strict=True):
            self._check(member, header)
            self._checked.add(member)
        return parts[: len(ranges)]

    def _check(self, member: Member, header: bytes) -> None:
        signature, _, flags, method, *_, n_name, n_extra = _HEADER.unpack_from(header)
        name = header[_HEADER.size : _HEADER.size + n_name]
        is_here = signature == _SIGNATURE and name == member.name and _HEADER.size + n_name + n_extra == len(header)
        if not is_here or method != zipfile.ZIP_STORED or flags & _IS_ENCRYPTED:
            raise WeightsError(
                "invalid_header",
                f"{self.label}: its directory and its own header contradict each other on {member.name[:100]!r}.",
            )


@dataclass(frozen=True, slots=True)
class TorchArchive:
    """A checkpoint's archive.

    Attributes:
        reader: Reads the storages.
        pickle: The content of data.pkl.
        storages: The members `data/<key>`, by key.
    """

    reader: MemberReader
    pickle: bytes
    storages: Mapping[str, Member]


def open_archive(reader: FileReader) -> TorchArchive:
    """Reads the directory and data.pkl of a checkpoint, bounded by MAX_DIRECTORY_BYTES and MAX_PICKLE_BYTES.

    Raises:
        WeightsError: unsupported_format if it is no checkpoint, or one that is compressed, encrypted, big-endian, too
            large, TorchScript or of a PyTorch before 1.6; invalid_header if it is no sound archive; truncated,
            over_budget or unreadable as `FileReader.read_ranges`.
    """
    window = _Window(reader)
    _check_kind(window)
    members = _members(window)
    pickle = members["data.pkl"]
    if "constants.pkl" in members:
        raise _unsupported(reader, "is TorchScript, a program and not a checkpoint")
    if pickle.size > MAX_PICKLE_BYTES:
        raise _unsupported(reader, f"has a data.pkl of {pickle.size} bytes, more than {MAX_PICKLE_BYTES}")
    wanted = [pickle, *([members["byteorder"]] if "byteorder" in members else [])]
    checked = MemberReader(window, wanted)
    # Nothing but data.pkl is worth more than a word.
    sizes = [pickle.size, _WORD_BYTES]
    spans = [(member.start, member.start + min(member.size, size)) for member, size in zip(wanted, sizes, strict=False)]
    content, *order = checked.read_ranges(spans)
    if order == [b"big"]:
        raise _unsupported(reader, "was written on a big-endian machine")
    storages = {name.removeprefix("data/"): member for name, member in members.items() if name.startswith("data/")}
    return TorchArchive(MemberReader(reader, list(storages.values())), content, storages)


class _Window(FileReader):
    """Reads ranges of a file whose two ends are read once and kept."""

    def __init__(self, reader: FileReader) -> None:
        self.model_id = reader.model_id
        self.entry = reader.entry
        self.gap_bytes = reader.gap_bytes
        self.meter = reader.meter
        self._reader = reader
        size = reader.entry.size_bytes
        wanted = max(_LEAST_READ_BYTES, min(FIRST_READ_BYTES, reader.gap_bytes))
        spans = [(0, wanted), (size - wanted, size)] if size > 2 * wanted else [(0, size)]
        self._kept = list(zip(spans, reader.read_ranges(spans), strict=True))

    @property
    def head(self) -> bytes:
        """The first bytes of the file."""
        return self._kept[0][1]

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        found = [self._find(start, stop) for start, stop in ranges]
        missing = [span for span, data in zip(ranges, found, strict=True) if data is None]
        read = iter(self._reader.read_ranges(missing))
        return [next(read) if data is None else data for data in found]

    def _find(self, start: int, stop: int) -> bytes | None:
        for (first, last), data in self._kept:
            if first <= start <= stop <= last:
                return data[start - first : stop - first]
        return None


class _Stream(io.RawIOBase):
    """What `zipfile` reads a directory from; refuses to give it more than a directory may take."""

    def __init__(self, window: _Window) -> None:
        self._window = window
        self._position = 0
        self._left = MAX_DIRECTORY_BYTES

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._window.entry.size_bytes}
        if bases[whence] + offset < 0:
            raise OSError("before the first byte")
        self._position = bases[whence] + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        rest = max(0, self._window.entry.size_bytes - self._position)
        n_bytes = rest if size < 0 else min(size, rest)
        self._left -= n_bytes
        if self._left < 0:
            raise _unsupported(self._window, f"has a directory of more than {MAX_DIRECTORY_BYTES} bytes")
        data = self._window.read(self._position, self._position + n_bytes)
        self._position += n_bytes
        return data


def _check_kind(window: _Window) -> None:
    if window.head.startswith(_SIGNATURE):
        return
    if not window.head:
        raise WeightsError("truncated", f"{window.label} is empty.")
    if kind := other_kind(window.head):
        raise _unsupported(window, kind)
    flaw = no_weights(window.head) or "is no zip archive, as PyTorch's checkpoints are"
    raise WeightsError("invalid_header", f"{window.label} {flaw}.")


def _members(window: _Window) -> dict[str, Member]:
    """Members that matter, by their names below the archive's root."""
    infos, end = _directory(window)
    pickles = [info.orig_filename for info in infos if info.orig_filename.partition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise _unsupported(window, f"is a zip archive with {len(pickles)} pickles of tensors, where PyTorch has one")
    root = pickles[0].removesuffix("data.pkl")
    wanted: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.orig_filename.removeprefix(root)
        if not info.orig_filename.startswith(root) or not name.startswith(("data.pkl", "data/", "byteorder", "const")):
            continue
        if name in wanted:
            raise WeightsError("invalid_header", f"{window.label} has the member {name[:100]!r} twice.")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise _unsupported(window, f"has the compressed member {name[:100]!r}")
        if info.flag_bits & _IS_ENCRYPTED:
            raise _unsupported(window, f"has the encrypted member {name[:100]!r}")
        wanted[name] = info
    starts = _starts(list(wanted.values()), infos, end, window)
    members = {
        name: Member(start, info.file_size, info.header_offset, _raw_name(info))
        for (name, info), start in zip(wanted.items(), starts, strict=True)
    }
    stop = 0
    for member in sorted(members.values(), key=lambda member: member.header):
        if member.header < stop or (stop := member.start + member.size) > end:
            raise WeightsError("invalid_header", f"{window.label}: the member {member.name[:100]!r} overlaps another.")
    return members


def _directory(window: _Window) -> tuple[list[zipfile.ZipInfo], int]:
    """The archive's directory, and where it begins."""
    try:
        # Only the directory is read from it: members are not opened, and nothing is extracted.
        with zipfile.ZipFile(_Stream(window)) as archive:
            return archive.infolist(), archive.start_dir
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, OSError, struct.error) as error:
        raise WeightsError(
            "invalid_header", f"{window.label} is no sound zip archive, perhaps cut short: {str(error)[:100]}."
        ) from error


def _starts(
    wanted: Sequence[zipfile.ZipInfo], infos: Sequence[zipfile.ZipInfo], end: int, window: _Window
) -> list[int]:
    """Where the bytes of each wanted member begin."""
    headers = sorted({info.header_offset for info in infos} | {end})
    if headers[0] < 0 or headers[-1] > end:
        raise WeightsError("invalid_header", f"{window.label} has a member beyond its directory.")
    following = dict(pairwise(headers))
    starts = {info.header_offset: _predicted_start(info) for info in wanted}
    unsure = [
        info.header_offset
        for info in wanted
        if following[info.header_offset] - starts[info.header_offset] - info.file_size not in _DESCRIPTOR_BYTES
        or not info.flag_bits & _HAS_DESCRIPTOR
    ]
    if len(unsure) > MAX_HEADERS_READ:
        raise _unsupported(window, f"was packed anew, with more than {MAX_HEADERS_READ} members")
    for offset, header in zip(unsure, window.read_ranges([(at, at + _HEADER.size) for at in unsure]), strict=True):
        starts[offset] = offset + _HEADER.size + sum(_HEADER.unpack(header)[-2:])
    return [starts[info.header_offset] for info in wanted]


def _predicted_start(info: zipfile.ZipInfo) -> int:
    """Where `torch.save` puts the bytes of a member: it pads their header with a field of its own.

    Source: `getPadding` in PyTorch's caffe2/serialize/inline_container.cc.
    """
    start = info.header_offset + _HEADER.size + len(_raw_name(info)) + 4
    is_large, is_far = info.file_size >= _ZIP64_SIZE, info.header_offset >= _ZIP64_SIZE
    if is_large or is_far:
        start += 4 + 16 * is_large + 8 * is_far
    return -(-start // _ALIGNMENT) * _ALIGNMENT


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & _IS_UTF8 else "cp437")


def _unsupported(reader: FileReader, flaw: str) -> WeightsError:
    return WeightsError("unsupported_format", f"{reader.label} {flaw}; it is not read.")
