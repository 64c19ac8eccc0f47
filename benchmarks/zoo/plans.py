"""The words of a population's plan: a model, how it is made, when, and what its listing says of its parents.

Values only; how a population grows is in `population`, how a plan is carried out in `making`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import numpy as np

Family = Literal["llama-64", "llama-96", "unet-32", "vit-64"]

FAMILIES: Final[tuple[Family, ...]] = ("llama-64", "llama-96", "unet-32", "vit-64")
"""Architectures, named after their model type and width."""

SHARES: Final = {
    "fan": 0.25,
    "snake": 0.12,
    "single": 0.18,
    "lora_merged": 0.07,
    "adapter": 0.04,
    "quantized": 0.10,
    "cast": 0.04,
    "duplicate": 0.05,
    "pruned": 0.03,
    "head_swap": 0.03,
    "merge": 0.07,
    "qlora": 0.02,
}
"""Share of each way of making among the models of a region, its root aside."""

LEAST_CHANGE: Final = 1e-3
MOST_CHANGE: Final = 5e-2
"""Bounds of the relative change of the weights that a fine-tune aims at."""

Trained = Literal["all", "no_embeddings", "no_first_layers", "attention"]
FloatType = Literal["F32", "F16", "BF16"]
Layout = Literal["single", "same", "sharded", "torch", "prefixed", "gguf", "adapter"]
QuantizedType = Literal["bnb-int8", "bnb-nf4", "gguf-q8_0", "gguf-q5_0", "gguf-q4_0", "fp8", "gptq-4bit"]


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """Training from fresh weights."""

    task: str
    n_steps: int


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Gradient descent from the parent's weights.

    Attributes:
        task: what is learnt.
        optimizer: adamw, adam or sgd (with momentum).
        weight_decay: decoupled for adamw; the others have none.
        schedule: constant, cosine (down to a tenth) or warmup (a linear tenth, then constant).
        n_steps: optimiser steps.
        batch_size: examples a step.
        target_change: relative change of the weights that the base rate of the run aims at.
        rate_factor: the rate over the base rate of the sweep.
        trained: which parameters learn.
        run: models of one run share the base rate.
        order: models of one order see the same batches.
        first_step: steps of the run before this model.
        total_steps: steps of the whole run, for the schedule.
        keeps_moments: whether the optimiser's state is that of the checkpoint before.
        head: none for the parent's; frozen or tuned for a new one on a backbone that is frozen or tuned as well.
    """

    task: str
    optimizer: Literal["adamw", "adam", "sgd"]
    weight_decay: float
    schedule: Literal["constant", "cosine", "warmup"]
    n_steps: int
    batch_size: int
    target_change: float
    run: str
    order: str
    rate_factor: float = 1.0
    trained: Trained = "all"
    first_step: int = 0
    total_steps: int = 0
    keeps_moments: bool = False
    head: Literal["none", "frozen", "tuned"] = "none"


@dataclass(frozen=True, kw_only=True)
class LoraTuning:
    """Low-rank training, published as an adapter or added to the parent's weights."""

    task: str
    rank: int
    alpha: float
    targets: Literal["attention_qv", "all_linear"]
    n_steps: int
    batch_size: int
    target_change: float
    run: str
    order: str
    rate_factor: float = 1.0
    is_merged: bool = True


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """The parent's weights in fewer bits; first rounded to 16 bits where `through_f16`, as converters often do.

    `is_dequantized`: what is stored are the float16 numbers that the codes stand for.
    """

    kind: QuantizedType
    through_f16: bool = False
    is_dequantized: bool = False


@dataclass(frozen=True)
class Cast:
    """The parent's weights in 16 bits."""


@dataclass(frozen=True)
class Copy:
    """The parent's weights, in the layout of the plan."""


@dataclass(frozen=True)
class Pruning:
    """The smallest weights of each matrix set to zero."""

    share: float


@dataclass(frozen=True, kw_only=True)
class Merge:
    """A merge of models; the base is the plan's last parent for task and ties.

    Attributes:
        kind: linear, slerp (between two), task (arithmetic) or ties.
        weights: one for each merged model, the base left out; for slerp what both get on average.
        density: for ties, the share of each tensor's changes that is kept.
        varies: for slerp, whether the fraction differs between layers and between attention and MLP.
    """

    kind: Literal["linear", "slerp", "task", "ties"]
    weights: tuple[float, ...]
    density: float = 1.0
    varies: bool = False


Making = Pretraining | FineTuning | LoraTuning | Quantization | Cast | Copy | Pruning | Merge

RELATIONS: Final[dict[str, str]] = {
    "adapter": "adapter",
    "quantized": "quantized",
    "cast": "quantized",
    "duplicate": "duplicate",
    "merge_linear": "merge",
    "merge_slerp": "merge",
    "merge_task": "merge",
    "merge_ties": "merge",
}
"""How a pattern's children relate to their parents; everything else is a finetune."""


@dataclass(frozen=True, kw_only=True)
class PlannedModel:
    """One model.

    Attributes:
        model_id: `org/name`, random words.
        region: name of its region.
        family: its architecture.
        pattern: how it was made, in the words of the truth.
        making: how it is made.
        created_at: naive UTC.
        parents: ids, for a merge in the order of its weights, then the base.
        coefficients: one for each parent; None where the pattern has none.
        depth: 0 for a root; one more than that of the deepest parent.
        dtype: floats of its file; for quantised files those of the tensors that stay floats.
        layout: how its files are laid out.
        group: the fan, snake or batch of uploads that it belongs to.
        relation: of its edges.
        documentation: where its listing names parents: nowhere, base_models, tags, card or adapter (its config).
        declared: what it names there.
        declared_relation: the relation it names there.
        misdeclared: what is wrong with that on purpose; empty for nothing.
        is_removed: whether it is gone from the hub.
        is_inverted: whether it is older than its parent.
    """

    model_id: str
    region: str
    family: Family
    pattern: str
    making: Making
    created_at: datetime
    parents: tuple[str, ...] = ()
    coefficients: tuple[float | None, ...] = ()
    depth: int = 0
    dtype: FloatType = "F32"
    layout: Layout = "single"
    group: str = ""
    documentation: Literal["", "base_models", "tags", "card", "adapter"] = ""
    declared: tuple[str, ...] = ()
    declared_relation: str = ""
    misdeclared: str = ""
    is_removed: bool = False
    is_inverted: bool = False

    @property
    def relation(self) -> str:
        """How it was made from its parents."""
        if self.pattern == "qlora":
            return "adapter" if self.layout == "adapter" else "finetune"
        return RELATIONS.get(self.pattern, "finetune")

    @property
    def stored_as(self) -> str:
        """The format of its weights in one word."""
        if self.layout == "adapter":
            return "adapter"
        if isinstance(self.making, Quantization):
            return f"dequantized-{self.making.kind}" if self.making.is_dequantized else self.making.kind
        return self.dtype

    @property
    def is_trainable(self) -> bool:
        """Whether others may be made from it: all its weights are there, as floats, with the usual head."""
        is_full = self.layout not in ("adapter", "gguf") and not isinstance(self.making, Quantization)
        return is_full and self.pattern != "head_swap"


def generator_for(seed: int, *names: str) -> np.random.Generator:
    """Give a purpose its own source of random numbers, independent of all others and of their order."""
    digest = hashlib.sha256("\n".join(names).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])
