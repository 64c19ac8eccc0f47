"""Merges from weights alone: found where there is one, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from atlas_pipeline.edges.charting.merges import find_merge
from atlas_pipeline.edges.charting.proofs import precisions, to_precision
from atlas_pipeline_tests.edges.charting.families import LAYOUT, N_COLUMNS, SCALE, family

FLOAT16 = 1
PARENTS = (7, 23, 41, 55)


@pytest.fixture(scope="module")
def candidates():
    """A base and 59 models that changed it, by unlike amounts."""
    return family(np.random.default_rng(0), steps=np.geomspace(3e-3, 3e-2, 59))


def merged(models, child, *, bases=(0,)):
    vectors = np.vstack([models, child[None]]).astype(np.float32)
    distances = ((vectors[:-1].astype(np.float64) - vectors[-1]) ** 2).sum(axis=1)
    return find_merge(
        vectors,
        len(models),
        np.argsort(distances, kind="stable"),
        layout=LAYOUT,
        precision=int(precisions(vectors[-1:])[0]),
        bases=bases,
    )


def slerp(left, right, share):
    left, right = left.astype(np.float64), right.astype(np.float64)
    angle = np.arccos(left @ right / np.sqrt((left @ left) * (right @ right)))
    return (np.sin((1 - share) * angle) * left + np.sin(share * angle) * right) / np.sin(angle)


def ties(base, models, *, density, scale=1.0):
    """Trim, elect signs, mean of those that agree."""
    changes = models.astype(np.float64) - base
    bar = np.quantile(np.abs(changes), 1 - density, axis=1, keepdims=True)
    changes = np.where(np.abs(changes) >= bar, changes, 0.0)
    agrees = (np.sign(changes) == np.sign(changes.sum(axis=0))) & (changes != 0)
    mean = np.where(agrees, changes, 0).sum(axis=0) / np.maximum(agrees.sum(axis=0), 1)
    return (base + scale * mean).astype(np.float32)


WEIGHTS = {2: (0.6, 0.4), 3: (0.5, 0.3, 0.2), 4: (0.4, 0.3, 0.2, 0.1)}


@pytest.mark.parametrize("precision", [0, FLOAT16])
@pytest.mark.parametrize("n_parents", WEIGHTS)
def test_a_linear_merge_names_its_parents_and_their_weights(candidates, n_parents, precision):
    weights, parents = WEIGHTS[n_parents], PARENTS[:n_parents]
    exact = (np.array(weights)[:, None] * candidates[list(parents)].astype(np.float64)).sum(axis=0)
    merge = merged(candidates, to_precision(exact.astype(np.float32), precision))
    assert (merge.kind, merge.parents) == ("linear", parents)
    np.testing.assert_allclose(merge.coefficients, weights, atol=2e-3)
    assert merge.residual < (1e-3 if precision else 1e-6)


def test_task_arithmetic_names_the_base_with_what_is_left_to_one(candidates):
    base = candidates[0].astype(np.float64)
    child = base + 0.8 * (candidates[23] - base) + 0.6 * (candidates[41] - base)
    merge = merged(candidates, child.astype(np.float32))
    found = dict(zip(merge.parents, merge.coefficients, strict=True))
    assert found == pytest.approx({23: 0.8, 41: 0.6, 0: -0.4}, abs=1e-3)


def test_slerp_by_matrix_names_both_parents(candidates):
    child, first = np.empty(N_COLUMNS), 0
    for (neurons, width), share in zip(LAYOUT, (0.3, 0.6), strict=True):
        part = slice(first, first + neurons * width)
        child[part] = slerp(candidates[23, part], candidates[41, part], share)
        first = part.stop
    merge = merged(candidates, child.astype(np.float32))
    assert (merge.kind, set(merge.parents)) == ("by_matrix", {23, 41})
    assert sum(merge.coefficients) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("precision", [0, FLOAT16])
@pytest.mark.parametrize("density", [0.5, 0.8])
@pytest.mark.parametrize("n_parents", [2, 3])
def test_ties_names_its_parents_and_their_base(candidates, n_parents, density, precision):
    parents = PARENTS[1 : 1 + n_parents]
    child = ties(candidates[0], candidates[list(parents)], density=density)
    merge = merged(candidates, to_precision(child, precision))
    assert (merge.kind, set(merge.parents)) == ("ties", {*parents, 0})


def test_a_plain_fine_tune_is_no_merge(candidates):
    generator = np.random.default_rng(1)
    for size in (1e-4, 1e-3, 1e-2):
        child = candidates[30] + size * SCALE * generator.normal(size=N_COLUMNS).astype(np.float32)
        assert merged(candidates, child) is None
        assert merged(candidates, to_precision(child, FLOAT16)) is None


def test_a_merge_whose_parent_is_not_there_is_not_explained_by_others(candidates):
    child = 0.6 * candidates[23] + 0.4 * candidates[41]
    assert merged(np.delete(candidates, 41, axis=0), child.astype(np.float32)) is None


@pytest.mark.parametrize("precision", [0, FLOAT16])
def test_a_run_of_a_recipe_whose_runs_lie_on_a_smooth_curve_is_no_merge(precision):
    generator = np.random.default_rng(2)
    base, speed, along, bent = generator.normal(size=(4, N_COLUMNS))
    times = np.linspace(0, 1, 13)[:, None]
    # Each weight approaches its end at a pace of its own, and no two runs draw the same chance.
    runs = base + 0.02 * along * (1 - np.exp(-times * np.exp(speed))) + 0.005 * bent * np.sin(3 * times)
    runs = (SCALE * (runs + 1e-4 * generator.normal(size=runs.shape))).astype(np.float32)
    runs = np.array([to_precision(run, precision) for run in runs])
    for row in (3, 6, 9):
        assert merged(np.delete(runs, row, axis=0), runs[row]) is None


def test_one_candidate_or_none_is_no_merge(candidates):
    vectors = candidates[:3]
    for rows in ([], [1]):
        found = find_merge(vectors, 0, np.array(rows, dtype=np.int64), layout=LAYOUT, precision=0, bases=(1,))
        assert found is None
