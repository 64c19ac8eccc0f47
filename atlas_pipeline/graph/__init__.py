"""DAG algorithms on arrays: components, cycles, depth, descendants. Nodes are integers, edges two arrays."""

from atlas_pipeline.graph.cycles import edges_to_drop
from atlas_pipeline.graph.edge_list import EdgeList
from atlas_pipeline.graph.layout import layout
from atlas_pipeline.graph.nearest import Nearest, nearest_labelled
from atlas_pipeline.graph.structure import (
    descendant_totals,
    longest_depth,
    merge_share_totals,
    path_counted_totals,
    shortest_depth,
    spread,
    strong_components,
    weak_components,
)

__all__ = [
    "EdgeList",
    "Nearest",
    "descendant_totals",
    "edges_to_drop",
    "layout",
    "longest_depth",
    "merge_share_totals",
    "nearest_labelled",
    "path_counted_totals",
    "shortest_depth",
    "spread",
    "strong_components",
    "weak_components",
]
