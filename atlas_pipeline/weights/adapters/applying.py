"""Adapters as weights: the base's rows with the change applied, or the change alone where no base can be used.

LoRA adds s B A to a matrix (`deltas`). DoRA then rescales: W = m V / ||V|| with V = W0 + s B A, norms of the rows of V
(Liu et al. 2024). IA3 multiplies rows or columns by factors (Liu et al. 2022). Verified against PEFT, diffusers and
LyCORIS. Names are read in `lora_names`, configurations in `config`, a base matched in `targets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from atlas_pipeline.repositories import InvalidModelId, Repository, validate_model_id
from atlas_pipeline.weights.adapters.contents import AdapterContents, read_contents, read_metadata
from atlas_pipeline.weights.adapters.deltas import DeltaWeights, Float64Array, check_size
from atlas_pipeline.weights.adapters.lora_names import shortened
from atlas_pipeline.weights.adapters.targets import AppliedChange, Misfit, match_base
from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.opening import (
    ADAPTER_CONFIG,
    MAX_CONFIG_BYTES,
    WeightFiles,
    find_weights,
    list_files,
    open_weights,
    read_json_file,
)
from atlas_pipeline.weights.pytorch import open_torch
from atlas_pipeline.weights.safetensors_file import open_safetensors
from atlas_pipeline.weights.tensors import (
    FileReader,
    Float32Array,
    Meter,
    StoredWeights,
    TensorInfo,
    Weights,
    checked_indices,
)

NORM_BLOCK_ELEMENTS: Final = 1 << 24
"""Numbers of a matrix that are held at once while norms over all its rows are taken (128 MiB as float64)."""


class AdapterWeights(Weights):
    """A base model with an adapter applied; `tensors` are the base's, with the shapes of tensors that were replaced.

    Attributes:
        base: The base; `base_id` is its name.
        rank: The largest rank of a change; 0 for IA3.
        adapter_kind: `LoRA`, `rsLoRA`, `DoRA`, `IA3`, with `(kohya)` or `(diffusers)` where the file is theirs.
        unmatched: Names in the adapter that change nothing here: new heads, biases, whole components and modules
            outside the layers that the base lacks.
    """

    def __init__(
        self,
        *,
        base: StoredWeights,
        adapter: StoredWeights,
        contents: AdapterContents,
        applied: Mapping[str, AppliedChange],
        unmatched: Sequence[str],
    ) -> None:
        self.model_id = adapter.model_id
        self.format = "adapter"
        self.files = adapter.files
        self.tensors = {name: applied[name].target if name in applied else info for name, info in base.tensors.items()}
        self.config = base.config
        self.quantization = None
        self.is_quantized = False
        self.meter = adapter.meter
        self.base = base
        self.base_id = base.model_id
        self.rank = contents.rank
        self.adapter_kind = contents.kind
        self.unmatched = tuple(unmatched)
        self._adapter = adapter
        self._applied = applied
        self._norms: dict[str, Float64Array] = {}

    def cost_bytes(self, name: str, n_rows: int) -> int:
        """See Weights.cost_bytes."""
        if name not in self._applied:
            return self.base.cost_bytes(name, n_rows)
        applied = self._applied[name]
        passes = [n_rows]
        if applied.is_normed_over_rows and name not in self._norms:
            passes += [block.size for block in _row_blocks(applied.target)]
        n_bytes = applied.factors.info.n_bytes if applied.factors else 0
        for n in passes:
            if applied.change:
                n_bytes += applied.change.cost_bytes(n, is_transposed=applied.is_transposed)
            n_bytes += n * applied.replacement.row_bytes if applied.replacement else self.base.cost_bytes(name, n)
        return n_bytes

    def rows(self, name: str, indices: Sequence[int] | npt.NDArray[np.integer]) -> Float32Array:
        """See Weights.rows; computed in float64 and rounded once."""
        chosen = checked_indices(self.tensors[name], indices)
        if name not in self._applied:
            return self.base.rows(name, chosen)
        applied = self._applied[name]
        if applied.change is None and applied.factors is None:
            return self._unchanged(applied, chosen)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            rows = self._summed(applied, chosen)
            if factors := applied.factors:
                rows *= self._stretch(applied, factors.values(self._adapter), rows, chosen)
            return rows.astype(np.float32)

    def _unchanged(self, applied: AppliedChange, chosen: npt.NDArray[np.int64]) -> Float32Array:
        """Rows before the change: the base's, or those of a whole tensor that the adapter has instead."""
        if applied.replacement:
            return self._adapter.rows(applied.replacement.name, chosen)
        return self.base.rows(applied.target.name, chosen)

    def _summed(self, applied: AppliedChange, chosen: npt.NDArray[np.int64]) -> Float64Array:
        """Rows with the change added: float64 [k, columns]."""
        check_size(applied.target, chosen.size, self.model_id)
        rows = self._unchanged(applied, chosen).astype(np.float64)
        if applied.change:
            rows += (applied.change.columns if applied.is_transposed else applied.change.rows)(self._adapter, chosen)
        return rows

    def _stretch(
        self, applied: AppliedChange, values: Float64Array, rows: Float64Array, chosen: npt.NDArray[np.int64]
    ) -> Float64Array:
        """What rows are multiplied with: float64 [k, 1] or [1, columns]."""
        if applied.change is None:
            return values[chosen, None] if applied.is_by_row else np.repeat(values, applied.n_repeats)[None]
        if applied.is_by_row:
            return values[chosen, None] / np.linalg.norm(rows, axis=1, keepdims=True)
        return np.repeat(values / self._norms_over_rows(applied), applied.n_repeats)[None]

    def _norms_over_rows(self, applied: AppliedChange) -> Float64Array:
        """Norms of the changed matrix's columns, of a kernel's input channels; all rows are read, once."""
        name = applied.target.name
        if name not in self._norms:
            squares = np.zeros(applied.target.n_columns)
            for block in _row_blocks(applied.target):
                squares += np.square(self._summed(applied, block)).sum(axis=0)
            self._norms[name] = np.sqrt(squares.reshape(-1, applied.n_repeats).sum(axis=1))
        return self._norms[name]


def _row_blocks(info: TensorInfo) -> list[npt.NDArray[np.int64]]:
    """All row numbers of a matrix, in blocks of which each fits in memory."""
    step = max(1, NORM_BLOCK_ELEMENTS // info.n_columns)
    return [np.arange(first, min(first + step, info.shape[0])) for first in range(0, info.shape[0], step)]


def adapter_base_name(repository: Repository, model_id: str) -> str | None:
    """The base that adapter_config.json names, as written there; None if it names none or there is no such file.

    Raises:
        WeightsError: unsupported_adapter if adapter_config.json is not sound; as `list_files`.
    """
    name = (_adapter_config(repository, model_id) or {}).get("base_model_name_or_path")
    return name if isinstance(name, str) and name else None


def open_adapter(
    repository: Repository,
    model_id: str,
    *,
    base_ids: Sequence[str] = (),
    found: WeightFiles | None = None,
    meter: Meter | None = None,
) -> AdapterWeights | DeltaWeights:
    """Opens an adapter together with its base, or alone where there is no base that fits; reads headers only.

    Args:
        repository: Where both live.
        model_id: The adapter.
        base_ids: Models to try as its base, before the one that adapter_config.json names.
        found: What `find_weights` has found, if it was called before.
        meter: Counts what is read, of the adapter and of its base.

    Returns:
        The first base that opens and fits with the change applied, else the change alone, which says why.

    Raises:
        WeightsError: missing_base for DoRA and IA3, which are nothing without a base, if there is none that fits;
            unsupported_adapter for kinds that are not read and for adapters that contradict themselves; over_budget;
            otherwise as `open_weights` for the adapter's own files.
    """
    meter = meter or Meter()
    found = found or find_weights(repository, model_id, meter)
    if found.format != "adapter":
        raise WeightsError("unsupported_adapter", f"Model {model_id} has no file that holds an adapter.")
    config = _adapter_config(repository, model_id, meter)
    adapter, metadata = _open_files(repository, model_id, found, config=config, meter=meter)
    contents = read_contents(adapter, config, metadata)
    candidates, reasons = _candidates(model_id, base_ids, config or {})
    for base_id in candidates:
        try:
            base = open_weights(repository, base_id, meter)
            applied, unmatched = match_base(contents, base)
        except WeightsError as error:
            if error.status == "over_budget":
                raise
            reasons.append(error.message)
            continue
        except Misfit as error:
            reasons.append(f"The base {base_id} {error}.")
            continue
        return AdapterWeights(base=base, adapter=adapter, contents=contents, applied=applied, unmatched=unmatched)
    base_flaw = " ".join(reasons) or "No base is named."
    if contents.factors:
        raise WeightsError(
            "missing_base",
            f"The adapter {model_id} is a {contents.kind}, which cannot be read without its base: {base_flaw}",
        )
    return DeltaWeights(
        adapter=adapter,
        changes=contents.changes,
        adapter_kind=contents.kind,
        base_flaw=base_flaw,
        unmatched=sorted(contents.others),
    )


def _adapter_config(repository: Repository, model_id: str, meter: Meter | None = None) -> dict[str, Any] | None:
    entry = next((entry for entry in list_files(repository, model_id) if entry.path == ADAPTER_CONFIG), None)
    if entry is None:
        return None
    return read_json_file(
        repository, model_id, entry, max_bytes=MAX_CONFIG_BYTES, status="unsupported_adapter", meter=meter
    )


def _open_files(
    repository: Repository, model_id: str, found: WeightFiles, *, config: Mapping[str, Any] | None, meter: Meter
) -> tuple[StoredWeights, dict[str, dict[str, Any]]]:
    """The adapter's own tensors, and the configurations that diffusers keeps beside them where there is no other."""
    readers = [FileReader(repository, model_id, entry, meter) for entry in found.entries]
    if not all(entry.path.endswith(".safetensors") for entry in found.entries):
        return open_torch(readers, model_id=model_id, config={}), {}
    adapter = open_safetensors(readers, model_id=model_id, tensor_files=None, config={})
    has_alphas = any(name.endswith(".alpha") for name in adapter.stored)
    return adapter, {} if config is not None or has_alphas else read_metadata(adapter)


def _candidates(model_id: str, base_ids: Sequence[str], config: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Bases to try, each once, and why others are not tried."""
    named = config.get("base_model_name_or_path")
    reasons = []
    written = [*base_ids]
    if isinstance(named, str) and named:
        if _is_model_id(named):
            written.append(named)
        else:
            reasons.append(f"Its {ADAPTER_CONFIG} names {shortened([named])}, which is no model id.")
    candidates = list(dict.fromkeys(written))
    if model_id in candidates:
        reasons.append(f"The adapter {model_id} is named as its own base.")
    return [base_id for base_id in candidates if base_id != model_id], reasons


def _is_model_id(text: str) -> bool:
    """Whether a text can be a model id rather than a path on somebody's machine."""
    try:
        return not validate_model_id(text).startswith("~")
    except InvalidModelId:
        return False
