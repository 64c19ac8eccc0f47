"""Makes small real adapters with PEFT, diffusers and LyCORIS, and the weights that these libraries merge them into.

    python make.py [folder]

needs torch, transformers, peft, diffusers and lycoris-lora. `models/` is a repository of bases and adapters as the
libraries save them; `expected/<owner>--<name>.safetensors` holds merged matrices under the names of the base's tensors.
Computed in float32; factors are random, so that nothing is a neutral element. The U-Net's values are those of
bfloat16, and its file has only the matrices, which keeps it small.
"""

import json
import sys
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.loaders.lora_conversion_utils import _maybe_map_sgm_blocks_to_diffusers
from lycoris.modules.full import FullModule
from lycoris.modules.locon import LoConModule
from peft import IA3Config, LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

LIBRARIES = ("torch", "transformers", "peft", "diffusers", "lycoris-lora")
Tensors = dict[str, torch.Tensor]


class TinyConvolutions(nn.Module):
    """A 3x3 and a 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(4, 6, 3, padding=1)
        self.narrow = nn.Conv2d(6, 4, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.narrow(self.wide(images))


def llama() -> nn.Module:
    torch.manual_seed(1)
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            vocab_size=40,
            bos_token_id=0,
            eos_token_id=1,
        )
    )


def gpt2() -> nn.Module:
    torch.manual_seed(2)
    return GPT2LMHeadModel(
        GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=8, vocab_size=20, bos_token_id=0, eos_token_id=1)
    )


def convolutions() -> nn.Module:
    torch.manual_seed(3)
    return TinyConvolutions()


def unet() -> UNet2DConditionModel:
    torch.manual_seed(4)
    model = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(4, 8),
        layers_per_block=2,
        cross_attention_dim=6,
        attention_head_dim=2,
        norm_num_groups=2,
        transformer_layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    return model.to(torch.bfloat16).float()


PEFT_CASES: dict[str, tuple[str, Callable[[], nn.Module], Any]] = {
    "lora": ("tiny/llama", llama, LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"])),
    "rslora": ("tiny/llama", llama, LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules=["q_proj"])),
    "dora": ("tiny/llama", llama, LoraConfig(r=3, lora_alpha=6, use_dora=True, target_modules=["k_proj", "up_proj"])),
    "patterns": (
        "tiny/llama",
        llama,
        LoraConfig(
            r=4,
            lora_alpha=8,
            target_modules=["q_proj", "up_proj", "o_proj"],
            rank_pattern={"layers.1.self_attn.q_proj": 2, "^model.layers.0.mlp.up_proj": 6},
            alpha_pattern={"^model.layers.0.self_attn.q_proj": 32, r"mlp\.up_proj": 3, "q_proj": 5, "j_proj": 77},
        ),
    ),
    "head": (
        "tiny/llama",
        llama,
        LoraConfig(r=2, lora_alpha=3, target_modules=["q_proj"], modules_to_save=["lm_head"], bias="all"),
    ),
    "embedding": (
        "tiny/llama",
        llama,
        LoraConfig(r=3, lora_alpha=4, target_modules=["embed_tokens", "gate_proj"]),
    ),
    "embedding_dora": (
        "tiny/llama",
        llama,
        LoraConfig(r=3, lora_alpha=4, use_dora=True, target_modules=["embed_tokens"]),
    ),
    "ia3": (
        "tiny/llama",
        llama,
        IA3Config(target_modules=["k_proj", "q_proj", "down_proj"], feedforward_modules=["down_proj"]),
    ),
    "conv1d": (
        "tiny/gpt2",
        gpt2,
        LoraConfig(r=2, lora_alpha=3, fan_in_fan_out=True, target_modules=["c_attn", "c_proj"]),
    ),
    "conv1d_dora": (
        "tiny/gpt2",
        gpt2,
        LoraConfig(r=2, lora_alpha=3, fan_in_fan_out=True, use_dora=True, target_modules=["c_attn", "attn.c_proj"]),
    ),
    "conv1d_ia3": (
        "tiny/gpt2",
        gpt2,
        IA3Config(fan_in_fan_out=True, target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"]),
    ),
    "conv": ("tiny/convolutions", convolutions, LoraConfig(r=2, lora_alpha=3, target_modules=["wide", "narrow"])),
    "conv_dora": (
        "tiny/convolutions",
        convolutions,
        LoraConfig(r=2, lora_alpha=3, use_dora=True, target_modules=["wide", "narrow"]),
    ),
    "conv_ia3": (
        "tiny/convolutions",
        convolutions,
        IA3Config(target_modules=["wide", "narrow"], feedforward_modules=["narrow"]),
    ),
    "pytorch": ("tiny/llama", llama, LoraConfig(r=2, lora_alpha=5, target_modules=["o_proj"])),
}


def randomise(model: nn.Module, words: Iterable[str]) -> None:
    """Gives trained-looking values to parameters whose names contain one of the words."""
    for name, parameter in sorted(model.named_parameters()):
        if any(word in name for word in words):
            is_factor = "magnitude" in name or "ia3" in name
            noise = torch.rand_like(parameter) * 0.5 + 0.75 if is_factor else torch.randn_like(parameter) * 0.2
            parameter.data = parameter.data * noise if is_factor else noise


def keep(folder: Path, name: str, merged: Tensors, base: Tensors) -> None:
    """Writes the matrices that differ from the base."""
    changed = {
        key: merged[key].detach().float().contiguous()
        for key in sorted(base)
        if merged[key].ndim > 1 and not torch.equal(merged[key], base[key])
    }
    assert changed, name
    (folder / "expected").mkdir(exist_ok=True)
    save_file(changed, folder / "expected" / f"{name.replace('/', '--')}.safetensors")


def make_peft(folder: Path) -> None:
    for case, (base_id, make_base, config) in PEFT_CASES.items():
        model = make_base()
        base = {name: value.clone() for name, value in model.state_dict().items()}
        base_file = folder / "models" / base_id / "model.safetensors"
        base_file.parent.mkdir(parents=True, exist_ok=True)
        # A head that shares the embedding is stored once, as Transformers does.
        tied = {"lm_head.weight"} if base_id == "tiny/gpt2" else set()
        save_file({name: value for name, value in base.items() if name not in tied}, base_file)
        torch.manual_seed(5)
        adapted = get_peft_model(model, config)
        adapted.peft_config["default"].base_model_name_or_path = base_id
        randomise(adapted, ("lora_", "ia3_l", "modules_to_save", ".bias"))
        target = folder / "models" / "peft" / case
        adapted.save_pretrained(target, save_embedding_layers="embedding" in case)
        if case == "pytorch":
            torch.save(load_file(target / "adapter_model.safetensors"), target / "adapter_model.bin")
            (target / "adapter_model.safetensors").unlink()
        (target / "README.md").unlink()
        merged = adapted.merge_and_unload().state_dict()
        keep(folder, f"peft/{case}", merged, {name: value for name, value in base.items() if name in merged})


def pipeline() -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=None, text_encoder=None, tokenizer=None, unet=unet(), scheduler=None, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def fused(tensors: Tensors) -> Tensors:
    """The U-Net's weights after diffusers has read an adapter of any spelling and merged it."""
    pipe = pipeline()
    pipe.load_lora_weights(dict(tensors))
    pipe.unet.fuse_lora()
    pipe.unload_lora_weights()
    return pipe.unet.state_dict()


def make_diffusers(folder: Path) -> None:
    model = unet()
    base = {name: value.clone() for name, value in model.state_dict().items()}
    file = folder / "models" / "tiny" / "diffusion" / "unet" / "diffusion_pytorch_model.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.bfloat16() for name, value in base.items() if value.ndim > 1}, file)

    # As diffusers saves it now, with its configuration in the header; alpha differs from the rank.
    config = LoraConfig(
        r=2,
        lora_alpha=5,
        target_modules=["to_q", "down_blocks.1.resnets.0.conv1"],
        alpha_pattern={"attn2.to_q": 3},
    )
    torch.manual_seed(6)
    model.add_adapter(config)
    randomise(model, ("lora_",))
    layers = get_peft_model_state_dict(model)
    StableDiffusionPipeline.save_lora_weights(
        folder / "models" / "diffusers" / "metadata",
        unet_lora_layers=layers,
        unet_lora_adapter_metadata=model.peft_config["default"].to_dict(),
    )
    model.fuse_lora()
    model.unload_lora()
    keep(folder, "diffusers/metadata", model.state_dict(), base)

    def change(spelling: str, tensors: Tensors, merged: Tensors | None = None) -> None:
        target = folder / "models" / spelling
        target.mkdir(parents=True, exist_ok=True)
        save_file(tensors, target / "pytorch_lora_weights.safetensors")
        keep(folder, spelling, merged or fused(tensors), base)

    block = "down_blocks.1.attentions.0.transformer_blocks.0"
    torch.manual_seed(7)
    pairs = {
        f"{block}.attn1.to_q": (torch.randn(8, 2) * 0.2, torch.randn(2, 8)),
        f"{block}.attn2.to_out.0": (torch.randn(8, 3) * 0.2, torch.randn(3, 8)),
    }
    old = {}
    for name, (up, down) in pairs.items():
        stem, part = name.removesuffix(".0").rsplit(".", 1)
        old[f"unet.{stem}.processor.{part}_lora.up.weight"] = up
        old[f"unet.{stem}.processor.{part}_lora.down.weight"] = down
    change("diffusers/processors", old)
    change(
        "diffusers/layers",
        {
            f"unet.{n}.lora.{side}.weight": t
            for n, (up, down) in pairs.items()
            for side, t in (("up", up), ("down", down))
        },
    )

    # kohya's spelling in the names of diffusers and in those of the original layout. Attention gets the alpha that is
    # most frequent: diffusers 0.42 loses any other there, and gives that one to modules without an alpha.
    own = {
        f"{block.replace('.', '_')}_attn1_to_q": ((8, 2), (2, 8), 1.0),
        f"{block.replace('.', '_')}_ff_net_0_proj": ((64, 2), (2, 8), 4.0),
        "down_blocks_1_attentions_0_proj_in": ((8, 2, 1, 1), (2, 8, 1, 1), 3.0),
    }
    original = {
        "input_blocks_4_1_transformer_blocks_0_attn1_to_q": ((8, 2), (2, 8), 2.0),
        "input_blocks_5_1_proj_in": ((8, 2, 1, 1), (2, 8, 1, 1), 3.0),
        "middle_block_1_transformer_blocks_0_attn2_to_k": ((8, 2), (2, 6), 2.0),
        "output_blocks_2_1_transformer_blocks_0_ff_net_2": ((8, 2), (2, 32), 1.0),
    }
    original |= {
        "time_embed_0": ((16, 1), (1, 4), 2.0),
        "input_blocks_3_0_op": ((4, 1, 1, 1), (1, 4, 3, 3), 2.0),
        "input_blocks_4_0_in_layers_2": ((8, 1, 1, 1), (1, 4, 3, 3), 2.0),
        "input_blocks_4_0_emb_layers_1": ((8, 1), (1, 16), 2.0),
        "input_blocks_4_0_skip_connection": ((8, 1, 1, 1), (1, 4, 1, 1), 2.0),
        "middle_block_2_out_layers_3": ((8, 1, 1, 1), (1, 8, 3, 3), 2.0),
        "output_blocks_2_2_conv": ((8, 1, 1, 1), (1, 8, 3, 3), 2.0),
        "output_blocks_4_0_out_layers_3": ((4, 1, 1, 1), (1, 4, 3, 3), 2.0),
        "out_2": ((4, 1, 1, 1), (1, 4, 3, 3), 2.0),
    }
    for spelling, modules in (("kohya/plain", own), ("kohya/original", original)):
        tensors = {}
        for name, (up, down, alpha) in modules.items():
            tensors[f"lora_unet_{name}.lora_up.weight"] = torch.randn(up) * 0.2
            tensors[f"lora_unet_{name}.lora_down.weight"] = torch.randn(down)
            tensors[f"lora_unet_{name}.alpha"] = torch.tensor(alpha)
        renamed = _maybe_map_sgm_blocks_to_diffusers(dict(tensors), model.config)
        change(spelling, tensors, fused(renamed))


def make_lycoris(folder: Path) -> None:
    """LyCORIS' own forms: convolutions, Tucker kernels, DoRA by output and by input, whole differences."""
    model = unet()
    base = {name: value.clone() for name, value in model.state_dict().items()}
    modules = dict(model.named_modules())
    block = "down_blocks.1.attentions.0.transformer_blocks.0"
    choices: dict[str, tuple[type, dict[str, Any]]] = {
        f"{block}.attn1.to_v": (LoConModule, {"alpha": 3}),
        "down_blocks.1.resnets.0.conv1": (LoConModule, {"alpha": 1}),
        "down_blocks.1.resnets.0.conv2": (LoConModule, {"alpha": 5, "use_tucker": True}),
        f"{block}.attn1.to_k": (LoConModule, {"alpha": 3, "weight_decompose": True, "wd_on_out": True}),
        f"{block}.attn2.to_k": (LoConModule, {"alpha": 3, "weight_decompose": True, "wd_on_out": False}),
        "down_blocks.1.resnets.1.conv1": (
            LoConModule, {"alpha": 3, "weight_decompose": True, "wd_on_out": False, "use_tucker": True},
        ),
        "down_blocks.1.resnets.1.conv2": (LoConModule, {"alpha": 3, "weight_decompose": True, "wd_on_out": True}),
        "conv_in": (FullModule, {}),
    }  # fmt: skip
    torch.manual_seed(8)
    merged = dict(base)
    tensors: Tensors = {}
    for name, (kind, options) in choices.items():
        flat = f"lora_unet_{name.replace('.', '_')}"
        layer = kind(flat, modules[name], 1.0, lora_dim=2, **options)
        for key, parameter in layer.named_parameters():
            if key != "dora_scale" and "org_" not in key:
                parameter.data = torch.randn_like(parameter) * 0.3
            elif key == "dora_scale":
                parameter.data *= torch.rand_like(parameter) * 0.5 + 0.75
        merged[f"{name}.weight"] = layer.get_merged_weight()[0].detach()
        # A FullModule's own state is only right after it has taken the layer's place.
        state = layer.custom_state_dict() if kind is LoConModule else {"diff": layer.weight, "diff_b": layer.bias}
        tensors |= {f"{flat}.{key}": value.detach().clone().contiguous() for key, value in state.items()}
    target = folder / "models" / "lycoris" / "mixed"
    target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target / "lora.safetensors")
    keep(folder, "lycoris/mixed", merged, base)


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    make_peft(folder)
    make_diffusers(folder)
    make_lycoris(folder)
    (folder / "versions.json").write_text(json.dumps({name: version(name) for name in LIBRARIES}, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
