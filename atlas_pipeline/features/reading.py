"""One model read: which files, which rows of them, and what is known of it for certain along the way.

Where files are belongs in `repositories`, how they are decoded in `weights`, which rows are read in `plans`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from atlas_pipeline.features.plans import SamplingPlan, make_plan, shape_signature
from atlas_pipeline.repositories import FileEntry, Repository, RepositoryError
from atlas_pipeline.weights import (
    Float32Array,
    Matrix,
    Meter,
    Status,
    WeightFiles,
    Weights,
    WeightsError,
    comparable_matrices,
    find_weights,
    hidden_quantization,
    looks_like_lora,
    open_adapter,
    open_found,
    repository_failure,
)

FREE_BYTES: Final = 4 << 20
"""What may be read of any model, however small."""

SHARE: Final = 100
"""Of a larger model at most one part in so many is read; where all planned rows would take more, only the anchors'."""

VALUES_ROWS: Final = 16
"""Rows whose values are counted to find a quantisation that the stored type does not show."""

_EMBEDDINGS: Final = (
    "embed_tokens.weight",
    "word_embeddings.weight",
    "tok_embeddings.weight",
    "wte.weight",
    "shared.weight",
)


@dataclass(frozen=True, slots=True)
class ModelToSample:
    """A model, and for an adapter the base that its documentation names.

    Attributes:
        model_id: The model.
        base_id: Tried as an adapter's base before the one in its adapter_config.json; ignored for other models.
        is_pruned: Whether it is left out, as one leaf of too many.
    """

    model_id: str
    base_id: str | None = None
    is_pruned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledModel:
    """What sampling found out about one model: a row of `features.models`, whose contract says what each field is."""

    model_id: str
    status: Status | Literal["ok", "metadata_only", "pruned"]
    format: str | None = None
    revision: str | None = None
    weights_file: str | None = None
    bytes_read: int = 0
    bytes_total: int = 0
    n_neurons: int = 0
    n_tensors: int | None = None
    n_parameters: int | None = None
    vocabulary_size: int | None = None
    dtypes: str | None = None
    is_quantized: bool | None = None
    quantization: str | None = None
    base_id: str | None = None
    adapter_kind: str | None = None
    adapter_rank: int | None = None
    is_delta: bool | None = None
    content_sha256: str | None = None
    shapes_sha256: str | None = None
    sampled_sha256: str | None = None
    vector_group: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A model's row, and where it could be read its vector.

    Attributes:
        row: What is known of it.
        plan: Which rows were read.
        vector: float32 [plan.n_dimensions], the planned rows joined.
        entries: Its weight files.
    """

    row: SampledModel
    plan: SamplingPlan | None = None
    vector: Float32Array | None = None
    entries: tuple[FileEntry, ...] = ()


@dataclass(frozen=True)
class ModelReader:
    """Reads the same neurons of every model of a shape.

    Attributes:
        repository: Where the models are.
        n_neurons: Neurons per model.
        seed: Seed of their draw.
        limit_bytes: What one model may take; None for as much as it needs.
        threads: Reads matrices at the same time; None reads one after the other.
    """

    repository: Repository
    n_neurons: int
    seed: int
    limit_bytes: int | None = None
    threads: Executor | None = None

    def read(self, model: ModelToSample) -> Reading:
        """Read a model; one that cannot be read gets a row that says why."""
        if model.is_pruned:
            return Reading(SampledModel(model_id=model.model_id, status="pruned"))
        meter = Meter(self.limit_bytes)
        row = SampledModel(model_id=model.model_id, status="unreadable")
        entries: tuple[FileEntry, ...] = ()
        try:
            found = find_weights(self.repository, model.model_id, meter)
            entries = found.entries
            row = replace(row, **self._facts_of_files(model.model_id, found))
            weights = self._open(model, found, meter)
            row = replace(row, **_facts_of_weights(weights))
            plan, vector = self._vector(weights, meter)
            row = replace(row, **_facts_of_values(row, plan, vector))
        except WeightsError as error:
            failed = replace(row, status=error.status, error=error.message, bytes_read=meter.bytes_read)
            return Reading(failed, entries=entries)
        return Reading(replace(row, status="ok", bytes_read=meter.bytes_read), plan, vector, entries)

    def _facts_of_files(self, model_id: str, found: WeightFiles) -> dict[str, Any]:
        try:
            revision = self.repository.revision(model_id)
        except RepositoryError as error:
            raise repository_failure(error) from error
        return {
            "format": found.format,
            "revision": revision,
            "weights_file": found.entries[0].path,
            "bytes_total": sum(entry.size_bytes for entry in found.entries),
            "content_sha256": joined_sha256(entry.sha256 for entry in found.entries),
        }

    def _open(self, model: ModelToSample, found: WeightFiles, meter: Meter) -> Weights:
        if found.format != "adapter":
            weights = open_found(self.repository, model.model_id, found, meter)
            if not looks_like_lora(weights.stored):
                return weights
            found = replace(found, format="adapter")
        base_ids = [model.base_id] if model.base_id else []
        return open_adapter(self.repository, model.model_id, base_ids=base_ids, found=found, meter=meter)

    def _vector(self, weights: Weights, meter: Meter) -> tuple[SamplingPlan, Float32Array]:
        chosen = comparable_matrices(weights)
        if not chosen:
            raise WeightsError("unsupported_format", _why_nothing_can_be_compared(weights))
        plan = make_plan(shape_signature(chosen), n_neurons=self.n_neurons, seed=self.seed)
        if weights.is_delta:
            plan = replace(plan, vector_group=f"{plan.vector_group}-changes")
        if plan.at_anchors.tensors and _cost(weights, chosen, plan) > self._allowance(weights, meter):
            plan = plan.at_anchors

        matrices = [(chosen[tensor.canonical], tensor.rows) for tensor in plan.tensors]
        wanted = [(matrix.tensor, np.array(rows) + matrix.first_row) for matrix, rows in matrices]
        rows = weights.rows_of(wanted, self.threads.map if self.threads else map)
        vector = np.concatenate([part.reshape(-1) for part in rows])
        if not np.isfinite(vector).all():
            raise WeightsError(
                "not_finite", f"The sampled weights of model {weights.model_id} contain NaN or infinity."
            )
        # Adding zero turns -0.0 into 0.0: equal numbers, equal bytes.
        return plan, np.add(vector, np.float32(0), out=vector)

    def _allowance(self, weights: Weights, meter: Meter) -> float:
        # A change has to be read whole for any row of it, and an adapter is small.
        share = math.inf if weights.format == "adapter" else max(FREE_BYTES, weights.bytes_total // SHARE)
        left = math.inf if meter.limit_bytes is None else meter.limit_bytes - meter.bytes_read
        return min(share, left)


def joined_sha256(digests: Iterable[str | None]) -> str | None:
    """One digest for several files: that of a single one as it is, else of all their binary digests in order."""
    known = list(digests)
    whole = [digest for digest in known if digest is not None]
    if not whole or len(whole) < len(known):
        return None
    return whole[0] if len(whole) == 1 else hashlib.sha256(bytes.fromhex("".join(whole))).hexdigest()


def _cost(weights: Weights, chosen: Mapping[str, Matrix], plan: SamplingPlan) -> int:
    return sum(weights.cost_bytes(chosen[tensor.canonical].tensor, len(tensor.rows)) for tensor in plan.tensors)


def _facts_of_weights(weights: Weights) -> dict[str, Any]:
    n_elements: Counter[str] = Counter()
    for info in weights.tensors.values():
        n_elements[info.dtype] += math.prod(info.shape)
    shapes = sorted([info.canonical, *info.shape] for info in weights.tensors.values())
    return {
        "format": weights.format,
        "n_tensors": len(weights.tensors),
        "n_parameters": min(n_elements.total(), 2**63 - 1),
        "vocabulary_size": _vocabulary_size(weights),
        "dtypes": ", ".join(sorted(n_elements, key=lambda dtype: (-n_elements[dtype], dtype))),
        "is_quantized": weights.is_quantized,
        "quantization": weights.quantization,
        "base_id": weights.base_id,
        "adapter_kind": weights.adapter_kind,
        "adapter_rank": weights.rank,
        "is_delta": weights.is_delta if weights.adapter_kind else None,
        "shapes_sha256": hashlib.sha256(json.dumps(shapes).encode()).hexdigest(),
    }


def _vocabulary_size(weights: Weights) -> int | None:
    sizes = (i.shape[0] for i in weights.tensors.values() if len(i.shape) == 2 and i.canonical.endswith(_EMBEDDINGS))
    return max(sizes, default=None)


def _facts_of_values(row: SampledModel, plan: SamplingPlan, vector: Float32Array) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "n_neurons": plan.n_neurons,
        "vector_group": plan.vector_group,
        "sampled_sha256": hashlib.sha256(vector.data).hexdigest(),
    }
    if row.is_quantized or row.quantization or row.adapter_kind:
        return facts
    rows = _some_rows(plan, vector)
    # Two rows are enough to see that there is nothing to see.
    if hidden_quantization(rows[:2]) and (hidden := hidden_quantization(rows)):
        facts |= {"is_quantized": True, "quantization": f"{hidden} (the sampled values)"}
    return facts


def _some_rows(plan: SamplingPlan, vector: Float32Array) -> Float32Array:
    """A few neurons of the commonest length, float32 [k, columns]."""
    lengths: Counter[int] = Counter()
    for tensor in plan.tensors:
        lengths[tensor.n_columns] += len(tensor.rows)
    width = max(lengths, key=lambda length: (lengths[length], length))
    rows: list[Float32Array] = []
    first = 0
    for tensor in plan.tensors:
        stop = first + len(tensor.rows) * tensor.n_columns
        if tensor.n_columns == width and len(rows) < VALUES_ROWS:
            rows.append(vector[first:stop].reshape(-1, width))
        first = stop
    return np.concatenate(rows)[:VALUES_ROWS]


def _why_nothing_can_be_compared(weights: Weights) -> str:
    types = ", ".join(sorted({info.dtype for info in weights.tensors.values()})) or "none"
    flaws = Counter(info.flaw for info in weights.tensors.values() if info.flaw)
    because = "".join(f" Its tensor {_named(weights, flaw)!r} {flaw}." for flaw, _ in flaws.most_common(1))
    return f"Model {weights.model_id} has no weight matrices that can be read (types of its tensors: {types}).{because}"


def _named(weights: Weights, flaw: str) -> str:
    return next(info.name[:100] for info in weights.tensors.values() if info.flaw == flaw)
