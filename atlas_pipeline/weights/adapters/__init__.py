"""Adapters as rows of the adapted model, or as the change alone."""

from atlas_pipeline.weights.adapters.applying import AdapterWeights, adapter_base_name, open_adapter
from atlas_pipeline.weights.adapters.deltas import DeltaWeights
from atlas_pipeline.weights.adapters.lora_names import looks_like_lora

__all__ = ["AdapterWeights", "DeltaWeights", "adapter_base_name", "looks_like_lora", "open_adapter"]
