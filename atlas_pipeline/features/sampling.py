"""Sampled neurons of many models: one row about each model, one array of vectors for each group of comparable models.

Here belongs the loop over models and what becomes of those that fail. Where files are and how they are decoded belongs
in `repositories` and `weights`; which rows are read, in `plans`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from atlas_pipeline.features.plans import SamplingPlan, make_plan, shape_signature
from atlas_pipeline.repositories import Repository, RepositoryError
from atlas_pipeline.weights import (
    Float32Array,
    Status,
    WeightFiles,
    Weights,
    WeightsError,
    adapter_base_name,
    find_weights,
    list_files,
    open_adapter,
    open_found,
)

Progress = Callable[[int, int, str], None]

SAMPLED_SCHEMA = pa.schema(
    [
        pa.field("model_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("format", pa.string()),
        pa.field("bytes_read", pa.int64()),
        pa.field("bytes_total", pa.int64()),
        pa.field("n_neurons", pa.int64()),
        pa.field("is_quantized", pa.bool_()),
        pa.field("quantization", pa.string()),
        pa.field("content_sha256", pa.string()),
        pa.field("content_key", pa.string()),
        pa.field("vector_group", pa.string()),
        pa.field("error", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class ModelToSample:
    """A model, and for an adapter the base that its documentation names.

    Attributes:
        model_id: The model.
        base_id: Tried as an adapter's base before the one in its adapter_config.json; ignored for other models.
    """

    model_id: str
    base_id: str | None = None


@dataclass(frozen=True, slots=True)
class SampledModel:
    """What sampling found out about one model. Everything after `status` is None where it is not known.

    Attributes:
        model_id: The model.
        status: `ok`, or why there is no vector; `metadata_only` where no weights were to be read at all.
        format: `safetensors`, `gguf`, `adapter`, or `unread` for files in another format.
        bytes_read: Bytes read by range: headers, rows and, for an adapter, those of its base. Hashing is not counted.
        bytes_total: Size of the weight files.
        n_neurons: Neurons in the vector.
        is_quantized: Whether the weights are quantised.
        quantization: How, and how that is known.
        content_sha256: Digest of the weight files' contents: that of the file if there is one, else the SHA-256 of the
            files' binary digests in the order of their names. Equal digests mean equal weights.
        content_key: Digest of everything that the row and vector depend on, also configs and an adapter's bases.
        vector_group: Key of `Sampled.groups`.
        error: A sentence about what went wrong.
    """

    model_id: str
    status: Status | Literal["ok", "metadata_only"]
    format: str | None = None
    bytes_read: int | None = None
    bytes_total: int | None = None
    n_neurons: int | None = None
    is_quantized: bool | None = None
    quantization: str | None = None
    content_sha256: str | None = None
    content_key: str | None = None
    vector_group: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class VectorGroup:
    """Comparable models.

    Attributes:
        model_ids: Models in the order of the vectors.
        vectors: float32 [models, plan.n_dimensions]: the planned rows, joined.
        plan: Which coordinates these are.
    """

    model_ids: tuple[str, ...]
    vectors: Float32Array
    plan: SamplingPlan


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """The result: rows in the order of the models asked for, groups by name."""

    rows: tuple[SampledModel, ...] = ()
    groups: dict[str, VectorGroup] = field(default_factory=dict)

    def table(self) -> pa.Table:
        """The rows as a table with SAMPLED_SCHEMA."""
        return pa.Table.from_pylist([asdict(row) for row in self.rows], schema=SAMPLED_SCHEMA)


def sample_models(
    repository: Repository,
    models: Sequence[ModelToSample],
    *,
    n_neurons: int = 100,
    seed: int = 0,
    previous: Sampled | None = None,
    progress: Progress | None = None,
) -> Sampled:
    """Reads the same neurons of all models that can be compared.

    A model that cannot be read gets a row that says why and never keeps others from being read. No model's vector
    depends on which other models are sampled.

    Args:
        repository: Where the models are.
        models: Each model once.
        n_neurons: Neurons per model.
        seed: Seed of the draw of neurons.
        previous: An earlier result. A model whose `content_key` is unchanged keeps its row and vector and is not read
            again if the earlier vector has the same seed and number of neurons.
        progress: Called as progress(done, total, model_id) after each model.

    Raises:
        ValueError: If a model is given twice, n_neurons is below 1 or the seed is negative.
    """
    if n_neurons < 1 or seed < 0:
        raise ValueError("Sampling needs at least one neuron and a seed that is not negative.")
    if len({model.model_id for model in models}) != len(models):
        raise ValueError("A model is given twice.")
    sampler = _Sampler(repository, n_neurons=n_neurons, seed=seed, previous=previous)
    for done, model in enumerate(models, start=1):
        sampler.add(model)
        if progress:
            progress(done, len(models), model.model_id)
    return sampler.result()


class _Sampler:
    def __init__(self, repository: Repository, *, n_neurons: int, seed: int, previous: Sampled | None) -> None:
        self.repository = repository
        self.n_neurons = n_neurons
        self.seed = seed
        self.rows: list[SampledModel] = []
        self.plans: dict[str, SamplingPlan] = {}
        self.vectors: dict[str, dict[str, Float32Array]] = {}
        self._digests: dict[tuple[str, str], str] = {}
        previous = previous or Sampled()
        self._reusable: dict[str, tuple[SampledModel, SamplingPlan, Float32Array]] = {}
        known = {row.model_id: row for row in previous.rows}
        for group in previous.groups.values():
            if (group.plan.seed, group.plan.n_neurons_asked) == (seed, n_neurons):
                for model_id, vector in zip(group.model_ids, group.vectors, strict=True):
                    if model_id in known:
                        self._reusable[model_id] = (known[model_id], group.plan, vector)

    def result(self) -> Sampled:
        groups = {
            name: VectorGroup(tuple(vectors), np.stack(list(vectors.values())), self.plans[name])
            for name, vectors in sorted(self.vectors.items())
        }
        return Sampled(tuple(self.rows), groups)

    def add(self, model: ModelToSample) -> None:
        row = SampledModel(model.model_id, "unreadable")
        try:
            found = find_weights(self.repository, model.model_id)
            row = replace(row, format=found.format, bytes_total=sum(entry.size_bytes for entry in found.entries))
            content = self._content_sha256(model.model_id, found)
            row = replace(row, content_sha256=content, content_key=self._content_key(model, found, content))
            if (reusable := self._reusable.get(model.model_id)) and reusable[0].content_key == row.content_key:
                self._keep(*reusable)
                return
            weights = self._open(model, found)
            row = replace(row, is_quantized=weights.quantization is not None, quantization=weights.quantization)
            plan, vector = self._read(weights)
            row = replace(row, bytes_read=weights.bytes_read)
            _check_finite(vector, model.model_id)
        except WeightsError as error:
            self.rows.append(replace(row, status=error.status, error=error.message))
            return
        row = replace(row, status="ok", n_neurons=plan.n_neurons, vector_group=plan.vector_group)
        self._keep(row, plan, vector)

    def _keep(self, row: SampledModel, plan: SamplingPlan, vector: Float32Array) -> None:
        self.rows.append(row)
        self.plans[plan.vector_group] = plan
        self.vectors.setdefault(plan.vector_group, {})[row.model_id] = vector

    def _open(self, model: ModelToSample, found: WeightFiles) -> Weights:
        if found.format == "adapter":
            base_ids = [model.base_id] if model.base_id else []
            return open_adapter(self.repository, model.model_id, base_ids=base_ids, found=found)
        return open_found(self.repository, model.model_id, found)

    def _read(self, weights: Weights) -> tuple[SamplingPlan, Float32Array]:
        signature = shape_signature(weights.tensors)
        if not signature:
            types = ", ".join(sorted({info.dtype for info in weights.tensors.values()})) or "none"
            raise WeightsError(
                "unsupported_format",
                f"Model {weights.model_id} has no weight matrices that can be read (types of its tensors: {types}).",
            )
        plan = make_plan(signature, n_neurons=self.n_neurons, seed=self.seed)
        names = {info.canonical: name for name, info in weights.tensors.items() if info.is_readable}
        parts = [weights.rows(names[tensor.canonical], tensor.rows).reshape(-1) for tensor in plan.tensors]
        return plan, np.concatenate(parts)

    def _content_sha256(self, model_id: str, found: WeightFiles) -> str:
        digests = [entry.sha256 or self._file_sha256(model_id, entry.path) for entry in found.entries]
        return digests[0] if len(digests) == 1 else hashlib.sha256(bytes.fromhex("".join(digests))).hexdigest()

    def _content_key(self, model: ModelToSample, found: WeightFiles, content: str) -> str:
        key = hashlib.sha256(f"{found.format} {content}".encode())
        names = {entry.path for entry in list_files(self.repository, model.model_id)}
        for path in sorted(names & {"config.json", "adapter_config.json"}):
            key.update(f" {path} {self._file_sha256(model.model_id, path)}".encode())
        if found.format == "adapter":
            for base_id in (model.base_id, adapter_base_name(self.repository, model.model_id)):
                key.update(f" {self._base_sha256(base_id)}".encode())
        return key.hexdigest()

    def _base_sha256(self, base_id: str | None) -> str:
        if base_id is None:
            return "none"
        try:
            return self._content_sha256(base_id, find_weights(self.repository, base_id))
        except WeightsError as error:
            return error.status

    def _file_sha256(self, model_id: str, path: str) -> str:
        if (model_id, path) not in self._digests:
            try:
                self._digests[model_id, path] = self.repository.sha256(model_id, path)
            except RepositoryError as error:
                raise WeightsError("unreadable", str(error)) from error
        return self._digests[model_id, path]


def _check_finite(vector: Float32Array, model_id: str) -> None:
    if not np.isfinite(vector).all():
        raise WeightsError("not_finite", f"The sampled weights of model {model_id} contain NaN or infinity.")
