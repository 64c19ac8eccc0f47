import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from atlas_pipeline.weights import Meter, WeightsError
from atlas_pipeline_tests.weights.encodings.opened import CountingRepository, open_written

TABLE = np.linspace(-1, 1, 16, dtype=np.float32)
Q = "layers.{}.q.weight"


def four_bit(
    sides: tuple[int, int] = (6, 128), *, layer: int = 0, state: Any = None, **changes: Any
) -> dict[str, np.ndarray]:
    """A matrix whose flat element i has the code (i + layer) % 16 and the scale of its block's number plus one."""
    size = sides[0] * sides[1]
    codes = (np.arange(size) + layer) % 16
    n_blocks = -(-size // 64)
    name = Q.format(layer)
    text = {"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": list(sides)} | changes
    data = state if isinstance(state, bytes) else json.dumps(text).encode()
    return {
        name: (codes[0::2] << 4 | codes[1::2]).astype(np.uint8)[:, None],
        f"{name}.absmax": np.arange(1, n_blocks + 1, dtype=np.float32),
        f"{name}.quant_map": TABLE,
        f"{name}.quant_state.bitsandbytes__nf4": np.frombuffer(data, np.uint8),
    }


def numbers(shape: tuple[int, int], layer: int = 0) -> np.ndarray:
    places = np.arange(shape[0] * shape[1])
    return (TABLE[(places + layer) % 16] * (places // 64 + 1)).astype(np.float32).reshape(shape)


def test_opening_reads_the_shape_of_one_layer_for_all(tmp_path: Path) -> None:
    tensors = {name: part for layer in range(24) for name, part in four_bit(layer=layer).items()}
    tensors |= {name.replace(".q.", ".v."): part for name, part in tensors.items()}
    repository = CountingRepository(tmp_path)
    weights = open_written(tmp_path, tensors, repository=repository)
    # Two for the header, one for q and one for v.
    assert repository.n_requests == 4
    assert len(weights.tensors) == 48
    for layer in (0, 17):
        np.testing.assert_array_equal(weights.rows(Q.format(layer), [5, 2]), numbers((6, 128), layer)[[5, 2]])


def test_matrices_of_other_sizes_have_texts_of_their_own(tmp_path: Path) -> None:
    weights = open_written(tmp_path, four_bit((4, 128)) | four_bit((8, 64), layer=1) | four_bit((4, 256), layer=2))
    assert weights.tensors[Q.format(2)].shape == (4, 256)
    np.testing.assert_array_equal(weights.rows(Q.format(2), [3]), numbers((4, 256), 2)[[3]])
    # Equal in size and name, different in shape: the rows would be wrong, so there are none.
    with pytest.raises(WeightsError, match=r"layers\.1\.q.*another layer") as caught:
        weights.rows(Q.format(1), [0])
    assert caught.value.status == "invalid_header"
    np.testing.assert_array_equal(weights.rows(Q.format(0), [3]), numbers((4, 128))[[3]])


def test_codes_may_be_stored_as_another_type(tmp_path: Path) -> None:
    tensors = four_bit()
    tensors[Q.format(0)] = tensors[Q.format(0)].reshape(-1).view(ml_dtypes.bfloat16)
    weights = open_written(tmp_path, tensors)
    assert weights.tensors[Q.format(0)].dtype == "NF4"
    np.testing.assert_array_equal(weights.rows(Q.format(0), [1]), numbers((6, 128))[[1]])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": [6, 129]}, "bytes"),
        ({"shape": [-6, -128]}, "positive"),
        ({"shape": [2**40, 2**40]}, "bytes"),
        ({"shape": None}, "positive"),
        ({"shape": [768]}, "positive"),
        ({"shape": [6.0, 128]}, "positive"),
        ({"blocksize": 0}, "block size"),
        ({"blocksize": True}, "block size"),
        ({"blocksize": 2**30}, "block size"),
        ({"blocksize": 32}, r"absmax.*\[24\]"),
        ({"quant_type": "fp4"}, "fp4"),
        ({"nested_blocksize": 256, "nested_offset": 0.1}, "absmax.*U8"),
        ({"nested_blocksize": 256, "nested_offset": "x"}, "nested_offset"),
        ({"nested_blocksize": 256, "nested_offset": 1e40}, "nested_offset"),
        ({"state": b"{"}, "JSON"),
        ({"state": b'{"shape": NaN}'}, "NaN"),
        ({"state": b"[" * 3000}, "nested"),
        ({"state": b"\xff\xfe"}, "JSON"),
        ({"state": b" " * 5000}, "short text"),
    ],
)
def test_texts_that_lie(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    weights = open_written(tmp_path, four_bit(**changes))
    assert list(weights.tensors) == [Q.format(0)]
    assert not weights.tensors[Q.format(0)].is_readable
    with pytest.raises(WeightsError, match=words) as caught:
        weights.rows(Q.format(0), [0])
    assert caught.value.status == "unsupported_format"


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("absmax", np.ones(11, np.float32)),
        ("absmax", np.ones(12, np.float16)),
        ("absmax", np.ones((12, 1), np.float32)),
        ("quant_map", np.ones(15, np.float32)),
    ],
)
def test_parts_that_do_not_fit(tmp_path: Path, part: str, value: np.ndarray) -> None:
    weights = open_written(tmp_path, four_bit() | {f"{Q.format(0)}.{part}": value})
    assert part in weights.tensors[Q.format(0)].flaw


def test_a_missing_part_and_missing_codes(tmp_path: Path) -> None:
    tensors = four_bit()
    del tensors[f"{Q.format(0)}.quant_map"]
    assert "quant_map" in open_written(tmp_path, tensors).tensors[Q.format(0)].flaw
    tensors = four_bit()
    del tensors[Q.format(0)]
    weights = open_written(tmp_path, tensors)
    assert not any(info.is_readable for info in weights.tensors.values() if info.name.endswith("absmax"))
    assert "not there" in weights.tensors[f"{Q.format(0)}.quant_state.bitsandbytes__nf4"].flaw


def test_too_many_kinds_are_refused(tmp_path: Path) -> None:
    tensors = {
        name.replace(".q.", f".q{number}."): part for number in range(600) for name, part in four_bit((1, 64)).items()
    }
    with pytest.raises(WeightsError, match="kinds") as caught:
        open_written(tmp_path, tensors)
    assert caught.value.status == "unsupported_format"


def test_a_budget_ends_the_opening_too(tmp_path: Path) -> None:
    enough = open_written(tmp_path, four_bit()).meter.bytes_read
    open_written(tmp_path, four_bit(), meter=Meter(enough))
    with pytest.raises(WeightsError) as caught:
        open_written(tmp_path, four_bit(), meter=Meter(enough - 1))
    assert caught.value.status == "over_budget"


def test_int8_rows(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(-127, 128, (6, 32)).astype(np.int8)
    scales = np.linspace(0.5, 2, 6).astype(np.float32)
    weights = open_written(tmp_path, {"layers.0.q.weight": codes, "layers.0.q.SCB": scales, "norm.weight": scales})
    before = weights.meter.bytes_read
    rows = weights.rows("layers.0.q.weight", [4, 1])
    assert weights.meter.bytes_read - before == weights.cost_bytes("layers.0.q.weight", 2) == 2 * (32 + 4)
    np.testing.assert_array_equal(rows, (codes * scales[:, None].astype(np.float64) / 127)[[4, 1]].astype(np.float32))
    assert set(weights.tensors) == {"layers.0.q.weight", "norm.weight"}
    assert str(weights.quantization).startswith("INT8")


def test_int8_in_the_order_of_tensor_cores_is_refused(tmp_path: Path) -> None:
    tensors = {"q.weight": np.ones((4, 32), np.int8), "q.SCB": np.ones(4, np.float32)}
    for order, is_read in ((0, True), (2, False)):
        weights = open_written(tmp_path, tensors | {"q.weight_format": np.array(order, np.uint8)})
        if is_read:
            assert weights.rows("q.weight", [0]).shape == (1, 32)
        else:
            with pytest.raises(WeightsError, match="tensor cores"):
                weights.rows("q.weight", [0])


@pytest.mark.parametrize("scales", [np.ones(5, np.float32), np.ones(6, np.float16), np.ones((6, 2), np.float32)])
def test_int8_scales_that_do_not_fit(tmp_path: Path, scales: np.ndarray) -> None:
    weights = open_written(tmp_path, {"q.weight": np.ones((6, 32), np.int8), "q.SCB": scales})
    with pytest.raises(WeightsError, match=r"q\.weight.*does not fit"):
        weights.rows("q.weight", [0])
