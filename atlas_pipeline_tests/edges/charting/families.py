"""Models of one family: rows of Gaussian weights that differ by a thousandth to a hundredth."""

from __future__ import annotations

import numpy as np

LAYOUT = ((32, 128), (16, 256))
"""Neurons and weights of the matrices of these models."""

N_COLUMNS = sum(neurons * width for neurons, width in LAYOUT)
SCALE = 0.02


def family(generator, *, steps, n_columns=N_COLUMNS):
    """A base and one fine-tune of it for each relative step, float32 [1 + steps, d]."""
    base = generator.normal(size=n_columns)
    noise = generator.normal(size=(len(steps), n_columns))
    models = np.vstack([base, base + np.asarray(steps)[:, None] * noise])
    return (SCALE * models).astype(np.float32)


def by_matrix(values, make):
    """Change each matrix [neurons, weights] of a model by a function."""
    changed, first = [], 0
    for neurons, width in LAYOUT:
        part = values[first : first + neurons * width].reshape(neurons, width)
        changed.append(np.asarray(make(part), dtype=np.float32).reshape(-1))
        first += neurons * width
    return np.concatenate(changed)
