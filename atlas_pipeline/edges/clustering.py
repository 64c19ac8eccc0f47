"""How well the clusters of weights are the true regions of the atlas: pairs of models put together rightly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping
from math import comb
from typing import Final

from atlas_pipeline.edges.scoring import Score

WEIGHT_CLUSTERS: Final = "weight_clusters"
"""Name under which the clusters are scored beside the methods."""


def score_clusters(
    clusters: Mapping[str, Hashable], component_of: Mapping[str, str], *, model_ids: Collection[str]
) -> Score:
    """Score the clusters that the models of a region are in against the components of the known tree.

    Pairs of models count of which one or both belong to the region: precision is the share of those in one cluster
    that are of one component, recall the share of those of one component that are in one cluster. ``n_edges`` counts
    pairs in one cluster. The adjusted Rand index is that of the whole partition, the same for each of its regions.

    Args:
        clusters: The cluster of every model of the partition.
        component_of: The component of the known tree that each model is in; one without an edge is one of its own.
            Models that were not sampled may hold a component together.
        model_ids: The models of the region.

    Returns:
        One line with the breakdown ``regions``.
    """
    of_model = {model_id: component_of.get(model_id, model_id) for model_id in clusters}
    here = set(model_ids)
    touched = {clusters[model_id] for model_id in here}, {of_model[model_id] for model_id in here}
    near = [m for m in clusters if clusters[m] in touched[0] or of_model[m] in touched[1]]
    joined = _pairs_with((clusters[m] for m in near), (clusters[m] for m in near if m not in here))
    kin = _pairs_with((of_model[m] for m in near), (of_model[m] for m in near if m not in here))
    both = _pairs_with(
        ((clusters[m], of_model[m]) for m in near), ((clusters[m], of_model[m]) for m in near if m not in here)
    )
    return Score(
        method=WEIGHT_CLUSTERS,
        matching="strict",
        subset="all",
        breakdown="regions",
        breakdown_value="",
        n_models=len(here),
        n_edges=joined,
        precision=both / joined if joined else None,
        recall=both / kin if kin else None,
        f1=2 * both / (joined + kin) if joined + kin else None,
        adjusted_rand_index=adjusted_rand_index(list(clusters.values()), list(of_model.values())),
    )


def adjusted_rand_index(left: Collection[Hashable], right: Collection[Hashable]) -> float:
    """Share of pairs on which two groupings agree, 0 where they agree as often as by chance, 1 where always.

    Args:
        left: Label of each model in one grouping.
        right: Label of each model in the other.
    """
    both = _n_pairs(Counter(zip(left, right, strict=True)))
    in_left, in_right = _n_pairs(Counter(left)), _n_pairs(Counter(right))
    by_chance = in_left * in_right / max(comb(len(left), 2), 1)
    most = (in_left + in_right) / 2
    return (both - by_chance) / (most - by_chance) if most != by_chance else 1.0


def _pairs_with(all_labels: Iterable[Hashable], other_labels: Iterable[Hashable]) -> int:
    """Pairs of one label that are not both among the others."""
    return _n_pairs(Counter(all_labels)) - _n_pairs(Counter(other_labels))


def _n_pairs(sizes: Counter[Hashable]) -> int:
    return sum(comb(size, 2) for size in sizes.values())
