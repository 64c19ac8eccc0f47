"""Which neurons of a model are compared: the same coordinates for every model of the same shape.

A neuron is an output row of a weight matrix. Rows are compared coordinate by coordinate, so models can only be compared
where they have the same matrices, and every one of them must be sampled at the same rows (paper, Sec. 4 and App. C).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from atlas_pipeline.weights import TensorInfo, is_layer_tensor

MAX_COLUMNS: Final = 1 << 18
"""Matrices with longer rows are not sampled. The longest rows of known language models have about 53,000 columns; a
hundred rows of this length are 100 MB."""

_GROUP_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """The rows to read from one matrix.

    Attributes:
        canonical: The matrix.
        n_columns: Length of a row.
        rows: Row numbers, ascending.
    """

    canonical: str
    n_columns: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """The coordinates of one group of comparable models.

    Attributes:
        vector_group: Name of the group: a digest of the shapes, the seed and the number of neurons.
        seed: The seed of the draw.
        n_neurons_asked: Neurons asked for; fewer are drawn if the model has fewer.
        tensors: In the order in which their rows are joined into a vector.
    """

    vector_group: str
    seed: int
    n_neurons_asked: int
    tensors: tuple[PlannedTensor, ...]

    @property
    def n_neurons(self) -> int:
        """Rows drawn."""
        return sum(len(tensor.rows) for tensor in self.tensors)

    @property
    def n_dimensions(self) -> int:
        """Length of a vector."""
        return sum(len(tensor.rows) * tensor.n_columns for tensor in self.tensors)

    def to_json(self) -> str:
        """The plan as one line of JSON, for keeping it beside the vectors."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> SamplingPlan:
        """The plan that `to_json` wrote."""
        fields = json.loads(text)
        tensors = (
            PlannedTensor(tensor["canonical"], tensor["n_columns"], tuple(tensor["rows"]))
            for tensor in fields["tensors"]
        )
        return cls(fields["vector_group"], fields["seed"], fields["n_neurons_asked"], tuple(tensors))


def shape_signature(tensors: Mapping[str, TensorInfo]) -> dict[str, tuple[int, int]]:
    """What two models must share to be comparable: their repeated layers' matrices, by canonical name and shape.

    Embeddings, heads and everything else outside the repeated layers do not count, so that a swapped head or a resized
    vocabulary does not separate a model from its parent. A model without repeated layers is compared by all its
    matrices. Vectors, tensors of more than two dimensions, packed or auxiliary tensors and matrices with more than
    MAX_COLUMNS columns never count.

    Returns:
        (rows, columns) by canonical name, in the order of the names; empty if nothing can be compared.
    """
    matrices = {
        info.canonical: (info.shape[0], info.shape[1])
        for info in tensors.values()
        if info.is_readable and len(info.shape) == 2 and info.shape[0] and 0 < info.shape[1] <= MAX_COLUMNS
    }
    layers = {name: shape for name, shape in matrices.items() if is_layer_tensor(name)}
    return dict(sorted((layers or matrices).items()))


def make_plan(signature: Mapping[str, tuple[int, int]], *, n_neurons: int, seed: int) -> SamplingPlan:
    """Draws the neurons of a group.

    The matrices take turns in a random order until all neurons are given out, so that each gets the same number, give
    or take one, unless it has fewer rows. The draw depends on nothing but the arguments: a model that is sampled
    later, alone or elsewhere gets the same coordinates.

    Args:
        signature: (rows, columns) by canonical name, from `shape_signature`.
        n_neurons: Rows to draw, at least 1.
        seed: Seed, at least 0.

    Raises:
        ValueError: If the signature is empty, or n_neurons or the seed is too small.
    """
    if not signature or n_neurons < 1 or seed < 0:
        raise ValueError("A plan needs matrices, at least one neuron, and a seed that is not negative.")
    names = sorted(signature)
    text = json.dumps([[name, *signature[name]] for name in names])
    digest = hashlib.sha256(f"{n_neurons} neurons, seed {seed}: {text}".encode())
    generator = np.random.default_rng(np.frombuffer(digest.digest(), dtype="<u4"))
    capacity = np.array([signature[name][0] for name in names], dtype=np.int64)
    counts = _take_turns(capacity, generator.permutation(len(names)), total=n_neurons)
    tensors = []
    for name, n_rows, count in zip(names, capacity.tolist(), counts.tolist(), strict=True):
        if count:
            rows = np.sort(generator.choice(n_rows, size=count, replace=False))
            tensors.append(PlannedTensor(name, signature[name][1], tuple(rows.tolist())))
    return SamplingPlan(f"shapes-{digest.hexdigest()[:_GROUP_DIGITS]}", seed, n_neurons, tuple(tensors))


def _take_turns(capacity: np.ndarray, order: np.ndarray, *, total: int) -> np.ndarray:
    """How many of `total` each gets when they take one a turn in the given order and leave when full: int64 [n]."""
    counts = np.zeros_like(capacity)
    left = min(total, int(capacity.sum()))
    while left:
        waiting = order[counts[order] < capacity[order]]
        # As many full rounds at once as the fullest of those waiting allows, else one partial round.
        rounds = min(left // waiting.size, int((capacity[waiting] - counts[waiting]).min()))
        if rounds:
            counts[waiting] += rounds
            left -= rounds * waiting.size
        else:
            counts[waiting[:left]] += 1
            left = 0
    return counts
