from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.weights import WeightsError
from atlas_pipeline.weights.encodings.packing import (
    E2M1,
    bit_fields,
    dense_starts,
    n_words,
    nibbles,
    padded_starts,
    powers_of_two,
)
from atlas_pipeline_tests.weights.encodings.opened import FLOAT8, CountingRepository, open_written

E8M0 = np.dtype(ml_dtypes.float8_e8m0fnu)


def declared(layout: str = "pack-quantized", **scheme: Any) -> dict[str, Any]:
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32} | scheme
    return {"quant_method": "compressed-tensors", "format": layout, "config_groups": {"group_0": {"weights": weights}}}


def words_of(fields: np.ndarray, bits: int) -> np.ndarray:
    """Fields [k, n] as words, by way of one large integer for each row."""
    size = n_words(fields.shape[1], bits=bits)
    rows = [sum(int(field) << (bits * place) for place, field in enumerate(row)) for row in fields]
    return np.array([np.frombuffer(row.to_bytes(4 * size, "little"), "<i4") for row in rows])


@given(data=st.data(), bits=st.integers(1, 8), n_fields=st.integers(1, 70))
def test_bit_fields_are_digits_of_one_number(data: st.DataObject, bits: int, n_fields: int) -> None:
    fields = np.array(data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=n_fields, max_size=n_fields)))
    places = np.array(data.draw(st.lists(st.integers(0, n_fields - 1), max_size=9)), dtype=np.int64)
    words = words_of(fields[None], bits).view(np.uint32)
    found = bit_fields(words, dense_starts(places, bits=bits), bits=bits)
    np.testing.assert_array_equal(found, fields[None, places])


@given(data=st.data(), bits=st.integers(1, 8), n_fields=st.integers(1, 70))
def test_padded_fields_never_cross_a_word(data: st.DataObject, bits: int, n_fields: int) -> None:
    starts = padded_starts(np.arange(n_fields), bits=bits)
    assert (starts // 32 == (starts + bits - 1) // 32).all()
    assert (np.diff(starts) >= bits).all()
    words = np.array(data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=int(starts[-1]) // 32 + 1, max_size=40)))
    expected = [int(words[start // 32]) >> int(start % 32) & (2**bits - 1) for start in starts]
    np.testing.assert_array_equal(bit_fields(words.astype(np.uint32), starts, bits=bits), expected)


def test_small_floats() -> None:
    np.testing.assert_array_equal(E2M1, np.arange(16, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float32))
    codes = np.arange(255, dtype=np.uint8)
    np.testing.assert_array_equal(powers_of_two(codes), codes.view(E8M0).astype(np.float32))
    stored = np.array([[0x21, 0x43]], np.uint8)
    assert nibbles(stored, is_high_first=False).tolist() == [[1, 2, 3, 4]]
    assert nibbles(stored, is_high_first=True).tolist() == [[2, 1, 4, 3]]


def packed(layer: int = 0, sides: tuple[int, int] = (6, 64), shape: tuple[int, int] | None = None) -> dict[str, Any]:
    """A matrix whose codes are 8, 9, ... and whose scales are the number of the row plus one."""
    codes = (np.arange(sides[0] * sides[1]).reshape(sides) + 8 + layer) % 16
    return {
        f"layers.{layer}.q.weight_packed": words_of(codes, 4),
        f"layers.{layer}.q.weight_scale": np.arange(1, sides[0] + 1, dtype=np.float32)[:, None].repeat(
            sides[1] // 32, 1
        ),
        f"layers.{layer}.q.weight_shape": np.array(shape or sides, np.int64),
    }


def test_opening_reads_one_shape_for_all_layers(tmp_path: Path) -> None:
    tensors = {name: part for layer in range(24) for name, part in packed(layer).items()}
    repository = CountingRepository(tmp_path)
    weights = open_written(tmp_path, tensors, declared(), repository=repository)
    assert repository.n_requests == 3
    expected = ((np.arange(64) + 5 * 64 + 3 + 8) % 16 - 8) * np.float32(6)
    np.testing.assert_array_equal(weights.rows("layers.3.q.weight", [5]), expected[None])


def test_a_layer_of_another_shape_gives_no_rows(tmp_path: Path) -> None:
    weights = open_written(tmp_path, packed(0) | packed(1, shape=(6, 63)), declared())
    assert weights.rows("layers.0.q.weight", [0]).shape == (1, 64)
    with pytest.raises(WeightsError, match=r"layers\.1\.q\.weight_shape.*another layer") as caught:
        weights.rows("layers.1.q.weight", [0])
    assert caught.value.status == "invalid_header"


@pytest.mark.parametrize(
    ("changes", "config", "words"),
    [
        ({}, None, "not read"),
        ({}, declared("marlin-24"), r"words|not read|fit"),
        ({}, {"quant_method": "gptq"}, "not read"),
        ({}, declared() | {"sparsity_config": {"format": "sparse-24-bitmask"}}, "not read"),
        ({}, declared(num_bits=8), "8 bits"),
        ({}, declared(num_bits="4"), "no bits"),
        ({}, declared(type="float"), "bits"),
        ({}, declared(group_size=16), "do not fit"),
        ({"weight_shape": np.array([6, 2**60])}, declared(), "4 bits"),
        ({"weight_shape": np.array([-6, 64])}, declared(), "4 bits"),
        ({"weight_shape": np.array([6, -64])}, declared(), "4 bits"),
        ({"weight_shape": np.array([6, 64, 1])}, declared(), "without a shape"),
        ({"weight_shape": np.array([6, 64], np.float32)}, declared(), "without a shape"),
        ({"weight_scale": np.ones((6, 3), np.float32)}, declared(), "do not fit"),
        ({"weight_scale": np.ones((6, 2), np.int32)}, declared(), "type I32"),
        ({"weight_zero_point": np.ones((2, 2), np.int32)}, declared(), "zero points"),
        ({"weight_zero_point": np.ones((1, 2), np.int8)}, declared(), "zero points"),
        ({"weight_g_idx": np.zeros(63, np.int32)}, declared(), "groups"),
    ],
)
def test_packs_that_do_not_fit(
    tmp_path: Path, changes: dict[str, np.ndarray], config: dict[str, Any] | None, words: str
) -> None:
    tensors = packed() | {f"layers.0.q.{name}": part for name, part in changes.items()}
    if config == declared("marlin-24"):
        tensors["layers.0.q.scale_packed"] = tensors.pop("layers.0.q.weight_scale")
    weights = open_written(tmp_path, tensors, config)
    assert list(weights.tensors) == ["layers.0.q.weight_packed"]
    with pytest.raises(WeightsError, match=words) as caught:
        weights.rows("layers.0.q.weight_packed", [0])
    assert caught.value.status == "unsupported_format"


def test_groups_that_are_not_there(tmp_path: Path) -> None:
    order = np.zeros(64, np.int32)
    order[9] = 2
    weights = open_written(tmp_path, packed() | {"layers.0.q.weight_g_idx": order}, declared())
    with pytest.raises(WeightsError, match="names groups"):
        weights.rows("layers.0.q.weight", [0])
    order[9] = -1
    plain = open_written(tmp_path, packed(), declared()).rows("layers.0.q.weight", [1])
    weights = open_written(tmp_path, packed() | {"layers.0.q.weight_g_idx": order}, declared())
    np.testing.assert_array_equal(weights.rows("layers.0.q.weight", [1]), plain)


def test_experts_below_each_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (3, 5, 2, 16), dtype=np.uint8)
    scales = rng.integers(120, 130, (3, 5, 2), dtype=np.uint8)
    name = "model.layers.0.mlp.experts.down_proj"
    weights = open_written(tmp_path, {f"{name}_blocks": blocks, f"{name}_scales": scales})
    assert weights.tensors[name].shape == (15, 64)
    assert weights.cost_bytes(name, 1) == 34
    expected = E2M1[nibbles(blocks.reshape(15, 32), is_high_first=False)] * np.repeat(
        scales.reshape(15, 2).view(E8M0).astype(np.float32), 32, axis=1
    )
    np.testing.assert_array_equal(weights.rows(name, [14, 3]), expected[[14, 3]])
    # A tower of blocks that has nothing to do with it stays what it is.
    other = {"tower_blocks": blocks, "tower_scales": scales[:, :4], f"{name}_blocks": blocks}
    weights = open_written(tmp_path, {key: np.ascontiguousarray(part) for key, part in other.items()})
    assert not any(info.is_readable for info in weights.tensors.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"q.weight_scale": np.ones((4, 3), FLOAT8)},
        {"q.weight_scale": np.ones((4, 4), np.float32)},
        {"q.weight_scale_2": np.ones(4, np.float32)},
    ],
)
def test_two_levels_of_scales(tmp_path: Path, changes: dict[str, np.ndarray]) -> None:
    tensors = {
        "q.weight": np.full((4, 32), 0x72, np.uint8),
        "q.weight_scale": np.full((4, 4), 2, FLOAT8),
        "q.weight_scale_2": np.array(0.25, np.float32),
    }
    weights = open_written(tmp_path, tensors, {"quant_method": "modelopt"})
    np.testing.assert_array_equal(weights.rows("q.weight", [3])[0, :2], [0.5, 3.0])
    weights = open_written(tmp_path, tensors | changes)
    assert list(weights.tensors) in (["q.weight"], ["q.weight", "q.weight_scale_2"])
    assert not weights.tensors["q.weight"].is_readable


def test_mlx_modules_may_have_widths_of_their_own(tmp_path: Path) -> None:
    codes = np.arange(128).reshape(2, 64) % 16
    tensors = {
        "a.weight": words_of(codes, 4).view(np.uint32),
        "b.weight": words_of(codes, 8).view(np.uint32),
        **{f"{module}.scales": np.full((2, 2), 0.5, np.float16) for module in "ab"},
        **{f"{module}.biases": np.full((2, 2), -1, np.float16) for module in "ab"},
    }
    config = {"group_size": 32, "bits": 4, "b": {"group_size": 32, "bits": 8}}
    weights = open_written(tmp_path, tensors, config)
    for module, dtype in (("a", "MLX4"), ("b", "MLX8")):
        assert weights.tensors[f"{module}.weight"].dtype == dtype
        np.testing.assert_array_equal(weights.rows(f"{module}.weight", [1]), codes[[1]] * np.float32(0.5) - 1)
    for wrong in (
        None,
        {"group_size": 64, "bits": 8},
        config | {"mode": "mxfp4", "b": {}},
        {"group_size": 32, "bits": 0},
    ):
        weights = open_written(tmp_path, tensors, wrong)
        assert not any(info.is_readable for info in weights.tensors.values())


def test_rows_that_would_not_fit_memory_are_refused(tmp_path: Path) -> None:
    tensors = {"q.weight": np.zeros((4, 8), np.uint32), "q.scales": np.ones((4, 4), np.float16)}
    weights = open_written(tmp_path, tensors | {"q.biases": tensors["q.scales"]}, {"group_size": 32, "bits": 2})
    with pytest.raises(WeightsError, match="at once") as caught:
        weights.rows("q.weight", np.zeros((1 << 20) + 1, np.int64))
    assert caught.value.status == "unsupported_format"
