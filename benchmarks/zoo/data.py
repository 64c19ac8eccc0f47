"""What the networks learn from: text that ships with Python and its packages, and scikit-learn's digits."""

from __future__ import annotations

import ast
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.repositories.demo.tasks import TASKS, split_digits, task_images
from benchmarks.zoo.tasks import HALVES

DOMAIN_BYTES: Final = 120_000
"""Text kept of each domain."""

N_PAIRS: Final = 128
"""Pairs of bytes that the wider decoder's vocabulary has beside the 256 bytes."""

CONTEXT: Final = 16
"""Tokens of a training sequence."""

N_LABELS: Final = 4
"""Classes of a decoder's new head: what kind of character comes next."""

_DIGITS_SEED: Final = 0


class Batches(Protocol):
    """A task as an endless source of batches."""

    def draw(self, rng: np.random.Generator, size: int) -> tuple[NDArray[np.generic], ...]:
        """Draw a batch: the arguments of a network's `loss`."""


@dataclass(frozen=True)
class TextBatches:
    """Sequences of tokens, int64 [size, CONTEXT + 1]; classes of the tokens, int64 [n_tokens], for the other head."""

    tokens: NDArray[np.int64]
    classes: NDArray[np.int64]

    def draw(self, rng: np.random.Generator, size: int) -> tuple[NDArray[np.generic], ...]:
        """See Batches.draw: tokens and the classes of the tokens that follow them."""
        starts = rng.integers(0, len(self.tokens) - CONTEXT - 1, size)
        window = self.tokens[starts[:, None] + np.arange(CONTEXT + 1)]
        return window[:, :-1], window[:, 1:], self.classes[window[:, 1:]]


@dataclass(frozen=True)
class DigitBatches:
    """Images of digits as a task shows them: float32 [size, 1, 8, 8], labels and other labels int64 [size]."""

    view: str
    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def draw(self, rng: np.random.Generator, size: int) -> tuple[NDArray[np.generic], ...]:
        """See Batches.draw: images, labels, and whether the label is odd or large, for the other head."""
        chosen = rng.integers(0, len(self.images), size)
        images, labels = task_images(TASKS[self.view], self.images[chosen], self.labels[chosen], rng)
        return images[:, None], labels, labels % 2 + 2 * (labels >= 5)


@dataclass(frozen=True)
class DenoisingBatches:
    """Digits with noise of some level: noisy images and noise float32 [size, 1, 8, 8], levels [size], labels [size]."""

    digits: DigitBatches

    def draw(self, rng: np.random.Generator, size: int) -> tuple[NDArray[np.generic], ...]:
        """See Batches.draw."""
        images, labels, _ = self.digits.draw(rng, size)
        clean = (2 * images - 1).astype(np.float32)
        level = rng.uniform(0.05, 0.95, len(clean)).astype(np.float32)
        noise = rng.standard_normal(clean.shape, dtype=np.float32)
        share = level[:, None, None, None]
        noisy = np.cos(share * np.pi / 2) * clean + np.sin(share * np.pi / 2) * noise
        return noisy.astype(np.float32), level, labels, noise, clean


@cache
def batches(family: str, task: str) -> Batches:
    """The data of a task.

    Args:
        family: the architecture that learns it.
        task: `<domain>/<half>` or domains joined by plus signs for decoders, `<view>/<half>` of the digits for others.
    """
    if family.startswith("llama"):
        return _text(family, task)
    view, _, half = task.partition("/")
    digits = split_digits(_DIGITS_SEED)
    kept = np.isin(digits.train_labels, TASKS[view].classes)
    images, labels = digits.train_images[kept], digits.train_labels[kept]
    mine = np.arange(len(images)) % 2 == HALVES.index(half)
    shown = DigitBatches(view, images[mine], labels[mine])
    return DenoisingBatches(shown) if family.startswith("unet") else shown


def vocabulary_size(family: str) -> int:
    """Tokens of a decoder."""
    return 256 + (N_PAIRS if family == "llama-96" else 0)


def _text(family: str, task: str) -> TextBatches:
    names, _, half = task.partition("/")
    tokens = np.concatenate([_tokens(family, name) for name in names.split("+")])
    if half:
        middle = len(tokens) // 2
        tokens = tokens[:middle] if half == HALVES[0] else tokens[middle:]
    return TextBatches(tokens, _classes(vocabulary_size(family)))


def _classes(n_tokens: int) -> NDArray[np.int64]:
    """Class of every token: white space, letter, digit, other; of a pair that of its first byte."""
    firsts = [*range(256), *(first for first, _ in _pairs())][:n_tokens]
    shown = [chr(first) for first in firsts]
    return np.array([0 if c.isspace() else 1 if c.isalpha() else 2 if c.isdigit() else 3 for c in shown])


@cache
def _tokens(family: str, name: str) -> NDArray[np.int64]:
    text = domain(name)
    if family != "llama-96":
        return np.frombuffer(text, np.uint8).astype(np.int64)
    number = {pair: 256 + place for place, pair in enumerate(_pairs())}
    tokens, at = [], 0
    while at < len(text):
        pair = number.get((text[at], text[at + 1])) if at + 1 < len(text) else None
        tokens.append(text[at] if pair is None else pair)
        at += 1 if pair is None else 2
    return np.array(tokens, dtype=np.int64)


@cache
def _pairs() -> tuple[tuple[int, int], ...]:
    text = domain("pandas_docstrings")
    counted = Counter(pairwise(text))
    return tuple(sorted(counted, key=lambda pair: (-counted[pair], pair))[:N_PAIRS])


@cache
def domain(name: str) -> bytes:
    """The text of a domain, DOMAIN_BYTES at most.

    Args:
        name: one of `tasks.TEXT_DOMAINS`.
    """
    paths = {key: Path(place) for key, place in sysconfig.get_paths().items()}
    if name == "licences":
        pieces = _files(paths["purelib"], "*.dist-info/**/LICEN[SC]E*")
    elif name == "help_topics":
        pieces = _files(paths["stdlib"] / "pydoc_data", "topics.py")
    elif name.endswith("_docstrings"):
        pieces = _docstrings(paths["purelib"] / name.removesuffix("_docstrings"))
    else:
        pieces = _files(paths["stdlib"] / name, "**/*.py")
    text = bytearray()
    for piece in pieces:
        text += piece
        if len(text) >= DOMAIN_BYTES:
            break
    return bytes(text[:DOMAIN_BYTES])


def _files(folder: Path, pattern: str) -> Iterator[bytes]:
    return (path.read_bytes() for path in sorted(folder.glob(pattern)) if path.is_file())


def _docstrings(folder: Path) -> Iterator[bytes]:
    for source in _files(folder, "**/*.py"):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)) and (text := ast.get_docstring(node)):
                yield text.encode() + b"\n\n"
