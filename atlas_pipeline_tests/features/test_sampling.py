import hashlib
import threading
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from atlas_pipeline.features.reading import FREE_BYTES, ModelToSample, SampledModel
from atlas_pipeline.features.sampling import Sampled, sample_models
from atlas_pipeline.repositories import FolderRepository, Repository
from atlas_pipeline_tests.weights.writing import (
    random_matrix,
    write_gguf,
    write_json,
    write_lora,
    write_raw,
    write_safetensors,
)

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


def _sample(
    root: Path, *model_ids: str | ModelToSample, repository: Repository | None = None, **options: int
) -> Sampled:
    models = [model if isinstance(model, ModelToSample) else ModelToSample(model) for model in model_ids]
    folder = Path(mkdtemp(dir=root.parent))
    return sample_models(repository or FolderRepository(root), models, folder, **{"n_neurons": 20, **options})


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
    shapes = ((name.removeprefix("model."), list(tensor.shape)) for name, tensor in tensors.items())
    listed = ", ".join(f'["{name}", {", ".join(map(str, shape))}]' for name, shape in sorted(shapes))
    assert row == SampledModel(
        model_id="a/source",
        status="ok",
        format="safetensors",
        weights_file="model.safetensors",
        bytes_read=header + 20 * 32 * 4,
        bytes_total=path.stat().st_size,
        n_neurons=20,
        n_tensors=8,
        n_parameters=6 * 32 * 32 + 20 * 32 + 32,
        vocabulary_size=20,
        dtypes="F32",
        is_quantized=False,
        shapes_sha256=hashlib.sha256(f"[{listed}]".encode()).hexdigest(),
        sampled_sha256=hashlib.sha256(np.concatenate(expected).tobytes()).hexdigest(),
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
    assert (row.format, row.is_quantized, row.is_delta) == ("adapter", False, False)
    assert (row.base_id, row.adapter_kind, row.adapter_rank) == ("a/source", "LoRA", 4)


def test_an_adapter_takes_the_documented_base_and_stands_alone_without_one(tmp_path: Path) -> None:
    write_safetensors(tmp_path, _model(), "a/source")
    module = "model.layers.1.self_attn.v_proj"
    a, b = np.ones((4, 32), np.float32), np.ones((32, 4), np.float32)
    pair = {f"base_model.model.{module}.lora_A.weight": a, f"base_model.model.{module}.lora_B.weight": b}
    write_lora(tmp_path, "b/lora", pair, base="/home/someone/checkpoint")
    alone = _sample(tmp_path, "b/lora")
    row = _row(alone, "b/lora")
    assert (row.status, row.is_delta, row.base_id, row.adapter_rank) == ("ok", True, None, 4)
    (group,) = alone.groups.values()
    assert group.plan.vector_group.endswith("-changes")
    assert [tensor.canonical for tensor in group.plan.tensors] == ["layers.1.self_attn.v_proj.weight"]
    np.testing.assert_allclose(group.vectors, 2.0 * 4.0)
    row = _row(_sample(tmp_path, ModelToSample("b/lora", "a/source")), "b/lora")
    assert (row.status, row.is_delta, row.base_id) == ("ok", False, "a/source")


def test_a_lora_file_without_a_config_is_known_by_its_names(tmp_path: Path) -> None:
    flat = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    generator = np.random.default_rng(1)
    up, down = (generator.standard_normal(shape).astype(np.float32) for shape in ((32, 2), (2, 32)))
    pair = {f"{flat}.lora_up.weight": up, f"{flat}.lora_down.weight": down, f"{flat}.alpha": np.array(1, np.float32)}
    write_safetensors(tmp_path, pair, "a/style", file="style.safetensors")
    unet = {"down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight": np.zeros((32, 32), np.float32)}
    write_safetensors(tmp_path, unet, "b/unet", file="unet/diffusion_pytorch_model.safetensors")
    alone = _row(_sample(tmp_path, "a/style"), "a/style")
    assert (alone.status, alone.is_delta, alone.adapter_kind, alone.adapter_rank) == ("ok", True, "LoRA (kohya)", 2)
    sampled = _sample(tmp_path, ModelToSample("a/style", "b/unet"), "b/unet")
    (group,) = sampled.groups.values()
    rows = list(group.plan.tensors[0].rows)
    np.testing.assert_allclose(_vector(sampled, "a/style"), (0.5 * up @ down)[rows].reshape(-1), rtol=1e-5)


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
        "d/pickle": "invalid_header",
        "e/empty": "no_weights",
        "e/missing": "not_found",
        "f/loha": "unsupported_adapter",
        "g/packed": "unsupported_format",
        "h/leads-out": "unreadable",
        "../evil": "unreadable",
        "a/source": "ok",
    }
    (folder := tmp_path.parent / "vectors").mkdir()
    sampled = sample_models(
        FolderRepository(tmp_path),
        [ModelToSample(model_id) for model_id in expected],
        folder,
        n_neurons=20,
        progress=lambda done, total, model_id: calls.append((done, total, model_id)),
    )
    assert {row.model_id: row.status for row in sampled.rows} == expected
    for row in sampled.rows[:-1]:
        assert row.error is not None
        assert row.model_id in row.error
        assert (row.vector_group, row.n_neurons) == (None, 0)
    (group,) = sampled.groups.values()
    assert group.model_ids == ("a/source",)
    assert calls == [(number, len(expected), model_id) for number, model_id in enumerate(expected, start=1)]


def test_a_pruned_model_is_a_row_and_not_read(tmp_path: Path) -> None:
    write_safetensors(tmp_path, _model(), "a/source")
    sampled = _sample(tmp_path, ModelToSample("a/source", is_pruned=True))
    assert sampled.rows == (SampledModel(model_id="a/source", status="pruned"),)
    assert sampled.groups == {}


def test_models_that_look_equal_are_hashed_and_no_others(tmp_path: Path) -> None:
    write_safetensors(tmp_path, _model(), "a/source")
    write_safetensors(tmp_path, _model(), "b/copy", file="weights.safetensors")
    write_safetensors(tmp_path, _model() | {"model.norm.weight": np.zeros(32, np.float32)}, "c/almost")
    write_safetensors(tmp_path, _model(1), "d/other")
    rows = {row.model_id: row for row in _sample(tmp_path, "a/source", "b/copy", "c/almost", "d/other").rows}
    digest = hashlib.sha256((tmp_path / "a/source/model.safetensors").read_bytes()).hexdigest()
    assert [rows[model_id].content_sha256 for model_id in ("a/source", "b/copy")] == [digest, digest]
    assert rows["c/almost"].sampled_sha256 == rows["a/source"].sampled_sha256
    assert rows["c/almost"].content_sha256 not in {None, digest}
    assert rows["d/other"].content_sha256 is None


def test_values_show_a_quantisation_that_the_type_hides(tmp_path: Path) -> None:
    source = {f"layers.0.{part}.weight": random_matrix(32, 512, seed=seed) for seed, part in enumerate(LAYERS)}
    levels = np.linspace(-1, 1, 16, dtype=np.float32)
    coarse = {name: levels[np.abs(t[..., None] * 8 - levels).argmin(-1)] for name, t in source.items()}
    write_safetensors(tmp_path, source, "a/source")
    write_safetensors(tmp_path, {name: t.astype(np.float16) for name, t in coarse.items()}, "b/coarse")
    rows = _sample(tmp_path, "a/source", "b/coarse").rows
    assert [row.is_quantized for row in rows] == [False, True]
    assert rows[1].quantization == "4-bit values in floats (the sampled values)"


def test_a_model_with_fewer_neurons_gives_all(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"encoder.weight": np.ones((3, 4), np.float32)}, "a/tiny")
    sampled = _sample(tmp_path, "a/tiny", n_neurons=100)
    assert sampled.rows[0].n_neurons == 3
    assert _vector(sampled, "a/tiny").shape == (12,)


class _Slow(FolderRepository):
    """Reads as a network does: many at once, the first asked for last to come."""

    n_parallel = 4
    gap_bytes = 64

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.turn = threading.Barrier(4)

    def files(self, model_id: str) -> list:
        self.turn.wait(timeout=20)
        return super().files(model_id)


def test_reading_many_at_once_gives_the_same(tmp_path: Path) -> None:
    names = [f"org/model-{number}" for number in range(8)]
    for seed, model_id in enumerate(names):
        write_safetensors(tmp_path, _model(seed), model_id)
    one = _sample(tmp_path, *names)
    slow = _Slow(tmp_path)
    many = _sample(tmp_path, *names, repository=slow)
    assert [row.model_id for row in many.rows] == names
    assert [row.sampled_sha256 for row in many.rows] == [row.sampled_sha256 for row in one.rows]
    for name, group in one.groups.items():
        assert group.model_ids == many.groups[name].model_ids
        assert group.vectors.tobytes() == many.groups[name].vectors.tobytes()


def test_a_model_whose_neurons_are_dear_gives_those_of_its_anchors(tmp_path: Path) -> None:
    # GPTQ keeps neurons as columns: reading one takes the whole matrix.
    source, packed = {}, {}
    generator = np.random.default_rng(3)
    for layer in range(14):
        for part, rows in (("q_proj", 1024), ("k_proj", 128)):
            name = f"model.layers.{layer}.self_attn.{part}"
            source[f"{name}.weight"] = generator.standard_normal((rows, 1024)).astype(np.float32)
            packed |= {f"{name}.{key}": value for key, value in _gptq(source[f"{name}.weight"]).items()}
    write_safetensors(tmp_path, source, "a/source")
    write_safetensors(tmp_path, packed, "b/gptq")
    config = {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}
    write_json(tmp_path, "config.json", config, "b/gptq")
    sampled = _sample(tmp_path, "a/source", "b/gptq", n_neurons=100)
    whole, part = (_row(sampled, model_id) for model_id in ("a/source", "b/gptq"))
    assert (part.status, part.is_quantized) == ("ok", True)
    assert part.vector_group == f"{whole.vector_group}-anchors"
    assert 16 <= part.n_neurons < 40
    assert part.bytes_read < FREE_BYTES < part.bytes_total
    plan = sampled.groups[str(whole.vector_group)].plan
    spans, first = [], 0
    for tensor in plan.tensors:
        stop = first + len(tensor.rows) * tensor.n_columns
        spans += [np.arange(first, stop)] if tensor.canonical in plan.anchors else []
        first = stop
    expected, found = _vector(sampled, "a/source")[np.concatenate(spans)], _vector(sampled, "b/gptq")
    assert np.linalg.norm(found - expected) < 0.2 * np.linalg.norm(expected)


def _gptq(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """4 bits in one group of 128 columns each, symmetric, as auto-gptq packs them (first version)."""
    groups = matrix.reshape(matrix.shape[0], -1, 128)
    scales = (np.abs(groups).max(axis=2) / 7).astype(np.float16)
    codes = np.clip(np.rint(groups / scales[..., None].astype(np.float32)) + 8, 0, 15).astype(np.uint32)
    codes = codes.reshape(matrix.shape).T.reshape(-1, 8, matrix.shape[0])
    shifts = 4 * np.arange(8, dtype=np.uint32)
    zeros = np.full((scales.shape[1], matrix.shape[0] // 8), 0x77777777, np.uint32)
    return {
        "qweight": np.ascontiguousarray((codes << shifts[:, None]).sum(axis=1, dtype=np.uint32)).view(np.int32),
        "qzeros": zeros.view(np.int32),
        "scales": np.ascontiguousarray(scales.T),
        "g_idx": np.arange(matrix.shape[1], dtype=np.int32) // 128,
    }


def test_a_model_over_its_budget_is_a_row(tmp_path: Path) -> None:
    write_safetensors(tmp_path, _model(), "a/source")
    needed = _row(_sample(tmp_path, "a/source"), "a/source").bytes_read
    assert _row(_sample(tmp_path, "a/source", limit_bytes=needed), "a/source").status == "ok"
    row = _row(_sample(tmp_path, "a/source", limit_bytes=700), "a/source")
    assert (row.status, row.n_neurons) == ("over_budget", 0)
    assert row.bytes_read <= 700


def test_misuse(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="twice"):
        _sample(tmp_path, "a/b", "a/b")
    with pytest.raises(ValueError, match="neuron"):
        _sample(tmp_path, n_neurons=0)
    assert _sample(tmp_path).groups == {}
