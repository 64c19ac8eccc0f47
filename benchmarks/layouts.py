"""Model files of a real size and with real headers whose weights are holes in a sparse file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

BYTES_OF_A_NUMBER = 2


@dataclass(frozen=True)
class Layout:
    """The shapes of a decoder in bfloat16.

    Attributes:
        name: What it is called here.
        n_layers: Layers.
        width: Hidden size.
        n_key_rows: Rows of k and of v.
        mlp_width: Width of the MLP.
        vocabulary: Tokens.
        is_tied: Whether the head is the embedding.
        n_shards: Files.
    """

    name: str
    n_layers: int
    width: int
    n_key_rows: int
    mlp_width: int
    vocabulary: int
    is_tied: bool
    n_shards: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor, in the order in which Transformers saves them."""
        found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (self.vocabulary, self.width)}
        for layer in range(self.n_layers):
            parts = {
                "input_layernorm": (self.width,),
                "mlp.down_proj": (self.width, self.mlp_width),
                "mlp.gate_proj": (self.mlp_width, self.width),
                "mlp.up_proj": (self.mlp_width, self.width),
                "post_attention_layernorm": (self.width,),
                "self_attn.k_proj": (self.n_key_rows, self.width),
                "self_attn.o_proj": (self.width, self.width),
                "self_attn.q_proj": (self.width, self.width),
                "self_attn.v_proj": (self.n_key_rows, self.width),
            }
            found |= {f"model.layers.{layer}.{part}.weight": shape for part, shape in parts.items()}
        found["model.norm.weight"] = (self.width,)
        return found if self.is_tied else found | {"lm_head.weight": (self.vocabulary, self.width)}


SMALL = Layout("1b", 16, 2048, 512, 8192, 128_256, is_tied=True, n_shards=1)
"""Shapes of Llama-3.2-1B: 1.24 billion parameters."""

LARGE = Layout("7b", 32, 4096, 1024, 14_336, 32_768, is_tied=False, n_shards=3)
"""Shapes of Mistral-7B-v0.3: 7.25 billion parameters."""


def write_model(folder: Path, layout: Layout) -> int:
    """Write a model's files: config, index where there are shards, and safetensors whose weights are all zero.

    Returns:
        bytes of the weight files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = _shards(layout)
    where, total = {}, 0
    for number, tensors in enumerate(shards, start=1):
        name = "model.safetensors" if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        where |= dict.fromkeys(tensors, name)
        total += _write_shard(folder / name, tensors)
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": layout.width,
        "num_hidden_layers": layout.n_layers,
        "num_attention_heads": layout.width // 128,
        "num_key_value_heads": layout.n_key_rows // 128,
        "vocab_size": layout.vocabulary,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    return total


def _shards(layout: Layout) -> list[dict[str, tuple[int, ...]]]:
    """Tensors dealt out in order, about the same bytes to each file."""
    shapes = layout.shapes()
    total = sum(_n_bytes(shape) for shape in shapes.values())
    shards: list[dict[str, tuple[int, ...]]] = [{} for _ in range(layout.n_shards)]
    before = 0
    for name, shape in shapes.items():
        shards[min(before * layout.n_shards // total, layout.n_shards - 1)][name] = shape
        before += _n_bytes(shape)
    return shards


def _write_shard(path: Path, tensors: dict[str, tuple[int, ...]]) -> int:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        start, end = end, end + _n_bytes(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        os.truncate(stream.fileno(), 8 + len(text) + end)
    return 8 + len(text) + end


def _n_bytes(shape: tuple[int, ...]) -> int:
    size = BYTES_OF_A_NUMBER
    for length in shape:
        size *= length
    return size
