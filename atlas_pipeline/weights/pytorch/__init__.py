"""PyTorch checkpoints without PyTorch, and without running what a pickle says."""

from atlas_pipeline.weights.pytorch.checkpoint import open_torch

__all__ = ["open_torch"]
