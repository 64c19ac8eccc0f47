import tarfile
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from atlas_pipeline.weights import WeightsError
from atlas_pipeline.weights.pytorch import archive as torch_archive
from atlas_pipeline.weights.pytorch.archive import MAX_DIRECTORY_BYTES
from atlas_pipeline_tests.weights.pytorch.writing import (
    Padded,
    checkpoint,
    open_checkpoint,
    program,
    refuses,
    state_dict,
    torch_path,
    write_archive,
    write_repacked,
)
from atlas_pipeline_tests.weights.writing import random_matrix, write_gguf, write_raw, write_safetensors

VERSIONS = Path(__file__).parents[1] / "references" / "torch" / "versions.json"
MATRIX = random_matrix(3, 4)


def _members() -> dict[str, bytes | Padded]:
    return checkpoint(*state_dict({"w": MATRIX}))


def _write(root: Path, members: Mapping[str, bytes | Padded]) -> bytearray:
    path = torch_path(root)
    write_archive(path, members)
    return bytearray(path.read_bytes())


def test_a_lie_about_a_place_is_an_error_and_no_wrong_number(tmp_path: Path) -> None:
    content = _write(tmp_path, _members())
    at = content.index(b"archive/data/0") - 30
    lies = {
        "signature": (at, b"PK\x05\x06"),
        "method": (at + 8, b"\x08"),
        "encrypted": (at + 6, b"\x09"),
        "name": (at + 30 + len("archive/data/"), b"1"),
        "length of the name": (at + 26, b"\x0f"),
        "length of the extra field": (at + 28, b"\x03"),
    }
    for lie, (place, value) in lies.items():
        damaged = content.copy()
        damaged[place : place + len(value)] = value
        write_raw(tmp_path, bytes(damaged), file="pytorch_model.bin")
        weights = open_checkpoint(tmp_path)
        for _ in range(2):
            with pytest.raises(WeightsError, match="contradict each other") as caught:
                weights.rows("w", [0])
            assert caught.value.status == "invalid_header", lie


def test_two_members_in_one_place(tmp_path: Path) -> None:
    content = _write(tmp_path, checkpoint(*state_dict({"a": MATRIX, "b": MATRIX + 1})))
    entries = [content.rindex(f"archive/data/{key}".encode()) for key in (0, 1)]
    # In the directory, the place of a member's header stands before its name.
    content[entries[1] - 4 : entries[1]] = content[entries[0] - 4 : entries[0]]
    write_raw(tmp_path, bytes(content), file="pytorch_model.bin")
    refuses(tmp_path, "invalid_header", "overlaps another")


def test_every_byte_of_the_directory_may_lie(tmp_path: Path) -> None:
    content = _write(tmp_path, _members())
    start = content.index(b"PK\x01\x02")
    n_refused = 0
    for place in range(start, len(content)):
        for value in {0, 0xFF, content[place] ^ 1}:
            damaged = content.copy()
            damaged[place] = value
            write_raw(tmp_path, bytes(damaged), file="pytorch_model.bin")
            try:
                rows = open_checkpoint(tmp_path).rows("w", range(3))
            except WeightsError:
                n_refused += 1
            else:
                np.testing.assert_array_equal(rows, MATRIX)
    assert n_refused > 100


def _zip(root: Path, members: Mapping[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(torch_path(root), "w", compression=compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_archives_that_are_no_checkpoints(tmp_path: Path) -> None:
    honest = {name: content for name, content in _members().items() if isinstance(content, bytes)}
    _zip(tmp_path, honest, compression=zipfile.ZIP_DEFLATED)
    refuses(tmp_path, "unsupported_format", "compressed member")
    _zip(tmp_path, {"word/document.xml": b"<a/>"})
    refuses(tmp_path, "unsupported_format", "0 pickles")
    _zip(tmp_path, honest | {"other/data.pkl": b"."})
    refuses(tmp_path, "unsupported_format", "2 pickles")
    _zip(tmp_path, honest | {"archive/byteorder": b"big"})
    refuses(tmp_path, "unsupported_format", "big-endian")
    _zip(tmp_path, honest | {"archive/constants.pkl": b")."})
    refuses(tmp_path, "unsupported_format", "TorchScript")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(torch_path(tmp_path), "a") as archive:
        archive.writestr("archive/data/0", bytes(48))
    refuses(tmp_path, "invalid_header", "twice")


def test_only_so_many_headers_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_archive, "MAX_HEADERS_READ", 1)
    write_repacked(torch_path(tmp_path), {name: bytes(content) for name, content in _members().items()})  # type: ignore[arg-type]
    refuses(tmp_path, "unsupported_format", "packed anew")
    write_archive(torch_path(tmp_path), _members())
    assert open_checkpoint(tmp_path).tensors


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(torch_path(tmp_path), "w", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))
    tracemalloc.start()
    refuses(tmp_path, "unsupported_format", "compressed member")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_word_that_is_a_book_is_not_read(tmp_path: Path) -> None:
    members = {name: content for name, content in _members().items() if "byteorder" not in name}
    write_archive(torch_path(tmp_path), members | {"archive/byteorder": Padded(1 << 30)})
    tracemalloc.start()
    assert open_checkpoint(tmp_path).tensors
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_pickle_or_a_directory_that_is_too_large(tmp_path: Path) -> None:
    write_archive(torch_path(tmp_path), {"archive/data.pkl": Padded(1 << 30)})
    tracemalloc.start()
    refuses(tmp_path, "unsupported_format", "data.pkl of 1073741824 bytes")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    members = {"archive/data.pkl": program(b"}")} | {f"archive/data/{'x' * 60_000}{n}": b"" for n in range(80)}
    write_archive(torch_path(tmp_path), members)
    assert torch_path(tmp_path).stat().st_size > MAX_DIRECTORY_BYTES
    refuses(tmp_path, "unsupported_format", "directory of more than")


def test_a_file_that_was_cut_short(tmp_path: Path) -> None:
    content = bytes(_write(tmp_path, _members()))
    for size in range(0, len(content), 7):
        write_raw(tmp_path, content[:size], file="pytorch_model.bin")
        refuses(tmp_path, "truncated" if not size else "invalid_header", "empty" if not size else "archive")


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "invalid_header", "web page"),
        (b"\n\n <HTML>", "invalid_header", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "invalid_header", "Git LFS"),
        (b"\x80\x02}q\x00.", "unsupported_format", "pickle that PyTorch did not write"),
        (b"\x89HDF\r\n\x1a\n", "unsupported_format", "HDF5"),
        (b"lmgg" + bytes(100), "unsupported_format", "ggml"),
        (b"\x1f\x8b\x08", "unsupported_format", "compressed"),
        (b"PK\x05\x06" + bytes(18), "invalid_header", "no zip archive"),
        (b"PK\x03\x04", "invalid_header", "cut short"),
        (b"hello", "invalid_header", "no zip archive"),
        (b"\x00" * 5000, "invalid_header", "no zip archive"),
    ],
)
def test_what_stands_in_the_place_of_a_checkpoint(tmp_path: Path, content: bytes, status: str, words: str) -> None:
    write_raw(tmp_path, content, file="pytorch_model.bin")
    refuses(tmp_path, status, words)


def test_other_formats_under_the_name_of_a_checkpoint(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"w": MATRIX}, file="a.bin")
    refuses(tmp_path, "unsupported_format", "safetensors file under another name", "a.bin")
    write_gguf(tmp_path, {}, file="b.bin")
    refuses(tmp_path, "unsupported_format", "GGUF", "b.bin")
    with tarfile.open(torch_path(tmp_path, "c.bin"), "w") as archive:
        archive.add(VERSIONS, "pickle")
    refuses(tmp_path, "unsupported_format", "tar archive", "c.bin")
