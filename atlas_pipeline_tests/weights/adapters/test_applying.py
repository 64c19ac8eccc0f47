from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.weights import WeightsError, adapter_base_name, open_adapter, open_weights
from atlas_pipeline.weights.adapters.applying import AdapterWeights
from atlas_pipeline.weights.adapters.deltas import DeltaWeights
from atlas_pipeline.weights.opening import WeightFiles
from atlas_pipeline.weights.tensors import Meter
from atlas_pipeline_tests.weights.writing import random_matrix, write_gguf, write_json, write_lora, write_safetensors

BASE, ADAPTER = "birch/base", "alder/lora"
QUERY, OTHER = "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj"
W_QUERY, W_OTHER = random_matrix(24, 16, seed=1), random_matrix(12, 16, seed=2)
A, B = random_matrix(4, 16, seed=3), random_matrix(24, 4, seed=4)
PAIR = {f"base_model.model.{QUERY}.lora_A.weight": A, f"base_model.model.{QUERY}.lora_B.weight": B}
PRODUCT = B.astype(np.float64) @ A.astype(np.float64)
MAGNITUDES = f"base_model.model.{QUERY}.lora_magnitude_vector"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_safetensors(tmp_path, {f"{QUERY}.weight": W_QUERY, f"{OTHER}.weight": W_OTHER}, BASE)
    return tmp_path


@pytest.mark.parametrize(
    ("config", "scale", "kind"),
    [
        ({"lora_alpha": 8}, 8 / 4, "LoRA"),
        ({"lora_alpha": 8, "use_rslora": True}, 8 / 2, "rsLoRA"),
        ({"lora_alpha": 8, "r": 64}, 8 / 4, "LoRA"),
        ({"lora_alpha": 8, "alpha_pattern": {"self_attn.q_proj": 20}}, 20 / 4, "LoRA"),
        ({"lora_alpha": 8, "alpha_pattern": {QUERY: 20}}, 20 / 4, "LoRA"),
        ({"lora_alpha": 8, "alpha_pattern": {r"self_attn\.q_proj$": 20}}, 20 / 4, "LoRA"),
        ({"lora_alpha": 8, "alpha_pattern": {f"^{QUERY}": 20}}, 20 / 4, "LoRA"),
        ({"lora_alpha": 8, "alpha_pattern": {"^layers.0.self_attn.q_proj": 20}}, 8 / 4, "LoRA"),
        ({"lora_alpha": 8, "alpha_pattern": {"k_proj": 20, "q_proj": 3, QUERY: 20}}, 3 / 4, "LoRA"),
        ({"lora_alpha": 8, "alpha_pattern": {"proj": 20}}, 8 / 4, "LoRA"),
        ({"lora_alpha": 8, "init_lora_weights": "gaussian"}, 8 / 4, "LoRA"),
        ({"lora_alpha": 8, "init_lora_weights": "eva"}, 8 / 4, "LoRA"),
        ({"lora_alpha": -3.5}, -3.5 / 4, "LoRA"),
    ],
)
def test_rows_are_base_plus_scaled_product(root: Path, config: dict[str, Any], scale: float, kind: str) -> None:
    write_lora(root, ADAPTER, PAIR, base=BASE, **config)
    weights = _applied(root)
    rows = [23, 0, 7, 7]
    expected = (W_QUERY.astype(np.float64) + scale * PRODUCT).astype(np.float32)
    np.testing.assert_array_equal(weights.rows(f"{QUERY}.weight", rows), expected[rows])
    np.testing.assert_array_equal(weights.rows(f"{OTHER}.weight", [3]), W_OTHER[[3]])
    assert (weights.format, weights.base_id, weights.is_delta) == ("adapter", BASE, False)
    assert (weights.adapter_kind, weights.rank, weights.unmatched) == (kind, 4, ())
    assert (weights.quantization, weights.is_quantized) == (None, False)
    assert weights.bytes_total == (root / ADAPTER / "adapter_model.safetensors").stat().st_size
    with pytest.raises(IndexError):
        weights.rows(f"{QUERY}.weight", [24])
    with pytest.raises(KeyError):
        weights.rows("other.weight", [0])


@pytest.mark.parametrize("adapter", ["default", "weight", "my-adapter"])
def test_files_that_keep_the_adapters_name(root: Path, adapter: str) -> None:
    named = {name.replace(".weight", f".{adapter}.weight"): value for name, value in PAIR.items()}
    write_lora(root, ADAPTER, named, base=BASE)
    expected = W_QUERY.astype(np.float64) + 2 * PRODUCT
    np.testing.assert_array_equal(_applied(root).rows(f"{QUERY}.weight", range(24)), expected.astype(np.float32))


@pytest.mark.parametrize("declared", [True, False])
def test_layers_that_store_inputs_first(root: Path, declared: bool) -> None:
    stored = random_matrix(16, 24, seed=9)
    write_safetensors(root, {"transformer.h.0.attn.c_attn.weight": stored}, "birch/conv")
    name = "base_model.model.transformer.h.0.attn.c_attn"
    write_lora(
        root,
        ADAPTER,
        {f"{name}.lora_A.weight": A, f"{name}.lora_B.weight": B},
        base="birch/conv",
        fan_in_fan_out=declared,
    )
    rows = _applied(root).rows("transformer.h.0.attn.c_attn.weight", [15, 2])
    np.testing.assert_array_equal(rows, (stored.astype(np.float64) + 2 * PRODUCT.T).astype(np.float32)[[15, 2]])


@pytest.mark.parametrize("declared", [True, False])
def test_a_square_matrix_takes_the_configurations_word(root: Path, declared: bool) -> None:
    stored, b = random_matrix(16, 16, seed=9), random_matrix(16, 4, seed=10)
    write_safetensors(root, {"h.0.c_proj.weight": stored}, "birch/conv")
    pair = {"base_model.model.h.0.c_proj.lora_A.weight": A, "base_model.model.h.0.c_proj.lora_B.weight": b}
    write_lora(root, ADAPTER, pair, base="birch/conv", fan_in_fan_out=declared)
    product = b.astype(np.float64) @ A.astype(np.float64)
    expected = stored.astype(np.float64) + 2 * (product.T if declared else product)
    rows = _applied(root).rows("h.0.c_proj.weight", range(16))
    np.testing.assert_allclose(rows, expected, rtol=1e-6)


def test_a_gguf_base_meets_by_canonical_names(root: Path) -> None:
    write_gguf(root, {"blk.0.attn_q.weight": (random_matrix(24, 32), Kind.Q8_0)}, "birch/quantised")
    a = random_matrix(4, 32, seed=5)
    pair = {f"base_model.model.{QUERY}.lora_A.weight": a, f"base_model.model.{QUERY}.lora_B.weight": B}
    write_lora(root, ADAPTER, pair, base="birch/quantised")
    repository = FolderRepository(root)
    base = open_weights(repository, "birch/quantised").rows("blk.0.attn_q.weight", [3]).astype(np.float64)
    weights = _applied(root)
    np.testing.assert_array_equal(
        weights.rows("blk.0.attn_q.weight", [3]),
        (base + 2 * (B[[3]].astype(np.float64) @ a.astype(np.float64))).astype(np.float32),
    )
    assert not weights.is_quantized


def test_whole_tensors_replace_those_of_the_base(root: Path) -> None:
    changed = random_matrix(12, 16, seed=7)
    extra = {
        f"base_model.model.{OTHER}.weight": changed,
        "base_model.model.score.weight": random_matrix(2, 16),
        f"base_model.model.{QUERY}.lora_B.bias": np.ones(24, np.float32),
    }
    write_lora(root, ADAPTER, PAIR | extra, base=BASE)
    weights = _applied(root)
    np.testing.assert_array_equal(weights.rows(f"{OTHER}.weight", [11, 0]), changed[[11, 0]])
    assert set(weights.tensors) == {f"{QUERY}.weight", f"{OTHER}.weight"}
    assert weights.unmatched == (
        "base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias",
        "base_model.model.score.weight",
    )


@pytest.mark.parametrize("wrapper", [".", ".modules_to_save.", ".modules_to_save.default."])
def test_a_resized_embedding_takes_the_bases_place(root: Path, wrapper: str) -> None:
    write_safetensors(root, {f"{QUERY}.weight": W_QUERY, "model.embed_tokens.weight": random_matrix(6, 16)}, BASE)
    larger = random_matrix(9, 16, seed=8)
    write_lora(root, ADAPTER, PAIR | {f"base_model.model.model.embed_tokens{wrapper}weight": larger}, base=BASE)
    weights = _applied(root)
    assert weights.tensors["model.embed_tokens.weight"].shape == (9, 16)
    np.testing.assert_array_equal(weights.rows("model.embed_tokens.weight", [8]), larger[[8]])


def test_a_head_that_shares_the_embedding_is_left_out(root: Path) -> None:
    head = {f"base_model.model.lm_head.lora_{side}.weight": value for side, value in (("A", A), ("B", B))}
    write_lora(root, ADAPTER, PAIR | head, base=BASE)
    assert _applied(root).unmatched == ("lm_head.weight",)


def test_the_documented_base_comes_first(root: Path) -> None:
    other = {f"{QUERY}.weight": W_QUERY + 1, f"{OTHER}.weight": W_OTHER}
    write_safetensors(root, other, "birch/other")
    write_lora(root, ADAPTER, PAIR, base=BASE)
    repository = FolderRepository(root)
    assert adapter_base_name(repository, ADAPTER) == BASE
    assert adapter_base_name(repository, BASE) is None
    assert open_adapter(repository, ADAPTER).base_id == BASE
    assert open_adapter(repository, ADAPTER, base_ids=["birch/other"]).base_id == "birch/other"
    assert open_adapter(repository, ADAPTER, base_ids=["birch/gone"]).base_id == BASE


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({f"{QUERY}.weight": W_QUERY[:, :8], f"{OTHER}.weight": W_OTHER}, "does not fit"),
        ({"model.layers.0.self_attn.k_proj.weight": W_QUERY}, "none of the modules"),
        ({f"{QUERY}.weight": W_QUERY.astype(np.int32)}, "is stored as I32"),
        ({f"{QUERY}.weight": W_QUERY.reshape(24, 4, 4)}, "does not fit"),
    ],
)
def test_a_base_that_does_not_fit_is_passed_over(root: Path, tensors: dict[str, np.ndarray], words: str) -> None:
    write_safetensors(root, tensors, "birch/other")
    write_lora(root, ADAPTER, PAIR, base="birch/other")
    repository = FolderRepository(root)
    assert open_adapter(repository, ADAPTER, base_ids=["birch/other", BASE]).base_id == BASE
    alone = open_adapter(repository, ADAPTER)
    assert isinstance(alone, DeltaWeights)
    assert words in alone.base_flaw
    assert "birch/other" in alone.base_flaw


@pytest.mark.parametrize(
    ("tensors", "config", "words"),
    [
        (PAIR, {"peft_type": "LOHA"}, "LOHA"),
        (PAIR, {"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING"),
        (PAIR, {"peft_type": None}, "peft_type"),
        (PAIR, {"peft_type": ["LORA"]}, "LORA"),
        (PAIR, {"init_lora_weights": "pissa_niter_4"}, "pissa"),
        (PAIR, {"init_lora_weights": "loftq"}, "loftq"),
        (PAIR, {"target_parameters": ["w"]}, "parameters"),
        (PAIR, {"layer_replication": [[0, 4], [2, 5]]}, "repeats layers"),
        (PAIR, {"use_qalora": True}, "QALoRA"),
        (PAIR, {"alora_invocation_tokens": [1]}, "activated"),
        (PAIR, {"kasa_config": {}, "arrow_config": {"top_k": 3}}, "routes"),
        (PAIR, {"alpha_pattern": {"(a+)+$": 3}}, "alpha_pattern"),
        (PAIR, {"alpha_pattern": {".*q_proj": 3}}, "alpha_pattern"),
        (PAIR, {"alpha_pattern": [1]}, "alpha_pattern"),
        (PAIR, {"alpha_pattern": {"q_proj": "3"}}, "alpha_pattern"),
        (PAIR, {"lora_alpha": "8"}, "lora_alpha"),
        (PAIR, {"lora_alpha": True}, "lora_alpha"),
        (PAIR, {"lora_alpha": 10**60}, "lora_alpha"),
        (PAIR | {MAGNITUDES: np.ones((24, 2), np.float32)}, {}, "magnitudes"),
        (PAIR | {f"base_model.model.{QUERY}.lora_diag": np.ones(4, np.float32)}, {}, "lora_diag"),
        (PAIR | {f"base_model.model.{OTHER}.hada_w1_a": A}, {}, "LoHa"),
        (
            PAIR | {name.replace(".weight", ".b.weight"): value for name, value in PAIR.items()},
            {},
            "for the same purpose",
        ),
        (
            {name.replace(".weight", f".{name[-8].lower()}.weight"): value for name, value in PAIR.items()},
            {},
            "several adapters",
        ),
        ({name: value for name, value in PAIR.items() if "lora_A" in name}, {}, "only one of A and B"),
        ({name: value.T.copy() for name, value in PAIR.items()}, {}, "no product"),
        ({name: value[:, :0] if "lora_B" in name else value[:0] for name, value in PAIR.items()}, {}, "no product"),
        ({name: value.astype(np.int32) for name, value in PAIR.items()}, {}, "stored as I32"),
        ({f"base_model.model.{QUERY}.ia3_l": A}, {}, "beside other changes"),
        ({MAGNITUDES: np.ones(24, np.float32)}, {}, "without A and B"),
        ({"base_model.model.score.weight": A}, {}, "no tensor"),
        ({"base_model.model.score.weight": A}, {"peft_type": "IA3"}, "no tensor"),
        (PAIR, {"peft_type": "IA3"}, "no IA3 factors"),
    ],
)
def test_adapters_that_are_not_read(
    root: Path, tensors: dict[str, np.ndarray], config: dict[str, Any], words: str
) -> None:
    write_lora(root, ADAPTER, tensors, base=BASE, **config)
    _fails(root, "unsupported_adapter", words)


def test_a_rank_beyond_use_is_not_read(root: Path) -> None:
    wide = {
        name: np.zeros((5000, 2) if "lora_A" in name else (2, 5000), np.float16) for name in PAIR
    }  # fmt: skip
    write_lora(root, ADAPTER, wide, base=BASE)
    _fails(root, "unsupported_adapter", "rank up to")


def test_broken_adapter_configs(root: Path) -> None:
    write_lora(root, ADAPTER, PAIR, base=BASE)
    for content in ("{", "[]", '{"peft_type": "LORA", "peft_type": "LORA"}'):
        (root / ADAPTER / "adapter_config.json").write_text(content)
        _fails(root, "unsupported_adapter", ADAPTER)
    with pytest.raises(WeightsError, match="no file that holds an adapter"):
        open_adapter(FolderRepository(root), BASE)
    write_json(root, "adapter_config.json", {"peft_type": "LORA", "lora_alpha": 8}, BASE)
    with pytest.raises(WeightsError, match="no file that holds an adapter"):
        open_adapter(FolderRepository(root), BASE)


@pytest.mark.parametrize("n_magnitudes", [24, 16])
def test_dora_needs_a_base_that_fits(root: Path, n_magnitudes: int) -> None:
    tensors = PAIR | {MAGNITUDES: np.ones(n_magnitudes, np.float32)}
    write_lora(root, ADAPTER, tensors, base=BASE if n_magnitudes != 24 else "birch/gone", use_dora=True)
    _fails(root, "missing_base", "16 factors do not fit" if n_magnitudes == 16 else "birch/gone")


def test_a_zero_row_of_dora_is_not_finite_and_no_warning(root: Path) -> None:
    write_safetensors(root, {f"{QUERY}.weight": np.zeros((24, 16), np.float32)}, BASE)
    zero = {name: np.zeros_like(value) for name, value in PAIR.items()}
    write_lora(root, ADAPTER, zero | {MAGNITUDES: np.ones(24, np.float32)}, base=BASE, use_dora=True)
    assert np.isnan(_applied(root).rows(f"{QUERY}.weight", [1])).all()


def test_bytes_of_adapter_and_base_count_together_and_are_limited(root: Path) -> None:
    write_lora(root, ADAPTER, PAIR, base=BASE)
    meter = Meter()
    weights = open_adapter(FolderRepository(root), ADAPTER, meter=meter)
    opened = meter.bytes_read
    weights.rows(f"{QUERY}.weight", [1, 2])
    assert meter.bytes_read - opened == weights.cost_bytes(f"{QUERY}.weight", 2) == 2 * 16 * 4 + A.nbytes + 2 * 4 * 4
    with pytest.raises(WeightsError) as caught:
        open_adapter(FolderRepository(root), ADAPTER, meter=Meter(opened - 1))
    assert caught.value.status == "over_budget"


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    rank=st.integers(1, 12),
    alpha=st.floats(-100, 100),
    is_stable=st.booleans(),
    data=st.data(),
)
def test_any_low_rank_change(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    shape: tuple[int, int],
    rank: int,
    alpha: float,
    is_stable: bool,
    data: st.DataObject,
) -> None:
    root = tmp_path_factory.mktemp("repository")
    base, a, b = random_matrix(*shape, seed=1), random_matrix(rank, shape[1]), random_matrix(shape[0], rank, seed=2)
    write_safetensors(root, {f"{QUERY}.weight": base}, BASE)
    write_lora(root, ADAPTER, dict(zip(PAIR, (a, b), strict=True)), base=BASE, lora_alpha=alpha, use_rslora=is_stable)
    rows = data.draw(st.lists(st.integers(0, shape[0] - 1), max_size=12))
    change = alpha / (np.sqrt(rank) if is_stable else rank) * (b.astype(np.float64) @ a.astype(np.float64))
    # One rounding to float32 of a result that has the size of its terms.
    size = np.abs(change).max() + np.abs(base).max()
    repository = FolderRepository(root)
    applied = open_adapter(repository, ADAPTER)
    np.testing.assert_allclose(applied.rows(f"{QUERY}.weight", rows), (base + change)[rows], rtol=0, atol=1e-7 * size)
    (root / BASE / "model.safetensors").unlink()
    alone = open_adapter(repository, ADAPTER)
    assert alone.is_delta
    np.testing.assert_allclose(
        alone.rows("layers.0.self_attn.q_proj.weight", rows), change[rows], rtol=0, atol=1e-7 * size
    )


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=2),
    max_leaves=4,
)
_FIELDS = (
    "lora_alpha",
    "alpha_pattern",
    "use_rslora",
    "fan_in_fan_out",
    "init_lora_weights",
    "feedforward_modules",
    "base_model_name_or_path",
)
_TAILS = ("lora_A.weight", "lora_B.weight", "lora_embedding_A", "lora_embedding_B", "lora_up.weight", "lora_mid.weight")
_TAILS += ("lora_down.weight", "alpha", "dora_scale", "lora_magnitude_vector", "ia3_l", "diff", "weight", "lora_x.y")


@given(
    config=st.none()
    | st.fixed_dictionaries(
        {"peft_type": st.sampled_from(["LORA", "IA3", None, 3])}, optional=dict.fromkeys(_FIELDS, _JSON)
    ),
    shapes=st.dictionaries(
        st.tuples(
            st.sampled_from([f"base_model.model.{QUERY}", "lora_unet_x_0_y", "unet.x", OTHER]), st.sampled_from(_TAILS)
        ),
        st.lists(st.sampled_from([0, 1, 2, 4, 12, 16, 24]), max_size=4),
        max_size=6,
    ),
)
def test_anything_is_a_model_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, config: dict[str, Any] | None, shapes: dict[tuple[str, str], list[int]]
) -> None:
    root = tmp_path_factory.mktemp("repository")
    write_safetensors(root, {f"{QUERY}.weight": W_QUERY, f"{OTHER}.weight": W_OTHER}, BASE)
    tensors = {".".join(name): np.ones(shape, np.float32) for name, shape in shapes.items()}
    write_safetensors(root, tensors, ADAPTER, file="adapter_model.safetensors")
    if config is not None:
        write_json(root, "adapter_config.json", config, ADAPTER)
    repository = FolderRepository(root)
    found = WeightFiles("adapter", tuple(e for e in repository.files(ADAPTER) if e.path.endswith(".safetensors")))
    try:
        weights = open_adapter(repository, ADAPTER, base_ids=[BASE], found=found)
        for name, info in weights.tensors.items():
            assert weights.rows(name, [info.shape[0] - 1]).shape == (1, info.n_columns)
            assert weights.cost_bytes(name, 1) > 0
    except WeightsError as error:
        assert error.message.endswith(".")
        assert ADAPTER in error.message or BASE in error.message


def _applied(root: Path) -> AdapterWeights:
    weights = open_adapter(FolderRepository(root), ADAPTER)
    assert isinstance(weights, AdapterWeights), weights.base_flaw
    return weights


def _fails(root: Path, status: str, words: str = "") -> None:
    repository = FolderRepository(root)
    found = WeightFiles("adapter", tuple(e for e in repository.files(ADAPTER) if e.path.endswith(".safetensors")))
    with pytest.raises(WeightsError) as caught:
        open_adapter(repository, ADAPTER, found=found)
    assert caught.value.status == status
    assert words in caught.value.message
    assert ADAPTER in caught.value.message
