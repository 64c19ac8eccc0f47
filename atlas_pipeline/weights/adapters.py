"""LoRA adapters in PEFT's layout as full weights: the base's rows plus the adapter's low-rank change.

W = W0 + s B A with A [r, in], B [out, r] and s = alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA. The rank is
that of the stored A; alpha is the config's, unless its `alpha_pattern` names the module.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from atlas_pipeline.repositories import Repository
from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.names import canonical_name
from atlas_pipeline.weights.opening import (
    ADAPTER_CONFIG,
    MAX_CONFIG_BYTES,
    WeightFiles,
    find_weights,
    list_files,
    open_weights,
    read_json_file,
)
from atlas_pipeline.weights.safetensors_file import SafetensorsWeights, open_safetensors
from atlas_pipeline.weights.tensors import FileReader, Float32Array, StoredWeights, TensorInfo, Weights, checked_indices

MAX_RANK: Final = 4096
"""No useful adapter has a larger rank; A is read whole, so its size must be bounded."""

BASE_CHANGING_INITIALISATIONS: Final = ("pissa", "olora", "corda", "lora_ga", "loftq")
"""Values of `init_lora_weights` that also change the base: the stored change is not relative to the published base."""

MAX_ALPHA: Final = 1e6
"""Alphas in use are 1 to a few thousand."""

_LORA_KEY = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight")
_PLAIN_PATTERN = re.compile(r"[\w.\-]{1,200}")


@dataclass(frozen=True, slots=True)
class _LowRank:
    a: TensorInfo
    b: TensorInfo
    scale: float


class AdapterWeights(Weights):
    """A base model with an adapter applied; `tensors` are the base's."""

    def __init__(
        self,
        *,
        model_id: str,
        base: StoredWeights,
        adapter: SafetensorsWeights,
        changes: Mapping[str, _LowRank],
        replaced: Mapping[str, str],
        is_transposed: bool,
    ) -> None:
        super().__init__(
            model_id=model_id, format="adapter", files=adapter.files, tensors=base.tensors, quantization=None
        )
        self.base = base
        self._adapter = adapter
        self._changes = changes
        self._replaced = replaced
        self._is_transposed = is_transposed

    @property
    def bytes_read(self) -> int:
        """Bytes read so far by range, from the adapter and from its base."""
        return self._adapter.bytes_read + self.base.bytes_read

    def rows(self, name: str, indices: Sequence[int] | npt.NDArray[np.integer]) -> Float32Array:
        """See Weights.rows; computed in float64 and rounded once."""
        chosen = checked_indices(self.tensors[name], indices)
        if name in self._replaced:
            return self._adapter.rows(self._replaced[name], chosen)
        rows = self.base.rows(name, chosen)
        if name not in self._changes:
            return rows
        change = self._changes[name]
        a = self._whole(change.a)
        # A layer that stores [in, out] has inputs as rows: (B A)^T[i] = A[:, i]^T B^T.
        if self._is_transposed:
            delta = a[:, chosen].T @ self._whole(change.b).T
        else:
            delta = self._adapter.rows(change.b.name, chosen).astype(np.float64) @ a
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(rows.astype(np.float64) + change.scale * delta, dtype=np.float32)

    def _whole(self, info: TensorInfo) -> npt.NDArray[np.float64]:
        return self._adapter.rows(info.name, np.arange(info.shape[0])).astype(np.float64)


def adapter_base_name(repository: Repository, model_id: str) -> str | None:
    """The base that adapter_config.json names, as written there; None if it names none.

    Raises:
        WeightsError: unsupported_adapter if there is no sound adapter_config.json; no_weights or unreadable.
    """
    name = _adapter_config(repository, model_id).get("base_model_name_or_path")
    return name if isinstance(name, str) and name else None


def open_adapter(
    repository: Repository, model_id: str, *, base_ids: Sequence[str] = (), found: WeightFiles | None = None
) -> AdapterWeights:
    """Opens a LoRA adapter together with its base; reads headers only.

    Args:
        repository: Where both live.
        model_id: The adapter.
        base_ids: Models to try as its base, before the one that adapter_config.json names.
        found: What `find_weights` has found, if it was called before.

    Raises:
        WeightsError: missing_base if no base can be opened; unsupported_adapter for kinds that are not read (anything
            but LoRA, DoRA, initialisations that change the base, patterns that are regular expressions) and for
            adapters that do not fit their base; otherwise as `open_weights`.
    """
    config = _adapter_config(repository, model_id)
    _check_kind(config, model_id)
    found = found or find_weights(repository, model_id)
    if found.format != "adapter":
        raise WeightsError("unsupported_adapter", f"Model {model_id} has no adapter_model.safetensors.")
    readers = [FileReader(repository, model_id, entry) for entry in found.entries]
    adapter = open_safetensors(readers, model_id=model_id, tensor_files=None, config={})
    named = config.get("base_model_name_or_path")
    candidates = list(dict.fromkeys([*base_ids, *([named] if isinstance(named, str) and named else [])]))
    base = _open_base(repository, model_id, candidates)
    changes, replaced = _match(adapter, base, config, model_id)
    return AdapterWeights(
        model_id=model_id,
        base=base,
        adapter=adapter,
        changes=changes,
        replaced=replaced,
        is_transposed=config.get("fan_in_fan_out") is True,
    )


def _adapter_config(repository: Repository, model_id: str) -> dict[str, Any]:
    entries = {entry.path: entry for entry in list_files(repository, model_id)}
    if ADAPTER_CONFIG not in entries:
        raise WeightsError("unsupported_adapter", f"Model {model_id} has no {ADAPTER_CONFIG}.")
    return read_json_file(
        repository, model_id, entries[ADAPTER_CONFIG], max_bytes=MAX_CONFIG_BYTES, status="unsupported_adapter"
    )


def _check_kind(config: Mapping[str, Any], model_id: str) -> None:
    kind = config.get("peft_type")
    start = config.get("init_lora_weights")
    flaw = None
    if kind != "LORA":
        flaw = f"is of the kind {str(kind)[:40]!r}"
    elif config.get("use_dora"):
        flaw = "is a DoRA, which also rescales the base"
    elif isinstance(start, str) and start.lower().startswith(BASE_CHANGING_INITIALISATIONS):
        flaw = f"was initialised by {start[:40]!r}, which changes the base"
    elif config.get("target_parameters"):
        flaw = "targets parameters instead of modules"
    if flaw:
        raise WeightsError("unsupported_adapter", f"The adapter {model_id} {flaw}; it is not read.")


def _open_base(repository: Repository, model_id: str, candidates: Sequence[str]) -> StoredWeights:
    if not candidates:
        raise WeightsError("missing_base", f"The adapter {model_id} names no base.")
    reasons = []
    for base_id in candidates:
        try:
            return open_weights(repository, base_id)
        except WeightsError as error:
            reasons.append(error.message)
    raise WeightsError("missing_base", f"The base of the adapter {model_id} cannot be used: {' '.join(reasons)}")


def _match(
    adapter: SafetensorsWeights, base: StoredWeights, config: Mapping[str, Any], model_id: str
) -> tuple[dict[str, _LowRank], dict[str, str]]:
    """Finds the base's tensor of every tensor of the adapter: low-rank changes and whole replacements by base name."""

    def unfit(flaw: str) -> WeightsError:
        return WeightsError("unsupported_adapter", f"The adapter {model_id} {flaw}.")

    by_canonical = {info.canonical: info for info in base.tensors.values()}
    sides: dict[str, dict[str, TensorInfo]] = {}
    replaced: dict[str, str] = {}
    for name, info in adapter.tensors.items():
        if match := _LORA_KEY.fullmatch(name):
            sides.setdefault(match["module"], {})[match["side"]] = info
        elif ".lora_" in name:
            raise unfit(f"has the tensor {name[:100]!r}, which is not read")
        else:
            target = by_canonical.get(canonical_name(name.replace(".modules_to_save.", ".")))
            # A new head or a resized embedding has no counterpart; the base's own stays.
            if target is not None and target.shape == info.shape:
                replaced[target.name] = name
    changes = {}
    for module, pair in sides.items():
        if pair.keys() != {"A", "B"}:
            raise unfit(f"has only one of A and B for {module[:100]!r}")
        target = by_canonical.get(f"{canonical_name(module)}.weight")
        if target is None:
            raise unfit(f"changes {module[:100]!r}, which its base {base.model_id} lacks")
        a, b = pair["A"], pair["B"]
        stored = (b.shape[0], a.shape[-1]) if config.get("fan_in_fan_out") is not True else (a.shape[-1], b.shape[0])
        is_product = len(a.shape) == len(b.shape) == 2 and a.shape[0] == b.shape[1]
        if not is_product or not 1 <= a.shape[0] <= MAX_RANK or target.shape != stored:
            raise unfit(
                f"has A {list(a.shape)} and B {list(b.shape)} for {module[:100]!r}, "
                f"which do not fit {list(target.shape)}"
            )
        changes[target.name] = _LowRank(
            a, b, _scale(config, canonical_name(module), rank=a.shape[0], model_id=model_id)
        )
    if not changes:
        raise unfit("changes no tensor")
    return changes, replaced


def _scale(config: Mapping[str, Any], module: str, *, rank: int, model_id: str) -> float:
    alpha = config.get("lora_alpha")
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise WeightsError("unsupported_adapter", f"The adapter {model_id} has an alpha_pattern that is no object.")
    for pattern, value in patterns.items():
        # Patterns are regular expressions to PEFT; a stranger's expression is never run, plain module names are enough.
        if not _PLAIN_PATTERN.fullmatch(pattern):
            raise WeightsError(
                "unsupported_adapter",
                f"The adapter {model_id} has the alpha_pattern {pattern[:100]!r}, which is not read.",
            )
        if module == canonical_name(pattern) or module.endswith(f".{pattern}"):
            alpha = value
            break
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not abs(alpha) <= MAX_ALPHA:
        raise WeightsError("unsupported_adapter", f"The adapter {model_id} has no usable lora_alpha.")
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") is True else rank)
