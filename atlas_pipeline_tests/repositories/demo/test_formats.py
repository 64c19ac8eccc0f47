from __future__ import annotations

import gguf
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atlas_pipeline.repositories.demo.formats import (
    dequantize_int8,
    gguf_name,
    quantize_int8,
    round_to,
    safetensors_bytes,
    through_gguf,
    write_gguf,
)
from atlas_pipeline.repositories.demo.making import NETWORKS, linear_mean, spherical_mean

_MATRICES = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.just(32)), elements=st.floats(-8, 8, width=32, allow_subnormal=False)
)


@given(_MATRICES)
@settings(deadline=None)
def test_int8_is_off_by_at_most_half_a_step(matrix):
    stored = quantize_int8({"layer.weight": matrix})
    assert stored["layer.weight"].dtype == np.int8
    assert np.array_equal(stored["layer.SCB"], np.abs(matrix).max(axis=1))
    back = dequantize_int8(stored)
    assert set(back) == {"layer.weight"}
    assert np.all(np.abs(back["layer.weight"] - matrix) <= stored["layer.SCB"][:, None] / 127 * 0.5001)


@given(_MATRICES, st.sampled_from(["F16", "BF16"]))
@settings(deadline=None)
def test_rounding_twice_is_rounding_once(matrix, dtype):
    once = round_to({"w": matrix}, dtype)
    assert np.array_equal(round_to(once, dtype)["w"], once["w"])
    np.testing.assert_allclose(once["w"], matrix, rtol=2**-8, atol=1e-7)


def test_int8_keeps_embeddings_heads_and_vectors():
    weights = NETWORKS["former"].initialize(np.random.default_rng(0))
    stored = quantize_int8(weights)
    int8 = {name for name, tensor in stored.items() if tensor.dtype == np.int8}
    assert int8 == {name for name in weights if "_proj." in name}
    assert set(dequantize_int8(stored)) == set(weights)


@pytest.mark.parametrize("name", ["former", "denoiser"])
@pytest.mark.parametrize(("type_name", "tolerance"), [("Q8_0", 0.005), ("Q4_0", 0.08), ("F16", 0.0005)])
def test_a_gguf_file_holds_the_weights_it_was_given(tmp_path, name, type_name, tolerance):
    weights = NETWORKS[name].initialize(np.random.default_rng(0))
    path = tmp_path / "model.gguf"
    write_gguf(path, weights, type_name=type_name, architecture="digits", name="x", base_models=("an-org/a-model",))
    reader = gguf.GGUFReader(path)
    expected = {gguf_name(n): t for n, t in through_gguf(weights, type_name).items()}
    assert [t.name for t in reader.tensors] == list(expected)
    for tensor in reader.tensors:
        read = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(read, expected[tensor.name])
        assert tensor.tensor_type.name == (type_name if len(tensor.shape) == 2 else "F32")
    for n, t in weights.items():
        assert np.linalg.norm(expected[gguf_name(n)] - t) <= tolerance * np.linalg.norm(t) * 1.3
    field = reader.fields["general.base_model.0.repo_url"]
    assert field.contents() == "https://huggingface.co/an-org/a-model"
    assert reader.fields["general.architecture"].contents() == "digits"
    del reader, tensor, field


def test_gguf_names_are_llama_cpps_and_distinct():
    names = [gguf_name(name) for name in NETWORKS["tall_former"].initialize(np.random.default_rng(0))]
    assert len(set(names)) == len(names)
    assert {"blk.2.attn_q.weight", "blk.0.ffn_down.weight", "output_norm.weight"} <= set(names)
    assert gguf_name("encoder.layers.0.bias") == "encoder.layers.0.bias"


def test_safetensors_bytes_can_be_read_back():
    tensors = {
        "b": np.arange(6, dtype=np.int8).reshape(2, 3),
        "a": np.zeros((), np.uint8),
        "c": np.ones(3, np.float32).T,
    }
    read = safetensors.numpy.load(safetensors_bytes(tensors))
    assert set(read) == set(tensors)
    assert all(np.array_equal(read[n], t) and read[n].dtype == t.dtype for n, t in tensors.items())


@given(_MATRICES, st.floats(0, 1))
@settings(deadline=None)
def test_merges_of_equals_change_nothing(matrix, fraction):
    np.testing.assert_allclose(spherical_mean(matrix, matrix, fraction), matrix, rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(linear_mean([matrix, matrix], (fraction, 1 - fraction)), matrix, rtol=1e-6, atol=1e-30)


def test_spherical_mean_stays_on_the_sphere():
    a, b = np.eye(2, dtype=np.float32)
    np.testing.assert_allclose(spherical_mean(a, b, 1 / 3), [np.cos(np.pi / 6), np.sin(np.pi / 6)], rtol=1e-6)
    assert np.array_equal(spherical_mean(a, b, 0.0), a)
    assert np.array_equal(spherical_mean(a * 0, b, 0.25), b / 4)
