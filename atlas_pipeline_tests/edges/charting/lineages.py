"""Populations whose fans share most of what they learn, so that the nearest model is often a sibling."""

from __future__ import annotations

import numpy as np

from atlas_pipeline_tests.edges.populations import region_of

LAYOUT = ((24, 40), (12, 80))
N_COLUMNS = 1920
SHARED = 0.7


def correlated_fans(seed, *, n_fans=4, size=6, length=4):
    """Grow fans and chains on one another.

    Args:
        seed: of all that is drawn.
        n_fans: fans; the first grows from the root, others from what is there.
        size: members of a fan: steps ``shared + private``.
        length: links of the chain that one member of each fan begins.

    Returns:
        Vectors, days, and the rows of the parents, -1 for the root; rows in the order of creation.
    """
    generator = np.random.default_rng(seed)
    models, parents, days = [generator.normal(size=N_COLUMNS)], [-1], [0.0]

    def grow(parent, step):
        models.append(models[parent] + step)
        parents.append(parent)
        days.append(days[parent] + 0.1 + generator.exponential(5))
        return len(models) - 1

    tops = [0]
    for _ in range(n_fans):
        parent, shared = int(generator.choice(tops)), generator.normal(size=N_COLUMNS)
        fan = []
        for _ in range(size):
            step = np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * generator.normal(size=N_COLUMNS)
            fan.append(grow(parent, 0.01 * generator.uniform(0.6, 1.4) * step))
        tops.append(last := int(generator.choice(fan)))
        for _ in range(length):
            last = grow(last, 0.006 * generator.normal(size=N_COLUMNS))
        tops.append(last)
    order = np.argsort(days, kind="stable")
    row_now = np.append(np.argsort(order), -1)
    return np.array(models)[order], np.array(days)[order], row_now[np.array(parents)[order]]


def region_and_truth(seed, **fields):
    """A region of such models, and its true (child, parent) rows."""
    vectors, days, parents = correlated_fans(seed)
    truth = {(row, int(parent)) for row, parent in enumerate(parents) if parent >= 0}
    return region_of(vectors, days=days, **{"layout": LAYOUT, **fields}), truth
