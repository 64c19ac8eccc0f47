"""Weight files as named tensors whose rows are read on request: safetensors, GGUF, LoRA adapters."""

from __future__ import annotations

from atlas_pipeline.weights.adapters import AdapterWeights, adapter_base_name, open_adapter
from atlas_pipeline.weights.errors import STATUSES, Status, WeightsError
from atlas_pipeline.weights.names import canonical_gguf_name, canonical_name, canonical_names, is_layer_tensor
from atlas_pipeline.weights.opening import WeightFiles, find_weights, list_files, open_found, open_weights, read_config
from atlas_pipeline.weights.tensors import Float32Array, TensorInfo, Weights

__all__ = [
    "STATUSES",
    "AdapterWeights",
    "Float32Array",
    "Status",
    "TensorInfo",
    "WeightFiles",
    "Weights",
    "WeightsError",
    "adapter_base_name",
    "canonical_gguf_name",
    "canonical_name",
    "canonical_names",
    "find_weights",
    "is_layer_tensor",
    "list_files",
    "open_adapter",
    "open_found",
    "open_weights",
    "read_config",
]
