import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.weights.adapters.applying import open_adapter
from atlas_pipeline.weights.adapters.lora_names import COMPOUND_PARTS, Module, looks_like_lora, read_name, unflattened
from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.opening import WeightFiles
from atlas_pipeline.weights.unet_names import diffusers_unet_name
from atlas_pipeline_tests.weights.writing import random_matrix, raw_safetensors, write_raw, write_safetensors

BLOCK = "down_blocks.0.attentions.1.transformer_blocks.0"
FLAT = BLOCK.replace(".", "_")
LAYER = "text_model.encoder.layers.0"


@pytest.mark.parametrize(
    ("name", "module", "role"),
    [
        ("base_model.model.model.layers.0.q_proj.lora_A.weight", Module("", "model.layers.0.q_proj"), "A"),
        ("base_model.model.model.layers.0.q_proj.lora_B.bias", Module("", "model.layers.0.q_proj"), "vector"),
        ("base_model.model.embed.lora_embedding_B.default", Module("", "embed"), "embedding_B"),
        ("base_model.model.h.0.c.lora_magnitude_vector.default.weight", Module("", "h.0.c"), "magnitude"),
        ("base_model.model.h.0.c.lora_magnitude_vector.weight", Module("", "h.0.c"), "magnitude"),
        ("base_model.model.h.0.c.base_layer.lora_A.weight", Module("", "h.0.c"), "A"),
        ("base_model.model.h.0.c.ia3_l", Module("", "h.0.c"), "ia3"),
        (f"unet.{BLOCK}.attn1.to_q.lora.down.weight", Module("denoiser", f"{BLOCK}.attn1.to_q"), "A"),
        (f"unet.{BLOCK}.attn1.to_q.lora_B.weight", Module("denoiser", f"{BLOCK}.attn1.to_q"), "B"),
        (f"unet.{BLOCK}.attn1.processor.to_out_lora.up.weight", Module("denoiser", f"{BLOCK}.attn1.to_out.0"), "B"),
        (f"{BLOCK}.attn1.processor.to_k_lora.up.weight", Module("", f"{BLOCK}.attn1.to_k"), "B"),
        (f"text_encoder.{LAYER}.mlp.fc1.lora_linear_layer.up.weight", Module("text_encoder", f"{LAYER}.mlp.fc1"), "B"),
        (f"text_encoder.{LAYER}.attn.to_q_lora.up.weight", Module("text_encoder", f"{LAYER}.attn.q_proj"), "B"),
        ("transformer.single_transformer_blocks.3.attn.to_v.lora_A.weight",
         Module("denoiser", "single_transformer_blocks.3.attn.to_v"), "A"),
        ("diffusion_model.blocks.1.q.lora_down.weight", Module("denoiser", "blocks.1.q"), "A"),
        (f"lora_unet_{FLAT}_attn1_to_q.lora_up.weight", Module("denoiser", f"{FLAT}_attn1_to_q", True), "B"),
        (f"lora_unet_{FLAT}_attn1_to_q.alpha", Module("denoiser", f"{FLAT}_attn1_to_q", True), "alpha"),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.dora_scale",
         Module("text_encoder_2", "text_model_encoder_layers_0_mlp_fc1", True), "magnitude"),
        ("lora_unet_conv_in.lora_mid.weight", Module("denoiser", "conv_in", True), "mid"),
        ("lora_unet_conv_in.diff", Module("denoiser", "conv_in", True), "diff"),
        ("lora_unet_conv_in.diff_b", Module("denoiser", "conv_in", True), "vector"),
        ("lora_unet_conv_in.hada_w1_a", Module("denoiser", "conv_in", True), "foreign"),
        ("lora_unet_conv_in.lokr_w2", Module("denoiser", "conv_in", True), "foreign"),
        ("lora_unet_conv_in.oft_blocks", Module("denoiser", "conv_in", True), "foreign"),
        ("model.layers.0.self_attn.q_proj.lora_a", Module("", "model.layers.0.self_attn.q_proj"), "foreign"),
    ],
)  # fmt: skip
def test_names_of_all_spellings(name: str, module: Module, role: str) -> None:
    part = read_name(name)
    assert part is not None
    assert (part.module, part.role) == (module, role)
    assert bool(part.kind) == (role == "foreign")


@pytest.mark.parametrize(
    "name", ["model.layers.0.q_proj.weight", "", "lora_A.weight", ".lora_A.weight", "alpha", "lora_unet_"]
)
def test_other_names_are_no_part_of_an_adapter(name: str) -> None:
    part = read_name(name)
    assert part is None
    assert not looks_like_lora([name])


def test_names_tell_an_adapter_only_when_all_do() -> None:
    pair = ["a.lora_A.weight", "a.lora_B.weight"]
    assert looks_like_lora(pair)
    assert looks_like_lora([*pair, "a.alpha"])
    assert looks_like_lora(["lora_unet_a.hada_w1_a"])
    assert not looks_like_lora([])
    assert not looks_like_lora(["decoder.0.alpha", "decoder.1.alpha"])
    assert not looks_like_lora([*pair, "a.base_layer.weight"])


@pytest.mark.parametrize(
    "name",
    [
        f"{BLOCK}.attn1.to_q",
        f"{BLOCK}.attn2.to_out.0",
        f"{BLOCK}.ff.net.0.proj",
        "mid_block.resnets.1.time_emb_proj",
        "up_blocks.2.resnets.0.conv_shortcut",
        "up_blocks.1.upsamplers.0.conv",
        "time_embedding.linear_1",
        "conv_in",
        "transformer_blocks.11.attn.add_k_proj",
        "transformer_blocks.11.attn.to_add_out",
        "transformer_blocks.11.ff_context.net.2",
        "transformer_blocks.11.norm1_context.linear",
        "single_transformer_blocks.37.proj_mlp",
        "double_blocks.18.img_attn.qkv",
        "double_blocks.18.txt_mod.lin",
        "single_blocks.0.linear1",
        "joint_blocks.3.x_block.attn.proj",
        "encoder.layers.11.self_attn.out_proj",
        "encoder.layers.11.mlp.fc2",
        "input_blocks.4.0.in_layers.2",
        "input_blocks.4.0.skip_connection",
    ],
)
def test_flat_names_get_their_dots_back(name: str) -> None:
    assert unflattened(name.replace(".", "_")) == name.replace("x_block", "x.block")


@given(st.lists(st.sampled_from([*sorted(COMPOUND_PARTS), "attn1", "ff", "net", "0", "17", "proj", ""]), min_size=1))
def test_dots_change_nothing_but_underscores(parts: list[str]) -> None:
    flat = "_".join(parts)
    assert unflattened(flat).replace(".", "_") == flat


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("base_model.model.model.layers.0.q_proj.lora_A.weight", "layers.0.q_proj.weight"),
        (f"unet.{BLOCK}.attn1.to_q.lora_A.weight", f"{BLOCK}.attn1.to_q.weight"),
        (f"lora_unet_{FLAT}_attn1_to_q.lora_down.weight", f"{BLOCK}.attn1.to_q.weight"),
        ("lora_unet_input_blocks_4_1_proj_in.lora_down.weight", "down_blocks.1.attentions.0.proj_in.weight"),
        (f"lora_te1_{LAYER.replace('.', '_')}_mlp_fc1.alpha", "text_encoder.encoder.layers.0.mlp.fc1.weight"),
        (f"text_encoder.{LAYER}.mlp.fc1.lora_A.weight", "text_encoder.encoder.layers.0.mlp.fc1.weight"),
        (f"text_encoder_2.{LAYER}.mlp.fc1.lora_A.weight", "text_encoder_2.encoder.layers.0.mlp.fc1.weight"),
    ],
)
def test_all_spellings_have_one_canonical_name(name: str, canonical: str) -> None:
    part = read_name(name)
    assert part is not None
    assert part.module.canonical == canonical


@pytest.mark.parametrize(
    ("original", "diffusers"),
    [
        ("input_blocks.0.0", "conv_in"),
        ("input_blocks.3.0.op", "down_blocks.0.downsamplers.0.conv"),
        ("input_blocks.8.0.emb_layers.1", "down_blocks.2.resnets.1.time_emb_proj"),
        ("middle_block.2.skip_connection", "mid_block.resnets.1.conv_shortcut"),
        ("output_blocks.5.1.proj_out", "up_blocks.1.attentions.2.proj_out"),
        ("output_blocks.5.2.conv", "up_blocks.1.upsamplers.0.conv"),
        ("output_blocks.2.1.conv", "up_blocks.0.upsamplers.0.conv"),
        ("label_emb.0.2", "add_embedding.linear_2"),
        ("middle_block.7.proj_in", "middle_block.7.proj_in"),
        ("input_blocks..1.proj_in", "input_blocks..1.proj_in"),
        ("down_blocks.0.resnets.0.conv1", "down_blocks.0.resnets.0.conv1"),
    ],
)
def test_the_original_layout_in_the_names_of_diffusers(original: str, diffusers: str) -> None:
    assert diffusers_unet_name(original) == diffusers


@pytest.mark.filterwarnings("ignore")
def test_vocabulary_of_the_libraries_of_today() -> None:
    torch = pytest.importorskip("torch", reason="torch builds the models")
    diffusers = pytest.importorskip("diffusers", reason="diffusers has the models")
    transformers = pytest.importorskip("transformers", reason="transformers has the text encoder")
    with torch.device("meta"):
        models = [
            diffusers.UNet2DConditionModel(),
            diffusers.FluxTransformer2DModel(num_layers=1, num_single_layers=1),
            diffusers.SD3Transformer2DModel(num_layers=2, dual_attention_layers=(0,)),
            transformers.CLIPTextModel(transformers.CLIPTextConfig()),
        ]
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    names = [name for model in models for name, module in model.named_modules() if isinstance(module, kinds)]
    assert len(names) > 300
    assert [name for name in names if unflattened(name.replace(".", "_")) != name] == []


def _pair(module: str, *, out: int = 6, inputs: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
    return {
        f"{module}.lora_down.weight": random_matrix(2, inputs, seed=seed),
        f"{module}.lora_up.weight": random_matrix(out, 2, seed=seed + 1),
    }


def _open(root: Path, tensors: dict[str, np.ndarray], base: dict[str, dict[str, np.ndarray]]):
    write_safetensors(root, tensors, "alder/lora", file="lora.safetensors")
    for file, content in base.items():
        write_safetensors(root, content, "birch/base", file=file)
    repository = FolderRepository(root)
    return open_adapter(
        repository,
        "alder/lora",
        base_ids=["birch/base"],
        found=WeightFiles("adapter", tuple(repository.files("alder/lora"))),
    )


@pytest.mark.parametrize(("alpha", "scale"), [(None, 1.0), (1.0, 0.5), (6.0, 3.0), (0.0, 0.0)])
def test_alpha_lies_beside_the_factors(tmp_path: Path, alpha: float | None, scale: float) -> None:
    tensors = _pair("lora_unet_mid_block_0_to_q")
    if alpha is not None:
        tensors["lora_unet_mid_block_0_to_q.alpha"] = np.array(alpha, np.float32)
    base = random_matrix(6, 5, seed=7)
    weights = _open(tmp_path, tensors, {"unet.safetensors": {"mid_block.0.to_q.weight": base}})
    down, up = (value.astype(np.float64) for value in list(tensors.values())[:2])
    np.testing.assert_allclose(weights.rows("mid_block.0.to_q.weight", range(6)), base + scale * (up @ down), rtol=1e-6)


@pytest.mark.parametrize(
    "alpha", [np.float32(math.nan), np.float32(math.inf), np.float32(1e30), np.ones(2, np.float32)]
)
def test_an_alpha_that_is_none(tmp_path: Path, alpha: np.ndarray) -> None:
    tensors = _pair("lora_unet_mid_block_0_to_q") | {"lora_unet_mid_block_0_to_q.alpha": np.asarray(alpha)}
    with pytest.raises(WeightsError, match="alpha") as caught:
        _open(tmp_path, tensors, {}).rows("mid_block.0.to_q.weight", [0])
    assert caught.value.status == "unsupported_adapter"


def test_an_underscore_that_may_be_a_dot_is_looked_up_in_the_base(tmp_path: Path) -> None:
    name = "blocks.0.strange_part.in"
    tensors = _pair("lora_unet_blocks_0_strange_part_in")
    weights = _open(tmp_path, tensors, {"unet.safetensors": {f"{name}.weight": random_matrix(6, 5)}})
    assert not weights.is_delta
    both = {f"{name}.weight": random_matrix(6, 5), "blocks.0.strange.part.in.weight": random_matrix(6, 5)}
    ambiguous = _open(tmp_path, tensors, {"unet.safetensors": both})
    assert ambiguous.is_delta


def test_a_component_that_the_base_lacks_is_left_out(tmp_path: Path) -> None:
    tensors = _pair("lora_unet_mid_block_0_to_q") | _pair("lora_te_text_model_encoder_layers_0_mlp_fc1")
    unet = {"mid_block.0.to_q.weight": random_matrix(6, 5)}
    weights = _open(tmp_path, tensors, {"unet/model.safetensors": unet})
    assert weights.unmatched == ("text_encoder.text_model_encoder_layers_0_mlp_fc1.weight",)
    missing = _open(tmp_path, tensors | _pair("lora_unet_mid_block_1_to_q"), {"unet/model.safetensors": unet})
    assert "mid_block_1_to_q" in missing.base_flaw


def test_components_of_a_single_file(tmp_path: Path) -> None:
    block = "1.1.transformer_blocks.0.attn1.to_q"
    tensors = _pair("lora_te_text_model_encoder_layers_0_mlp_fc1") | _pair(
        f"unet.down_blocks.0.attentions.0.{block[4:]}"
    )
    file = {
        f"model.diffusion_model.input_blocks.{block}.weight": random_matrix(6, 5),
        "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight": random_matrix(6, 5),
    }
    weights = _open(tmp_path, tensors, {"v1.safetensors": file})
    assert not weights.is_delta
    assert weights.unmatched == ()


def test_a_base_that_is_a_text_encoder_alone(tmp_path: Path) -> None:
    tensors = _pair("lora_te_text_model_encoder_layers_0_mlp_fc1")
    base = {f"{LAYER}.mlp.fc1.weight": random_matrix(6, 5)}
    assert not _open(tmp_path, tensors, {"model.safetensors": base}).is_delta


def test_metadata_that_is_no_configuration(tmp_path: Path) -> None:
    pair = "unet.a.lora_A.weight", "unet.a.lora_B.weight"
    data = np.ones(4, np.float32).tobytes()
    for text, words in (
        ("{", "JSON"),
        ('{"unet.lora_alpha": "x"}', "lora_alpha"),
        ('{"unet.lora_alpha": 1, "unet.init_lora_weights": "pissa"}', "pissa"),
    ):
        header = {
            "__metadata__": {"lora_adapter_metadata": text},
            pair[0]: {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
            pair[1]: {"dtype": "F32", "shape": [2, 1], "data_offsets": [8, 16]},
        }
        write_raw(tmp_path, raw_safetensors(header, data), "alder/lora", file="lora.safetensors")
        repository = FolderRepository(tmp_path)
        found = WeightFiles("adapter", tuple(repository.files("alder/lora")))
        with pytest.raises(WeightsError, match=words):
            open_adapter(repository, "alder/lora", found=found)
