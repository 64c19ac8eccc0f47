"""PyTorch checkpoints without PyTorch, and without running what a pickle says."""

from atlas_pipeline.weights.pytorch.checkpoint import TORCH_SUFFIXES, open_torch

__all__ = ["TORCH_SUFFIXES", "open_torch"]
