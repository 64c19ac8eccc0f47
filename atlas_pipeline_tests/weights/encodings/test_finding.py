import time
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.weights import WeightsError
from atlas_pipeline.weights.encodings import encode_quantized, find_encodings
from atlas_pipeline.weights.tensors import FileReader, StoredWeights
from atlas_pipeline_tests.weights.encodings.opened import FLOAT8, open_written
from atlas_pipeline_tests.weights.writing import MODEL, random_matrix

HALF = np.ones((8, 4), np.float16)
BYTES = np.ones((8, 16), np.uint8)
WORDS = np.ones((8, 16), np.int32)


@pytest.mark.parametrize(
    ("tensors", "method"),
    [
        ({"q.W_q": BYTES, "q.scale": HALF, "q.zero": HALF}, "HQQ"),
        ({"q.weight._data": BYTES, "q.weight._scale": HALF}, "Quanto"),
        ({"q._weight_qdata": BYTES, "q._weight_scale": HALF}, "torchao"),
        ({"q.codes": np.ones((8, 4, 2), np.uint8), "q.codebooks": HALF, "q.scales": HALF}, "AQLM"),
        ({"q.indices": WORDS, "q.centroids.weight": HALF}, "VPTQ"),
        ({"q.dense_weights": BYTES, "q.in_perm": HALF}, "SpQR"),
        ({"q.trellis": WORDS, "q.suh": HALF}, "EXL3"),
        ({"q.q_weight": WORDS, "q.q_scale": HALF}, "EXL2"),
        ({"q.compressed": HALF, "q.bitmask": BYTES}, "sparse"),
        ({"q.weight_packed": WORDS, "q.scale_packed": HALF, "q.meta": HALF}, "Marlin"),
    ],
)
def test_methods_that_are_not_read_are_named(tmp_path: Path, tensors: dict[str, np.ndarray], method: str) -> None:
    plain = {"k.weight": random_matrix(4, 4), "norm.weight": np.ones(4, np.float32)}
    weights = open_written(tmp_path, tensors | plain, {"quant_method": method.lower()})
    left = weights.tensors.keys() - plain.keys()
    assert len(left) == 1
    with pytest.raises(WeightsError, match=method) as caught:
        weights.rows(left.pop(), [0])
    assert caught.value.status == "unsupported_format"
    assert weights.rows("k.weight", [0]).shape == (1, 4)
    assert weights.is_quantized


@pytest.mark.parametrize(
    ("config", "words"),
    [(None, "no quantisation"), ({"quant_method": "bitnet"}, "bitnet"), ({"bits": 2}, "without a name")],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint32])
def test_codes_without_a_scheme_are_no_numbers(tmp_path: Path, dtype: type, config: dict | None, words: str) -> None:
    tensors = {"q.weight": np.ones((8, 4), dtype), "q.weight_scale": np.ones((8, 1), ml_dtypes.bfloat16)}
    weights = open_written(tmp_path, tensors, config)
    with pytest.raises(WeightsError, match=words):
        weights.rows("q.weight", [0])
    assert not any(info.is_readable for info in weights.tensors.values())


def test_plain_models_are_left_alone(tmp_path: Path) -> None:
    tensors = {
        "h.0.attn.bias": np.ones((1, 1, 4, 4), np.uint8),
        "h.0.attn.c_attn.weight": random_matrix(4, 12),
        "attn.relative_position_index": np.ones((4, 4), np.int64),
        "attn.relative_position_bias_table": random_matrix(9, 4),
        "embeddings.position_ids": np.ones((1, 4), np.int64),
        "rotary.cos_cached": random_matrix(16, 4),
        "logit_scale": np.ones((), np.float32),
        "layers.0.layer_scale": random_matrix(4),
    }
    weights = open_written(tmp_path, tensors)
    assert weights.tensors.keys() == tensors.keys()
    readable = {name for name, info in weights.tensors.items() if info.is_readable}
    assert readable == {"h.0.attn.c_attn.weight", "attn.relative_position_bias_table", "layers.0.layer_scale"}
    assert weights.quantization is None
    assert not weights.is_quantized


def test_parts_that_do_not_lie_row_by_row_are_not_decoded(tmp_path: Path) -> None:
    """Containers other than safetensors can store views; they say so, and a quantised matrix inherits the reason."""
    tensors = {"q.weight": np.ones((4, 8), np.int8), "q.SCB": np.ones(4, np.float32)}
    opened = open_written(tmp_path, tensors)
    repository = FolderRepository(tmp_path)
    (entry,) = repository.files(MODEL)
    for part in tensors:
        weights = StoredWeights(
            model_id=MODEL,
            format="pytorch",
            readers=[FileReader(repository, MODEL, entry)],
            tensors=opened.stored | {part: replace(opened.stored[part], flaw="shows the same numbers twice")},
            config={},
        )
        encode_quantized(weights)
        with pytest.raises(WeightsError, match="numbers twice"):
            weights.rows("q.weight", [0])
        assert list(weights.tensors) == ["q.weight"]


def test_a_flaw_that_the_container_found_stays(tmp_path: Path) -> None:
    opened = open_written(tmp_path, {"q.weight": np.ones((4, 8), np.uint8)})
    opened.stored = {"q.weight": replace(opened.stored["q.weight"], flaw="would have to be run")}
    opened.tensors = opened.stored
    assert find_encodings(opened) == []


SUFFIXES = (
    "weight",
    "qweight",
    "weight_packed",
    "weight_scale",
    "weight_scale_inv",
    "weight_scale_2",
    "weight_shape",
    "weight_zero_point",
    "weight_global_scale",
    "SCB",
    "scales",
    "biases",
    "qzeros",
    "g_idx",
    "weight.absmax",
    "weight.quant_map",
    "weight.quant_state.bitsandbytes__nf4",
    "experts_blocks",
    "experts_scales",
)
KINDS = (np.uint8, np.int8, np.int32, np.uint32, np.int64, np.float16, np.float32, FLOAT8)
METHODS = ("gptq", "awq", "bitsandbytes", "compressed-tensors", "fp8", "mxfp4", "modelopt", None)


@given(data=st.data())
def test_any_heap_of_parts_gives_numbers_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    tensors = {}
    for suffix in data.draw(st.lists(st.sampled_from(SUFFIXES), unique=True, max_size=6)):
        shape = data.draw(st.lists(st.sampled_from([0, 1, 2, 4, 8, 16, 32, 64]), max_size=3))
        kind = data.draw(st.sampled_from(KINDS))
        tensors[f"layers.0.q.{suffix}"] = np.full(shape, data.draw(st.integers(0, 120)), np.int64).astype(kind)
    config = {
        "quant_method": data.draw(st.sampled_from(METHODS)),
        "format": data.draw(st.sampled_from(["pack-quantized", "int-quantized", "mxfp4-pack-quantized", None])),
        "bits": data.draw(st.sampled_from([0, 2, 3, 4, 8, -1, None])),
        "group_size": data.draw(st.sampled_from([0, 32, -1, 2**70, "32", None])),
        "weight_block_size": data.draw(st.sampled_from([None, [0, 1], [16, 16], "4x4", "x", [2**70, 1], {}])),
        "config_groups": data.draw(
            st.sampled_from([None, {}, [], {"a": 1}, {"a": {"weights": {"type": "int", "num_bits": 4}}}])
        ),
    }
    weights = open_written(tmp_path_factory.mktemp("heap"), tensors, config)
    for name, info in weights.tensors.items():
        if not info.is_readable or not info.shape[0]:
            continue
        try:
            rows = weights.rows(name, range(min(info.shape[0], 3)))
        except WeightsError as error:
            assert name.split(".")[2] in error.message
            continue
        assert rows.shape == (min(info.shape[0], 3), info.n_columns)
        assert weights.cost_bytes(name, 1) >= 0
        stored = weights.stored.get(name)
        # Codes never come out as they are stored, unless they are floats or a declared integer format.
        if stored and stored.dtype in {"U8", "I8", "I32", "U32"} and info.dtype == stored.dtype:
            assert (config["quant_method"], stored.dtype) == ("compressed-tensors", "I8")


def test_a_large_model_is_looked_through_quickly(tmp_path: Path) -> None:
    """A mixture of experts with 24,000 tensors; every one of them costs the same."""
    one = {"weight": np.ones((1, 2), FLOAT8), "weight_scale_inv": np.ones((1, 1), np.float32)}
    tensors = {
        f"layers.{layer}.experts.{expert}.up_proj.{suffix}": part
        for layer in range(30)
        for expert in range(400)
        for suffix, part in one.items()
    }
    start = time.process_time()
    weights = open_written(tmp_path, tensors, {"quant_method": "fp8", "weight_block_size": [128, 128]})
    assert len(weights.tensors) == 12_000
    # Takes about a second; quadratic work would take minutes.
    assert time.process_time() - start < 20
