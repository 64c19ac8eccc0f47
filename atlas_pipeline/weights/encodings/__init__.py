"""Quantised matrices as numbers: which tensors belong together, and how their rows are computed."""

from __future__ import annotations

from atlas_pipeline.weights.encodings.finding import encode_quantized, find_encodings

__all__ = ["encode_quantized", "find_encodings"]
