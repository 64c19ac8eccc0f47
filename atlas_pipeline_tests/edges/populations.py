"""Simulated regions with known trees: random walks in weight space, so that the right answer is clear."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from atlas_pipeline.edges.region import Region
from atlas_pipeline.edges.scoring import TrueEdge

DAY = 86_400.0
WIDTH = 600
STEP = 0.01


def region_of(vectors, *, days=None, clusters=None, **fields):
    """A region with plain defaults: one model a day, nothing quantised, nothing documented, one weight cluster."""
    vectors = np.asarray(vectors, dtype=np.float32)
    n = len(vectors)
    wide = vectors.astype(np.float64)
    defaults = {
        "model_ids": tuple(f"org/m{row:03d}" for row in range(n)),
        "created_at": np.asarray(np.arange(n) if days is None else days, dtype=np.float64) * DAY,
        "created_at_is_floor": np.zeros(n, dtype=bool),
        "squared_distances": ((wide[:, None, :] - wide[None, :, :]) ** 2).sum(axis=2),
        "clusters": np.zeros(n, dtype=np.int64) if clusters is None else np.asarray(clusters, dtype=np.int64),
        "is_quantized": np.zeros(n, dtype=bool),
        "is_adapter": np.zeros(n, dtype=bool),
        "content_sha256": (None,) * n,
    }
    return Region(vectors=vectors, **{**defaults, **fields})


def shuffled(region, order):
    """The same region with its rows in another order."""
    row_now = {int(old): new for new, old in enumerate(order)}
    return Region(
        model_ids=tuple(region.model_ids[old] for old in order),
        created_at=region.created_at[order],
        created_at_is_floor=region.created_at_is_floor[order],
        vectors=region.vectors[order],
        squared_distances=region.squared_distances[np.ix_(order, order)],
        clusters=region.clusters[order],
        is_quantized=region.is_quantized[order],
        is_adapter=region.is_adapter[order],
        content_sha256=tuple(region.content_sha256[old] for old in order),
        known_parents={
            row_now[child]: tuple((row_now[parent], relation) for parent, relation in parents)
            for child, parents in region.known_parents.items()
        },
        known_sources={
            (row_now[child], row_now[parent]): sources for (child, parent), sources in region.known_sources.items()
        },
    )


def pairs(edges):
    """The (child, parent) row numbers of edges whose ids were given by ``region_of``."""
    return {(int(edge.child_id[-3:]), int(edge.parent_id[-3:])) for edge in edges}


@dataclass
class Population:
    """Grows a tree of models, one after the other."""

    seed: int = 0
    vectors: list = field(default_factory=list)
    days: list = field(default_factory=list)
    is_quantized: list = field(default_factory=list)
    truth: list = field(default_factory=list)

    def __post_init__(self):
        self.generator = np.random.default_rng(self.seed)

    def add(self, vector, *, parent=None, pattern="source", relation="finetune", days=1.0):
        row = len(self.vectors)
        self.vectors.append(np.asarray(vector, dtype=np.float32))
        self.days.append((self.days[-1] if self.days else 0.0) + days)
        self.is_quantized.append(relation == "quantized")
        if parent is not None:
            self.truth.append(
                TrueEdge(
                    child_id=f"org/m{row:03d}",
                    parent_id=f"org/m{parent:03d}",
                    relation=relation,
                    pattern=pattern,
                )
            )
        return row

    def base(self):
        return self.add(self.generator.normal(size=WIDTH))

    def finetune(self, parent, *, pattern="single", size=1.0, **fields):
        step = size * STEP * self.generator.normal(size=WIDTH)
        return self.add(self.vectors[parent] + step, parent=parent, pattern=pattern, **fields)

    def snake(self, parent, *, length):
        rows = [parent]
        for _ in range(length):
            rows.append(self.finetune(rows[-1], pattern="snake"))
        return rows[1:]

    def fan(self, parent, *, size):
        return [self.finetune(parent, pattern="fan", days=1 + self.generator.random()) for _ in range(size)]

    def int8(self, parent):
        scale = np.abs(self.vectors[parent]).max() / 127
        rounded = np.round(self.vectors[parent] / scale) * scale
        return self.add(rounded, parent=parent, pattern="quantized", relation="quantized")

    def copy(self, parent):
        return self.add(self.vectors[parent], parent=parent, pattern="duplicate", relation="duplicate")

    def region(self, **fields):
        return region_of(
            self.vectors, days=self.days, **{"is_quantized": np.array(self.is_quantized, dtype=bool), **fields}
        )
