"""The tasks of the demo hub: scikit-learn's digits and their shifted variants (turned, inverted, noisy, relabelled)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from atlas_pipeline.repositories.demo.networks import IMAGE_SIZE, N_CLASSES, Array

_N_HELD_OUT: Final = 397
_DENOISING_NOISE: Final = 0.25


@dataclass(frozen=True)
class Digits:
    """Scikit-learn's 8x8 digits, split once: images [n, 8, 8] float32 in [0, 1] and labels [n]."""

    train_images: Array
    train_labels: NDArray[np.int64]
    test_images: Array
    test_labels: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A variant of the digits. `noise` is a standard deviation, `blot` the share of pixels blanked."""

    view: str = "plain"
    noise: float = 0.0
    blot: float = 0.0
    classes: tuple[int, ...] = tuple(range(N_CLASSES))
    label_shift: int = 0


def _slide(images: Array, axis: int) -> Array:
    moved = np.roll(images, 1, axis=axis)
    edge = [slice(None)] * 3
    edge[axis] = slice(0, 1)
    moved[tuple(edge)] = 0.0
    return moved


_VIEWS: Final[Mapping[str, Callable[[Array], Array]]] = {
    "plain": lambda images: images,
    "inverted": lambda images: 1.0 - images,
    "mirrored": lambda images: images[:, :, ::-1],
    "quarter_turn": lambda images: np.rot90(images, axes=(1, 2)),
    "half_turn": lambda images: images[:, ::-1, ::-1],
    "slide_right": lambda images: _slide(images, 2),
    "slide_down": lambda images: _slide(images, 1),
}
_EVENS: Final = (0, 2, 4, 6, 8)

TASKS: Final[Mapping[str, Task]] = {
    "plain": Task(),
    "inverted": Task(view="inverted"),
    "inverted_fog": Task(view="inverted", noise=0.3),
    "mirrored": Task(view="mirrored"),
    "quarter_turn": Task(view="quarter_turn"),
    "half_turn": Task(view="half_turn"),
    "half_turn_evens": Task(view="half_turn", classes=_EVENS),
    "half_turn_evens_fog": Task(view="half_turn", classes=_EVENS, noise=0.3),
    "slide_right": Task(view="slide_right"),
    "slide_down": Task(view="slide_down"),
    "fog": Task(noise=0.35),
    "blotted": Task(blot=0.3),
    "small_numbers": Task(classes=(0, 1, 2, 3, 4)),
    "large_numbers": Task(classes=(5, 6, 7, 8, 9)),
    "successor": Task(label_shift=1),
    "mirrored_successor": Task(view="mirrored", label_shift=1),
}


def split_digits(seed: int) -> Digits:
    """Load the digits and hold out 397 of the 1,797 at random.

    Args:
        seed: Seed of the split.

    Returns:
        The split, images scaled from 0..16 to [0, 1].
    """
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, IMAGE_SIZE, IMAGE_SIZE) / 16.0).astype(np.float32)
    labels = labels.astype(np.int64)
    order = np.random.default_rng([seed, 1797]).permutation(len(labels))
    test, train = order[:_N_HELD_OUT], order[_N_HELD_OUT:]
    return Digits(images[train], labels[train], images[test], labels[test])


def task_images(
    task: Task, images: Array, labels: NDArray[np.int64], generator: np.random.Generator
) -> tuple[Array, NDArray[np.int64]]:
    """Show digits the way a task does.

    Args:
        task: The variant.
        images: Clean images [n, 8, 8] in [0, 1].
        labels: Their digits [n].
        generator: Source of noise and blots.

    Returns:
        Images [m, 8, 8] float32 and class numbers [m] of those digits the task keeps.
    """
    kept = np.isin(labels, task.classes)
    shown = np.ascontiguousarray(_VIEWS[task.view](images[kept]), dtype=np.float32)
    if task.blot:
        shown = shown * (generator.random(shown.shape, dtype=np.float32) >= task.blot)
    if task.noise:
        shown = shown + np.float32(task.noise) * generator.standard_normal(shown.shape, dtype=np.float32)
    return shown, (labels[kept] + task.label_shift) % N_CLASSES


def denoising_pairs(
    task: Task, images: Array, labels: NDArray[np.int64], generator: np.random.Generator
) -> tuple[Array, Array]:
    """Show digits to a denoiser: the task's images with noise of standard deviation 0.25 on top, and the clean ones.

    Args:
        task: The variant.
        images: Clean images [n, 8, 8] in [0, 1].
        labels: Their digits [n].
        generator: Source of noise and blots.

    Returns:
        Spoilt and clean images, both [m, 8, 8] float32, of those digits the task keeps.
    """
    spoilt, _ = task_images(task, images, labels, generator)
    spoilt = spoilt + np.float32(_DENOISING_NOISE) * generator.standard_normal(spoilt.shape, dtype=np.float32)
    clean = _VIEWS[task.view](images[np.isin(labels, task.classes)])
    return spoilt, np.ascontiguousarray(clean, dtype=np.float32)
