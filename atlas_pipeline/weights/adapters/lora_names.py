"""Names of an adapter's tensors, taken apart: which module is changed, and which part of the change a tensor is.

PEFT writes `base_model.model.<module>.lora_A.weight`, diffusers `unet.<module>.lora.down.weight` or older spellings,
kohya's trainers `lora_unet_<module with underscores>.lora_down.weight`. All of them become a `Module` and a role. Here
belong names alone; what the tensors mean together belongs in `contents`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from atlas_pipeline.weights.names import canonical_name
from atlas_pipeline.weights.unet_names import diffusers_unet_name

Role = Literal["A", "B", "embedding_A", "embedding_B", "mid", "alpha", "magnitude", "ia3", "diff", "vector", "foreign"]

DENOISER: Final = "denoiser"

COMPONENTS: Final = {
    "unet": DENOISER,
    "transformer": DENOISER,
    "diffusion_model": DENOISER,
    "text_encoder": "text_encoder",
    "text_encoder_2": "text_encoder_2",
    "text_encoder_3": "text_encoder_3",
    "lora_unet": DENOISER,
    "lora_transformer": DENOISER,
    "lora_te": "text_encoder",
    "lora_te1": "text_encoder",
    "lora_te2": "text_encoder_2",
    "lora_te3": "text_encoder_3",
}
"""First part of a module's name in adapters of image models, and the part of the pipeline that it stands for."""

FLAT_PREFIXES: Final = {
    "lora_unet_": DENOISER,
    "lora_transformer_": DENOISER,
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te3_": "text_encoder_3",
    "lycoris_": DENOISER,
}
"""Prefixes of names in which kohya's trainers and LyCORIS wrote underscores for dots."""

COMPOUND_PARTS: Final = frozenset(
    {
        "add_embedding", "add_k_proj", "add_q_proj", "add_v_proj", "caption_projection", "context_embedder",
        "conv_in", "conv_out", "conv_shortcut", "cond_proj", "double_blocks", "down_blocks", "emb_layers",
        "ff_context", "final_layer", "final_layer_norm", "guidance_embedder", "guidance_in", "img_attn", "img_in",
        "img_mlp", "img_mod", "in_layer", "in_layers", "in_proj", "input_blocks", "joint_blocks", "k_proj", "label_emb",
        "layer_norm1", "layer_norm2", "linear_1", "linear_2", "mid_block", "middle_block", "norm1_context", "norm_out",
        "out_layer", "out_layers", "out_proj", "output_blocks", "pos_embed", "position_embedding", "proj_in",
        "proj_mlp", "proj_out", "q_proj", "self_attn", "single_blocks", "single_transformer_blocks", "skip_connection",
        "text_embedder", "text_model", "text_projection", "time_emb_proj", "time_embed", "time_embedding", "time_in",
        "time_text_embed", "timestep_embedder", "to_add_out", "to_k", "to_out", "to_q", "to_qkv", "to_v",
        "token_embedding", "transformer_blocks", "txt_attn", "txt_in", "txt_mlp", "txt_mod", "up_blocks", "v_proj",
        "vector_in", "x_embedder",
    }
)  # fmt: skip
"""Parts of modules' names with underscores of their own, in U-Nets, diffusion transformers and text encoders. A flat
name is read with them only where there is no base to look it up in."""

_MAX_COMPOUND_WORDS: Final = max(part.count("_") + 1 for part in COMPOUND_PARTS)

_FLAT_WRAPPER = re.compile(r"^(diffusion_model|text_model)_")
_ADAPTER: Final = r"(?:\.(?P<adapter>[^.]{1,200}))?"
_TAILS: Final[tuple[tuple[Role, re.Pattern[str]], ...]] = (
    ("A", re.compile(r"\.lora_A" + _ADAPTER + r"\.weight\Z")),
    ("B", re.compile(r"\.lora_B" + _ADAPTER + r"\.weight\Z")),
    ("vector", re.compile(r"\.lora_B" + _ADAPTER + r"\.bias\Z")),
    ("embedding_A", re.compile(r"\.lora_embedding_A" + _ADAPTER + r"\Z")),
    ("embedding_B", re.compile(r"\.lora_embedding_B" + _ADAPTER + r"\Z")),
    ("magnitude", re.compile(r"\.lora_magnitude_vector\.weight\Z")),
    ("magnitude", re.compile(r"\.lora_magnitude_vector" + _ADAPTER + r"(?:\.weight)?\Z")),
    ("A", re.compile(r"\.lora_down\.weight\Z")),
    ("B", re.compile(r"\.lora_up\.weight\Z")),
    ("mid", re.compile(r"\.lora_mid\.weight\Z")),
    ("A", re.compile(r"\.(?:lora|lora_linear_layer)\.down\.weight\Z")),
    ("B", re.compile(r"\.(?:lora|lora_linear_layer)\.up\.weight\Z")),
    ("alpha", re.compile(r"\.alpha\Z")),
    ("magnitude", re.compile(r"\.dora_scale\Z")),
    ("ia3", re.compile(r"\.ia3_l" + _ADAPTER + r"\Z")),
    ("diff", re.compile(r"\.diff\Z")),
    ("vector", re.compile(r"\.(?:diff_b|w_norm|b_norm)\Z")),
)
_OLD_PROCESSOR = re.compile(r"(?:\.processor)?\.(?P<part>to_(?:q|k|v|out))_lora\.(?P<side>down|up)\.weight\Z")
_FOREIGN_KINDS: Final = (
    ("LoHa", re.compile(r"\.hada_(?:w[12]_[ab]|t[12])(?:\.|\Z)")),
    ("LoKr", re.compile(r"\.lokr_(?:w[12](?:_[ab])?|t[12])(?:\.|\Z)")),
    ("OFT", re.compile(r"\.(?:oft|boft)_[A-Za-z]{1,20}(?:\.|\Z)")),
    ("GLoRA", re.compile(r"^(?:lora|lycoris)_.{1,900}\.(?:[ab][12]|bm)\.weight\Z")),
    ("IA3 of LyCORIS", re.compile(r"\.on_input\Z")),
    ("MLX", re.compile(r"\.lora_[ab]\Z")),
    ("LoRA of an unknown variant", re.compile(r"\.lora_")),
)


@dataclass(frozen=True, slots=True, order=True)
class Module:
    """A module of the base that an adapter changes.

    Attributes:
        component: `denoiser`, `text_encoder`, ... for a part of a pipeline; empty for a model of one part.
        name: The module, without wrapper and component.
        is_flat: Whether underscores in the name may stand for dots.
    """

    component: str
    name: str
    is_flat: bool = False

    @property
    def stem(self) -> str:
        """Comparable with the `comparable_stem` of a base's tensor, dots replaced if the name is flat."""
        # A prefix is only seen where it ends with a dot.
        name = _FLAT_WRAPPER.sub(r"\1.", self.name) if self.is_flat else self.name
        stem = comparable_stem(name, self.component)
        return stem.replace(".", "_") if self.is_flat else stem

    @property
    def dotted_stem(self) -> str:
        """The stem with dots, a U-Net's in the names of diffusers; a guess where the name is flat."""
        stem = unflattened(self.stem) if self.is_flat else self.stem
        return diffusers_unet_name(stem) if self.component == DENOISER else stem

    @property
    def own_name(self) -> str:
        """Name of the module's weight with the component, as no other module of the adapter has it."""
        return f"{self.component}.{self.name}.weight".removeprefix(".")

    @property
    def canonical(self) -> str:
        """Name of the module's weight where no base can tell.

        Text encoders keep a prefix, for a pipeline may have several of the same architecture.
        """
        prefix = f"{self.component}." if self.component not in {"", DENOISER} else ""
        return f"{prefix}{self.dotted_stem}.weight"


@dataclass(frozen=True, slots=True)
class AdapterTensor:
    """A tensor's name taken apart.

    Attributes:
        module: What it changes.
        role: A and B of a low-rank product and the kernel between them; the tensor that holds alpha; DoRA's magnitude;
            IA3's factors; a full difference; a vector that changes no matrix; or a part of a kind that is not read.
        adapter: The adapter's name where the file keeps it, else empty.
        kind: For `foreign`, the kind in words.
    """

    module: Module
    role: Role
    adapter: str = ""
    kind: str = ""


def read_name(name: str) -> AdapterTensor | None:
    """Takes a tensor's name apart; None if it does not belong to the parametrisation of an adapter."""
    if match := _OLD_PROCESSOR.search(name):
        module = _module(name[: match.start()])
        return AdapterTensor(
            Module(module.component, f"{module.name}.{_old_part(match['part'], module.component)}", module.is_flat),
            "A" if match["side"] == "down" else "B",
        )
    for role, pattern in _TAILS:
        match = pattern.search(name)
        if match and match.start():
            adapter = match.groupdict().get("adapter") or ""
            return AdapterTensor(_module(name[: match.start()]), role, adapter)
    for kind, pattern in _FOREIGN_KINDS:
        match = pattern.search(name)
        if match and not name.startswith("."):
            return AdapterTensor(_module(name[: match.start()]), "foreign", kind=kind)
    return None


def looks_like_lora(names: Iterable[str]) -> bool:
    """Whether a file with tensors of these names is an adapter and no model.

    It is if every name belongs to the parametrisation of an adapter, of a kind that is read or not, and at least one
    to a change of a matrix. A checkpoint with its own weights beside the adapter's is none.
    """
    roles = set()
    for name in names:
        part = read_name(name)
        if part is None:
            return False
        roles.add(part.role)
    return bool(roles - {"alpha", "vector", "magnitude"})


def comparable_stem(name: str, component: str) -> str:
    """A module's name as an adapter and a base are compared by: no wrappers, no `text_model` in text encoders.

    Args:
        name: The module, with dots.
        component: As in `Module`.
    """
    stem = canonical_name(f"{name}.weight").removesuffix(".weight")
    if component == DENOISER:
        return stem.removeprefix("diffusion_model.")
    # Two spellings of CLIP are in use, with and without the wrapper.
    return stem.removeprefix("text_model.") if component else stem


def unflattened(flat: str) -> str:
    """A flat name with dots between its parts, of which the longest known compounds are kept whole.

    `down_blocks_0_attn1_to_out_0` is `down_blocks.0.attn1.to_out.0`. Words that are unknown stay parts of their own.
    """
    words = flat.split("_")
    parts = []
    first = 0
    while first < len(words):
        n_words = min(_MAX_COMPOUND_WORDS, len(words) - first)
        while n_words > 1 and "_".join(words[first : first + n_words]) not in COMPOUND_PARTS:
            n_words -= 1
        parts.append("_".join(words[first : first + n_words]))
        first += n_words
    return ".".join(parts)


def shortened(names: Iterable[str], limit: int = 3) -> str:
    """The first names of many, without repetition and each of bounded length, for an error's sentence."""
    chosen = [name for name, _ in groupby(sorted(names))]
    return ", ".join(repr(name[:100]) for name in chosen[:limit]) + (" and others" if len(chosen) > limit else "")


def _module(text: str) -> Module:
    text = text.removesuffix(".base_layer")
    if text.startswith("base_model."):
        return Module("", text.removeprefix("base_model.").removeprefix("model."))
    for prefix, component in FLAT_PREFIXES.items():
        if text.startswith(prefix) and len(text) > len(prefix):
            name = text.removeprefix(prefix)
            return Module(component, name, is_flat="." not in name)
    first, _, rest = text.partition(".")
    if rest and first in COMPONENTS:
        return Module(COMPONENTS[first], rest)
    return Module("", text)


def _old_part(part: str, component: str) -> str:
    """The module's last name where attention processors kept the matrices (diffusers before 0.18)."""
    if component.startswith("text_encoder"):
        return "out_proj" if part == "to_out" else f"{part.removeprefix('to_')}_proj"
    return "to_out.0" if part == "to_out" else part
