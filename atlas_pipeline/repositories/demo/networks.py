"""The two small networks of the demo hub, written out in NumPy: forward pass, loss and exact gradients.

`StripFormer` classifies 8x8 digits with attention over overlapping strips of rows; `Denoiser` restores noisy digits.
Both keep their weights in a plain `dict` from a Hub-like tensor name to an array, matrices as [out, in] (one row per
neuron), and every matrix has a column count divisible by 32 so that it can be stored in GGUF blocks. The arithmetic
follows the dtype of the weights: float32 in use, float64 where a test compares gradients with differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, softmax

Array = NDArray[np.floating[Any]]
Weights = dict[str, Array]

IMAGE_SIZE: Final = 8
STRIP_HEIGHT: Final = 4
N_STRIPS: Final = IMAGE_SIZE - STRIP_HEIGHT + 1
N_CLASSES: Final = 10
_RMS_EPSILON: Final = 1e-6


class Network(Protocol):
    """What training and packaging need of a network; the weights are never kept inside it."""

    @property
    def model_type(self) -> str:
        """The `model_type` of its config.json."""

    def initialize(self, generator: np.random.Generator) -> Weights:
        """Draw fresh float32 weights."""

    def outputs(self, weights: Mapping[str, Array], images: Array) -> Array:
        """Compute the network's answer to images [n, 8, 8]: [n, width of the answer]."""

    def loss_and_gradients(
        self, weights: Mapping[str, Array], images: Array, targets: NDArray[Any]
    ) -> tuple[float, Weights]:
        """Compute the mean loss over a batch and its gradient for every tensor, under the same names."""


def _matrix(generator: np.random.Generator, rows: int, columns: int) -> Array:
    return (generator.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)


def _rms_norm(x: Array, gain: Array) -> tuple[Array, Array]:
    """Root-mean-square norm (Zhang and Sennrich 2019) over the last axis; also returns 1/rms, [tokens, 1]."""
    inverse = 1.0 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + x.dtype.type(_RMS_EPSILON))
    return x * inverse * gain, inverse


def _rms_norm_backward(upstream: Array, x: Array, gain: Array, inverse: Array) -> tuple[Array, Array]:
    """Gradients of the norm for its input and its gain."""
    normed = x * inverse
    scaled = upstream * gain
    return inverse * (scaled - normed * np.mean(scaled * normed, axis=-1, keepdims=True)), np.sum(
        upstream * normed, axis=0
    )


def _silu_slope(x: Array) -> Array:
    gate = expit(x)
    return gate * (1.0 + x * (1.0 - gate))


@dataclass(frozen=True)
class StripFormer:
    """A transformer classifier: five overlapping 4x8 strips of the image are its tokens, their mean is classified.

    Per layer: RMS norm, multi-head attention without a mask, residual; RMS norm, SiLU-gated MLP, residual.
    """

    n_layers: int = 2
    width: int = 64
    n_heads: int = 2
    mlp_width: int = 96

    @property
    def model_type(self) -> str:
        """The `model_type` of its config.json."""
        return "digits_former"

    def initialize(self, generator: np.random.Generator) -> Weights:
        """Draw fresh float32 weights, variance 1/columns; gains start at one."""
        width, mlp_width = self.width, self.mlp_width
        weights: Weights = {
            "model.embed_patches.weight": _matrix(generator, width, STRIP_HEIGHT * IMAGE_SIZE),
            "model.embed_positions.weight": 0.1 * _matrix(generator, N_STRIPS, width) * np.float32(np.sqrt(width)),
        }
        for layer in range(self.n_layers):
            prefix = f"model.layers.{layer}"
            weights[f"{prefix}.input_layernorm.weight"] = np.ones(width, np.float32)
            for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
                weights[f"{prefix}.self_attn.{name}.weight"] = _matrix(generator, width, width)
            weights[f"{prefix}.post_attention_layernorm.weight"] = np.ones(width, np.float32)
            weights[f"{prefix}.mlp.gate_proj.weight"] = _matrix(generator, mlp_width, width)
            weights[f"{prefix}.mlp.up_proj.weight"] = _matrix(generator, mlp_width, width)
            weights[f"{prefix}.mlp.down_proj.weight"] = _matrix(generator, width, mlp_width)
        weights["model.norm.weight"] = np.ones(width, np.float32)
        weights["score.weight"] = _matrix(generator, N_CLASSES, width)
        return weights

    def outputs(self, weights: Mapping[str, Array], images: Array) -> Array:
        """Compute class scores [n, 10] (logits) of images [n, 8, 8]."""
        return self._forward(weights, images)[0]

    def loss_and_gradients(
        self, weights: Mapping[str, Array], images: Array, targets: NDArray[Any]
    ) -> tuple[float, Weights]:
        """Compute the mean cross-entropy in nats against class numbers [n] and its gradients."""
        logits, cache = self._forward(weights, images)
        n = len(images)
        log_likelihoods = log_softmax(logits, axis=1)
        loss = -float(np.mean(log_likelihoods[np.arange(n), targets]))
        upstream: Array = np.exp(log_likelihoods)
        upstream[np.arange(n), targets] -= 1.0
        upstream /= n

        gradients: Weights = {"score.weight": upstream.T @ cache["pooled"]}
        upstream = np.repeat(upstream @ weights["score.weight"] / N_STRIPS, N_STRIPS, axis=0)
        upstream, gradients["model.norm.weight"] = _rms_norm_backward(
            upstream, cache["hidden"], weights["model.norm.weight"], cache["inverse"]
        )
        for layer in reversed(range(self.n_layers)):
            upstream = self._mlp_backward(weights, layer, upstream, cache, gradients)
            upstream = self._attention_backward(weights, layer, upstream, cache, gradients)
        gradients["model.embed_positions.weight"] = upstream.reshape(n, N_STRIPS, -1).sum(axis=0)
        gradients["model.embed_patches.weight"] = upstream.T @ cache["strips"]
        return loss, {name: gradients[name] for name in weights}

    def _forward(self, weights: Mapping[str, Array], images: Array) -> tuple[Array, Weights]:
        # Tokens stay flattened to [n * 5, width] so that every product is one large matrix multiplication.
        n = len(images)
        strips = np.stack([images[:, i : i + STRIP_HEIGHT].reshape(n, -1) for i in range(N_STRIPS)], axis=1)
        cache: Weights = {"strips": strips.reshape(n * N_STRIPS, -1)}
        hidden: Array = cache["strips"] @ weights["model.embed_patches.weight"].T
        hidden = hidden + np.tile(weights["model.embed_positions.weight"], (n, 1))
        for layer in range(self.n_layers):
            hidden = self._attention(weights, layer, hidden, cache)
            hidden = self._mlp(weights, layer, hidden, cache)
        normed, cache["inverse"] = _rms_norm(hidden, weights["model.norm.weight"])
        cache["hidden"] = hidden
        cache["pooled"] = normed.reshape(n, N_STRIPS, -1).mean(axis=1)
        return cache["pooled"] @ weights["score.weight"].T, cache

    def _heads(self, tokens: Array) -> Array:
        return tokens.reshape(-1, N_STRIPS, self.n_heads, self.width // self.n_heads).transpose(0, 2, 1, 3)

    def _tokens(self, heads: Array) -> Array:
        return heads.transpose(0, 2, 1, 3).reshape(-1, self.width)

    def _attention(self, weights: Mapping[str, Array], layer: int, hidden: Array, cache: Weights) -> Array:
        prefix = f"model.layers.{layer}"
        normed, inverse = _rms_norm(hidden, weights[f"{prefix}.input_layernorm.weight"])
        q, k, v = (self._heads(normed @ weights[f"{prefix}.self_attn.{name}_proj.weight"].T) for name in "qkv")
        scale = hidden.dtype.type(1.0 / np.sqrt(self.width // self.n_heads))
        attended = softmax(q @ k.transpose(0, 1, 3, 2) * scale, axis=-1)
        mixed = self._tokens(attended @ v)
        cache |= {
            f"{layer}.a.{name}": value
            for name, value in zip(
                ("hidden", "inverse", "normed", "q", "k", "v", "attended", "mixed"),
                (hidden, inverse, normed, q, k, v, attended, mixed),
                strict=True,
            )
        }
        return hidden + mixed @ weights[f"{prefix}.self_attn.o_proj.weight"].T

    def _attention_backward(
        self, weights: Mapping[str, Array], layer: int, upstream: Array, cache: Weights, gradients: Weights
    ) -> Array:
        prefix, kept = f"model.layers.{layer}", lambda name: cache[f"{layer}.a.{name}"]
        gradients[f"{prefix}.self_attn.o_proj.weight"] = upstream.T @ kept("mixed")
        d_mixed = self._heads(upstream @ weights[f"{prefix}.self_attn.o_proj.weight"])
        attended = kept("attended")
        d_attended = d_mixed @ kept("v").transpose(0, 1, 3, 2)
        d_scores = attended * (d_attended - np.sum(d_attended * attended, axis=-1, keepdims=True))
        d_scores = d_scores * upstream.dtype.type(1.0 / np.sqrt(self.width // self.n_heads))
        d_normed = np.zeros_like(upstream)
        for name, gradient in (
            ("q", d_scores @ kept("k")),
            ("k", d_scores.transpose(0, 1, 3, 2) @ kept("q")),
            ("v", attended.transpose(0, 1, 3, 2) @ d_mixed),
        ):
            tensor = f"{prefix}.self_attn.{name}_proj.weight"
            flat = self._tokens(gradient)
            gradients[tensor] = flat.T @ kept("normed")
            d_normed += flat @ weights[tensor]
        gain = f"{prefix}.input_layernorm.weight"
        d_hidden, gradients[gain] = _rms_norm_backward(d_normed, kept("hidden"), weights[gain], kept("inverse"))
        return upstream + d_hidden

    def _mlp(self, weights: Mapping[str, Array], layer: int, hidden: Array, cache: Weights) -> Array:
        prefix = f"model.layers.{layer}"
        normed, inverse = _rms_norm(hidden, weights[f"{prefix}.post_attention_layernorm.weight"])
        gate = normed @ weights[f"{prefix}.mlp.gate_proj.weight"].T
        up = normed @ weights[f"{prefix}.mlp.up_proj.weight"].T
        product = gate * expit(gate) * up
        cache |= {
            f"{layer}.m.{name}": value
            for name, value in zip(
                ("hidden", "inverse", "normed", "gate", "up", "product"),
                (hidden, inverse, normed, gate, up, product),
                strict=True,
            )
        }
        return hidden + product @ weights[f"{prefix}.mlp.down_proj.weight"].T

    @staticmethod
    def _mlp_backward(
        weights: Mapping[str, Array], layer: int, upstream: Array, cache: Weights, gradients: Weights
    ) -> Array:
        prefix, kept = f"model.layers.{layer}", lambda name: cache[f"{layer}.m.{name}"]
        gradients[f"{prefix}.mlp.down_proj.weight"] = upstream.T @ kept("product")
        d_product = upstream @ weights[f"{prefix}.mlp.down_proj.weight"]
        gate = kept("gate")
        d_gate = d_product * kept("up") * _silu_slope(gate)
        d_up = d_product * gate * expit(gate)
        gradients[f"{prefix}.mlp.gate_proj.weight"] = d_gate.T @ kept("normed")
        gradients[f"{prefix}.mlp.up_proj.weight"] = d_up.T @ kept("normed")
        d_normed = d_gate @ weights[f"{prefix}.mlp.gate_proj.weight"] + d_up @ weights[f"{prefix}.mlp.up_proj.weight"]
        gain = f"{prefix}.post_attention_layernorm.weight"
        d_hidden, gradients[gain] = _rms_norm_backward(d_normed, kept("hidden"), weights[gain], kept("inverse"))
        return upstream + d_hidden


_DENOISER_LAYERS: Final = (
    ("encoder.layers.0", 192, 64),
    ("encoder.layers.1", 96, 192),
    ("encoder.layers.2", 32, 96),
    ("decoder.layers.0", 96, 32),
    ("decoder.layers.1", 192, 96),
    ("decoder.layers.2", 64, 192),
)


@dataclass(frozen=True)
class Denoiser:
    """An autoencoder of six dense layers, 64-192-96-32-96-192-64, SiLU between them, that restores a clean image."""

    @property
    def model_type(self) -> str:
        """The `model_type` of its config.json."""
        return "digits_denoiser"

    def initialize(self, generator: np.random.Generator) -> Weights:
        """Draw fresh float32 weights, variance 1/columns; biases start at zero."""
        weights: Weights = {}
        for name, rows, columns in _DENOISER_LAYERS:
            weights[f"{name}.weight"] = _matrix(generator, rows, columns)
            weights[f"{name}.bias"] = np.zeros(rows, np.float32)
        return weights

    def outputs(self, weights: Mapping[str, Array], images: Array) -> Array:
        """Compute restored images [n, 64] of noisy images [n, 8, 8]."""
        return self._forward(weights, images)[-1]

    def loss_and_gradients(
        self, weights: Mapping[str, Array], images: Array, targets: NDArray[Any]
    ) -> tuple[float, Weights]:
        """Compute the mean squared error per pixel against clean images [n, 8, 8] and its gradients."""
        values = self._forward(weights, images)
        difference = values[-1] - targets.reshape(len(images), -1)
        loss = float(np.mean(difference * difference))
        upstream = difference * difference.dtype.type(2.0 / difference.size)
        gradients: Weights = {}
        for step in reversed(range(len(_DENOISER_LAYERS))):
            name = _DENOISER_LAYERS[step][0]
            before = values[step]
            entering = before if step == 0 else before * expit(before)
            gradients[f"{name}.weight"] = upstream.T @ entering
            gradients[f"{name}.bias"] = upstream.sum(axis=0)
            if step:
                upstream = (upstream @ weights[f"{name}.weight"]) * _silu_slope(before)
        return loss, {name: gradients[name] for name in weights}

    @staticmethod
    def _forward(weights: Mapping[str, Array], images: Array) -> list[Array]:
        """Values before each activation; the first is the image, the last the answer."""
        values: list[Array] = [images.reshape(len(images), -1)]
        for step, (name, _, _) in enumerate(_DENOISER_LAYERS):
            entering = values[-1] if step == 0 else values[-1] * expit(values[-1])
            values.append(entering @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])
        return values
