"""Which models can be kin at all: a null model of unrelated ones, and clusters of models nearer than that.

Independently trained models lie at the relative squared distance 1, if their weights have no mean in common. Where they
have one (positive weights, equal offsets, few values), strangers lie nearer, so the distance of strangers is estimated
in each group of comparable models: from rows that are compared with rows of other neurons, which have the same
distribution and nothing else in common.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import ndtri

from atlas_pipeline.distances.arithmetic import Arithmetic, fastest
from atlas_pipeline.distances.candidates import rank_within
from atlas_pipeline.distances.rows import chunks, differences, squared_norms
from atlas_pipeline.distances.sketches import Sketches, sketch

KIN_THRESHOLD: Final = 0.5
"""Relative squared distance below which two models can be kin, at most. Independent models lie near 1, fine-tuned ones
below 0.01, coarse quantisations near 0.01, two-bit ones and heavy pruning near 0.3."""

FAR_NEARER: Final = 0.6
"""Kin are nearer than this share of the nearest distance of strangers. A model keeps joining its kin at a distance of
0.3 while strangers lie beyond 0.5."""

FALSE_JOINS: Final = 0.005
"""Share of strangers that may come nearer to any other model than strangers are expected to come."""

_N_STRANGERS: Final = 64
"""Pairs of strangers that are drawn."""

_SKETCH_BOUND: Final = 5.0
"""Standard errors within which a sketch leaves it open whether two models are linked."""

_PRODUCT_NOISE: Final = 1e-5
"""What a float32 product may err by, relative to the lengths of strangers."""

_N_DOUBTS: Final = 4
"""Pairs in doubt that are measured of each model, the nearest ones: enough to find out whether two clusters touch."""

_N_LEADERS: Final = 32
"""Models that all others are compared with first. In a group with a few bases, few pairs are left to compare."""

_BLOCK_PAIRS: Final = 1 << 23
"""Pairs whose distances are held at once."""

_BLOCK_ROWS: Final = (64, 512)
"""Rows of a block: BLAS multiplies fewer at less than its full speed, and more belong to several clusters."""

_Near = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Pairs: place among the rows, column, relative squared distance."""


@dataclass(frozen=True)
class Stretch:
    """Columns of a vector that hold the rows of one matrix.

    Attributes:
        kind: What matrices of the same role in other layers share, such as their name without numbers.
        n_rows: Rows.
        n_columns: Length of a row.
    """

    kind: str
    n_rows: int
    n_columns: int


def layout_of(plan: Mapping[str, Any]) -> tuple[Stretch, ...]:
    """What columns of a vector hold, given the plan of its sampling.

    Args:
        plan: with ``tensors``: each with ``canonical``, ``rows`` and ``n_columns``, in the order of the columns.

    Returns:
        Stretches of columns, in order.
    """
    return tuple(
        Stretch(re.sub(r"\d+", "#", tensor["canonical"]), len(tensor["rows"]), tensor["n_columns"])
        for tensor in plan["tensors"]
    )


def relative_squared(
    squared: NDArray[np.float64], left_norms: NDArray[np.float64], right_norms: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Relate squared distances to the squared lengths: ``|a - b|^2 / (|a|^2 + |b|^2)``.

    0 for equal models, 1 for orthogonal ones such as independent initialisations, at most 2. It does not depend on the
    width or the scale of the weights.

    Args:
        squared: float64, squared distances.
        left_norms: float64, squared lengths of the first models, broadcast against ``squared``.
        right_norms: float64, squared lengths of the second models, broadcast against ``squared``.

    Returns:
        float64 in the broadcast shape; 0 where both models are all zeros.
    """
    both = left_norms + right_norms
    return np.divide(squared, both, out=np.zeros(np.broadcast(squared, both).shape), where=both > 0)


def kin_threshold(vectors: NDArray[np.float32], layout: Sequence[Stretch] | None = None, *, seed: int = 0) -> float:
    """Estimate how near two models must be to be kin, from how far apart strangers are.

    Pairs of models are compared with the rows of one put in another order: every row meets one of another neuron of its
    kind (of any kind where there is only one, itself shifted where there is no other of its length). Models that share
    nothing but the distribution of their weights lie as far apart as that.

    Args:
        vectors: float32 [n, d] of finite numbers.
        layout: What the columns hold; one row if None.
        seed: Seed of the pairs and orders.

    Returns:
        The relative squared distance below which two models are linked, at most ``KIN_THRESHOLD``.

    Raises:
        ValueError: If the layout describes another number of columns than the vectors have.
    """
    n, d = vectors.shape
    layout = (Stretch("", 1, d),) if layout is None else layout
    if sum(stretch.n_rows * stretch.n_columns for stretch in layout) != d:
        raise ValueError(f"the layout does not describe vectors of {d} numbers")
    if not n or not d:
        return KIN_THRESHOLD
    generator = np.random.default_rng(seed)
    strangers = _Strangers.of(layout)
    left, right = generator.integers(0, n, (2, _N_STRANGERS))
    one = vectors[left]
    other = np.stack([vectors[row, strangers.columns(generator)] for row in right.tolist()])
    both = squared_norms(one) + squared_norms(other)
    # Strangers do not cancel, so float32 differences will do.
    distances = np.divide(squared_norms(one - other), both, out=np.zeros(_N_STRANGERS), where=both > 0)
    # Each model has n chances to come near another.
    nearest = distances.mean() + float(ndtri(FALSE_JOINS / max(n, 2))) * distances.std()
    return float(np.clip(FAR_NEARER * nearest, 0.0, KIN_THRESHOLD))


def weight_clusters(
    vectors: NDArray[np.float32],
    *,
    threshold: float = KIN_THRESHOLD,
    squared: NDArray[np.float64] | None = None,
    norms: NDArray[np.float64] | None = None,
    sketches: Sketches | None = None,
    arithmetic: Arithmetic | None = None,
) -> NDArray[np.int64]:
    """Group the models that can be kin: single linkage on the relative squared distance.

    Section 4 of the paper splits models into the connected components of the atlas by "a standard clustering
    algorithm" on weight distances. Single linkage keeps a long chain of fine-tunes together whose ends are far apart.
    Equal models are always linked. Without a matrix of distances, sketches decide, and where they leave it open, the
    nearest pairs of two clusters are measured.

    Args:
        vectors: float32 [n, d], one row per model; may be a memory map.
        threshold: Two models are linked when their relative squared distance is below this.
        squared: float64 [n, n], the distances of all pairs where they are already measured.
        norms: float64 [n], squared lengths of the vectors where they are already measured; used with ``squared``.
        sketches: The sketches of the vectors where they are already made.
        arithmetic: What multiplies; the fastest there is if None.

    Returns:
        int64 [n], cluster numbers from 0 in the order in which the clusters first appear.

    Raises:
        ValueError: If ``vectors`` is not a matrix of finite numbers, or ``squared`` has another shape than [n, n].
    """
    n = len(vectors)
    measure: _Matrix | _Sketched
    if squared is not None:
        if squared.shape != (n, n):
            raise ValueError(f"distances of shape {squared.shape} do not belong to {n} models")
        norms = squared_norms(vectors) if norms is None else norms
        rows, copy_of, measure = np.arange(n), np.arange(n), _Matrix(squared, norms)
    else:
        sketches = sketch(vectors) if sketches is None else sketches
        rows, copy_of, norms = sketches.rows, sketches.copy_of, sketches.norms
        error = _SKETCH_BOUND * sketches.coarse_error + _PRODUCT_NOISE
        measure = _Sketched(sketches.coarse, error, norms / sketches.unit, arithmetic or fastest())
    if n < 2:
        return np.zeros(n, dtype=np.int64)
    linkage = _Linkage(measure, len(rows), threshold)
    linkage.compare_all()
    labels = linkage.settle(vectors, rows, norms)
    _, first, labels = np.unique(labels[copy_of], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[labels]


@dataclass(frozen=True, eq=False)
class _Strangers:
    """Rows of vectors, by the sets within which they change places.

    Attributes:
        starts: for each set, the first columns of its rows, int64 [rows].
        lengths: for each set, the length of a row.
    """

    starts: tuple[NDArray[np.int64], ...]
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, layout: Sequence[Stretch]) -> _Strangers:
        sets: dict[tuple[str, int], list[int]] = {}
        start = 0
        for stretch in layout:
            for _ in range(stretch.n_rows):
                sets.setdefault((stretch.kind, stretch.n_columns), []).append(start)
                start += stretch.n_columns
        joined: dict[tuple[str, int], list[int]] = {}
        for (kind, length), starts in sets.items():
            joined.setdefault((kind if len(starts) > 1 else "", length), []).extend(starts)
        return cls(
            tuple(np.array(starts, dtype=np.int64) for starts in joined.values()),
            tuple(length for _, length in joined),
        )

    def columns(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """An order of all columns in which no row stays where it was: int64 [d]."""
        columns = np.empty(sum(len(s) * length for s, length in zip(self.starts, self.lengths, strict=True)), np.int64)
        for starts, length in zip(self.starts, self.lengths, strict=True):
            ring = generator.permutation(starts)
            shift = int(generator.integers(1, length)) if len(starts) == 1 and length > 1 else 0
            within = np.arange(length)
            columns[ring[:, None] + within] = np.roll(ring, 1)[:, None] + (within + shift) % length
        return columns


class _Matrix:
    """Distances that are known."""

    error = 0.0

    def __init__(
        self, squared: NDArray[np.float64], norms: NDArray[np.float64], order: NDArray[np.int64] | None = None
    ) -> None:
        self._squared, self._norms = squared, norms
        self._order = np.arange(len(squared)) if order is None else order

    def of(self, order: NDArray[np.int64]) -> _Matrix:
        """The same for models in another order."""
        return _Matrix(self._squared, self._norms, self._order[order])

    def near(self, rows: NDArray[np.int64], first: int, reach: float) -> _Near:
        """Pairs of a row and a model from ``first`` on whose relative distance is below ``reach``, and equal ones."""
        rows, others = self._order[rows], self._order[first:]
        squared = self._squared[rows[:, None], others]
        row, column = np.nonzero((squared < reach * (self._norms[rows, None] + self._norms[others])) | (squared == 0))
        squared = squared[row, column]
        # Equal models are kin whatever the threshold.
        relative = np.where(
            squared == 0, -1.0, relative_squared(squared, self._norms[rows[row]], self._norms[others[column]])
        )
        return row, column + first, relative


class _Sketched:
    """Distances estimated from sketches."""

    def __init__(
        self, sketches: NDArray[np.float32], error: float, norms: NDArray[np.float64], arithmetic: Arithmetic
    ) -> None:
        self.error = error
        self._sketches, self._norms, self._arithmetic = sketches, norms, arithmetic
        self._lengths = np.vecdot(sketches, sketches).astype(np.float64)

    def of(self, order: NDArray[np.int64]) -> _Sketched:
        """The same for models in another order."""
        return _Sketched(self._sketches[order], self.error, self._norms[order], self._arithmetic)

    def near(self, rows: NDArray[np.int64], first: int, reach: float) -> _Near:
        """See `_Matrix.near`; no two models are equal."""
        products = self._arithmetic.product(self._sketches[rows], self._sketches[first:])
        # |a - b|^2 < reach (|a|^2 + |b|^2), solved for the product of the two sketches.
        share = (0.5 * (self._lengths - reach * self._norms)).astype(np.float32)
        row, column = np.nonzero(products > share[rows, None] + share[first:])
        product = products[row, column].astype(np.float64)
        left, right = rows[row], column + first
        squared = np.maximum(self._lengths[left] + self._lengths[right] - 2.0 * product, 0.0)
        return row, right, relative_squared(squared, self._norms[left], self._norms[right])


class _Linkage:
    """Single linkage, block by block: ``labels`` gives each model the first model of its cluster so far."""

    def __init__(self, measure: _Matrix | _Sketched, n_models: int, threshold: float) -> None:
        self.labels = np.arange(n_models, dtype=np.int64)
        self._measure, self._threshold = measure, threshold
        self._doubts: list[NDArray[np.int64]] = [np.zeros((0, 2), dtype=np.int64)]

    def compare_all(self) -> None:
        """Compare all models, but those with each other that are linked already and stand together."""
        n = len(self.labels)
        leaders = np.unique(np.linspace(0, n - 1, _N_LEADERS).astype(np.int64))
        self._compare(self._measure, np.arange(n), leaders, 0)
        order = np.argsort(self.labels, kind="stable")
        measure = self._measure.of(order)
        for chunk in chunks(n, int(np.clip(_BLOCK_PAIRS // n, *_BLOCK_ROWS))):
            label = self.labels[order[chunk.start :]]
            differs = np.flatnonzero(label != label[0])
            first_other = chunk.start + int(differs[0]) if len(differs) else n
            first = first_other if first_other >= chunk.stop else chunk.start
            if first < n:
                self._compare(measure, order, np.arange(chunk.start, chunk.stop), first)

    def settle(
        self, vectors: NDArray[np.float32], rows: NDArray[np.int64], norms: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Measure the pairs that were left in doubt and would link two clusters; the labels after that."""
        left, right = np.concatenate(self._doubts).T
        is_open = self.labels[left] != self.labels[right]
        left, right = left[is_open], right[is_open]
        squared = differences(vectors, rows[left], rows[right])
        is_linked = squared < self._threshold * (norms[left] + norms[right])
        self._unite(self.labels[left[is_linked]], self.labels[right[is_linked]])
        return self.labels

    def _compare(
        self, measure: _Matrix | _Sketched, order: NDArray[np.int64], rows: NDArray[np.int64], first: int
    ) -> None:
        """Link models at some places of an order with those at all places from ``first`` on."""
        row, column, relative = measure.near(rows, first, (1.0 + measure.error) * self._threshold)
        left, right = order[rows[row]], order[column]
        is_linked = relative < (1.0 - measure.error) * self._threshold
        self._unite(self.labels[left[is_linked]], self.labels[right[is_linked]])
        is_open = self.labels[left] != self.labels[right]
        left, right, relative = left[is_open], right[is_open], relative[is_open]
        nearest = rank_within(left, relative) < _N_DOUBTS
        self._doubts.append(np.stack([left[nearest], right[nearest]], axis=1))

    def _unite(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
        """Unite clusters, given by their labels."""
        if len(left):
            n = len(self.labels)
            links = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(n, n))
            _, component = connected_components(links, directed=False)
            _, first = np.unique(component, return_index=True)
            self.labels = first[component[self.labels]]
