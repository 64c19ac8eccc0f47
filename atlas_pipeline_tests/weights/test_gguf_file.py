import struct
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf.constants import GGML_QUANT_SIZES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.weights import WeightsError, open_weights
from atlas_pipeline.weights.gguf_header import UNREAD_TYPES, read_gguf_header
from atlas_pipeline.weights.tensors import FileReader
from atlas_pipeline_tests.weights.writing import MODEL, model_folder, random_matrix, write_gguf, write_raw

WRITTEN = [Kind.F32, Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_0, Kind.Q5_1]


@pytest.mark.parametrize("kind", WRITTEN)
def test_rows_equal_the_whole_tensor_dequantised(tmp_path: Path, kind: Kind) -> None:
    matrix = random_matrix(40, 64)
    path = write_gguf(tmp_path, {"blk.0.ffn_up.weight": (matrix, kind), "output.weight": (random_matrix(8, 64), kind)})
    weights = open_weights(FolderRepository(tmp_path), MODEL)
    header = weights.meter.bytes_read
    rows = weights.rows("blk.0.ffn_up.weight", [39, 0, 39, 7])
    reference = next(tensor for tensor in gguf.GGUFReader(path).tensors if tensor.name == "blk.0.ffn_up.weight")
    whole = np.asarray(gguf.quants.dequantize(reference.data, kind), dtype=np.float32)
    np.testing.assert_array_equal(rows, whole[[39, 0, 39, 7]])
    assert rows.dtype == np.float32
    info = weights.tensors["blk.0.ffn_up.weight"]
    assert (info.shape, info.dtype, info.canonical) == ((40, 64), kind.name, "layers.0.mlp.up_proj.weight")
    assert weights.meter.bytes_read - header == 3 * info.row_bytes
    assert (weights.quantization is None) == (kind in {Kind.F32, Kind.F16, Kind.BF16})


def test_every_block_type_that_gguf_decodes_is_read(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    path = model_folder(tmp_path) / "model.gguf"
    writer = gguf.GGUFWriter(path, "qwen2")
    kinds = [kind for kind in GGML_QUANT_SIZES if kind.name not in {*UNREAD_TYPES, "Q1_0", "F32", "F16", "F64"}]
    for kind in kinds:
        block_size, block_bytes = GGML_QUANT_SIZES[kind]
        raw = generator.integers(0, 60, (6, 256 // block_size * block_bytes), dtype=np.uint8)
        writer.add_tensor(f"blk.0.{kind.name}", raw, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    weights = open_weights(FolderRepository(tmp_path), MODEL)
    assert len(kinds) > 15
    for tensor in gguf.GGUFReader(path).tensors:
        with np.errstate(all="ignore"):
            whole = np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
            np.testing.assert_array_equal(weights.rows(tensor.name, [5, 2]), whole[[5, 2]])


def test_rows_of_llama_files_are_numbered_as_in_the_converted_model(tmp_path: Path) -> None:
    n_heads, n_key_heads, head, columns = 4, 2, 8, 32
    query, key, value = (random_matrix(n * head, columns, seed=n) for n in (n_heads, n_key_heads, 3))

    def convert(matrix: np.ndarray, heads: int) -> np.ndarray:
        # What llama.cpp's converter does to q and k: [heads, 2, d/2] becomes [heads, d/2, 2].
        return np.ascontiguousarray(matrix.reshape(heads, 2, head // 2, columns).swapaxes(1, 2)).reshape(matrix.shape)

    heads = {"llama.attention.head_count": n_heads, "llama.attention.head_count_kv": n_key_heads}
    tensors = {
        "blk.0.attn_q.weight": (convert(query, n_heads), Kind.F32),
        "blk.0.attn_k.weight": (convert(key, n_key_heads), Kind.F32),
        "blk.0.attn_v.weight": (value, Kind.F32),
    }
    write_gguf(tmp_path, tensors, architecture="llama", values=heads)
    weights = open_weights(FolderRepository(tmp_path), MODEL)
    for name, matrix in (("attn_q", query), ("attn_k", key), ("attn_v", value)):
        np.testing.assert_array_equal(weights.rows(f"blk.0.{name}.weight", range(len(matrix))), matrix)
        np.testing.assert_array_equal(weights.rows(f"blk.0.{name}.weight", [5, 1]), matrix[[5, 1]])


@pytest.mark.parametrize("values", [{}, {"llama.attention.head_count": 5}, {"llama.attention.head_count": 0}])
def test_rows_whose_order_is_unknown_are_not_guessed(tmp_path: Path, values: dict[str, int]) -> None:
    write_gguf(
        tmp_path, {"blk.0.attn_q.weight": (random_matrix(32, 32), Kind.F32)}, architecture="llama", values=values
    )
    _fails(tmp_path, "unsupported_format", "attention heads")


def test_a_vocabulary_is_skipped_and_texts_are_kept(tmp_path: Path) -> None:
    matrix = random_matrix(4, 32)
    write_gguf(tmp_path, {"output.weight": (matrix, Kind.F32)}, tokens=[f"token{i}" for i in range(80_000)])
    repository = FolderRepository(tmp_path)
    reader = FileReader(repository, MODEL, repository.files(MODEL)[0])
    header = read_gguf_header(reader)
    assert header.values["general.architecture"] == "qwen2"
    assert header.values["tokenizer.ggml.tokens"] is None
    assert [info.name for info in header.tensors.values()] == ["output.weight"]
    # The header is longer than one read-ahead.
    assert reader.meter.bytes_read > 1 << 20
    np.testing.assert_array_equal(open_weights(repository, MODEL).rows("output.weight", [2]), matrix[[2]])


def test_of_several_files_the_largest_counts_and_parts_belong_together(tmp_path: Path) -> None:
    one = {"blk.0.ffn_up.weight": (random_matrix(64, 64), Kind.Q4_0)}
    write_gguf(tmp_path, one, file="model-q4.gguf")
    write_gguf(tmp_path, {"blk.0.ffn_up.weight": (random_matrix(64, 64), Kind.Q8_0)}, file="model-q8.gguf")
    write_gguf(tmp_path, {"v.patch": (random_matrix(512, 512), Kind.F32)}, file="mmproj-model.gguf")
    weights = open_weights(FolderRepository(tmp_path), MODEL)
    assert [entry.path for entry in weights.files] == ["model-q8.gguf"]
    parts = ["model-f16-00001-of-00002.gguf", "model-f16-00002-of-00002.gguf"]
    for number, part in enumerate(parts):
        write_gguf(tmp_path, {f"blk.{number}.ffn_up.weight": (random_matrix(64, 64), Kind.F16)}, file=part)
    weights = open_weights(FolderRepository(tmp_path), MODEL)
    assert [entry.path for entry in weights.files] == parts
    assert set(weights.tensors) == {"blk.0.ffn_up.weight", "blk.1.ffn_up.weight"}
    assert weights.rows("blk.1.ffn_up.weight", [63]).shape == (1, 64)


def _fails(root: Path, status: str, words: str = "") -> None:
    with pytest.raises(WeightsError) as caught:
        open_weights(FolderRepository(root), MODEL)
    assert caught.value.status == status
    assert words in caught.value.message
    assert MODEL in caught.value.message


def _text(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _tensor(name: bytes = b"x", dims: tuple[int, ...] = (32, 2), kind: int = 0, offset: int = 0) -> bytes:
    return _text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def _file(
    *, pairs: Sequence[bytes] = (), tensors: Sequence[bytes] = (), data: int = 0, counts: tuple[int, int] | None = None
) -> bytes:
    n_tensors, n_pairs = counts or (len(tensors), len(pairs))
    head = b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_pairs) + b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 32 + data)


U32, TEXT, ARRAY = 4, 8, 9
DEEP = _text(b"k") + struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * 5000 + struct.pack("<IQ", U32, 0)


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", "truncated", "ends"),
        (b"GGUF\x03\x00", "truncated", "ends"),
        (b"GGML" + bytes(60), "invalid_header", "does not start"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(60), "unsupported_format", "version"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(60), "unsupported_format", "version 1"),
        (_file(counts=(2**63, 0)), "truncated", "9223372036854775808"),
        (_file(counts=(0, 2**64 - 1)), "truncated", "key-value"),
        (_file(pairs=[_text(b"k") + struct.pack("<I", 99)], data=64), "invalid_header", "unknown type 99"),
        (_file(pairs=[struct.pack("<Q", 2**62)], data=64), "truncated", "a key"),
        (_file(pairs=[_text(b"\xff") + struct.pack("<II", U32, 1)], data=64), "invalid_header", "UTF-8"),
        (_file(pairs=[_text(b"k") + struct.pack("<IQ", TEXT, 2**60)], data=64), "truncated", "claims"),
        (_file(pairs=[_text(b"k") + struct.pack("<IIQ", ARRAY, U32, 2**61)], data=64), "truncated", "claims"),
        (_file(pairs=[_text(b"k") + struct.pack("<IIQ", ARRAY, TEXT, 2**60)], data=64), "truncated", "claims"),
        (_file(pairs=[DEEP], data=64), "invalid_header", "nested"),
        (_file(pairs=[_text(b"k") + struct.pack("<II", U32, 1)] * 2, data=64), "invalid_header", "twice"),
        (
            _file(pairs=[_text(b"general.alignment") + struct.pack("<II", U32, 0)], tensors=[_tensor()], data=256),
            "invalid_header",
            "alignment",
        ),
        (
            _file(pairs=[_text(b"general.alignment") + struct.pack("<II", U32, 48)], tensors=[_tensor()], data=256),
            "invalid_header",
            "alignment",
        ),
        (_file(tensors=[_tensor(), _tensor()], data=512), "invalid_header", "twice"),
        (_file(tensors=[_tensor(), _tensor(b"y", offset=32)], data=512), "invalid_header", "overlaps"),
        (_file(tensors=[_tensor(b"model." * 1_000_000)], data=512), "invalid_header", "6000000 characters"),
        (_file(tensors=[_tensor(offset=8)], data=512), "invalid_header", "aligned"),
        (_file(tensors=[_tensor(kind=4242)], data=512), "unsupported_format", "4242"),
        (_file(tensors=[_tensor(dims=(33, 2), kind=8)], data=512), "invalid_header", "Q8_0"),
        (_file(tensors=[_tensor(dims=(0, 2))], data=512), "invalid_header", "shape"),
        (_file(tensors=[_tensor(dims=(1,) * 5)], data=512), "invalid_header", "5 dimensions"),
        (_file(tensors=[_tensor(dims=())], data=512), "invalid_header", "0 dimensions"),
        (_file(tensors=[_tensor(dims=(2**40, 2**40))], data=512), "truncated", "its tensors end"),
        (_file(tensors=[_tensor(offset=2**62)], data=512), "truncated", "its tensors end"),
        (_file(tensors=[_tensor()], data=255), "truncated", "its tensors end"),
    ],
)
def test_files_that_lie(tmp_path: Path, content: bytes, status: str, words: str) -> None:
    write_raw(tmp_path, content, file="model.gguf")
    _fails(tmp_path, status, words)


def test_the_handmade_file_is_sound(tmp_path: Path) -> None:
    write_raw(
        tmp_path,
        _file(pairs=[_text(b"k") + struct.pack("<II", U32, 1)], tensors=[_tensor()], data=256),
        file="model.gguf",
    )
    assert open_weights(FolderRepository(tmp_path), MODEL).rows("x", [1]).tolist() == [[0.0] * 32]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(position=st.integers(0, 400), value=st.integers(0, 255), cut=st.integers(0, 300))
def test_damage_never_surprises(tmp_path: Path, position: int, value: int, cut: int) -> None:
    source = tmp_path / "source"
    path = source / MODEL / "model.gguf"
    if not path.exists():
        tensors = {
            "blk.0.ffn_up.weight": (random_matrix(4, 32), Kind.Q8_0),
            "norm.weight": (random_matrix(1, 8), Kind.F32),
        }
        write_gguf(source, tensors, architecture="llama", tokens=["a", "bc"])
    content = bytearray(path.read_bytes())
    content[position] = value
    write_raw(tmp_path, bytes(content[: len(content) - cut]), file="model.gguf")
    try:
        weights = open_weights(FolderRepository(tmp_path), MODEL)
        for name, info in weights.tensors.items():
            if info.is_readable:
                assert weights.rows(name, range(min(info.shape[0], 50))).shape[1] == info.n_columns
    except WeightsError as error:
        assert error.message
