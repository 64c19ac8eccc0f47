"""Vectors of models that were made from each other, and their distances by brute force."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

# Whole numbers from a small range: float64 sums are exact, ties and copies are common.
INTEGER_VECTORS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.integers(-2, 2).map(float)
)


def brute_force(vectors, rows=slice(None)):
    """Squared distances of some rows to all, from their differences."""
    wide = vectors.astype(np.float64)
    return np.array([((wide - row) ** 2).sum(axis=1) for row in wide[rows]]).reshape(len(wide[rows]), len(wide))


def nearest_by_brute_force(vectors, k, labels=None):
    """Index and squared distances of the nearest others; ties by row, -1 and infinity where there are fewer."""
    squared = brute_force(vectors)
    np.fill_diagonal(squared, np.inf)
    if labels is not None:
        squared[labels[:, None] != labels[None, :]] = np.inf
    index = np.argsort(squared, axis=1, kind="stable")[:, : min(k, len(vectors) - 1)]
    nearest = np.take_along_axis(squared, index, axis=1)
    return np.where(np.isfinite(nearest), index, -1), nearest


def families(*, steps, n_each=6, width=3000, seed=0):
    """Fine-tunes of independent bases, at relative distances ``steps``, each family with one exact copy at its end."""
    generator = np.random.default_rng(seed)
    rows = []
    for step in steps:
        base = generator.normal(size=width)
        members = [base * (1 + step * generator.normal(size=width)) for _ in range(n_each)]
        rows += [*members, members[0]]
    return np.array(rows, dtype=np.float32)


def fans(*, n_bases, n_each, width, step, n_copies=0, seed=0):
    """Fans of equally far siblings: base, then its children; the last ``n_copies`` of each are copies of the first."""
    generator = np.random.default_rng(seed)
    bases = generator.standard_normal((n_bases, width), dtype=np.float32)
    vectors = np.repeat(bases, n_each, axis=0)
    vectors += np.float32(step) * generator.standard_normal(vectors.shape, dtype=np.float32)
    for start in range(0, len(vectors), n_each):
        vectors[start] = bases[start // n_each]
        vectors[start + n_each - n_copies : start + n_each] = vectors[start + 1]
    return vectors


def chain(*, n, width, step, seed=0):
    """Each row a fine-tune of the one before."""
    steps = np.random.default_rng(seed).standard_normal((n, width))
    steps[1:] *= step
    return np.cumsum(steps, axis=0).astype(np.float32)
