"""Merges as mergekit makes them: linear, SLERP, task arithmetic and TIES, in float64 and tensor by tensor."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.zoo.networks import Weights
from benchmarks.zoo.plans import Merge

STRAIGHT: Final = 0.9995
"""Cosine from which SLERP goes along the straight line."""

Wide = NDArray[np.float64]


def merged(merge: Merge, parents: Sequence[Weights]) -> Weights:
    """Merge models.

    Args:
        merge: what to do.
        parents: in the order of the plan, the base last where there is one.

    Returns:
        float32 arrays by tensor name.
    """
    found: Weights = {}
    for name in parents[0]:
        tensors = [parent[name].astype(np.float64) for parent in parents]
        match merge.kind:
            case "linear":
                value = sum(weight * tensor for weight, tensor in zip(merge.weights, tensors, strict=True))
            case "slerp":
                value = slerp(tensors[0], tensors[1], slerp_fraction(merge, name))
            case "task":
                *models, base = tensors
                value = base + sum(weight * (model - base) for weight, model in zip(merge.weights, models, strict=True))
            case "ties":
                *models, base = tensors
                changes = np.stack([model - base for model in models])
                value = base + ties(changes, np.array(merge.weights), merge.density)
        found[name] = np.asarray(value, dtype=np.float32)
    return found


def slerp_fraction(merge: Merge, name: str) -> float:
    """How far a tensor goes from the first model to the second.

    Where the fraction varies, it rises with the layer for attention and falls for the MLP, as in mergekit's example.
    """
    fraction = merge.weights[1]
    layer = re.search(r"(?:layers?|blocks)\.(\d+)\.", name)
    if not merge.varies or layer is None:
        return fraction
    shift = 0.2 * (-1) ** int(layer[1])
    is_attention = re.search(r"att", name) is not None
    return float(np.clip(fraction + (shift if is_attention else -shift), 0.05, 0.95))


def slerp(first: Wide, second: Wide, fraction: float) -> Wide:
    """Go along the arc between two tensors' directions; along the line where they are nearly parallel or zero."""
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    cosine = float(np.sum(first * second) / lengths) if lengths > 0 else 1.0
    if abs(cosine) > STRAIGHT:
        return (1 - fraction) * first + fraction * second
    angle = np.arccos(cosine)
    return np.asarray((np.sin((1 - fraction) * angle) * first + np.sin(fraction * angle) * second) / np.sin(angle))


def ties(changes: Wide, weights: NDArray[np.float64], density: float) -> Wide:
    """Trim, elect signs, merge (Yadav et al. 2023).

    Args:
        changes: [models, ...], each model minus the base.
        weights: [models].
        density: share of each model's entries that is kept, the largest ones.

    Returns:
        The change of the merge, [...]; weights of the models that agree with the elected sign are brought to a sum of
        one.
    """
    flat = changes.reshape(len(changes), -1)
    n_kept = max(1, round(density * flat.shape[1]))
    order = np.argsort(-np.abs(flat), axis=1, kind="stable")
    kept = np.zeros_like(flat)
    np.put_along_axis(kept, order[:, :n_kept], np.take_along_axis(flat, order[:, :n_kept], axis=1), axis=1)
    weighted = kept * weights[:, None]
    elected = np.where(weighted.sum(axis=0) >= 0, 1.0, -1.0)
    agrees = (np.sign(kept) == elected) & (kept != 0)
    total = (agrees * weights[:, None]).sum(axis=0)
    change = np.divide((weighted * agrees).sum(axis=0), total, out=np.zeros(flat.shape[1]), where=total > 0)
    return change.reshape(changes.shape[1:])
