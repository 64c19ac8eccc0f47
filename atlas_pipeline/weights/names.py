"""One name for the same tensor wherever it is stored.

Wrappers put prefixes before a tensor's name and llama.cpp renames all of them, so that a checkpoint, its copy saved
through another class and its GGUF quantisation would seem to have nothing in common. Canonical names undo both.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

PREFIXES: Final = (
    "module.",  # torch.nn.DataParallel
    "_orig_mod.",  # torch.compile
    "base_model.model.",  # PEFT
    "base_model.",
    "model.",  # the body of most classes with a head
    "language_model.",  # the text part of a vision-language model
    "transformer.",
    "gpt_neox.",
    "bert.",
    "roberta.",
    "distilbert.",
    "electra.",
    "deberta.",
    "vit.",
)
"""Prefixes that name a wrapper rather than a part: bodies saved with and without a head differ by them."""

GGUF_LAYER_PARTS: Final = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.experts.gate_proj",
    "ffn_up_exps": "mlp.experts.up_proj",
    "ffn_down_exps": "mlp.experts.down_proj",
}
"""llama.cpp's names of the parts of block N and the names that decoder layers have in Transformers (Llama's scheme,
which most decoders follow)."""

GGUF_TENSORS: Final = {
    "token_embd": "embed_tokens",
    "output": "lm_head",
    "output_norm": "norm",
}
"""llama.cpp's names of tensors outside the blocks."""

_GGUF_BLOCK = re.compile(r"blk\.(\d{1,6})\.([a-z0-9_]{1,64})\.(weight|bias)")
_LAYER_NUMBER = re.compile(r"(?:^|\.)\d{1,6}\.")


def canonical_name(name: str) -> str:
    """Removes wrappers from a tensor's name.

    `base_model.model.model.layers.0.q.base_layer.weight` is `layers.0.q.weight`.
    """
    changed = True
    while changed:
        changed = False
        for prefix in PREFIXES:
            if name.startswith(prefix) and len(name) > len(prefix):
                name = name[len(prefix) :]
                changed = True
    return name.replace(".base_layer.", ".")


def canonical_gguf_name(name: str) -> str:
    """Canonical name of a tensor in a GGUF file: `blk.3.attn_q.weight` is `layers.3.self_attn.q_proj.weight`.

    Names that llama.cpp did not give are treated as in any other file.
    """
    if match := _GGUF_BLOCK.fullmatch(name):
        number, part, kind = match.groups()
        if part in GGUF_LAYER_PARTS:
            return f"layers.{int(number)}.{GGUF_LAYER_PARTS[part]}.{kind}"
    stem, _, kind = name.rpartition(".")
    if stem in GGUF_TENSORS and kind in {"weight", "bias"}:
        return f"{GGUF_TENSORS[stem]}.{kind}"
    return canonical_name(name)


def canonical_names(names: Iterable[str], *, is_gguf: bool = False) -> dict[str, str]:
    """Canonical name of every tensor of one model.

    Where two tensors would get the same name, each keeps its own: which of them is meant cannot be known.
    """
    canonical = {name: canonical_gguf_name(name) if is_gguf else canonical_name(name) for name in names}
    times = Counter(canonical.values())
    return {name: short if times[short] == 1 else name for name, short in canonical.items()}


def is_layer_tensor(canonical: str) -> bool:
    """Whether a tensor is part of a repeated layer: one component of its name is a number."""
    return _LAYER_NUMBER.search(canonical) is not None
