"""What numbers prove: every way of storing a model in fewer bits names its original among near siblings."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.edges.charting.proofs import (
    PRECISIONS,
    level_bounds,
    precisions,
    prove_quantized,
    prove_rounded,
    to_precision,
)
from atlas_pipeline_tests.edges.charting.families import LAYOUT, N_COLUMNS, by_matrix, family

FLOAT16, BFLOAT16 = 1, 2
STEPS = np.geomspace(1e-3, 1e-2, 8)
UNEVEN = np.array([-1, -0.7, -0.53, -0.39, -0.28, -0.18, -0.09, 0, 0.08, 0.16, 0.25, 0.34, 0.44, 0.56, 0.72, 1])


def gguf(kind):
    kind = GGMLQuantizationType[kind]
    return lambda rows: quants.dequantize(quants.quantize(rows, kind), kind)


def int8_by_row(rows):
    scale = np.abs(rows).max(axis=1, keepdims=True) / 127
    return np.round(rows / scale) * scale


def uneven(rows):
    blocks = rows.reshape(-1, 64)
    scale = np.abs(blocks).max(axis=1, keepdims=True)
    nearest = np.abs(blocks[:, :, None] / scale[:, :, None] - UNEVEN).argmin(axis=2)
    return UNEVEN[nearest] * scale


def fp8(rows):
    scale = np.abs(rows).max() / 448
    return (rows / scale).astype(ml_dtypes.float8_e4m3fn).astype(np.float32) * scale


QUANTIZERS = {
    "Q8_0": gguf("Q8_0"),
    "Q5_0": gguf("Q5_0"),
    "Q4_0": gguf("Q4_0"),
    "int8": int8_by_row,
    "uneven": uneven,
    "fp8": fp8,
}


def pruned(values, share=0.3):
    return np.where(np.abs(values) < np.quantile(np.abs(values), share), np.float32(0), values)


ROUNDED = {
    "float16": ("cast", lambda values: to_precision(values, FLOAT16)),
    "bfloat16": ("cast", lambda values: to_precision(values, BFLOAT16)),
    "pruned": ("pruned", pruned),
    "pruned float16": ("pruned", lambda values: to_precision(pruned(values), FLOAT16)),
    "pruned bfloat16": ("pruned", lambda values: to_precision(pruned(values), BFLOAT16)),
}


@pytest.fixture(scope="module")
def siblings():
    return family(np.random.default_rng(0), steps=STEPS)


def with_child(models, child):
    """Models with a child behind them, its row, and the rows of the others."""
    vectors = np.vstack([models, child[None]]).astype(np.float32)
    return vectors, len(models), np.arange(len(models))


@pytest.mark.parametrize("parent", [0, 1, 8])
@pytest.mark.parametrize("name", ROUNDED)
def test_a_rounded_or_pruned_model_names_its_original(siblings, name, parent):
    rule, make = ROUNDED[name]
    vectors, child, candidates = with_child(siblings, make(siblings[parent]))
    proof = prove_rounded(vectors, child, candidates, precisions(vectors))
    assert (proof.parent, proof.rule, proof.rivals, proof.share) == (parent, rule, (), 1.0)
    others = candidates[candidates != parent]
    assert prove_rounded(vectors, child, others, precisions(vectors)) is None
    # Rounding cannot be undone: the original is not proven from what was made of it.
    assert prove_rounded(vectors, parent, np.append(others, child), precisions(vectors)) is None


def test_of_two_originals_that_round_alike_the_first_is_named_and_the_other_is_its_rival(siblings):
    twin = siblings[3] * np.float32(1 + 2.0**-23)
    vectors, child, _ = with_child(np.vstack([siblings, twin]), to_precision(siblings[3], BFLOAT16))
    vectors[9] = np.where(to_precision(vectors[9], BFLOAT16) == vectors[child], vectors[9], siblings[3])
    proof = prove_rounded(vectors, child, np.array([9, 3, 1]), precisions(vectors))
    assert (proof.parent, proof.rivals) == (9, (3,))


def test_a_model_that_is_only_near_or_all_zeros_proves_nothing(siblings):
    vectors, child, candidates = with_child(siblings[1:], siblings[0])
    assert prove_rounded(vectors, child, candidates, precisions(vectors)) is None
    vectors, child, candidates = with_child(siblings, np.zeros(N_COLUMNS))
    assert prove_rounded(vectors, child, candidates, precisions(vectors)) is None


def assert_named(proof, parent, name):
    """Uneven levels leave the original and one model a thousandth from it; all others leave the original alone."""
    group = {proof.parent, *proof.rivals}
    assert parent in group
    assert len(group) <= (2 if name == "uneven" else 1)


@pytest.mark.parametrize("parent", [0, 1, 8])
@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_quantised_model_names_its_original_among_near_siblings(siblings, name, parent):
    vectors, child, candidates = with_child(siblings, by_matrix(siblings[parent], QUANTIZERS[name]))
    proof = prove_quantized(vectors, child, candidates, LAYOUT)
    assert proof.rule == "quantized"
    assert_named(proof, parent, name)
    backwards = prove_quantized(vectors, child, candidates[::-1], LAYOUT)
    assert_named(backwards, parent, name)


@pytest.mark.parametrize("precision", [FLOAT16, BFLOAT16])
@pytest.mark.parametrize("name", ["Q8_0", "Q4_0"])
def test_a_quantiser_that_rounded_to_16_bits_first_is_seen_through(siblings, name, precision):
    rounded = to_precision(siblings[5], precision)
    vectors, child, candidates = with_child(siblings, by_matrix(rounded, QUANTIZERS[name]))
    assert prove_quantized(vectors, child, candidates, LAYOUT).parent == 5
    # Its cast fits as well as the original, and is named where it comes first.
    vectors[6] = rounded
    proof = prove_quantized(vectors, child, candidates, LAYOUT)
    assert (proof.parent, proof.rivals) == (5, (6,))


@pytest.mark.parametrize("name", QUANTIZERS)
def test_independent_models_and_far_relatives_prove_nothing(siblings, name):
    generator = np.random.default_rng(1)
    strangers = family(generator, steps=[1.0, 1.0])
    far = siblings[0] + 0.3 * strangers[0]
    child = by_matrix(siblings[0], QUANTIZERS[name])
    vectors, row, candidates = with_child(np.vstack([strangers, far]), child)
    assert prove_quantized(vectors, row, candidates, LAYOUT) is None


@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_dequantised_copy_is_not_taken_for_the_original(siblings, name):
    child = by_matrix(siblings[2], QUANTIZERS[name])
    copy = to_precision(child, FLOAT16)
    vectors, row, candidates = with_child(np.vstack([siblings, copy]), child)
    first_the_copy = candidates[::-1]
    proof = prove_quantized(vectors, row, first_the_copy, LAYOUT)
    assert_named(proof, 2, name)
    assert prove_quantized(vectors, row, np.array([len(siblings)]), LAYOUT) is None


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_a_model_of_one_value_has_no_levels_and_proves_nothing(siblings, value):
    vectors, child, candidates = with_child(siblings, np.full(N_COLUMNS, value))
    assert prove_quantized(vectors, child, candidates, LAYOUT) is None


@pytest.mark.parametrize("name", QUANTIZERS)
def test_bounds_hold_the_level_itself_and_nearly_all_of_the_original(siblings, name):
    own = by_matrix(siblings[0], QUANTIZERS[name])
    low, high = level_bounds(own, LAYOUT)
    assert ((low <= own) & (own <= high)).all()
    assert ((low <= siblings[0]) & (siblings[0] <= high)).mean() > 0.995


@settings(max_examples=40)
@given(
    values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=20),
    precision=st.sampled_from([FLOAT16, BFLOAT16]),
)
def test_rounding_twice_changes_nothing_and_its_precision_is_recognised(values, precision):
    once = to_precision(np.array([values], dtype=np.float32), precision)
    assert (to_precision(once, precision) == once).all()
    found = int(precisions(once)[0])
    assert found == precision or (found == BFLOAT16 and (to_precision(once, BFLOAT16) == once).all())


def test_precisions_tells_the_types_apart(siblings):
    kinds = np.vstack([to_precision(siblings[0], precision) for precision in range(len(PRECISIONS))])
    assert precisions(kinds).tolist() == [0, FLOAT16, BFLOAT16]
    assert precisions(np.zeros((0, 3), dtype=np.float32)).shape == (0,)
