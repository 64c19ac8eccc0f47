"""Exact duplicates: models whose files, or whose sampled neurons, are equal. This is settled first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from atlas_pipeline.edges.region import Region


def equal_vectors(region: Region) -> NDArray[np.int64]:
    """Number the groups of models with equal vectors, int64 [n]: each has the least row of its members."""
    if region.squared_distances is not None:
        distances = region.squared_distances
        return np.array([np.argmax(distances[row] == 0) for row in range(region.n_models)], dtype=np.int64)
    index, squared = region.near_index, region.near_squared
    if index is None or squared is None:  # pragma: no cover - a region refuses to be made so
        raise ValueError("a region needs its distances or its nearest models")
    group = np.arange(region.n_models, dtype=np.int64)
    while True:
        # More copies than neighbours are listed are joined through one another.
        least = np.where((squared == 0) & (index >= 0), group[index], group[:, None]).min(axis=1, initial=len(group))
        lower = np.minimum(group, least)
        lower = lower[lower]
        if (lower == group).all():
            return group
        group = lower


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Which models are copies of which.

    Attributes:
        representative: int64 [n], the row that stands for each model's group of copies; a model without copies stands
            for itself.
        is_copy: bool [n], whether another model stands for this one.
        has_equal_files: bool [n], whether the files equal the representative's, by their SHA-256; otherwise the
            models are copies because their sampled neurons are equal.
    """

    representative: NDArray[np.int64]
    is_copy: NDArray[np.bool_]
    has_equal_files: NDArray[np.bool_]


def find_duplicates(region: Region) -> Duplicates:
    """Group models with equal files or equal vectors, and choose who stands for each group.

    Equal vectors count between models stored alike. A quantiser that leaves the sampled tensors as they are, or an
    adapter that does not touch them, gives equal vectors too, and is no copy.

    The representative is the earliest copy whose documentation does not derive it from another copy of the group, so
    that a documented original published late is not made the copy of its own copy.

    Args:
        region: The models.

    Returns:
        The groups of copies.
    """
    n = region.n_models
    order = region.chronology
    stored_as = 2 * region.is_quantized + region.is_adapter
    # Equal vectors, stored alike: one number for each such kind.
    _, kind = np.unique(np.stack([equal_vectors(region), stored_as]), axis=1, return_inverse=True)
    _, first_of_kind = np.unique(kind, return_index=True)
    first_equal_vector = first_of_kind[kind]
    known = [sha is not None for sha in region.content_sha256]
    digests = [sha if sha is not None else "" for sha in region.content_sha256]
    _, first, inverse = np.unique(np.array(digests, dtype=np.str_), return_index=True, return_inverse=True)
    first_equal_files = np.where(known, first[inverse] if n else inverse, np.arange(n))
    left = np.concatenate([np.arange(n), np.arange(n)])
    right = np.concatenate([first_equal_vector, first_equal_files])
    links = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(n, n))
    _, group = connected_components(links, directed=False) if n else (0, np.zeros(0, dtype=np.int32))

    derived = np.array(
        [any(group[parent] == group[row] for parent, _ in region.known_parents.get(row, ())) for row in range(n)],
        dtype=bool,
    )
    # Groups apart, within each the underived before the derived, each in order of creation.
    position = np.empty(n, dtype=np.int64)
    position[order] = np.arange(n)
    sorted_rows = np.lexsort((position, derived, group))
    _, starts = np.unique(group[sorted_rows], return_index=True)
    representative = sorted_rows[starts][group]
    equal_files = first_equal_files == first_equal_files[representative]
    return Duplicates(representative, representative != np.arange(n), equal_files)
