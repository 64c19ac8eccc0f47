"""Weight files as named tensors whose rows are read on request: safetensors, GGUF, PyTorch, quantised, adapters."""

from __future__ import annotations

from atlas_pipeline.weights.adapters import (
    AdapterWeights,
    DeltaWeights,
    adapter_base_name,
    looks_like_lora,
    open_adapter,
)
from atlas_pipeline.weights.errors import STATUSES, Status, WeightsError
from atlas_pipeline.weights.matrices import Matrix, comparable_matrices, matrices
from atlas_pipeline.weights.names import canonical_gguf_name, canonical_name, canonical_names, is_layer_tensor
from atlas_pipeline.weights.opening import WeightFiles, find_weights, list_files, open_found, open_weights, read_config
from atlas_pipeline.weights.tensors import Float32Array, Meter, TensorInfo, Weights, repository_failure
from atlas_pipeline.weights.values import distinct_values, hidden_quantization

__all__ = [
    "STATUSES",
    "AdapterWeights",
    "DeltaWeights",
    "Float32Array",
    "Matrix",
    "Meter",
    "Status",
    "TensorInfo",
    "WeightFiles",
    "Weights",
    "WeightsError",
    "adapter_base_name",
    "canonical_gguf_name",
    "canonical_name",
    "canonical_names",
    "comparable_matrices",
    "distinct_values",
    "find_weights",
    "hidden_quantization",
    "is_layer_tensor",
    "list_files",
    "looks_like_lora",
    "matrices",
    "open_adapter",
    "open_found",
    "open_weights",
    "read_config",
    "repository_failure",
]
