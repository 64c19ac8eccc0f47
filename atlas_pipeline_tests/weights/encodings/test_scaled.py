from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from atlas_pipeline.weights import WeightsError
from atlas_pipeline_tests.weights.encodings.opened import FLOAT8, open_written
from atlas_pipeline_tests.weights.writing import random_matrix

Expand = Callable[[np.ndarray], np.ndarray]
INTEGERS = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "config_groups": {"group_0": {"weights": {"type": "int", "num_bits": 8}}},
}


def float8(n_rows: int = 200, n_columns: int = 160) -> np.ndarray:
    return (random_matrix(n_rows, n_columns) * 100).astype(FLOAT8)


def tiles(rows: int, columns: int) -> Expand:
    return lambda scale: np.repeat(np.repeat(scale, rows, axis=0), columns, axis=1)[:200, :160]


@pytest.mark.parametrize(
    ("suffix", "shape", "expand", "config"),
    [
        ("weight_scale", (), tiles(200, 160), None),
        ("weight_scale", (1,), lambda scale: scale, None),
        ("weight_scale", (200,), lambda scale: scale[:, None], None),
        ("weight_scale", (200, 1), lambda scale: scale, None),
        ("weight_scale", (200, 5), tiles(1, 32), None),
        ("weight_scale_inv", (2, 2), tiles(128, 128), None),
        ("weight_scale_inv", (2, 2), tiles(128, 128), {"quant_method": "fp8"}),
        ("weight_scale_inv", (4, 2), tiles(64, 96), {"quant_method": "fp8", "weight_block_size": [64, 96]}),
        ("weight_scale", (4, 2), tiles(64, 96), {"quant_method": "fp8", "weight_block_size": "64x96"}),
        ("scale_weight", (), tiles(200, 160), None),
        ("qscale_weight", (), tiles(200, 160), None),
    ],
)
def test_scales_lie_over_the_matrix(
    tmp_path: Path, suffix: str, shape: tuple[int, ...], expand: Expand, config: dict[str, Any] | None
) -> None:
    scale = np.asarray(np.random.default_rng(1).uniform(0.1, 2, shape), dtype=np.float32)
    weights = open_written(tmp_path, {"q.weight": float8(), f"q.{suffix}": scale}, config)
    expected = float8().astype(np.float32) * expand(scale.reshape(shape or (1, 1)))
    np.testing.assert_array_equal(weights.rows("q.weight", [199, 0, 130]), expected[[199, 0, 130]])
    assert list(weights.tensors) == ["q.weight"]
    assert weights.is_quantized


@pytest.mark.parametrize(
    ("suffix", "scale", "config", "words"),
    [
        ("weight_scale", np.ones(199, np.float32), None, "does not fit"),
        ("weight_scale", np.ones((2, 2), np.float32), None, "does not fit"),
        ("weight_scale", np.ones((200, 7), np.float32), None, "does not fit"),
        ("weight_scale", np.ones((3,), np.float32), None, "does not fit"),
        ("weight_scale", np.ones((0,), np.float32), None, "does not fit"),
        ("weight_scale", np.ones((200, 1, 1), np.float32), None, "does not fit"),
        (
            "weight_scale_inv",
            np.ones((2, 2), np.float32),
            {"quant_method": "fp8", "weight_block_size": [64, 64]},
            "does not fit",
        ),
        ("weight_scale", np.ones((200, 5), np.uint8), None, "type U8"),
        ("weight_scale", np.ones((200, 1), FLOAT8), None, "type F8_E4M3"),
    ],
)
def test_scales_that_do_not_fit(
    tmp_path: Path, suffix: str, scale: np.ndarray, config: dict[str, Any] | None, words: str
) -> None:
    weights = open_written(tmp_path, {"q.weight": float8(), f"q.{suffix}": scale}, config)
    assert list(weights.tensors) == ["q.weight"]
    with pytest.raises(WeightsError, match=words) as caught:
        weights.rows("q.weight", [0])
    assert caught.value.status == "unsupported_format"


@pytest.mark.parametrize("kind", [FLOAT8, np.dtype(ml_dtypes.float8_e5m2)])
def test_floats_without_a_scale_are_a_plain_cast(tmp_path: Path, kind: np.dtype) -> None:
    values = random_matrix(3, 4, 5).astype(kind)
    weights = open_written(
        tmp_path, {"unet.conv.weight": values, "logit_scale": np.ones((), np.float32)}, model_type="unet"
    )
    expected = values.astype(np.float32).reshape(3, 20)
    np.testing.assert_array_equal(weights.rows("unet.conv.weight", [2, 0]), expected[[2, 0]])
    assert weights.cost_bytes("unet.conv.weight", 2) == 40
    assert weights.is_quantized


@pytest.mark.parametrize(
    ("others", "config"),
    [
        ({}, {"quant_method": "fp8"}),
        ({}, {"quant_method": "compressed-tensors", "format": "float-quantized"}),
        ({"scaled_fp8": np.ones(2, np.float32)}, None),
        ({"k.weight": float8(4, 4), "k.weight_scale": np.ones((), np.float32)}, None),
        ({"q.weight_scale_inv": np.ones(3, np.float32), "q.weight_scale": np.ones((), np.float32)}, None),
        ({"q.input_scale": np.ones((), np.float32)}, None),
    ],
)
def test_floats_that_miss_their_scale_are_not_read(
    tmp_path: Path, others: dict[str, np.ndarray], config: dict[str, Any] | None
) -> None:
    weights = open_written(tmp_path, {"q.weight": float8()} | others, config)
    with pytest.raises(WeightsError, match=r"q\.weight"):
        weights.rows("q.weight", [0])


def test_integers_need_a_declaration(tmp_path: Path) -> None:
    """Transformers stores two 4-bit floats in an I8 under the same names: a scale alone does not explain integers."""
    tensors = {"q.weight": np.arange(64, dtype=np.int8).reshape(4, 16), "q.weight_scale": np.ones((4, 1), np.float32)}
    for config in (None, {"quant_method": "fp8"}, {"quant_method": "eetq"}, INTEGERS | {"config_groups": {}}):
        weights = open_written(tmp_path, tensors, config)
        with pytest.raises(WeightsError, match="not read"):
            weights.rows("q.weight", [0])
        assert list(weights.tensors) == ["q.weight"]
        assert weights.is_quantized
    np.testing.assert_array_equal(
        open_written(tmp_path, tensors, INTEGERS).rows("q.weight", [3]), tensors["q.weight"][[3]].astype(np.float32)
    )


def test_zero_points_are_subtracted_and_checked(tmp_path: Path) -> None:
    codes = np.arange(64, dtype=np.int8).reshape(4, 16)
    scales = np.linspace(1, 2, 8, dtype=np.float32).reshape(4, 2)
    zeros = np.arange(8, dtype=np.int8).reshape(4, 2)
    tensors = {"q.weight": codes, "q.weight_scale": scales, "q.weight_zero_point": zeros}
    rows = open_written(tmp_path, tensors, INTEGERS).rows("q.weight", [2, 1])
    expected = (codes.astype(np.float32) - np.repeat(zeros, 8, 1)) * np.repeat(scales, 8, 1)
    np.testing.assert_array_equal(rows, expected[[2, 1]])
    for wrong in (zeros[:, :1], zeros.astype(np.int64)):
        weights = open_written(tmp_path, tensors | {"q.weight_zero_point": np.ascontiguousarray(wrong)}, INTEGERS)
        assert "zero points" in weights.tensors["q.weight"].flaw


def test_stacks_with_scales_are_not_read(tmp_path: Path) -> None:
    stack = float8(6, 8).reshape(2, 3, 8)
    for name, scale in (("experts.w.weight", "experts.w.weight_scale"), ("experts.up", "experts.up_scale_inv")):
        weights = open_written(tmp_path, {name: stack, scale: np.ones((2, 3, 1), np.float32)})
        assert not weights.tensors[name].is_readable
        assert scale not in weights.tensors


def test_scales_beyond_float32_become_infinite_without_a_warning(tmp_path: Path) -> None:
    scale = np.array(3e38, np.float32)
    weights = open_written(tmp_path, {"q.weight": float8(2, 4), "q.weight_scale": scale})
    assert np.isinf(weights.rows("q.weight", [0, 1])).any()
