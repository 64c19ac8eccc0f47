"""The method that makes the atlas: evidence in order of strength, then what the neighbourhood of each model says.

Exact proofs come first (copies, casts, quantisations, pruning, adapters, merges), for they need no dates and no
threshold. What is left is decided by inheritance: a model holds what its ancestors had learnt, also the parts that were
chance, and none of what its siblings learnt by chance.
"""

from atlas_pipeline.edges.charting.method import chart

__all__ = ["chart"]
