"""Ponds: small populations of one network, trained by recipes that the zoo does not have, for learning only.

What is learnt on one maker's recipes is partly about that maker. A pond is made by other code than the zoo: other
networks of random shape, another data set, every recipe drawn anew. It has no files: only what charting is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from atlas_pipeline.edges.region import Region

MOST_DEPTH: Final = 5
SECONDS_PER_DAY: Final = 86_400.0
_N_PIXELS: Final = 64
_N_DIGITS: Final = 10
_PIXEL_MEAN: Final = 0.3


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        task: number of the data: a share of the digits, turned, mirrored or noisy, often with other labels.
        optimizer: adamw, adam or sgd.
        rate: learning rate.
        decay: weight decay.
        batch_size: examples a step.
        n_steps: steps.
        momentum: of sgd, and the first moment of the others.
        falls: whether the rate falls to zero.
        n_frozen: layers from the input that are not trained.
    """

    task: int
    optimizer: str
    rate: float
    decay: float = 0.0
    batch_size: int = 64
    n_steps: int = 900
    momentum: float = 0.9
    falls: bool = False
    n_frozen: int = 0


class Residual(nn.Module):
    """A residual network of square blocks: w inputs, h hidden units, any number of blocks."""

    def __init__(self, width: int, hidden: int, n_blocks: int, *, gate: str, generator: torch.Generator) -> None:
        """Draw weights of variance 1 / inputs."""
        super().__init__()
        self.gate = {"gelu": nn.functional.gelu, "relu": torch.relu, "tanh": torch.tanh}[gate]
        shapes = [(width, _N_PIXELS), *([(hidden, width), (width, hidden)] * n_blocks)]
        drawn = [torch.randn(shape, generator=generator) / shape[1] ** 0.5 for shape in shapes]
        self.matrices = nn.ParameterList([nn.Parameter(matrix) for matrix in drawn])
        self.head = nn.Parameter(torch.randn((_N_DIGITS, width), generator=generator) / width**0.5)

    def forward(self, pixels: Tensor) -> Tensor:
        """Scores of the ten digits."""
        state = 2 * torch.tanh(pixels @ self.matrices[0].T)
        for first, second in zip(self.matrices[1::2], self.matrices[2::2], strict=True):
            normal = state / (state.square().mean(-1, keepdim=True) + 1e-5).sqrt()
            state = state + self.gate(normal @ first.T) @ second.T
        return state @ self.head.T


@dataclass(eq=False)
class Pond:
    """One region that grows.

    Attributes:
        rng: source of all choices.
        weights: state of every model.
        parents: row of each model's parent, -1 for the root.
        days: date of each model.
        depth: edges from the root.
        patterns: root, fan, snake or single.
    """

    rng: np.random.Generator
    width: int = 64
    hidden: int = 128
    n_blocks: int = 4
    gate: str = "gelu"
    weights: list[dict[str, Tensor]] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    days: list[float] = field(default_factory=list)
    depth: list[int] = field(default_factory=list)
    patterns: list[str] = field(default_factory=list)

    @classmethod
    def dug(cls, seed: int, number: int) -> Pond:
        """A pond with its root, of random shape."""
        rng = np.random.default_rng([seed, number])
        width = int(rng.choice([32, 48, 64]))
        pond = cls(
            rng,
            width,
            width * int(rng.choice([1, 2, 3])),
            int(rng.integers(2, 5)),
            str(rng.choice(["gelu", "relu", "tanh"])),
        )
        recipe = Recipe(task=-1, optimizer="adamw", rate=2e-3, decay=0.01, n_steps=int(rng.integers(400, 1200)))
        pond.add(pond.trained(pond.network(), recipe, order=pond.drawn()), -1, "root", 0.0)
        return pond

    def network(self, row: int | None = None) -> Residual:
        """A fresh network, or that of a model."""
        generator = torch.Generator().manual_seed(self.drawn() if row is None else 0)
        made = Residual(self.width, self.hidden, self.n_blocks, gate=self.gate, generator=generator)
        if row is not None:
            made.load_state_dict(self.weights[row])
        return made

    def drawn(self) -> int:
        """A seed."""
        return int(self.rng.integers(1 << 30))

    def add(self, network: Residual, parent: int, pattern: str, day: float, dtype: torch.dtype | None = None) -> int:
        """Keep a model, rounded to a float type where one is given, and return its row."""
        state = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.weights.append({name: value.to(dtype).float() if dtype else value for name, value in state.items()})
        self.parents.append(parent)
        self.patterns.append(pattern)
        self.days.append(day)
        self.depth.append(0 if parent < 0 else self.depth[parent] + 1)
        return len(self.parents) - 1

    def trained(
        self, network: Residual, recipe: Recipe, *, order: int, state: dict[str, Any] | None = None
    ) -> Residual:
        """Train a network in place; `state` of the optimiser is gone on from, and kept in it afterwards."""
        pixels, labels = digits(recipe.task)
        layers = [*network.matrices, network.head]
        parameters = layers[min(recipe.n_frozen, len(layers) - 1) :]
        optimizer = _optimizer(recipe, parameters)
        if state:
            optimizer.load_state_dict(state)
        generator = torch.Generator().manual_seed(order)
        for step in range(recipe.n_steps):
            rate = recipe.rate * ((1 - step / recipe.n_steps) if recipe.falls else 1.0)
            for group in optimizer.param_groups:
                group["lr"] = rate
            batch = torch.randint(0, len(pixels), (recipe.batch_size,), generator=generator)
            loss = nn.functional.cross_entropy(network(pixels[batch]), labels[batch])
            network.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        if state is not None:
            state |= optimizer.state_dict()
        return network

    def event(self) -> None:
        """A sweep, a run with checkpoints, or a single training, from a model that was drawn."""
        rng, parent, recipe = self.rng, self._parent(), self._recipe()
        day = max(self.days[-1], self.days[parent]) + float(10 ** rng.uniform(-1, 1.3))
        kind = str(rng.choice(["fan", "snake", "single"], p=[0.25, 0.25, 0.5]))
        dtype = None if rng.random() < 0.8 else torch.float16 if rng.random() < 0.5 else torch.bfloat16
        if kind == "single":
            self.add(self.trained(self.network(parent), recipe, order=self.drawn()), parent, kind, day, dtype)
        elif kind == "fan":
            apart = 0.3 if rng.random() < 0.7 else 15.0
            for run, order in self._sweep(recipe):
                when = day + float(rng.uniform(0, apart))
                self.add(self.trained(self.network(parent), run, order=order), parent, kind, when, dtype)
        else:
            state: dict[str, Any] | None = {} if rng.random() < 0.5 else None
            part = replace(recipe, n_steps=max(recipe.n_steps // 2, 20))
            for _ in range(int(rng.integers(3, 7))):
                day += float(10 ** rng.uniform(-2, 0.5))
                parent = self.add(
                    self.trained(self.network(parent), part, order=self.drawn(), state=state), parent, kind, day
                )

    def _sweep(self, recipe: Recipe) -> Iterator[tuple[Recipe, int]]:
        rng = self.rng
        order = self.drawn() if rng.random() < 0.2 else None
        varied = rng.random()
        for _ in range(int(rng.integers(3, 9))):
            run = recipe
            if order is not None or varied < 0.6:
                run = replace(run, rate=run.rate * float(2 ** rng.uniform(-1.2, 1.2)))
            if order is None and varied > 0.4:
                run = replace(run, n_steps=int(run.n_steps * 2 ** rng.uniform(-1, 1)))
            yield run, self.drawn() if order is None else order

    def _parent(self) -> int:
        rows = [row for row, depth in enumerate(self.depth) if depth < MOST_DEPTH]
        children = np.bincount([parent for parent in self.parents if parent >= 0], minlength=len(self.parents))
        weights = (1.0 + children[rows]) * np.where(np.array(rows) == 0, 3.0, 1.0)
        return int(self.rng.choice(rows, p=weights / weights.sum()))

    def _recipe(self) -> Recipe:
        rng = self.rng
        optimizer = str(rng.choice(["adamw", "adam", "sgd"], p=[0.5, 0.25, 0.25]))
        low, high = (-3.9, -2.0) if optimizer == "sgd" else (-5.1, -3.3)
        return Recipe(
            task=int(rng.integers(1, 10**6)),
            optimizer=optimizer,
            rate=float(10 ** rng.uniform(low, high)),
            decay=float(rng.choice([0.0, 0.01, 0.1])) if optimizer == "adamw" else 0.0,
            batch_size=int(rng.choice([8, 16, 32, 64])),
            n_steps=int(10 ** rng.uniform(1.5, 2.5)),
            momentum=float(rng.choice([0.0, 0.8, 0.9, 0.95])),
            falls=bool(rng.random() < 0.4),
            n_frozen=int(rng.integers(1, self.n_blocks * 2)) if rng.random() < 0.15 else 0,
        )

    def region(self) -> tuple[Region, list[tuple[int, ...]]]:
        """What charting is given of it, and the rows of the true parents."""
        n, rng = len(self.parents), self.rng
        names = [name for name in self.weights[0] if name.startswith("matrices")]
        drawn = {name: np.sort(rng.permutation(len(self.weights[0][name]))[:11]) for name in names}
        vectors = np.stack(
            [np.concatenate([model[name].numpy()[drawn[name]].ravel() for name in names]) for model in self.weights]
        ).astype(np.float32)
        centred = vectors.astype(np.float64) - vectors[0]
        squares = (centred**2).sum(axis=1)
        squared = np.maximum(squares[:, None] + squares[None] - 2 * centred @ centred.T, 0.0)
        np.fill_diagonal(squared, 0.0)
        region = Region(
            model_ids=tuple(f"pond/model-{row:04d}" for row in range(n)),
            created_at=np.array(self.days) * SECONDS_PER_DAY,
            created_at_is_floor=np.zeros(n, dtype=bool),
            vectors=vectors,
            squared_distances=squared,
            clusters=np.zeros(n, dtype=np.int64),
            is_quantized=np.zeros(n, dtype=bool),
            is_adapter=np.zeros(n, dtype=bool),
            content_sha256=(None,) * n,
            layout=tuple((len(drawn[name]), self.weights[0][name].shape[1]) for name in names),
        )
        return region, [(parent,) if parent >= 0 else () for parent in self.parents]


def ponds(seed: int, *, n_regions: int = 3, n_models: int = 80) -> Iterator[tuple[Region, list[tuple[int, ...]]]]:
    """Make some regions and their true parents.

    Args:
        seed: of everything that is drawn.
        n_regions: how many.
        n_models: least number of models of each.
    """
    torch.set_num_threads(1)
    for number in range(n_regions):
        pond = Pond.dug(seed, number)
        while len(pond.parents) < n_models:
            pond.event()
        yield pond.region()


def digits(task: int) -> tuple[Tensor, Tensor]:
    """Pixels [n, 64] and labels [n] of a task; all digits as they are for a negative one."""
    pixels, labels = load_digits(return_X_y=True)
    pixels = (pixels / 16 - _PIXEL_MEAN).astype(np.float32)
    rng = np.random.default_rng(abs(task))
    if task >= 0:
        chosen = rng.choice(len(pixels), 600, replace=False)
        pixels, labels = pixels[chosen], labels[chosen]
        pictures = pixels.reshape(-1, 8, 8)
        turned = [
            pictures,
            pictures.swapaxes(1, 2),
            pictures[:, :, ::-1],
            pictures + rng.normal(0, 0.3, pictures.shape),
        ]
        pixels = turned[task % 4].reshape(-1, _N_PIXELS).astype(np.float32)
        if rng.random() < 0.6:
            labels = rng.permutation(_N_DIGITS)[labels]
    return torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(np.ascontiguousarray(labels))


def _optimizer(recipe: Recipe, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    betas = (recipe.momentum, 0.999)
    match recipe.optimizer:
        case "sgd":
            return torch.optim.SGD(parameters, lr=recipe.rate, momentum=recipe.momentum)
        case "adam":
            return torch.optim.Adam(parameters, lr=recipe.rate, betas=betas)
        case _:
            return torch.optim.AdamW(parameters, lr=recipe.rate, betas=betas, weight_decay=recipe.decay)
