"""DAG algorithms on arrays: components, cycles, depth, descendants. Nodes are integers, edges two arrays."""

from atlas_pipeline.graph.cycles import edges_to_drop
from atlas_pipeline.graph.edge_list import EdgeList
from atlas_pipeline.graph.structure import (
    descendant_totals,
    longest_depth,
    merge_share_totals,
    strong_components,
    weak_components,
)

__all__ = [
    "EdgeList",
    "descendant_totals",
    "edges_to_drop",
    "longest_depth",
    "merge_share_totals",
    "strong_components",
    "weak_components",
]
