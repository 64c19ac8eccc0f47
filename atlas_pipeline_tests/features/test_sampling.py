import hashlib
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from atlas_pipeline.features.sampling import SAMPLED_SCHEMA, ModelToSample, Sampled, SampledModel, sample_models
from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline_tests.weights.writing import write_gguf, write_json, write_lora, write_raw, write_safetensors

LAYERS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj")


def _model(
    seed: int = 0, *, prefix: str = "model.", vocabulary: int = 20, dtype: type = np.float32
) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    tensors = {
        f"{prefix}layers.{layer}.{part}.weight": generator.standard_normal((32, 32))
        for layer in range(2)
        for part in LAYERS
    }
    tensors[f"{prefix}embed_tokens.weight"] = generator.standard_normal((vocabulary, 32))
    tensors[f"{prefix}norm.weight"] = generator.standard_normal(32)
    return {name: (tensor * 0.1).astype(dtype) for name, tensor in tensors.items()}


def _sample(root: Path, *model_ids: str | ModelToSample, previous: Sampled | None = None, **options: int) -> Sampled:
    models = [model if isinstance(model, ModelToSample) else ModelToSample(model) for model in model_ids]
    return sample_models(FolderRepository(root), models, previous=previous, **{"n_neurons": 20, **options})


def _vector(sampled: Sampled, model_id: str) -> np.ndarray:
    row = next(row for row in sampled.rows if row.model_id == model_id)
    assert row.status == "ok", row.error
    assert row.vector_group is not None
    group = sampled.groups[row.vector_group]
    return np.asarray(group.vectors[group.model_ids.index(model_id)])


def _row(sampled: Sampled, model_id: str) -> SampledModel:
    return next(row for row in sampled.rows if row.model_id == model_id)


def test_vectors_are_the_planned_rows(tmp_path: Path) -> None:
    tensors = _model()
    path = write_safetensors(tmp_path, tensors, "a/source")
    sampled = _sample(tmp_path, "a/source")
    (group,) = sampled.groups.values()
    expected = [tensors[f"model.{tensor.canonical}"][list(tensor.rows)].reshape(-1) for tensor in group.plan.tensors]
    np.testing.assert_array_equal(group.vectors[0], np.concatenate(expected))
    assert group.vectors.dtype == np.float32
    assert group.vectors.shape == (1, 20 * 32) == (1, group.plan.n_dimensions)
    assert len(group.plan.tensors) == 6
    row = sampled.rows[0]
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert row == SampledModel(
        "a/source",
        "ok",
        format="safetensors",
        bytes_read=header + 20 * 32 * 4,
        bytes_total=path.stat().st_size,
        n_neurons=20,
        is_quantized=False,
        content_sha256=digest,
        content_key=row.content_key,
        vector_group=group.plan.vector_group,
    )


def test_other_models_never_change_a_vector(tmp_path: Path) -> None:
    for seed, model_id in enumerate(["a/one", "b/two", "c/three"]):
        write_safetensors(tmp_path, _model(seed), model_id)
    write_safetensors(tmp_path, {"0.weight": np.ones((4, 4), np.float32)}, "z/other")
    write_raw(tmp_path, b"broken", "y/broken")
    together = _sample(tmp_path, "z/other", "c/three", "y/broken", "b/two", "a/one")
    for model_id in ("a/one", "b/two", "c/three"):
        alone = _sample(tmp_path, model_id)
        np.testing.assert_array_equal(_vector(alone, model_id), _vector(together, model_id))
        assert _row(alone, model_id) == _row(together, model_id)
    assert sorted(len(group.model_ids) for group in together.groups.values()) == [1, 3]


def test_relatives_in_every_disguise_meet_in_one_group(tmp_path: Path) -> None:
    source = _model()
    write_safetensors(tmp_path, source, "a/source")
    write_safetensors(tmp_path, {name.removeprefix("model."): tensor for name, tensor in source.items()}, "b/renamed")
    write_safetensors(tmp_path, _model(vocabulary=25) | {"score.weight": np.ones((3, 32), np.float32)}, "c/headed")
    write_safetensors(tmp_path, _model(dtype=np.float16), "d/halved")
    write_gguf(tmp_path, {_gguf_name(name): (value, Kind.F16) for name, value in source.items()}, "e/gguf-f16")
    write_gguf(tmp_path, {_gguf_name(name): (value, _kind(value)) for name, value in source.items()}, "f/gguf-q8")
    write_safetensors(tmp_path, _int8(source), "g/int8")
    first, *second = source.items()
    write_safetensors(tmp_path, dict([first]), "h/sharded", file="model-00001-of-00002.safetensors")
    write_safetensors(tmp_path, dict(second), "h/sharded", file="model-00002-of-00002.safetensors")
    models = ["a/source", "b/renamed", "c/headed", "d/halved", "e/gguf-f16", "f/gguf-q8", "g/int8", "h/sharded"]
    sampled = _sample(tmp_path, *models)
    (group,) = sampled.groups.values()
    assert list(group.model_ids) == models
    reference = group.vectors[0]
    for model_id, bound in zip(models, [0, 0, 0, 3e-4, 3e-4, 2e-2, 2e-2, 0], strict=True):
        error = np.linalg.norm(_vector(sampled, model_id) - reference) / np.linalg.norm(reference)
        assert error <= bound, model_id
        assert (error == 0) == (bound == 0), model_id
    assert [row.is_quantized for row in sampled.rows] == [False] * 5 + [True, True, False]
    assert [row.format for row in sampled.rows] == ["safetensors"] * 4 + ["gguf"] * 2 + ["safetensors"] * 2


def _gguf_name(name: str) -> str:
    parts = {"self_attn.q_proj": "attn_q", "self_attn.v_proj": "attn_v", "mlp.up_proj": "ffn_up"}
    _, _, rest = name.partition("model.layers.")
    if not rest:
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]
    layer, _, part = rest.removesuffix(".weight").partition(".")
    return f"blk.{layer}.{parts[part]}.weight"


def _kind(tensor: np.ndarray) -> Kind:
    return Kind.Q8_0 if tensor.ndim == 2 else Kind.F32


def _int8(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    stored = dict(tensors)
    for name, tensor in tensors.items():
        if "layers" in name:
            scale = np.abs(tensor).max(axis=1)
            stored[name] = np.rint(tensor / scale[:, None] * 127).astype(np.int8)
            stored[name.replace(".weight", ".SCB")] = scale
    return stored


def test_an_adapter_is_its_base_plus_the_change(tmp_path: Path) -> None:
    source = _model()
    write_safetensors(tmp_path, source, "a/source")
    module = "model.layers.1.self_attn.v_proj"
    generator = np.random.default_rng(5)
    a, b = (generator.standard_normal(shape).astype(np.float32) for shape in ((4, 32), (32, 4)))
    pair = {f"base_model.model.{module}.lora_A.weight": a, f"base_model.model.{module}.lora_B.weight": b}
    write_lora(tmp_path, "b/lora", pair, base="a/source")
    merged = source | {
        f"{module}.weight": (source[f"{module}.weight"] + 2.0 * (b.astype(np.float64) @ a)).astype(np.float32)
    }
    write_safetensors(tmp_path, merged, "c/merged")
    sampled = _sample(tmp_path, "a/source", "b/lora", "c/merged")
    assert len(sampled.groups) == 1
    np.testing.assert_array_equal(_vector(sampled, "b/lora"), _vector(sampled, "c/merged"))
    assert not np.array_equal(_vector(sampled, "b/lora"), _vector(sampled, "a/source"))
    row = _row(sampled, "b/lora")
    assert (row.format, row.is_quantized) == ("adapter", False)
    assert (
        row.content_sha256 == hashlib.sha256((tmp_path / "b/lora/adapter_model.safetensors").read_bytes()).hexdigest()
    )


def test_an_adapter_takes_the_documented_base_and_misses_an_unknown_one(tmp_path: Path) -> None:
    write_safetensors(tmp_path, _model(), "a/source")
    module = "model.layers.1.self_attn.v_proj"
    pair = {f"base_model.model.{module}.lora_A.weight": np.ones((4, 32), np.float32)}
    pair[f"base_model.model.{module}.lora_B.weight"] = np.ones((32, 4), np.float32)
    write_lora(tmp_path, "b/lora", pair, base="/home/someone/checkpoint")
    assert _row(_sample(tmp_path, "b/lora"), "b/lora").status == "missing_base"
    assert _row(_sample(tmp_path, ModelToSample("b/lora", "a/source")), "b/lora").status == "ok"


def test_failures_are_rows_and_the_rest_is_read(tmp_path: Path) -> None:
    write_safetensors(tmp_path, _model(), "a/source")
    not_finite = _model()
    for name in not_finite:
        not_finite[name][:] = np.nan
    write_safetensors(tmp_path, not_finite, "b/nan")
    write_safetensors(tmp_path, {name: np.full_like(value, np.inf) for name, value in _model().items()}, "b/inf")
    write_raw(tmp_path, b"\0\0", "c/short")
    write_raw(tmp_path, (2**63).to_bytes(8, "little") + b"{}", "c/liar")
    write_raw(tmp_path, b"pickle", "d/pickle", file="pytorch_model.bin")
    write_json(tmp_path, "config.json", {}, "e/empty")
    write_lora(tmp_path, "f/loha", {"x.lora_A.weight": np.ones((4, 4), np.float32)}, base="a/source", peft_type="LOHA")
    write_safetensors(tmp_path, {"layers.0.q.weight": np.zeros((64, 1), np.uint8)}, "g/packed")
    (tmp_path / "h" / "leads-out").mkdir(parents=True)
    (tmp_path / "h" / "leads-out" / "model.safetensors").symlink_to("/etc/hostname")
    calls: list[tuple[int, int, str]] = []
    expected = {
        "b/nan": "not_finite",
        "b/inf": "not_finite",
        "c/short": "truncated",
        "c/liar": "invalid_header",
        "d/pickle": "unsupported_format",
        "e/empty": "no_weights",
        "e/missing": "no_weights",
        "f/loha": "unsupported_adapter",
        "g/packed": "unsupported_format",
        "h/leads-out": "unreadable",
        "../evil": "unreadable",
        "a/source": "ok",
    }
    sampled = sample_models(
        FolderRepository(tmp_path),
        [ModelToSample(model_id) for model_id in expected],
        n_neurons=20,
        progress=lambda done, total, model_id: calls.append((done, total, model_id)),
    )
    assert {row.model_id: row.status for row in sampled.rows} == expected
    for row in sampled.rows[:-1]:
        assert row.error is not None
        assert row.model_id in row.error
        assert row.vector_group is row.n_neurons is None
    (group,) = sampled.groups.values()
    assert group.model_ids == ("a/source",)
    assert calls == [(number, len(expected), model_id) for number, model_id in enumerate(expected, start=1)]
    assert _row(sampled, "d/pickle").content_sha256 == hashlib.sha256(b"pickle").hexdigest()
    table = sampled.table()
    assert table.schema.equals(SAMPLED_SCHEMA)
    assert table.column("status").to_pylist() == list(expected.values())


def test_equal_files_have_equal_digests_whatever_they_are_called(tmp_path: Path) -> None:
    write_safetensors(tmp_path, _model(), "a/source")
    write_safetensors(tmp_path, _model(), "b/copy", file="weights.safetensors")
    write_safetensors(tmp_path, _model(1), "c/other")
    rows = _sample(tmp_path, "a/source", "b/copy", "c/other").rows
    assert rows[0].content_sha256 == rows[1].content_sha256 != rows[2].content_sha256


def test_a_model_with_fewer_neurons_gives_all(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"encoder.weight": np.ones((3, 4), np.float32)}, "a/tiny")
    sampled = _sample(tmp_path, "a/tiny", n_neurons=100)
    assert sampled.rows[0].n_neurons == 3
    assert _vector(sampled, "a/tiny").shape == (12,)


class _Counting(FolderRepository):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.opened: list[str] = []

    def read(self, model_id: str, path: str, start: int, stop: int) -> bytes:
        if path.endswith(".safetensors"):
            self.opened.append(model_id)
        return super().read(model_id, path, start, stop)


def test_unchanged_models_are_not_read_again(tmp_path: Path) -> None:
    for seed, model_id in enumerate(["a/source", "b/changes"]):
        write_safetensors(tmp_path, _model(seed), model_id)
    module = "model.layers.1.self_attn.v_proj"
    pair = {f"base_model.model.{module}.lora_A.weight": np.ones((4, 32), np.float32)}
    pair[f"base_model.model.{module}.lora_B.weight"] = np.ones((32, 4), np.float32)
    write_lora(tmp_path, "c/lora", pair, base="b/changes")
    models = [ModelToSample(model_id) for model_id in ("a/source", "b/changes", "c/lora")]
    first = sample_models(FolderRepository(tmp_path), models, n_neurons=20)
    write_safetensors(tmp_path, _model(7), "b/changes")
    write_safetensors(tmp_path, _model(8), "d/new")
    models.append(ModelToSample("d/new"))
    repository = _Counting(tmp_path)
    resumed = sample_models(repository, models, n_neurons=20, previous=first)
    # The adapter is read again because its base has changed.
    assert set(repository.opened) == {"b/changes", "c/lora", "d/new"}
    fresh = sample_models(FolderRepository(tmp_path), models, n_neurons=20)
    _assert_equal(resumed, fresh)
    other_seed = sample_models(FolderRepository(tmp_path), models, n_neurons=20, seed=1, previous=fresh)
    _assert_equal(other_seed, sample_models(FolderRepository(tmp_path), models, n_neurons=20, seed=1))


def test_a_changed_config_is_noticed(tmp_path: Path) -> None:
    write_safetensors(tmp_path, _model(), "a/source")
    first = _sample(tmp_path, "a/source")
    write_json(tmp_path, "config.json", {"quantization_config": {"quant_method": "gptq"}}, "a/source")
    assert _sample(tmp_path, "a/source", previous=first).rows[0].is_quantized


def _assert_equal(one: Sampled, other: Sampled) -> None:
    assert one.rows == other.rows
    assert one.groups.keys() == other.groups.keys()
    for name, group in one.groups.items():
        assert group.plan == other.groups[name].plan
        assert group.model_ids == other.groups[name].model_ids
        assert group.vectors.tobytes() == other.groups[name].vectors.tobytes()


def test_misuse(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="twice"):
        _sample(tmp_path, "a/b", "a/b")
    with pytest.raises(ValueError, match="neuron"):
        _sample(tmp_path, n_neurons=0)
    assert _sample(tmp_path).groups == {}
