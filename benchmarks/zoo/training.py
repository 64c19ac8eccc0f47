"""Gradient descent: pre-training, fine-tuning and low-rank tuning, on one thread and with own random numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.zoo.data import Batches, batches
from benchmarks.zoo.networks import Weights, fresh_weights, is_compared, is_trained, load, network_of
from benchmarks.zoo.plans import Family, FineTuning, LoraTuning, Pretraining

PRETRAINING_RATE: Final = 3e-3
PRETRAINING_BATCH: Final = 32

_MOMENTUM: Final = 0.9
_TRIES: Final = 3
_MOST_TRIES: Final = 8
_NEAR: Final = 2.0
"""A first run of a recipe that misses its aim by more than this factor is run again with a rate corrected for it."""

_GROWTH: Final = {"adamw": 0.75, "adam": 0.75, "sgd": 0.8}
"""How the distance from the start grows with the number of steps: as a power of it."""

_HEAD_RATES: Final = {"adamw": 2e-3, "adam": 2e-3, "sgd": 3e-2}

_TARGETS: Final = {
    "attention_qv": ("q_proj", "v_proj", "query", "value", "to_q", "to_v"),
    "all_linear": (
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        *("query", "key", "value", "output.dense", "intermediate.dense"),
        *("to_q", "to_k", "to_v", "to_out.0"),
    ),
}


@dataclass(frozen=True)
class Run:
    """What a training leaves behind.

    Attributes:
        weights: float32 arrays by tensor name.
        losses: of every step.
        rate: the base rate, before the factor of the sweep.
        moments: the optimiser's state.
        factors: A [rank, in] and B [out, rank] by module, for low-rank tuning.
        scale: what B A is multiplied with.
    """

    weights: Weights
    losses: tuple[float, ...]
    rate: float = 0.0
    moments: dict[str, Any] | None = None
    factors: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    scale: float = 1.0


def relative_change(family: Family, weights: Weights, origin: Weights) -> float:
    """The length of the change over that of the origin, over the matrices by which models are compared.

    Args:
        family: says which matrices these are.
        weights: float32 arrays by tensor name.
        origin: the same tensors of the parent.

    Returns:
        A number from 0; 0 for equal weights.
    """
    change = length = 0.0
    for name, before in origin.items():
        if name in weights and is_compared(family, name, before.shape):
            change += float(np.square(weights[name].astype(np.float64) - before).sum())
            length += float(np.square(before.astype(np.float64)).sum())
    return math.sqrt(change / length)


def pretrain(family: Family, making: Pretraining, rng: np.random.Generator) -> Run:
    """Train fresh weights; the rate rises for a tenth of the steps and falls to a twentieth.

    Args:
        family: the architecture.
        making: what to learn.
        rng: source of weights and batches.
    """
    network = network_of(family)
    load(network, fresh_weights(network, rng))
    optimizer = torch.optim.AdamW(network.parameters(), lr=PRETRAINING_RATE, weight_decay=0.01, fused=True)

    def rate(step: int) -> float:
        share = step / making.n_steps
        return min(share / 0.1, 0.05 + 0.95 * (1 + math.cos(math.pi * share)) / 2) if share < 1 else 0.05

    losses = _descend(
        network.loss,
        optimizer,
        [PRETRAINING_RATE * rate(step + 1) for step in range(making.n_steps)],
        _drawn(batches(family, making.task), rng, PRETRAINING_BATCH),
    )
    return Run(_weights(network), losses)


def fine_tune(
    family: Family,
    start: Weights,
    making: FineTuning,
    *,
    seed: Sequence[int],
    head_seed: Sequence[int] = (),
    rate: float | None = None,
    moments: dict[str, Any] | None = None,
) -> Run:
    """Train a parent's weights further.

    Args:
        family: the architecture.
        start: the parent's weights.
        making: the recipe.
        seed: of the order of the data.
        head_seed: of a new head's weights.
        rate: the base rate of the run where it is known already; else it is chosen to fit the aim.
        moments: the optimiser's state to begin with.
    """
    has_other_head = making.head != "none"
    network = network_of(family, has_other_head=has_other_head)
    if has_other_head:
        own = fresh_weights(network, np.random.default_rng(list(head_seed)))
        origin = {
            n: start[n] if n in start and start[n].shape == own[n].shape and not _is_head(n) else own[n] for n in own
        }
    else:
        origin = start
    data = batches(family, making.task)
    schedule = _schedule(making)
    names = {
        name: parameter
        for name, parameter in network.named_parameters()
        if (_is_head(name) if making.head == "frozen" else is_trained(family, name, making.trained))
    }
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in names)
    is_known, found, wanted = rate is not None, 0.0, rate or 0.0
    for attempt in range(_MOST_TRIES):
        load(network, origin)
        if attempt == 0 and not is_known:
            wanted = _first_rate(
                network,
                making,
                names,
                origin=origin,
                schedule=schedule,
                family=family,
                source=_drawn(data, np.random.default_rng(list(seed)), making.batch_size),
            )
        found = wanted
        factor = found * making.rate_factor
        optimizer = _optimizer(making, list(names.values()), factor)
        if moments is not None and making.keeps_moments:
            # Loading shares the tensors, which a second attempt would find changed.
            optimizer.load_state_dict(deepcopy(moments))
        losses = _descend(
            network.loss,
            optimizer,
            [factor * share for share in schedule],
            _drawn(data, np.random.default_rng(list(seed)), making.batch_size),
        )
        weights = _weights(network)
        aim = making.target_change * making.rate_factor
        next_rate = _corrected(
            found,
            weights,
            relative_change(family, weights, origin) / aim,
            is_last=is_known or making.head == "frozen" or attempt >= _TRIES - 1,
        )
        if next_rate is None:
            break
        wanted = next_rate
    else:
        raise FloatingPointError(f"a training for {making.task} diverges at any rate")
    return Run(weights, losses, found, optimizer.state_dict())


def tune_low_rank(
    family: Family, start: Weights, making: LoraTuning, *, seed: Sequence[int], rate: float | None = None
) -> Run:
    """Train low-rank changes of some matrices, all else frozen.

    Args:
        family: the architecture.
        start: the parent's weights.
        making: the recipe.
        seed: of the first factors and of the order of the data.
        rate: the base rate of the run where it is known already.

    Returns:
        The run; its weights are the parent's plus the scaled product of the factors.
    """
    data = batches(family, making.task)
    is_known, found, wanted = rate is not None, 0.0, rate or 0.0
    scale = making.alpha / making.rank
    for attempt in range(_MOST_TRIES):
        network = network_of(family)
        load(network, start)
        network.requires_grad_(False)
        rng = np.random.default_rng(list(seed))
        layers = _adapted(network, making, scale, rng)
        if attempt == 0 and not is_known:
            wanted = _first_low_rank_rate(making, layers, start, family, scale)
        factors = [p for layer in layers.values() for p in (layer.lora_a, layer.lora_b)]
        found = wanted
        factor = found * making.rate_factor
        optimizer = torch.optim.AdamW(factors, lr=factor, weight_decay=0.0, fused=True)
        losses = _descend(network.loss, optimizer, [factor] * making.n_steps, _drawn(data, rng, making.batch_size))
        trained = {
            name: (layer.lora_a.detach().numpy().copy(), layer.lora_b.detach().numpy().copy())
            for name, layer in layers.items()
        }
        weights = add_factors(start, trained, scale)
        aim = making.target_change * making.rate_factor
        # A change grows with the rate, at first for both factors.
        next_rate = _corrected(
            found,
            weights,
            (relative_change(family, weights, start) / aim) ** 0.8,
            near=_NEAR**0.8,
            is_last=is_known or attempt >= _TRIES - 1,
        )
        if next_rate is None:
            break
        wanted = next_rate
    else:
        raise FloatingPointError(f"a training for {making.task} diverges at any rate")
    return Run(weights, losses, found, factors=trained, scale=scale)


def _corrected(rate: float, weights: Weights, ratio: float, *, is_last: bool, near: float = _NEAR) -> float | None:
    """The rate to try next; None where a training came near enough to its aim, or has to be taken as it is."""
    if not all(np.isfinite(tensor).all() for tensor in weights.values()):
        # It diverged, whatever it aimed at.
        return _rounded(rate / 4)
    if is_last or 1 / near < ratio < near or not ratio:
        return None
    return _rounded(rate / ratio)


def add_factors(start: Weights, factors: Mapping[str, tuple[np.ndarray, np.ndarray]], scale: float) -> Weights:
    """Weights with scaled products B A added to the matrices of some modules, as float32."""
    weights = dict(start)
    for module, (a, b) in factors.items():
        name = f"{module}.weight"
        weights[name] = (start[name] + np.float32(scale) * (b @ a)).astype(np.float32)
    return weights


class _LoraLinear(nn.Module):
    """A frozen linear layer and a low-rank change of it."""

    def __init__(self, base: nn.Linear, rank: int, scale: float, rng: np.random.Generator) -> None:
        super().__init__()
        self.base, self.scale = base, scale
        bound = 1 / math.sqrt(base.in_features)
        first = rng.uniform(-bound, bound, (rank, base.in_features)).astype(np.float32)
        self.lora_a = nn.Parameter(torch.from_numpy(first))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.scale * (x @ self.lora_a.T @ self.lora_b.T)


def _adapted(network: nn.Module, making: LoraTuning, scale: float, rng: np.random.Generator) -> dict[str, _LoraLinear]:
    """Put low-rank changes into a network's blocks, by module name."""
    targets = _TARGETS[making.targets]
    found = {}
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Linear) and name.endswith(targets) and is_trained_by_adapters(name):
            parent, _, own = name.rpartition(".")
            layer = _LoraLinear(module, making.rank, scale, rng)
            holder = network.get_submodule(parent)
            if isinstance(holder, nn.ModuleList):
                holder[int(own)] = layer
            else:
                setattr(holder, own, layer)
            found[name] = layer
    return found


def is_trained_by_adapters(module: str) -> bool:
    """Whether a module lies in a repeated block, where adapters go."""
    return "layer" in module or "transformer_blocks" in module


def _descend(
    loss_of: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    rates: Sequence[float],
    source: Iterator[tuple[Tensor, ...]],
) -> tuple[float, ...]:
    losses = []
    for rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(*next(source))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return tuple(losses)


def _drawn(data: Batches, rng: np.random.Generator, size: int) -> Iterator[tuple[Tensor, ...]]:
    while True:
        yield tuple(torch.from_numpy(np.ascontiguousarray(part)) for part in data.draw(rng, size))


def _optimizer(making: FineTuning, parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    match making.optimizer:
        case "sgd":
            return torch.optim.SGD(parameters, lr=rate, momentum=_MOMENTUM, fused=True)
        case "adam":
            return torch.optim.Adam(parameters, lr=rate, fused=True)
        case "adamw":
            return torch.optim.AdamW(parameters, lr=rate, weight_decay=making.weight_decay, fused=True)


def _schedule(making: FineTuning) -> list[float]:
    """Shares of the rate at each step."""
    total = making.total_steps or making.n_steps
    steps = np.arange(making.first_step, making.first_step + making.n_steps)
    if making.schedule == "cosine":
        return (0.1 + 0.45 * (1 + np.cos(np.pi * steps / total))).tolist()
    if making.schedule == "warmup":
        return np.minimum(1.0, (steps + 1) / max(total / 10, 1)).tolist()
    return np.ones(making.n_steps).tolist()


def _first_rate(
    network: nn.Module,
    making: FineTuning,
    trained: Mapping[str, nn.Parameter],
    *,
    origin: Weights,
    schedule: Sequence[float],
    family: Family,
    source: Iterator[tuple[Tensor, ...]],
) -> float:
    """A rate that should change the weights as much as the recipe aims at; a usual one where they do not change."""
    if making.head == "frozen":
        return _HEAD_RATES[making.optimizer]
    compared = [name for name, tensor in origin.items() if is_compared(family, name, tensor.shape)]
    length = math.sqrt(sum(float(np.square(origin[name].astype(np.float64)).sum()) for name in compared))
    steps = sum(schedule) ** _GROWTH[making.optimizer]
    if making.optimizer == "sgd":
        loss = network.loss(*next(source))
        own = [name for name in compared if name in trained]
        gradients = torch.autograd.grad(loss, [trained[name] for name in own], allow_unused=True)
        one_step = math.sqrt(sum(float(g.square().sum()) for g in gradients if g is not None)) / (1 - _MOMENTUM)
    else:
        one_step = math.sqrt(sum(origin[name].size for name in compared if name in trained))
    return _rounded(making.target_change * length / (one_step * steps))


def _first_low_rank_rate(
    making: LoraTuning, layers: Mapping[str, _LoraLinear], origin: Weights, family: Family, scale: float
) -> float:
    """As `_first_rate`: B takes all the steps, and the rows of A have a length of a third's root."""
    length = math.sqrt(
        sum(float(np.square(t.astype(np.float64)).sum()) for n, t in origin.items() if is_compared(family, n, t.shape))
    )
    one_step = scale * math.sqrt(making.rank / 3 * sum(layer.base.out_features for layer in layers.values()))
    return _rounded(making.target_change * length / (one_step * making.n_steps**0.75))


def _rounded(rate: float) -> float:
    """Two digits, as people write rates."""
    return float(f"{rate:.1e}")


def _is_head(name: str) -> bool:
    return name.startswith(("lm_head", "score", "classifier", "conv_out"))


def _weights(network: nn.Module) -> Weights:
    return {name: parameter.detach().numpy().copy() for name, parameter in network.named_parameters()}
