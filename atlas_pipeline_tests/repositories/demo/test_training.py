from __future__ import annotations

import numpy as np
import pytest

from atlas_pipeline.repositories.demo.making import NETWORKS
from atlas_pipeline.repositories.demo.tasks import TASKS, Task, split_digits, task_images
from atlas_pipeline.repositories.demo.training import accuracy, add_adapters, train, train_adapter

_FORMER = NETWORKS["former"]


@pytest.fixture(scope="module")
def digits():
    return split_digits(0)


@pytest.fixture(scope="module")
def start():
    return _FORMER.initialize(np.random.default_rng(3))


def _train(start, digits, n_steps, generator, **options):
    return train(
        _FORMER,
        start,
        task=TASKS["plain"],
        digits=digits,
        learning_rate=2e-3,
        n_steps=n_steps,
        generator=generator,
        **options,
    )


def test_training_teaches(digits, start):
    before = accuracy(_FORMER, start, task=TASKS["plain"], digits=digits)
    run = _train(start, digits, 150, np.random.default_rng(0))
    assert before < 0.3
    assert accuracy(_FORMER, run.weights, task=TASKS["plain"], digits=digits) > 0.85


def test_a_continued_run_is_one_run(digits, start):
    whole = _train(start, digits, 12, np.random.default_rng(1))
    generator = np.random.default_rng(1)
    half = _train(start, digits, 5, generator)
    rest = _train(half.weights, digits, 7, generator, moments=half.moments)
    fresh = _train(half.weights, digits, 7, np.random.default_rng(1))
    for name, tensor in whole.weights.items():
        assert np.array_equal(rest.weights[name], tensor)
    assert any(not np.array_equal(fresh.weights[name], tensor) for name, tensor in whole.weights.items())


def test_frozen_tensors_keep_their_bits_and_the_start_is_left_alone(digits, start):
    copies = {name: tensor.copy() for name, tensor in start.items()}
    run = _train(start, digits, 5, np.random.default_rng(2), frozen=("model.embed_", "score."))
    for name, tensor in copies.items():
        assert np.array_equal(start[name], tensor)
        assert np.array_equal(run.weights[name], tensor) == name.startswith(("model.embed_", "score."))


def test_adapters_change_only_their_modules_by_their_rank(digits, start):
    modules = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")
    adapters = train_adapter(
        _FORMER,
        start,
        modules=modules,
        rank=3,
        alpha=6.0,
        task=TASKS["inverted"],
        digits=digits,
        learning_rate=1e-3,
        n_steps=10,
        generator=np.random.default_rng(4),
    )
    adapted = add_adapters(start, adapters)
    for name, tensor in start.items():
        if name.removesuffix(".weight") not in modules:
            assert adapted[name] is tensor
            continue
        pair = adapters[name.removesuffix(".weight")]
        np.testing.assert_allclose(adapted[name] - tensor, 2.0 * pair.up @ pair.down, atol=1e-6)
        assert np.linalg.matrix_rank(pair.change().astype(np.float64), tol=1e-6) == 3


def test_the_gradient_of_an_adapter_is_that_of_its_factors(digits, start):
    """With one step from B = 0, Adam moves B against the sign of its gradient, and leaves A: its gradient is zero."""
    module = "model.layers.0.mlp.up_proj"
    options = {"modules": (module,), "rank": 2, "alpha": 2.0, "task": TASKS["plain"], "digits": digits}
    first, second = (
        train_adapter(_FORMER, start, **options, learning_rate=1e-3, n_steps=n, generator=np.random.default_rng(9))[
            module
        ]
        for n in (0, 1)
    )
    assert np.array_equal(first.down, second.down)
    assert np.all(first.up == 0)
    assert np.max(np.abs(second.up)) == pytest.approx(1e-3, rel=1e-3)


def test_digits_are_split_once_and_without_overlap(digits):
    assert len(digits.train_images) + len(digits.test_images) == 1797
    both = np.concatenate([digits.train_images, digits.test_images]).reshape(1797, -1)
    assert len(np.unique(both, axis=0)) == 1797
    assert np.array_equal(split_digits(0).test_labels, digits.test_labels)
    assert not np.array_equal(split_digits(1).test_labels, digits.test_labels)


def test_views_move_pixels_and_tasks_choose_and_rename_classes(digits):
    images, labels = digits.test_images, digits.test_labels
    generator = np.random.default_rng(0)
    for view, undo in {
        "inverted": lambda x: 1.0 - x,
        "mirrored": lambda x: np.flip(x, 2),
        "half_turn": lambda x: np.flip(x, (1, 2)),
        "quarter_turn": lambda x: np.rot90(x, -1, axes=(1, 2)),
    }.items():
        shown, _ = task_images(Task(view=view), images, labels, generator)
        np.testing.assert_allclose(undo(shown), images, atol=1e-6)
    slid, _ = task_images(Task(view="slide_right"), images, labels, generator)
    assert np.array_equal(slid[:, :, 1:], images[:, :, :-1])
    assert not slid[:, :, 0].any()
    kept, names = task_images(Task(classes=(8, 9), label_shift=1), images, labels, generator)
    assert len(kept) == np.isin(labels, (8, 9)).sum()
    assert set(names) == {9, 0}
    blotted, _ = task_images(Task(view="inverted", blot=0.3), np.zeros((500, 8, 8)), np.zeros(500, int), generator)
    assert np.mean(blotted == 0) == pytest.approx(0.3, abs=0.02)
