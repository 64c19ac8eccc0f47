"""What charting has to beat: three ways to choose a parent that know less than Algorithm 1.

Like Algorithm 1 they keep documented parents, chart each weight cluster apart and give one parent to every other model,
so that a difference in score is a difference in the choice.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from atlas_pipeline.edges.candidates import nearest_candidates
from atlas_pipeline.edges.evidence import EdgeWriter
from atlas_pipeline.edges.records import Edge, without_cycles
from atlas_pipeline.edges.region import Region

N_LISTED: Final = 5
"""Candidates listed in the evidence of a baseline's edges, as many as Algorithm 1 lists by default."""


def nearest_earlier(region: Region) -> tuple[Edge, ...]:
    """Give every undocumented model the nearest model created before it; copies and quantisations count like others.

    Args:
        region: The models.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.
    """
    writer, nearest = _writer(region)
    charted = [
        writer.charted(child, int(nearest[child]), rule="nearest")
        for child in _undocumented(region)
        if nearest[child] >= 0
    ]
    return without_cycles([*writer.documented(), *charted])


def majority(region: Region) -> tuple[Edge, ...]:
    """Give every undocumented model the documented parent with the most children in its cluster (section 4.1).

    A cluster without documented edges takes its earliest model instead: the atlas as one level under a root. Parents
    with equally many children are taken in order of creation.

    Args:
        region: The models.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.
    """
    writer, _ = _writer(region)
    chronology = region.chronology.tolist()
    children: dict[int, Counter[int]] = {}
    for cluster in np.unique(region.clusters).tolist():
        children[cluster] = Counter({row: 0 for row in chronology if region.clusters[row] == cluster})
    for parents in region.known_parents.values():
        for parent, _ in parents:
            children[int(region.clusters[parent])][parent] += 1
    charted = []
    for child in _undocumented(region):
        count = children[int(region.clusters[child])]
        # most_common keeps the order of insertion, here of creation, among equals.
        parent, n_children = count.most_common(1)[0]
        if parent != child:
            charted.append(writer.charted(child, parent, rule="majority", share=n_children / max(count.total(), 1)))
    return without_cycles([*writer.documented(), *charted])


def random_earlier(region: Region, *, seed: int) -> tuple[Edge, ...]:
    """Give every undocumented model one of the models of its cluster created before it, all equally likely.

    Args:
        region: The models.
        seed: Seed of the choice.

    Returns:
        The edges, documented and charted, without cycles, sorted by child and parent.
    """
    writer, _ = _writer(region)
    draw = np.random.default_rng(seed).random(region.n_models)
    earlier: dict[int, list[int]] = {}
    is_documented = region.is_documented
    charted = []
    for child, luck in zip(region.chronology.tolist(), draw, strict=True):
        before = earlier.setdefault(int(region.clusters[child]), [])
        if before and not is_documented[child]:
            parent = before[int(luck * len(before))]
            charted.append(writer.charted(child, parent, rule="random", share=1.0 / len(before)))
        before.append(child)
    return without_cycles([*writer.documented(), *charted])


def _writer(region: Region) -> tuple[EdgeWriter, np.ndarray]:
    """Prepare to write edges over all earlier models, and name the nearest of them for every model (-1 for none)."""
    everyone = np.ones(region.n_models, dtype=bool)
    candidates = nearest_candidates(region, k=N_LISTED, can_be_parent=everyone, only_earlier=True)
    return EdgeWriter(region, candidates, n_listed=N_LISTED), candidates.index[:, 0]


def _undocumented(region: Region) -> list[int]:
    return [int(row) for row in np.flatnonzero(~region.is_documented)]
