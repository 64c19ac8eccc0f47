"""GGUF files as weights: rows dequantised on request, llama.cpp's renaming and reordering undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.gguf_header import Scalar, read_gguf_header
from atlas_pipeline.weights.names import canonical_names
from atlas_pipeline.weights.quantization import quantization_of
from atlas_pipeline.weights.tensors import FileReader, Float32Array, StoredWeights, TensorInfo

INTERLEAVED_ARCHITECTURES: Final = frozenset(
    {
        "llama",
        "arcee",
        "arctic",
        "baichuan",
        "bailingmoe",
        "deci",
        "granite",
        "granitemoe",
        "internlm2",
        "minicpm",
        "mistral3",
        "olmo",
        "smollm3",
        "xverse",
    }
)
"""Values of `general.architecture` for which llama.cpp's converter reorders the rows of q and k for its rotary
embedding."""

_PLAIN: Final[Mapping[str, np.dtype[Any]]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "F64": np.dtype("<f8")}


class GgufWeights(StoredWeights):
    """Tensors of one GGUF file or of the parts of a split one.

    Rows are numbered as in the model that was converted: where llama.cpp interleaved the two halves of each attention
    head, the rows asked for are found where they were moved.
    """

    def __init__(
        self,
        *,
        model_id: str,
        readers: Sequence[FileReader],
        tensors: Mapping[str, TensorInfo],
        config: Mapping[str, Any],
        n_heads: Mapping[str, int],
    ) -> None:
        """Takes checked headers.

        Args:
            model_id: The model.
            readers: Its files.
            tensors: Their tensors.
            config: See Weights.
            n_heads: Names of tensors with interleaved rows, and their number of attention heads.
        """
        super().__init__(
            model_id=model_id,
            format="gguf",
            readers=readers,
            tensors=tensors,
            config=config,
        )
        self._n_heads = n_heads

    def _decode(self, info: TensorInfo, indices: npt.NDArray[np.int64]) -> Float32Array:
        if info.name in self._n_heads:
            indices = _interleaved(indices, n_rows=info.shape[0], n_heads=self._n_heads[info.name])
        stored = self.stored_rows(info, indices)
        with np.errstate(over="ignore", invalid="ignore"):
            if info.dtype in _PLAIN:
                return stored.view(_PLAIN[info.dtype]).astype(np.float32)
            if not indices.size:
                return np.empty((0, info.n_columns), dtype=np.float32)
            try:
                rows = dequantize(stored, GGMLQuantizationType[info.dtype])
            except NotImplementedError as error:
                raise WeightsError(
                    "unsupported_format",
                    f"The tensor {info.name!r} of model {self.model_id} has the type {info.dtype}, which is not read.",
                ) from error
        return np.ascontiguousarray(rows, dtype=np.float32).reshape(indices.size, info.n_columns)


def open_gguf(readers: Sequence[FileReader], *, model_id: str, config: Mapping[str, Any]) -> GgufWeights:
    """Opens a GGUF file, or the parts of a split one, as one model.

    Args:
        readers: The files; the first part holds the metadata.
        model_id: The model, for errors.
        config: The model's config.json, empty if there is none.

    Raises:
        WeightsError: As `read_gguf_header`; invalid_header if two parts hold a tensor of the same name;
            unsupported_format if the order of the rows of q and k cannot be known.
    """
    found: dict[str, TensorInfo] = {}
    values: dict[str, Scalar | None] = {}
    for reader in readers:
        header = read_gguf_header(reader)
        if twice := found.keys() & header.tensors.keys():
            raise WeightsError(
                "invalid_header", f"{reader.label} repeats the tensor {min(twice)[:100]!r} of another part."
            )
        found |= header.tensors
        values = header.values | values
    canonical = canonical_names(found, is_gguf=True)
    tensors = {name: replace(info, canonical=canonical[name]) for name, info in found.items()}
    weights = GgufWeights(
        model_id=model_id,
        readers=readers,
        tensors=tensors,
        config=config,
        n_heads=_interleaved_tensors(tensors, values, model_id=model_id),
    )
    precision = quantization_of(tensors.values(), config=config)
    weights.quantization, weights.is_quantized = precision.words, precision.is_quantized
    return weights


def _interleaved_tensors(
    tensors: Mapping[str, TensorInfo], values: Mapping[str, Scalar | None], *, model_id: str
) -> dict[str, int]:
    architecture = values.get("general.architecture")
    if architecture not in INTERLEAVED_ARCHITECTURES:
        return {}
    n_query = values.get(f"{architecture}.attention.head_count")
    n_key = values.get(f"{architecture}.attention.head_count_kv", n_query)
    n_heads = {}
    for name in tensors:
        heads = n_query if name.endswith(".attn_q.weight") else n_key if name.endswith(".attn_k.weight") else None
        if not name.startswith("blk.") or not name.endswith((".attn_q.weight", ".attn_k.weight")):
            continue
        # Without a plain head count (per-layer counts are an array) the order of the rows is unknown.
        if type(heads) is not int or heads < 1 or tensors[name].shape[0] % (2 * heads):
            raise WeightsError(
                "unsupported_format",
                f"The tensor {name!r} of model {model_id} has {tensors[name].shape[0]} rows, which do not fit the "
                f"number of attention heads {heads!r} in its GGUF file.",
            )
        n_heads[name] = heads
    return n_heads


def _interleaved(indices: npt.NDArray[np.int64], *, n_rows: int, n_heads: int) -> npt.NDArray[np.int64]:
    """Where llama.cpp puts a row of q or k.

    Row (head, half, j) of a matrix [heads, 2, d/2] goes to (head, j, half), so that the two numbers that a rotary
    embedding turns together are neighbours.
    """
    per_head = n_rows // n_heads
    head, within = np.divmod(indices, per_head)
    half, pair = np.divmod(within, per_head // 2)
    return np.asarray(head * per_head + 2 * pair + half, dtype=np.int64)
