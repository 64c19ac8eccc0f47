import json
from collections.abc import Sequence
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.weights import WeightsError, open_weights
from atlas_pipeline.weights.safetensors_file import MAX_HEADER_BYTES
from atlas_pipeline_tests.weights.writing import (
    MODEL,
    model_folder,
    random_matrix,
    raw_safetensors,
    write_json,
    write_raw,
    write_safetensors,
)

DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}
ONE = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    data=st.data(), dtype=st.sampled_from(sorted(DTYPES)), shape=hnp.array_shapes(min_dims=1, max_dims=3, max_side=6)
)
def test_rows_are_the_stored_numbers(tmp_path: Path, data: st.DataObject, dtype: str, shape: tuple[int, ...]) -> None:
    values = data.draw(hnp.arrays(np.float32, shape, elements=st.floats(-100, 100, width=16)))
    stored = values.astype(DTYPES[dtype])
    indices = data.draw(st.lists(st.integers(0, shape[0] - 1), max_size=8))
    write_raw(
        tmp_path,
        _serialise({"x": stored, "a": np.zeros(3, np.float32), "z": np.ones((2, 1), np.float16)}, {"x": dtype}),
    )
    weights = open_weights(FolderRepository(tmp_path), MODEL)
    info = weights.tensors["x"]
    rows = weights.rows("x", indices)
    assert (info.shape, info.dtype) == (shape, dtype)
    assert rows.dtype == np.float32
    expected = stored.astype(np.float32).reshape(shape[0], -1)[np.asarray(indices, dtype=np.int64)]
    np.testing.assert_array_equal(rows, expected)


def _serialise(tensors: dict[str, np.ndarray], dtypes: dict[str, str]) -> bytes:
    """Any dtype, also those that the library's NumPy side does not write."""
    header: dict[str, object] = {}
    data = b""
    for name, tensor in tensors.items():
        start = len(data)
        data += tensor.tobytes()
        kind = dtypes.get(name) or {np.float32: "F32", np.float16: "F16"}[tensor.dtype.type]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, len(data)]}
    return raw_safetensors(header, data)


def test_library_files_only_cost_header_and_rows(tmp_path: Path) -> None:
    matrix = random_matrix(64, 32)
    path = write_safetensors(tmp_path, {"layers.0.weight": matrix, "head.weight": random_matrix(8, 8)})
    weights = open_weights(FolderRepository(tmp_path), MODEL)
    header = weights.meter.bytes_read
    assert header == 8 + int.from_bytes(path.read_bytes()[:8], "little")
    np.testing.assert_array_equal(weights.rows("layers.0.weight", [63, 0, 5, 0]), matrix[[63, 0, 5, 0]])
    assert weights.meter.bytes_read - header == 3 * 32 * 4
    assert weights.bytes_total == path.stat().st_size
    assert weights.format == "safetensors"
    assert weights.quantization is None


def test_near_rows_share_a_range_where_requests_are_dear(tmp_path: Path) -> None:
    class Remote(FolderRepository):
        gap_bytes = 300  # type: ignore[misc]
        requests = 0

        def read_ranges(self, model_id: str, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
            self.requests += len(ranges)
            return super().read_ranges(model_id, path, ranges)

    matrix = random_matrix(64, 32)
    write_safetensors(tmp_path, {"w": matrix})
    repository = Remote(tmp_path)
    weights = open_weights(repository, MODEL)
    # The header comes with the first read, and of rows 3, 5, 40 the first two are within 300 bytes.
    assert repository.requests == 1
    before = weights.meter.bytes_read
    np.testing.assert_array_equal(weights.rows("w", [40, 3, 5]), matrix[[40, 3, 5]])
    assert repository.requests == 3
    assert weights.meter.bytes_read - before == (3 + 1) * 128


def test_misuse_is_an_ordinary_error(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"w": random_matrix(4, 4)})
    weights = open_weights(FolderRepository(tmp_path), MODEL)
    with pytest.raises(KeyError):
        weights.rows("missing", [0])
    for index in (4, -1):
        with pytest.raises(IndexError):
            weights.rows("w", [index])


def test_shards_with_an_index(tmp_path: Path) -> None:
    first, second = random_matrix(4, 8, seed=1), random_matrix(4, 8, seed=2)
    write_safetensors(tmp_path, {"a": first}, file="left.safetensors")
    write_safetensors(tmp_path, {"b": second, "stale": first}, file="right.safetensors")
    places = {"a": "left.safetensors", "b": "right.safetensors"}
    write_json(tmp_path, "model.safetensors.index.json", {"weight_map": places})
    weights = open_weights(FolderRepository(tmp_path), MODEL)
    assert set(weights.tensors) == {"a", "b"}
    assert [entry.path for entry in weights.files] == sorted(places.values())
    np.testing.assert_array_equal(weights.rows("a", [1]), first[[1]])
    np.testing.assert_array_equal(weights.rows("b", [3, 2]), second[[3, 2]])


def test_shards_without_an_index(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"a": random_matrix(4, 8)}, file="model-00001-of-00002.safetensors")
    write_safetensors(tmp_path, {"b": random_matrix(4, 8)}, file="model-00002-of-00002.safetensors")
    assert set(open_weights(FolderRepository(tmp_path), MODEL).tensors) == {"a", "b"}
    write_safetensors(tmp_path, {"b": random_matrix(4, 8)}, file="model-00001-of-00002.safetensors")
    _fails(tmp_path, "unsupported_format", "several models")


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"weight_map": {"a": "../../secret.safetensors"}}, "secret"),
        ({"weight_map": {"a": "missing.safetensors"}}, "missing"),
        ({"weight_map": {"a": 3}}, "'3'"),
        ({"weight_map": {"nowhere": "shard.safetensors"}}, "nowhere"),
        ({"weight_map": ["a"]}, "weight_map"),
        ({}, "weight_map"),
    ],
)
def test_an_index_that_lies(tmp_path: Path, index: object, words: str) -> None:
    write_safetensors(tmp_path, {"a": random_matrix(4, 8)}, file="shard.safetensors")
    write_json(tmp_path, "model.safetensors.index.json", index)
    _fails(tmp_path, "invalid_header", words)


def _fails(root: Path, status: str, words: str = "") -> None:
    with pytest.raises(WeightsError) as caught:
        open_weights(FolderRepository(root), MODEL)
    assert caught.value.status == status
    assert words in caught.value.message
    assert MODEL in caught.value.message


def _nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", "truncated", "0 bytes"),
        (b"\x01\x02\x03", "truncated", "3 bytes"),
        (raw_safetensors({"x": ONE}, b"")[:20], "truncated", "byte 20"),
        (raw_safetensors({"x": ONE}, bytes(15)), "truncated", "ends at byte"),
        (raw_safetensors({"x": ONE}, bytes(17)), "invalid_header", "no tensor"),
        (raw_safetensors({}, bytes(1)), "invalid_header", "no tensor"),
        (raw_safetensors({"x": ONE}, bytes(16), length=2**63), "invalid_header", "9223372036854775808"),
        (raw_safetensors({"x": ONE}, bytes(16), length=2**64 - 1), "invalid_header", "limit"),
        (raw_safetensors({"x": ONE}, bytes(16), length=MAX_HEADER_BYTES), "truncated", "100000008"),
        (raw_safetensors({"x": ONE}, bytes(16), length=3), "invalid_header", "JSON"),
        (raw_safetensors(b"", bytes(16)), "invalid_header", "brace"),
        (raw_safetensors(b"[1, 2]"), "invalid_header", "brace"),
        (raw_safetensors(b"{nonsense}"), "invalid_header", "JSON"),
        (raw_safetensors(b'{"\xff": 1}'), "invalid_header", "JSON"),
        (raw_safetensors(b'{"x": NaN}'), "invalid_header", "NaN"),
        (raw_safetensors(b'{"x": ' + b"9" * 5000 + b"}"), "invalid_header", "JSON"),
        (raw_safetensors(_nested(100)), "invalid_header", "nested"),
        (raw_safetensors(_nested(1_000_000)), "invalid_header", "nested"),
        (raw_safetensors(b"{" + b"[" * 4_000_001), "invalid_header", "values"),
        (
            raw_safetensors(
                b'{"x":' + json.dumps(ONE).encode() + b',"x":' + json.dumps(ONE).encode() + b"}", bytes(16)
            ),
            "invalid_header",
            "twice",
        ),
        (
            raw_safetensors(b'{"x":{"dtype":"F32","shape":[4],"shape":[4],"data_offsets":[0,16]}}', bytes(16)),
            "invalid_header",
            "twice",
        ),
        (raw_safetensors({"__metadata__": 3, "x": ONE}, bytes(16)), "invalid_header", "__metadata__"),
        (raw_safetensors({"x": 3}, bytes(16)), "invalid_header", "described"),
        (raw_safetensors({"model." * 1_000_000: ONE}, bytes(16)), "invalid_header", "6000000 characters"),
        (raw_safetensors({"x": {"dtype": "F32", "shape": [4]}}, bytes(16)), "invalid_header", "described"),
        (raw_safetensors({"x": ONE | {"dtype": 7}}, bytes(16)), "invalid_header", "dtype"),
        (raw_safetensors({"x": ONE | {"dtype": "F32000"}}, bytes(16)), "unsupported_format", "F32000"),
        (raw_safetensors({"x": ONE | {"shape": [2, 3]}}, bytes(16)), "invalid_header", "does not fit"),
        (raw_safetensors({"x": ONE | {"shape": [-2, -2]}}, bytes(16)), "invalid_header", "non-negative"),
        (raw_safetensors({"x": ONE | {"shape": [2.0, 2]}}, bytes(16)), "invalid_header", "non-negative"),
        (raw_safetensors({"x": ONE | {"shape": [True, 4]}}, bytes(16)), "invalid_header", "non-negative"),
        (raw_safetensors({"x": ONE | {"shape": "22"}}, bytes(16)), "invalid_header", "non-negative"),
        (raw_safetensors({"x": ONE | {"shape": [1] * 65}}, bytes(16)), "invalid_header", "at most 64"),
        (raw_safetensors({"x": ONE | {"shape": [2**62, 4]}}, bytes(16)), "invalid_header", "does not fit"),
        (raw_safetensors({"x": ONE | {"shape": [2**32, 2**32]}}, bytes(16)), "invalid_header", "does not fit"),
        (raw_safetensors({"x": ONE | {"shape": [2**64 + 2, 2]}}, bytes(16)), "invalid_header", "does not fit"),
        (raw_safetensors({"x": ONE | {"data_offsets": [16, 0]}}, bytes(16)), "invalid_header", "ascending"),
        (raw_safetensors({"x": ONE | {"data_offsets": [-16, 0]}}, bytes(16)), "invalid_header", "ascending"),
        (raw_safetensors({"x": ONE | {"data_offsets": [0, 8, 16]}}, bytes(16)), "invalid_header", "ascending"),
        (raw_safetensors({"x": ONE | {"data_offsets": [16, 32]}}, bytes(16)), "invalid_header", "hole"),
        (raw_safetensors({"x": ONE | {"data_offsets": [2**62, 2**62 + 16]}}, bytes(16)), "invalid_header", "hole"),
        (raw_safetensors({"x": ONE, "y": ONE}, bytes(16)), "invalid_header", "overlaps"),
        (raw_safetensors({"x": ONE, "y": ONE | {"data_offsets": [8, 24]}}, bytes(24)), "invalid_header", "overlaps"),
        (raw_safetensors({"x": ONE, "y": ONE | {"data_offsets": [20, 36]}}, bytes(36)), "invalid_header", "hole"),
        (
            raw_safetensors({"x": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}, bytes(16)),
            "truncated",
            "its tensors end",
        ),
    ],
)
def test_files_that_lie(tmp_path: Path, content: bytes, status: str, words: str) -> None:
    write_raw(tmp_path, content)
    _fails(tmp_path, status, words)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(position=st.integers(0, 160), value=st.integers(0, 255), cut=st.integers(0, 300))
def test_damage_never_surprises(tmp_path: Path, position: int, value: int, cut: int) -> None:
    content = bytearray(safetensors.numpy.save({"layers.0.weight": random_matrix(3, 4), "b": random_matrix(2, 2)}))
    content[position] = value
    write_raw(tmp_path, bytes(content[: len(content) - cut]))
    try:
        weights = open_weights(FolderRepository(tmp_path), MODEL)
        for name, info in weights.tensors.items():
            if info.is_readable:
                assert weights.rows(name, range(info.shape[0])).shape == (info.shape[0], info.n_columns)
    except WeightsError as error:
        assert error.message


def test_a_file_that_shrinks_after_it_was_opened(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path, {"w": random_matrix(4, 4)})
    weights = open_weights(FolderRepository(tmp_path), MODEL)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="ends before") as caught:
        weights.rows("w", [3])
    assert caught.value.status == "truncated"
    assert weights.rows("w", [0]).shape == (1, 4)


def test_rows_of_a_sparse_giant_are_refused_before_they_are_allocated(tmp_path: Path) -> None:
    size = 2**33
    content = raw_safetensors({"w": {"dtype": "F16", "shape": [2, size // 4], "data_offsets": [0, size]}})
    with (model_folder(tmp_path) / "model.safetensors").open("wb") as stream:
        stream.write(content)
        stream.truncate(len(content) + size)
    weights = open_weights(FolderRepository(tmp_path), MODEL)
    with pytest.raises(WeightsError, match="at most"):
        weights.rows("w", [0])


def test_integers_are_no_numbers_without_a_scheme(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"q.weight": np.ones((64, 4), np.uint8), "table": np.ones((4, 4), np.int8)})
    weights = open_weights(FolderRepository(tmp_path), MODEL)
    for name, dtype in {"q.weight": "U8", "table": "I8"}.items():
        assert not weights.tensors[name].is_readable
        with pytest.raises(WeightsError, match=dtype) as caught:
            weights.rows(name, [0])
        assert caught.value.status == "unsupported_format"


def test_doubles_beyond_float32_become_infinite_without_a_warning(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"w": np.array([[1e300, 1.0]])})
    assert np.isinf(open_weights(FolderRepository(tmp_path), MODEL).rows("w", [0])[0, 0])
