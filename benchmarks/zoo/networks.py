"""The architectures, small, with the tensor names of their large models, and fresh weights for them.

Every matrix has a number of columns that fills blocks of 32, so that it can be quantised in any format.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo.data import N_LABELS, vocabulary_size
from benchmarks.zoo.plans import Family, Trained

Weights = dict[str, NDArray[np.float32]]

N_CLASSES: Final = 10
_SHAPES: Final = {"llama-64": (64, 3, 160, 4, 2), "llama-96": (96, 2, 256, 6, 2)}
"""Width, layers, width of the MLP, heads of queries, heads of keys."""

_COMPARED: Final = {
    "llama": re.compile(r"model\.layers\..*\.weight"),
    "vit": re.compile(r"vit\.encoder\.layer\..*\.weight"),
    "unet": re.compile(r".*\.attn[12]\.to_(?:q|k|v|out\.0)\.weight"),
}


def is_compared(family: Family, name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is one of the matrices by which models of a family are compared."""
    return len(shape) == 2 and _COMPARED[family.partition("-")[0]].fullmatch(name) is not None


def is_trained(family: Family, name: str, trained: Trained) -> bool:
    """Whether a tensor learns under a choice of trained parameters."""
    match trained:
        case "all":
            return True
        case "no_embeddings":
            return not re.search(r"embed_tokens|embeddings|class_embedding|conv_in", name)
        case "no_first_layers":
            first = r"embed_tokens|embeddings|conv_in|layers\.0\.|layer\.0\.|down_blocks"
            return not re.search(first, name)
        case "attention":
            return re.search(r"attn|attention\.", name) is not None


def config_of(family: Family) -> dict[str, Any]:
    """The config.json of a family, without what depends on a model's storage."""
    if family.startswith("llama"):
        width, n_layers, mlp, n_query, n_key = _SHAPES[family]
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": width,
            "intermediate_size": mlp,
            "num_hidden_layers": n_layers,
            "num_attention_heads": n_query,
            "num_key_value_heads": n_key,
            "head_dim": width // n_query,
            "vocab_size": vocabulary_size(family),
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False,
        }
    if family.startswith("vit"):
        return {
            "architectures": ["ViTForImageClassification"],
            "model_type": "vit",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": 8,
            "patch_size": 2,
            "num_channels": 1,
        }
    return {"_class_name": "UNet2DConditionModel", "model_type": "unet2d", "block_out_channels": [32, 64]}


class _Norm(nn.Module):
    """Root-mean-square norm with a gain."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class _SelfAttention(nn.Module):
    """Causal attention with rotary positions and grouped queries."""

    def __init__(self, width: int, n_query: int, n_key: int) -> None:
        super().__init__()
        self.n_query, self.n_key, self.size = n_query, n_key, width // n_query
        self.q_proj = nn.Linear(width, n_query * self.size, bias=False)
        self.k_proj = nn.Linear(width, n_key * self.size, bias=False)
        self.v_proj = nn.Linear(width, n_key * self.size, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        n, length, _ = x.shape
        q = self._heads(self.q_proj(x), self.n_query)
        k = self._heads(self.k_proj(x), self.n_key)
        v = self._heads(self.v_proj(x), self.n_key)
        q, k = _turned(q, turn), _turned(k, turn)
        repeats = self.n_query // self.n_key
        k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).reshape(n, length, -1))

    def _heads(self, x: Tensor, n_heads: int) -> Tensor:
        return x.unflatten(-1, (n_heads, self.size)).transpose(1, 2)


def _turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * turn[0] + torch.cat((-second, first), -1) * turn[1]


class _Mlp(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class _DecoderLayer(nn.Module):
    def __init__(self, width: int, inner: int, n_query: int, n_key: int) -> None:
        super().__init__()
        self.self_attn = _SelfAttention(width, n_query, n_key)
        self.mlp = _Mlp(width, inner)
        self.input_layernorm = _Norm(width)
        self.post_attention_layernorm = _Norm(width)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), turn)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """A decoder as Llama's; with another head it tells the class of the next token instead of the token."""

    def __init__(self, family: Family, *, has_other_head: bool = False) -> None:
        super().__init__()
        width, n_layers, inner, n_query, n_key = _SHAPES[family]
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(vocabulary_size(family), width)
        self.model.layers = nn.ModuleList(_DecoderLayer(width, inner, n_query, n_key) for _ in range(n_layers))
        self.model.norm = _Norm(width)
        if has_other_head:
            self.score = nn.Linear(width, N_LABELS, bias=False)
        else:
            self.lm_head = nn.Linear(width, vocabulary_size(family), bias=False)
        self.has_other_head = has_other_head
        size = width // n_query
        self._rates = 10_000.0 ** (-torch.arange(0, size, 2) / size)

    def loss(self, tokens: Tensor, following: Tensor, classes: Tensor) -> Tensor:
        """Mean cross entropy of the tokens that follow, int64 [n, length], or of their classes."""
        angles = torch.arange(tokens.shape[1])[:, None] * self._rates
        angles = torch.cat((angles, angles), -1)
        x, turn = self.model.embed_tokens(tokens), (angles.cos(), angles.sin())
        for layer in self.model.layers:
            x = layer(x, turn)
        x = self.model.norm(x)
        answer, target = (self.score(x), classes) if self.has_other_head else (self.lm_head(x), following)
        return functional.cross_entropy(answer.flatten(0, 1), target.flatten())


class _VitLayer(nn.Module):
    def __init__(self, width: int, inner: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attention = nn.Module()
        self.attention.attention = nn.Module()
        for name in ("query", "key", "value"):
            setattr(self.attention.attention, name, nn.Linear(width, width))
        self.attention.output = nn.Module()
        self.attention.output.dense = nn.Linear(width, width)
        self.intermediate = nn.Module()
        self.intermediate.dense = nn.Linear(width, inner)
        self.output = nn.Module()
        self.output.dense = nn.Linear(inner, width)
        self.layernorm_before = nn.LayerNorm(width)
        self.layernorm_after = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.layernorm_before(x)
        parts = self.attention.attention
        x = x + self.attention.output.dense(
            _attended(parts.query(normed), parts.key(normed), parts.value(normed), self.n_heads)
        )
        return x + self.output.dense(functional.gelu(self.intermediate.dense(self.layernorm_after(x))))


def _attended(q: Tensor, k: Tensor, v: Tensor, n_heads: int) -> Tensor:
    q, k, v = (part.unflatten(-1, (n_heads, -1)).transpose(1, 2) for part in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class VisionTransformer(nn.Module):
    """A ViT that names digits, or with another head tells four kinds of them."""

    def __init__(self, *, has_other_head: bool = False) -> None:
        super().__init__()
        width = 64
        self.vit = nn.Module()
        self.vit.embeddings = nn.Module()
        self.vit.embeddings.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.vit.embeddings.position_embeddings = nn.Parameter(torch.zeros(1, 17, width))
        self.vit.embeddings.patch_embeddings = nn.Module()
        self.vit.embeddings.patch_embeddings.projection = nn.Conv2d(1, width, 2, stride=2)
        self.vit.encoder = nn.Module()
        self.vit.encoder.layer = nn.ModuleList(_VitLayer(width, 128, 4) for _ in range(3))
        self.vit.layernorm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, N_LABELS if has_other_head else N_CLASSES)
        self.has_other_head = has_other_head

    def loss(self, images: Tensor, labels: Tensor, other_labels: Tensor) -> Tensor:
        """Mean cross entropy of the labels of images, float32 [n, 1, 8, 8], or of the other labels."""
        embeddings = self.vit.embeddings
        x = embeddings.patch_embeddings.projection(images).flatten(2).transpose(1, 2)
        x = torch.cat((embeddings.cls_token.expand(len(x), 1, -1), x), 1) + embeddings.position_embeddings
        for layer in self.vit.encoder.layer:
            x = layer(x)
        answer = self.classifier(self.vit.layernorm(x)[:, 0])
        return functional.cross_entropy(answer, other_labels if self.has_other_head else labels)


class _CrossAttention(nn.Module):
    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        return self.to_out[0](_attended(self.to_q(x), self.to_k(context), self.to_v(context), 4))


class _TransformerBlock(nn.Module):
    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1 = _CrossAttention(width, width)
        self.attn2 = _CrossAttention(width, context)
        self.ff = nn.Module()
        self.ff.net = nn.ModuleDict({"0": nn.Module(), "2": nn.Linear(2 * width, width)})
        self.ff.net["0"].proj = nn.Linear(width, 4 * width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = x + self.attn1(normed, normed)
        x = x + self.attn2(self.norm2(x), context)
        value, gate = self.ff.net["0"].proj(self.norm3(x)).chunk(2, -1)
        return x + self.ff.net["2"](value * functional.gelu(gate))


class _Attention2d(nn.Module):
    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.proj_in = nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList([_TransformerBlock(width, context)])
        self.proj_out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        rows = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        rows = self.proj_out(self.transformer_blocks[0](rows, context))
        return x + rows.transpose(1, 2).unflatten(2, x.shape[2:])


class _Resnet(nn.Module):
    def __init__(self, n_in: int, n_out: int, n_time: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, n_in), nn.GroupNorm(8, n_out)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(n_time, n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else None

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(x))) + self.time_emb_proj(functional.silu(time))[:, :, None, None]
        inner = self.conv2(functional.silu(self.norm2(inner)))
        return inner + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Denoiser(nn.Module):
    """A U-Net of two levels that tells the noise in an image of a digit, or with another head the image.

    Four neighbouring pixels are the four channels of one place.
    """

    def __init__(self, *, has_other_head: bool = False) -> None:
        super().__init__()
        low, high, context, time = 32, 64, 32, 64
        self.has_other_head = has_other_head
        self.class_embedding = nn.Embedding(2 * N_CLASSES, context)
        self.time_embedding = nn.Module()
        self.time_embedding.linear_1, self.time_embedding.linear_2 = nn.Linear(32, time), nn.Linear(time, time)
        self.conv_in = nn.Conv2d(4, low, 3, padding=1)
        down, middle, up = nn.Module(), nn.Module(), nn.Module()
        down.resnets = nn.ModuleList([_Resnet(low, low, time)])
        down.attentions = nn.ModuleList([_Attention2d(low, context)])
        down.downsamplers = nn.ModuleList([nn.Module()])
        down.downsamplers[0].conv = nn.Conv2d(low, high, 3, stride=2, padding=1)
        middle.resnets = nn.ModuleList([_Resnet(high, high, time)])
        middle.attentions = nn.ModuleList([_Attention2d(high, context)])
        up.upsamplers = nn.ModuleList([nn.Module()])
        up.upsamplers[0].conv = nn.Conv2d(high, low, 3, padding=1)
        up.resnets = nn.ModuleList([_Resnet(2 * low, low, time)])
        up.attentions = nn.ModuleList([_Attention2d(low, context)])
        self.down_blocks, self.mid_block, self.up_blocks = nn.ModuleList([down]), middle, nn.ModuleList([up])
        self.conv_norm_out = nn.GroupNorm(8, low)
        self.conv_out = nn.Conv2d(low, 4, 3, padding=1)
        self._rates = torch.exp(torch.linspace(0.0, 5.0, 16))

    def loss(self, noisy: Tensor, level: Tensor, labels: Tensor, noise: Tensor, clean: Tensor) -> Tensor:
        """Mean squared error of the noise in images, float32 [n, 1, 8, 8], or of the clean images."""
        angles = level[:, None] * self._rates
        waves = torch.cat((angles.sin(), angles.cos()), -1)
        time = self.time_embedding.linear_2(functional.silu(self.time_embedding.linear_1(waves)))
        classes = self.class_embedding(torch.stack((2 * labels, 2 * labels + 1), 1))
        context = torch.cat((classes, waves[:, None]), 1)
        down, middle, up = self.down_blocks[0], self.mid_block, self.up_blocks[0]
        kept = down.attentions[0](down.resnets[0](self.conv_in(functional.pixel_unshuffle(noisy, 2)), time), context)
        x = middle.attentions[0](middle.resnets[0](down.downsamplers[0].conv(kept), time), context)
        x = up.upsamplers[0].conv(functional.interpolate(x, scale_factor=2.0))
        x = up.attentions[0](up.resnets[0](torch.cat((x, kept), 1), time), context)
        answer = functional.pixel_shuffle(self.conv_out(functional.silu(self.conv_norm_out(x))), 2)
        return functional.mse_loss(answer, clean if self.has_other_head else noise)


def network_of(family: Family, *, has_other_head: bool = False) -> nn.Module:
    """A network of a family, its weights yet to be loaded."""
    if family.startswith("llama"):
        return Decoder(family, has_other_head=has_other_head)
    kind = VisionTransformer if family.startswith("vit") else Denoiser
    return kind(has_other_head=has_other_head)


def fresh_weights(network: nn.Module, rng: np.random.Generator) -> Weights:
    """Draw weights: matrices with a variance of one over their inputs, gains of one, everything else small or zero.

    Args:
        network: gives names and shapes.
        rng: source of the draw.

    Returns:
        float32 arrays by tensor name.
    """
    weights: Weights = {}
    for name, parameter in network.named_parameters():
        shape = tuple(parameter.shape)
        if name.endswith(("embed_tokens.weight", "class_embedding.weight", "cls_token", "position_embeddings")):
            weights[name] = (0.2 * rng.standard_normal(shape)).astype(np.float32)
        elif len(shape) > 1:
            deviation = 1 / math.sqrt(math.prod(shape[1:]))
            weights[name] = (deviation * rng.standard_normal(shape)).astype(np.float32)
        else:
            weights[name] = np.full(shape, 1.0 if name.endswith("weight") else 0.0, np.float32)
    return weights


def load(network: nn.Module, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Put weights into a network."""
    network.load_state_dict({name: torch.from_numpy(np.array(tensor)) for name, tensor in weights.items()})
