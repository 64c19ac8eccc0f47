"""The models of a region as charting sees them: dates, vectors, distances, and the parents already known.

Here belongs what charting is given, checked once. No rule that decides a parent belongs here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.schema.components import RELATIONS


@dataclass(frozen=True, eq=False, kw_only=True)
class Region:
    """Models with comparable weights, row by row; n models, d sampled weights each.

    Attributes:
        model_ids: Hub ids, distinct.
        created_at: float64 [n], seconds since 1970-01-01 UTC; NaN where unknown, which counts as after all others.
        created_at_is_floor: bool [n], whether the date is only a latest possible one. It puts the model in order, but
            no time span is measured from it.
        vectors: float32 [n, d], the sampled neurons.
        squared_distances: float64 [n, n], squared distances of the vectors, symmetric, exactly 0 between equal ones.
            A memory map will do. None in a region too large for it, which then needs ``near_index``.
        clusters: int64 [n], the weight cluster of each model; models of different clusters cannot be kin.
        is_quantized: bool [n], whether the stored weights are quantised. A model published in low precision by those
            who trained it (and so not a leaf) is to be given as not quantised.
        is_adapter: bool [n], whether the model is stored as an adapter.
        content_sha256: digest of each model's weight files, None where unknown.
        known_parents: documented parents by child, as (row of the parent, relation). A child with an empty tuple is
            documented as well: none of its parents is in the region, and it gets no charted one.
        known_sources: where a documented edge (child, parent) was read, such as a tag or the model card.
        downloads: int64 [n], all-time downloads, for methods that weigh models by use; None where not given.
        layout: neurons and weights of each sampled matrix, in the order of the vectors' columns; empty for one neuron.
        near_index: int64 [n, k], nearest models of the same weight cluster, nearest first, ``-1`` behind the last; None
            to find them in the distances.
        near_squared: float64 [n, k], their squared distances.
        base_of: int64 [n], row of the model to which an adapter was applied; ``NOBODY`` for others.
        shapes_sha256: digest of the names and shapes of each model's tensors, None where unknown; empty for none known.

    Raises:
        ValueError: If the parts do not fit together, an id occurs twice, or a documented parent is not a model of
            the region or is the child itself.
    """

    model_ids: tuple[str, ...]
    created_at: NDArray[np.float64]
    created_at_is_floor: NDArray[np.bool_]
    vectors: NDArray[np.float32]
    squared_distances: NDArray[np.float64] | None
    clusters: NDArray[np.int64]
    is_quantized: NDArray[np.bool_]
    is_adapter: NDArray[np.bool_]
    content_sha256: tuple[str | None, ...]
    known_parents: Mapping[int, tuple[tuple[int, str], ...]] = field(default_factory=dict)
    known_sources: Mapping[tuple[int, int], tuple[str, ...]] = field(default_factory=dict)
    downloads: NDArray[np.int64] | None = None
    layout: tuple[tuple[int, int], ...] = ()
    near_index: NDArray[np.int64] | None = None
    near_squared: NDArray[np.float64] | None = None
    base_of: NDArray[np.int64] | None = None
    shapes_sha256: tuple[str | None, ...] = ()

    def __post_init__(self) -> None:
        n, d = len(self.model_ids), self.vectors.shape[-1]
        if self.squared_distances is None and (self.near_index is None or self.near_squared is None):
            raise ValueError("a region needs its distances or its nearest models")
        if len(set(self.model_ids)) != n:
            raise ValueError("a model id occurs twice in the region")
        shapes = {
            "created_at": (self.created_at.shape, (n,)),
            "created_at_is_floor": (self.created_at_is_floor.shape, (n,)),
            "vectors": (self.vectors.shape, (n, self.vectors.shape[-1])),
            "squared_distances": ((n, n) if self.squared_distances is None else self.squared_distances.shape, (n, n)),
            "base_of": ((n,) if self.base_of is None else self.base_of.shape, (n,)),
            "layout": (sum(neurons * width for neurons, width in self.layout or ((1, d),)), d),
            "clusters": (self.clusters.shape, (n,)),
            "is_quantized": (self.is_quantized.shape, (n,)),
            "is_adapter": (self.is_adapter.shape, (n,)),
            "content_sha256": ((len(self.content_sha256),), (n,)),
            "downloads": ((n,) if self.downloads is None else self.downloads.shape, (n,)),
        }
        for name, (found, wanted) in shapes.items():
            if found != wanted:
                raise ValueError(f"{name} has shape {found}, a region of {n} models needs {wanted}")
        if n and self.vectors.shape[1] == 0:
            raise ValueError("a region's vectors must hold at least one sampled weight")
        for child, parents in self.known_parents.items():
            self._check_parents(child, parents)

    def _check_parents(self, child: int, parents: tuple[tuple[int, str], ...]) -> None:
        if not 0 <= child < len(self.model_ids):
            raise ValueError(f"documented parents are given for row {child}, which is not in the region")
        rows = [parent for parent, _ in parents]
        for parent, relation in parents:
            if not 0 <= parent < len(self.model_ids) or parent == child:
                raise ValueError(f"{self.model_ids[child]}: row {parent} cannot be its documented parent")
            if relation not in RELATIONS:
                raise ValueError(f"{self.model_ids[child]}: {relation!r} is not a relation of a documented parent")
        if len(set(rows)) != len(rows):
            raise ValueError(f"{self.model_ids[child]}: a documented parent is given twice")

    @property
    def n_models(self) -> int:
        """Number of models."""
        return len(self.model_ids)

    @cached_property
    def chronology(self) -> NDArray[np.int64]:
        """Rows in the order of creation, int64 [n]: unknown dates last, equal dates in the order of the model ids."""
        # lexsort and sort put NaN after every number.
        return np.lexsort((np.array(self.model_ids, dtype=np.str_), self.created_at)).astype(np.int64)

    @cached_property
    def measurable_times(self) -> NDArray[np.float64]:
        """Dates from which a time span can be measured, float64 [n]; NaN where unknown or a latest possible one."""
        return np.where(self.created_at_is_floor, np.nan, self.created_at)

    @cached_property
    def is_documented(self) -> NDArray[np.bool_]:
        """Whether a model's parents are documented, in the region or elsewhere, bool [n]."""
        documented = np.zeros(self.n_models, dtype=bool)
        documented[list(self.known_parents)] = True
        return documented

    @cached_property
    def squared_norms(self) -> NDArray[np.float64]:
        """Squared length of each vector, float64 [n]."""
        return np.array([np.dot(row, row) for row in (v.astype(np.float64) for v in self.vectors)], dtype=np.float64)

    def squared_distance(self, left: int, right: int) -> float:
        """Squared distance of two models."""
        if self.squared_distances is not None:
            return float(self.squared_distances[left, right])
        difference = self.vectors[left].astype(np.float64) - self.vectors[right]
        return float(difference @ difference)

    def relative_distance(self, left: int, right: int) -> float:
        """Squared distance of two models over the sum of their squared lengths; 0 when both are all zeros."""
        both = self.squared_norms[left] + self.squared_norms[right]
        return self.squared_distance(left, right) / float(both) if both > 0 else 0.0
