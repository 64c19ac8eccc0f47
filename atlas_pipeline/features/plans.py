"""Which neurons of a model are compared: the same coordinates for every model of the same shape.

A neuron is an output row of a weight matrix. Rows are compared coordinate by coordinate, so models can only be compared
where they have the same matrices, and every one of them must be sampled at the same rows (paper, Sec. 4 and App. C).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from typing import Final

import numpy as np

from atlas_pipeline.weights import Matrix

N_ANCHORS: Final = 2
"""Matrices that a model gives where it cannot give them all cheaply: some quantisations keep neurons as columns, and
then a single one costs the whole matrix."""

N_ANCHOR_ROWS: Final = 8
"""Neurons of an anchor. Sixteen rows of 4096 weights tell a quantised copy from its cousins with ease."""

_VERSION: Final = 2
_GROUP_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """The rows to read from one matrix.

    Attributes:
        canonical: The matrix.
        n_rows: Rows that it has.
        n_columns: Length of a row.
        rows: Row numbers, ascending.
    """

    canonical: str
    n_rows: int
    n_columns: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class SamplingPlan:
    """The coordinates of one group of comparable models.

    Attributes:
        vector_group: Name of the group: a digest of the shapes, the seed and the number of neurons.
        seed: The seed of the draw.
        n_neurons_asked: Neurons asked for; fewer are drawn if the model has fewer.
        tensors: In the order in which their rows are joined into a vector.
        anchors: Names of the matrices that are read where reading all is dear.
    """

    vector_group: str
    seed: int
    n_neurons_asked: int
    tensors: tuple[PlannedTensor, ...]
    anchors: tuple[str, ...]

    @property
    def n_neurons(self) -> int:
        """Rows drawn."""
        return sum(len(tensor.rows) for tensor in self.tensors)

    @property
    def n_dimensions(self) -> int:
        """Length of a vector."""
        return sum(len(tensor.rows) * tensor.n_columns for tensor in self.tensors)

    @cached_property
    def at_anchors(self) -> SamplingPlan:
        """The part of the plan that lies in the anchors, as a group of its own."""
        tensors = tuple(tensor for tensor in self.tensors if tensor.canonical in self.anchors)
        return replace(self, vector_group=f"{self.vector_group}-anchors", tensors=tensors)

    def to_json(self) -> str:
        """The plan as one line of JSON, for keeping it beside the vectors."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> SamplingPlan:
        """The plan that `to_json` wrote."""
        fields = json.loads(text)
        tensors = (
            PlannedTensor(tensor["canonical"], tensor["n_rows"], tensor["n_columns"], tuple(tensor["rows"]))
            for tensor in fields["tensors"]
        )
        return cls(
            fields["vector_group"], fields["seed"], fields["n_neurons_asked"], tuple(tensors), tuple(fields["anchors"])
        )


def shape_signature(matrices: Mapping[str, Matrix]) -> dict[str, tuple[int, int]]:
    """What two models must share to be comparable: (rows, columns) by canonical name, in the order of the names."""
    return {name: (matrices[name].n_rows, matrices[name].n_columns) for name in sorted(matrices)}


def make_plan(signature: Mapping[str, tuple[int, int]], *, n_neurons: int, seed: int) -> SamplingPlan:
    """Draws the neurons of a group.

    Every matrix has the same share of the weights read, give or take a row: long rows are drawn less often, so that a
    few matrices do not take most of the bytes. Two of the smallest matrices, the anchors, have N_ANCHOR_ROWS neurons
    each. The draw depends on nothing but the arguments: a model that is sampled later, alone or elsewhere gets the
    same coordinates.

    Args:
        signature: (rows, columns) by canonical name, from `shape_signature`.
        n_neurons: Rows to draw, at least 1.
        seed: Seed, at least 0.

    Raises:
        ValueError: If the signature is empty, or n_neurons or the seed is too small.
    """
    if not signature or n_neurons < 1 or seed < 0:
        raise ValueError("A plan needs matrices, at least one neuron, and a seed that is not negative.")
    return _plan(tuple(sorted(signature.items())), n_neurons, seed)


@lru_cache(maxsize=64)
def _plan(signature: tuple[tuple[str, tuple[int, int]], ...], n_neurons: int, seed: int) -> SamplingPlan:
    names = [name for name, _ in signature]
    text = json.dumps([[name, *shape] for name, shape in signature])
    digest = hashlib.sha256(f"plan {_VERSION}, {n_neurons} neurons, seed {seed}: {text}".encode())
    generator = np.random.default_rng(np.frombuffer(digest.digest(), dtype="<u4"))
    n_rows = np.array([rows for _, (rows, _) in signature], dtype=np.int64)
    n_columns = np.array([columns for _, (_, columns) in signature], dtype=np.int64)
    order = generator.permutation(len(names))
    # Sorted by their length, rows of each length are drawn as often as they should be, give or take one.
    order = order[np.argsort(n_columns[order], kind="stable")]
    anchors = order[np.argsort((n_rows * n_columns)[order], kind="stable")[:N_ANCHORS]]
    counts = np.zeros_like(n_rows)
    counts[anchors] = np.minimum(n_rows[anchors], min(N_ANCHOR_ROWS, n_neurons // (2 * N_ANCHORS)))
    total = min(n_neurons, int(n_rows.sum()))
    while (left := total - int(counts.sum())) > 0:
        open_ = order[counts[order] < n_rows[order]]
        drawn = _systematic(1.0 / n_columns[open_], left, start=generator.random())
        counts[open_] += np.minimum(drawn, n_rows[open_] - counts[open_])
    tensors = []
    for (name, (available, columns)), count in zip(signature, counts.tolist(), strict=True):
        if count:
            rows = np.sort(generator.choice(available, size=count, replace=False))
            tensors.append(PlannedTensor(name, available, columns, tuple(rows.tolist())))
    chosen = tuple(sorted(names[i] for i in anchors.tolist() if counts[i]))
    return SamplingPlan(f"shapes-{digest.hexdigest()[:_GROUP_DIGITS]}", seed, n_neurons, tuple(tensors), chosen)


def _systematic(weights: np.ndarray, total: int, *, start: float) -> np.ndarray:
    """Shares `total` in proportion to the weights, each share rounded up or down so that they add up: int64 [n]."""
    ends = np.cumsum(weights) / weights.sum() * total + start
    ends[-1] = total + start
    return np.diff(np.floor(ends), prepend=np.floor(start)).astype(np.int64)
