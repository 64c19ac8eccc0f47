from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atlas_pipeline.weights.values import distinct_values, hidden_quantization

NF4 = np.array(
    [-1, -0.69, -0.53, -0.39, -0.28, -0.18, -0.09, 0, 0.08, 0.16, 0.25, 0.34, 0.44, 0.56, 0.72, 1], dtype=np.float32
)
FOUR, EIGHT, TWO = "4-bit values in floats", "8-bit values in floats", "2-bit values in floats"


def bfloat16(values: np.ndarray) -> np.ndarray:
    return values.astype(ml_dtypes.bfloat16).astype(np.float32)


def float16(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float32)


def nf4(values: np.ndarray) -> np.ndarray:
    blocks = values.reshape(-1, 64)
    most = np.abs(blocks).max(axis=1, keepdims=True)
    codes = np.abs(blocks[..., None] / most[..., None] - NF4).argmin(axis=-1)
    return (NF4[codes] * most).reshape(values.shape)


def integers(values: np.ndarray, *, bits: int, group: int | None = None) -> np.ndarray:
    """Symmetric, with one scale for each row or group."""
    parts = values.reshape(-1, group or values.shape[1])
    scale = np.abs(parts).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    return (np.round(parts / scale) * scale).reshape(values.shape).astype(np.float32)


def asymmetric(values: np.ndarray) -> np.ndarray:
    parts = values.reshape(-1, 128)
    low = parts.min(axis=1, keepdims=True)
    scale = (parts.max(axis=1, keepdims=True) - low) / 15
    zero = np.round(-low / scale)
    return ((np.clip(np.round(parts / scale) + zero, 0, 15) - zero) * scale).reshape(values.shape).astype(np.float32)


def float8(values: np.ndarray) -> np.ndarray:
    scale = np.abs(values).max() / 448
    return ((values / scale).astype(ml_dtypes.float8_e4m3fn).astype(np.float32) * scale).astype(np.float32)


def pruned(values: np.ndarray) -> np.ndarray:
    return values * (np.random.default_rng(1).random(values.shape) > 0.9)


def ternary(values: np.ndarray) -> np.ndarray:
    scale = np.abs(values).mean(axis=1, keepdims=True)
    return (np.clip(np.round(values / scale), -1, 1) * scale).astype(np.float32)


@pytest.mark.parametrize("n_columns", [512, 1024, 4096])
@pytest.mark.parametrize("draw", ["normal", "laplace", "heavy", "uniform"])
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda values: values, None),
        (bfloat16, None),
        (float16, None),
        (lambda values: float16(bfloat16(values)), None),
        (pruned, None),
        (lambda values: pruned(bfloat16(values)), None),
        (lambda values: bfloat16(values) * np.float32(0), None),
        (lambda values: bfloat16(1 + values), None),
        (nf4, FOUR),
        (lambda values: bfloat16(nf4(values)), FOUR),
        (asymmetric, FOUR),
        (lambda values: float16(asymmetric(values)), FOUR),
        (lambda values: bfloat16(integers(values, bits=4, group=32)), FOUR),
        (lambda values: integers(values, bits=8), EIGHT),
        (lambda values: bfloat16(integers(values, bits=8)), EIGHT),
        (float8, EIGHT),
        (lambda values: bfloat16(float8(values)), EIGHT),
        (ternary, TWO),
        (lambda values: bfloat16(ternary(values)), TWO),
    ],
)
def test_values_show_what_they_went_through(
    n_columns: int, draw: str, change: Callable[[np.ndarray], np.ndarray], found: str | None
) -> None:
    rng = np.random.default_rng(0)
    drawn = {
        "normal": rng.standard_normal,
        "laplace": lambda shape: rng.laplace(size=shape),
        "heavy": lambda shape: rng.standard_t(4, shape),
        "uniform": lambda shape: rng.uniform(-1, 1, shape),
    }[draw]((8, n_columns))
    assert hidden_quantization(change(drawn.astype(np.float32) * np.float32(0.02))) == found


@pytest.mark.parametrize("n_columns", [0, 1, 8, 31, 32, 64, 200])
def test_tiny_rows_prove_nothing(n_columns: int) -> None:
    """Eight bits do not show in rows this short; four bits need eight blocks."""
    values = np.random.default_rng(0).standard_normal((3, n_columns)).astype(np.float32)
    assert hidden_quantization(values) is None
    assert hidden_quantization(bfloat16(values)) is None
    assert hidden_quantization(values[:0]) is None
    if n_columns:
        assert hidden_quantization(integers(values, bits=8)) is None
    if n_columns == 64:
        assert hidden_quantization(nf4(values)) is None
        assert hidden_quantization(nf4(np.concatenate([values, values[:1]]))) == FOUR


def test_odd_rows() -> None:
    for odd in (np.ones((4, 512)), np.eye(512)[:9], np.full((4, 512), np.nan), np.full((4, 512), np.inf)):
        assert hidden_quantization(odd.astype(np.float32)) is None


def test_one_row_that_is_different_does_not_hide_the_others() -> None:
    values = np.random.default_rng(0).standard_normal((100, 256)).astype(np.float32)
    mixed = np.concatenate([nf4(values), values[:3]])
    assert hidden_quantization(mixed) == FOUR
    assert hidden_quantization(np.concatenate([nf4(values), values])) is None
    # Constant rows (padding, masked neurons) say nothing either way.
    assert hidden_quantization(np.concatenate([nf4(values), np.ones_like(values)])) == FOUR


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.floats(-3, 3, width=16))
)
def test_distinct_values_are_a_set(rows: np.ndarray) -> None:
    counts = distinct_values(rows)
    assert counts.dtype == np.int64
    assert counts.tolist() == [len(set(row)) for row in rows.tolist()]


def test_distinct_values_of_nothing() -> None:
    assert distinct_values(np.zeros((3, 0), np.float32)).tolist() == [0, 0, 0]
    assert distinct_values(np.zeros((0, 3), np.float32)).tolist() == []
    assert distinct_values(np.array([[0.0, -0.0, np.nan, np.nan]], np.float32)).tolist() == [3]
