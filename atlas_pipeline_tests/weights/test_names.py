import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.weights import canonical_gguf_name, canonical_name, canonical_names, is_layer_tensor
from atlas_pipeline.weights.names import PREFIXES


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("model.layers.0.self_attn.q_proj.weight", "layers.0.self_attn.q_proj.weight"),
        ("layers.0.self_attn.q_proj.weight", "layers.0.self_attn.q_proj.weight"),
        ("module.model.layers.0.mlp.up_proj.weight", "layers.0.mlp.up_proj.weight"),
        ("base_model.model.model.layers.0.q.base_layer.weight", "layers.0.q.weight"),
        ("transformer.h.0.attn.c_attn.weight", "h.0.attn.c_attn.weight"),
        ("vision_tower.layers.0.weight", "vision_tower.layers.0.weight"),
        ("model.", "model."),
    ],
)
def test_wrappers_are_removed(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical


@given(
    prefixes=st.lists(st.sampled_from(PREFIXES), max_size=4), name=st.sampled_from(["layers.3.q.weight", "wte.weight"])
)
def test_any_stack_of_wrappers_is_removed(prefixes: list[str], name: str) -> None:
    assert canonical_name("".join(prefixes) + name) == name


@given(st.text(max_size=60))
def test_canonical_names_are_stable(name: str) -> None:
    assert canonical_name(canonical_name(name)) == canonical_name(name)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("blk.0.attn_q.weight", "layers.0.self_attn.q_proj.weight"),
        ("blk.31.attn_output.bias", "layers.31.self_attn.o_proj.bias"),
        ("blk.2.ffn_down.weight", "layers.2.mlp.down_proj.weight"),
        ("blk.2.attn_norm.weight", "layers.2.input_layernorm.weight"),
        ("token_embd.weight", "embed_tokens.weight"),
        ("output.weight", "lm_head.weight"),
        ("output_norm.weight", "norm.weight"),
        ("blk.0.unheard_of.weight", "blk.0.unheard_of.weight"),
        ("model.layers.0.mlp.up_proj.weight", "layers.0.mlp.up_proj.weight"),
    ],
)
def test_llama_cpp_names_meet_those_of_the_converted_model(name: str, canonical: str) -> None:
    assert canonical_gguf_name(name) == canonical


def test_names_that_would_meet_by_mistake_stay_apart() -> None:
    names = ["model.a.weight", "module.a.weight", "model.b.weight"]
    assert canonical_names(names) == {
        "model.a.weight": "model.a.weight",
        "module.a.weight": "module.a.weight",
        "model.b.weight": "b.weight",
    }


def test_layers_have_a_number_of_their_own() -> None:
    assert is_layer_tensor("layers.0.q.weight")
    assert is_layer_tensor("0.weight")
    assert not is_layer_tensor("conv1.weight")
    assert not is_layer_tensor("embed_tokens.weight")
