"""Inner products around each model, neuron by neuron: what all tests of kinship are made of.

Differences between relatives are a thousandth of the weights. Every model is therefore compared with its neighbours
around itself, where the differences are all there is and float32 loses nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Layout = Sequence[tuple[int, int]]
"""Of each sampled matrix in the order of the vector: how many neurons, and how many weights each has."""

BATCH_ELEMENTS: Final = 1 << 22
"""Weights gathered at once by each thread: 16 MB."""

N_THREADS: Final = min(os.cpu_count() or 1, 8)


@dataclass(frozen=True)
class Blocks:
    """Which columns of the vectors are compared: runs of neurons of one matrix.

    Attributes:
        runs: (first column, neurons, weights of a neuron, number of the matrix) of each run.
    """

    runs: tuple[tuple[int, int, int, int], ...]

    @property
    def n_neurons(self) -> int:
        """Neurons compared."""
        return sum(neurons for _, neurons, _, _ in self.runs)

    @property
    def n_columns(self) -> int:
        """Weights compared."""
        return sum(neurons * width for _, neurons, width, _ in self.runs)


def blocks(layout: Layout, *, max_columns: int | None = None) -> Blocks:
    """Lay out the columns of a vector, or a share of every matrix where not all shall be compared.

    Args:
        layout: neurons and weights of each sampled matrix.
        max_columns: about how many columns to compare; None for all.

    Returns:
        The runs. A share takes the first neurons of each matrix, at least one of every second matrix or so: rows were
        drawn at random, so the first are as good as any.
    """
    total = sum(neurons * width for neurons, width in layout)
    share = 1.0 if max_columns is None else min(1.0, max_columns / max(total, 1))
    runs, first, owed = [], 0, 0.5
    for number, (neurons, width) in enumerate(layout):
        owed += share * neurons
        taken = min(int(owed), neurons)
        owed -= taken
        if taken:
            runs.append((first, taken, width, number))
        first += neurons * width
    return Blocks(tuple(runs))


def local_products(
    vectors: NDArray[np.float32], chosen: Blocks, children: NDArray[np.int64], members: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Multiply the differences between each child and its neighbours, neuron by neuron.

    Args:
        vectors: float32 [n, d], the models; a memory map will do.
        chosen: the columns to compare.
        children: int64 [b], rows of the children.
        members: int64 [b, m], rows of the neighbours of each; negative for none, which counts as the child itself.

    Returns:
        float32 [b, r, m, m]: for neuron r the inner products of (member i - child) and (member j - child). Exactly zero
        on the diagonal where a member has the child's neuron.
    """
    b, m = members.shape
    products = np.empty((b, chosen.n_neurons, m, m), dtype=np.float32)
    rows = np.where(members < 0, children[:, None], members)
    at_once = max(1, BATCH_ELEMENTS // max(m * chosen.n_columns, 1))

    def multiply(start: int) -> None:
        part = slice(start, start + at_once)
        near, own = rows[part], children[part]
        neuron = 0
        for first, neurons, width, _ in chosen.runs:
            columns = slice(first, first + neurons * width)
            difference = vectors[near, columns] - vectors[own, columns][:, None, :]
            by_neuron = difference.reshape(len(own), m, neurons, width).transpose(0, 2, 1, 3)
            np.matmul(by_neuron, by_neuron.swapaxes(2, 3), out=products[part, neuron : neuron + neurons])
            neuron += neurons

    # The matrices are too small for the threads of BLAS; gathering them is half of the work.
    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(multiply, range(0, b, at_once)))
    return products


def batches(n: int, m: int, n_neurons: int) -> Iterator[slice]:
    """Cut ``n`` children so that their products by neuron stay in some hundred megabytes."""
    at_once = max(1, (1 << 26) // max(m * m * n_neurons, 1))
    return (slice(start, min(start + at_once, n)) for start in range(0, n, at_once))
