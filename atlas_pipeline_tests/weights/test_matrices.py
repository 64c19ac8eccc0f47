"""Which matrices models are compared by, under which names, and where they lie in the tensors of a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.weights import comparable_matrices, matrices, open_weights
from atlas_pipeline.weights.matrices import MAX_COLUMNS
from atlas_pipeline_tests.weights.writing import MODEL, random_matrix, write_json, write_safetensors

PARTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


def compared(root: Path, shapes: Mapping[str, tuple[int, ...]], config: object = None) -> dict[str, tuple[int, int]]:
    write_safetensors(root, {name: np.ones(shape, np.float32) for name, shape in shapes.items()})
    if config is not None:
        write_json(root, "config.json", config)
    found = comparable_matrices(open_weights(FolderRepository(root), MODEL))
    assert list(found) == sorted(found)
    return {name: (matrix.n_rows, matrix.n_columns) for name, matrix in found.items()}


def decoder(prefix: str, n_layers: int = 2) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}layers.{n}.{part}.weight": (8, 8) for n in range(n_layers) for part in PARTS}


EXPECTED = dict.fromkeys(decoder(""), (8, 8))


@pytest.mark.parametrize(
    "prefix",
    ["", "model.", "module.model.", "base_model.model.model.", "model.language_model.", "llm.base.", "student."],
)
def test_wrappers_do_not_show(tmp_path: Path, prefix: str) -> None:
    assert compared(tmp_path, decoder(prefix)) == EXPECTED


def test_what_relatives_gain_or_lose_does_not_count(tmp_path: Path) -> None:
    others = {
        "model.embed_tokens.weight": (99, 8),
        "lm_head.weight": (99, 8),
        "score.weight": (3, 8),
        "model.layers.0.input_layernorm.weight": (8,),
        "model.layers.0.self_attn.rotary_emb.inv_freq": (1, 4),
        "model.layers.0.attn.bias": (1, 1, 16, 16),
        "model.layers.0.empty.weight": (0, 8),
        "model.layers.0.wide.weight": (1, MAX_COLUMNS + 1),
        "model.layers.1.self_attn.q_proj.lora_A.weight": (2, 8),
        "visual.blocks.0.attn.qkv.weight": (24, 8),
        "model.vision_tower.encoder.layers.0.self_attn.q_proj.weight": (8, 8),
        "multi_modal_projector.layers.0.weight": (8, 8),
    }
    assert compared(tmp_path, decoder("model.") | others) == EXPECTED


def test_a_model_that_only_sees_is_compared_by_what_it_has(tmp_path: Path) -> None:
    shapes = {f"vision_model.encoder.layers.{n}.self_attn.q_proj.weight": (8, 8) for n in range(2)}
    assert compared(tmp_path, shapes) == {f"layers.{n}.self_attn.q_proj.weight": (8, 8) for n in range(2)}


def test_several_towers_keep_what_tells_them_apart(tmp_path: Path) -> None:
    shapes = {f"model.{side}.layers.{n}.weight": (8, 8) for side in ("encoder", "decoder") for n in range(2)}
    assert set(compared(tmp_path, shapes)) == {name.removeprefix("model.") for name in shapes}


@pytest.mark.parametrize("fused", ["self_attn.qkv_proj", "self_attn.Wqkv"])
@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        ({}, (8, 8, 8)),
        ({"num_attention_heads": 4}, (8, 8, 8)),
        ({"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 4}, (16, 4, 4)),
        ({"text_config": {"num_attention_heads": 2, "num_key_value_heads": 1}}, (12, 6, 6)),
        ({"num_attention_heads": "4"}, (8, 8, 8)),
        ({"num_attention_heads": 7}, (8, 8, 8)),
    ],
)
def test_fused_matrices_are_cut(tmp_path: Path, fused: str, config: dict[str, Any], sizes: tuple[int, ...]) -> None:
    tensors = {
        f"model.layers.0.{fused}.weight": random_matrix(24, 8),
        "model.layers.0.mlp.gate_up_proj.weight": random_matrix(10, 8, seed=1),
    }
    write_safetensors(tmp_path, tensors)
    write_json(tmp_path, "config.json", config)
    weights = open_weights(FolderRepository(tmp_path), MODEL)
    found = comparable_matrices(weights)
    names = [f"layers.0.self_attn.{part}_proj.weight" for part in "qkv"]
    names += [f"layers.0.mlp.{part}_proj.weight" for part in ("gate", "up")]
    assert [found[name].n_rows for name in names] == [*sizes, 5, 5]
    parts = [weights.rows(m.tensor, np.arange(m.first_row, m.first_row + m.n_rows)) for m in map(found.get, names) if m]
    assert np.array_equal(np.concatenate(parts), np.concatenate(list(tensors.values())))


def test_what_cannot_be_cut_stays_whole(tmp_path: Path) -> None:
    shapes = {"layers.0.attn.qkv_proj.weight": (25, 8), "layers.0.mlp.gate_up_proj.weight": (9, 8)}
    assert compared(tmp_path, shapes) == shapes


def test_kernels_are_rows(tmp_path: Path) -> None:
    assert compared(tmp_path, {"layer1.0.conv1.weight": (8, 4, 3, 3)}) == {"layer1.0.conv1.weight": (8, 36)}


def test_mixtures_of_experts_are_compared_by_their_attention(tmp_path: Path) -> None:
    attention = {f"model.layers.{n}.self_attn.{p}_proj.weight": (8, 8) for n in range(2) for p in "qkvo"}
    expected = {name.removeprefix("model."): shape for name, shape in attention.items()}
    one_by_one = {f"model.layers.{n}.mlp.experts.{e}.up_proj.weight": (4, 8) for n in range(2) for e in range(3)}
    stacked = {f"model.layers.{n}.mlp.experts.gate_up_proj": (3, 8, 8) for n in range(2)}
    assert compared(tmp_path / "a", attention | one_by_one) == expected
    assert compared(tmp_path / "b", attention | stacked) == expected


def test_diffusion_models_are_compared_by_their_attention_whatever_the_file(tmp_path: Path) -> None:
    block = "transformer_blocks.0.attn1.to_q.weight"
    pairs = {
        f"input_blocks.1.1.{block}": f"down_blocks.0.attentions.0.{block}",
        f"input_blocks.2.1.{block}": f"down_blocks.0.attentions.1.{block}",
        f"input_blocks.8.1.{block}": f"down_blocks.2.attentions.1.{block}",
        f"middle_block.1.{block}": f"mid_block.attentions.0.{block}",
        f"output_blocks.3.1.{block}": f"up_blocks.1.attentions.0.{block}",
        f"output_blocks.11.1.{block}": f"up_blocks.3.attentions.2.{block}",
    }
    shared: dict[str, tuple[int, ...]] = {"conv_in.weight": (8, 4, 3, 3), "time_embed.0.weight": (8, 8)}
    single = {f"model.diffusion_model.{name}": (8, 8) for name in pairs}
    text = {"cond_stage_model.transformer.text_model.encoder.layers.0.self_attn.q_proj.weight": (8, 8)}
    expected = dict.fromkeys(sorted(pairs.values()), (8, 8))
    assert compared(tmp_path / "a", single | text | shared) == expected
    assert compared(tmp_path / "b", dict.fromkeys(pairs.values(), (8, 8)) | shared) == expected


def test_without_layers_every_matrix_counts(tmp_path: Path) -> None:
    shapes = {"encoder.weight": (8, 4), "decoder.weight": (4, 8), "bias": (8,)}
    assert compared(tmp_path, shapes) == {"encoder.weight": (8, 4), "decoder.weight": (4, 8)}


def test_no_matrix_has_the_name_of_another(tmp_path: Path) -> None:
    # A fused and a split copy of the same matrix: which of them the model uses cannot be known.
    tensors = {
        "layers.0.attn.qkv_proj.weight": random_matrix(24, 8),
        "layers.0.attn.q_proj.weight": random_matrix(8, 8),
        "layers.0.attn.o_proj.weight": random_matrix(8, 8),
    }
    write_safetensors(tmp_path, tensors)
    found = matrices(open_weights(FolderRepository(tmp_path), MODEL))
    assert set(found) == {f"layers.0.attn.{part}_proj.weight" for part in "kvo"}
