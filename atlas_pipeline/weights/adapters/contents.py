"""What an adapter's file holds: changes of matrices by module, checked against themselves, not yet against a base."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from atlas_pipeline.weights.adapters.config import Scaling, check_kind, check_variant, read_scaling
from atlas_pipeline.weights.adapters.deltas import Change, Factors, FullDifference, LowRank, low_rank_flaw
from atlas_pipeline.weights.adapters.lora_names import COMPONENTS, AdapterTensor, Module, read_name, shortened
from atlas_pipeline.weights.bounded_json import parse_json_object
from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.tensors import StoredWeights, TensorInfo

DIFFUSERS_METADATA: Final = "lora_adapter_metadata"
"""Entry of a safetensors file's metadata in which diffusers keeps the LoraConfig of every component, as JSON with keys
`unet.lora_alpha`."""

_Roles = dict[str, TensorInfo]


@dataclass(frozen=True, slots=True)
class AdapterContents:
    """An adapter taken apart.

    Attributes:
        kind: In words: `LoRA`, `rsLoRA`, `DoRA`, `IA3`, with `(kohya)` or `(diffusers)` where the file is theirs.
        changes: What is added to the matrix of each module.
        factors: DoRA's magnitudes or IA3's factors by module.
        others: Tensors that are no part of a change, by name: whole tensors that replace the base's, biases.
        is_transposed: What the configuration says of layers that are stored as [in, out]; decides for square ones.
    """

    kind: str
    changes: Mapping[Module, Change]
    factors: Mapping[Module, Factors] = field(default_factory=dict)
    others: Mapping[str, TensorInfo] = field(default_factory=dict)
    is_transposed: bool = False

    @property
    def modules(self) -> list[Module]:
        """All modules that are changed, sorted."""
        return sorted(self.changes.keys() | self.factors.keys())

    @property
    def rank(self) -> int:
        """The largest rank; 0 if nothing is factored."""
        return max((change.rank for change in self.changes.values()), default=0)


def read_contents(
    adapter: StoredWeights, config: Mapping[str, Any] | None, metadata: Mapping[str, Mapping[str, Any]]
) -> AdapterContents:
    """Sorts an adapter's tensors into changes.

    Args:
        adapter: The opened file.
        config: adapter_config.json; None if there is none.
        metadata: Configurations by component that the file itself holds (`read_metadata`).

    Raises:
        WeightsError: unsupported_adapter if the kind is not read, or the tensors are no sound adapter of that kind.
    """
    what = f"The adapter {adapter.model_id}"
    kind = check_kind(config, what) if config is not None else "LORA"
    modules, others = _by_module(adapter, what)
    if kind == "IA3":
        return _ia3(modules, others, config or {}, what)
    scalings = {component: read_scaling(declared, what) for component, declared in metadata.items()}
    for declared in metadata.values():
        check_variant(declared, what)
    peft = read_scaling(config, what) if config is not None else None
    changes: dict[Module, Change] = {}
    factors: dict[Module, Factors] = {}
    for module, roles in modules.items():
        scaling = peft or scalings.get(module.component)
        changes[module] = _change(module, roles, scaling, what)
        if magnitude := roles.get("magnitude"):
            factors[module] = _factors(magnitude, is_conv=len(roles.get("B", magnitude).shape) > 2, what=what)
    if not changes:
        raise WeightsError("unsupported_adapter", f"{what} changes no tensor.")
    is_stable = any(scaling.is_rank_stabilised for scaling in (peft, *scalings.values()) if scaling)
    name = "DoRA" if factors else "rsLoRA" if is_stable else "LoRA"
    origin = "" if config is not None else " (kohya)" if any(module.is_flat for module in modules) else " (diffusers)"
    return AdapterContents(
        kind=f"{name}{origin}",
        changes=changes,
        factors=factors,
        others=others,
        is_transposed=config is not None and config.get("fan_in_fan_out") is True,
    )


def read_metadata(adapter: StoredWeights) -> dict[str, dict[str, Any]]:
    """The configurations that diffusers keeps in a safetensors file's header, by component; empty if there are none.

    Raises:
        WeightsError: invalid_header if the configurations are no JSON.
    """
    text = adapter.metadata.get(DIFFUSERS_METADATA)
    if not isinstance(text, str):
        return {}
    what = f"The {DIFFUSERS_METADATA} of model {adapter.model_id}"
    found: dict[str, dict[str, Any]] = {}
    for key, value in parse_json_object(text.encode(), what=what, status="invalid_header").items():
        component, _, name = key.partition(".")
        if component in COMPONENTS:
            found.setdefault(COMPONENTS[component], {})[name] = value
    return {component: config for component, config in found.items() if "lora_alpha" in config}


def _by_module(adapter: StoredWeights, what: str) -> tuple[dict[Module, _Roles], dict[str, TensorInfo]]:
    modules: dict[Module, _Roles] = {}
    others: dict[str, TensorInfo] = {}
    parts: dict[str, AdapterTensor] = {}
    for name, info in sorted({**adapter.stored, **adapter.tensors}.items()):
        part = read_name(name)
        if part is None or part.role == "vector":
            others[name] = info
            continue
        if part.role == "foreign":
            raise WeightsError(
                "unsupported_adapter", f"{what} has the tensor {name[:100]!r} of the kind {part.kind}; it is not read."
            )
        roles = modules.setdefault(part.module, {})
        if part.role in roles:
            raise WeightsError(
                "unsupported_adapter", f"{what} has {shortened([name, roles[part.role].name])} for the same purpose."
            )
        roles[part.role] = info
        parts[name] = part
    if len(names := {part.adapter for part in parts.values() if part.adapter}) > 1:
        raise WeightsError("unsupported_adapter", f"{what} holds several adapters: {shortened(names)}.")
    return modules, others


def _change(module: Module, roles: _Roles, scaling: Scaling | None, what: str) -> Change:
    def unfit(flaw: str) -> WeightsError:
        return WeightsError("unsupported_adapter", f"{what} {flaw} for {module.name[:100]!r}.")

    if "diff" in roles and not {"A", "B"} & roles.keys():
        info = roles["diff"]
        if not info.is_readable or len(info.shape) < 2 or 0 in info.shape:
            raise unfit(f"has a difference of shape {list(info.shape)} and type {info.dtype}")
        return FullDifference(info)
    is_embedding = "embedding_A" in roles or "embedding_B" in roles
    a, b = (roles.get(f"embedding_{side}" if is_embedding else side) for side in ("A", "B"))
    expected = {"embedding_A", "embedding_B", "magnitude"} if is_embedding else {"A", "B", "mid", "alpha", "magnitude"}
    if unexpected := sorted(roles.keys() - expected):
        raise unfit(f"has {shortened(roles[role].name for role in unexpected)} beside other changes")
    if a is None or b is None:
        raise unfit("has only one of A and B" if a or b else f"has {shortened(roles)} without A and B")
    alpha = roles.get("alpha")
    rank = b.shape[1] if len(b.shape) > 1 else 0
    change = LowRank(
        a=a,
        b=b,
        mid=roles.get("mid"),
        # Without an alpha anywhere the factors are meant as they are.
        scale=scaling.scale(module.name, rank) if scaling and rank else 1.0,
        alpha=alpha,
        is_embedding=is_embedding,
    )
    if flaw := low_rank_flaw(change):
        raise unfit(flaw)
    return change


def _factors(info: TensorInfo, *, is_conv: bool, what: str) -> Factors:
    """DoRA's magnitudes: one for each output, or with LyCORIS also one for each input, as [1, in, ...]."""
    shape = info.shape
    # PEFT keeps the magnitudes of a convolution's outputs as [1, out, 1, 1], which LyCORIS does with those of inputs.
    is_by_input = info.name.endswith(".dora_scale") and len(shape) > 1 and shape[0] == 1 and shape[1] > 1
    if not _is_vector(info) or (len(shape) > 2 and not is_conv):
        raise WeightsError(
            "unsupported_adapter",
            f"{what} has the magnitudes {info.name[:100]!r} of shape {list(shape)} and type {info.dtype}; "
            "they are not read.",
        )
    return Factors(info, "in" if is_by_input else "out")


def _ia3(
    modules: Mapping[Module, _Roles], others: Mapping[str, TensorInfo], config: Mapping[str, Any], what: str
) -> AdapterContents:
    """Factors [out, 1] of outputs or [1, in] of inputs; those of a convolution are [1, n, 1, 1] either way."""
    named = config.get("feedforward_modules")
    ends = tuple(end for end in named if isinstance(end, str) and end) if isinstance(named, list) else None
    factors = {}
    for module, roles in modules.items():
        info = roles.get("ia3")
        if info is None or len(roles) > 1 or not _is_vector(info) or len(info.shape) < 2:
            raise WeightsError(
                "unsupported_adapter", f"{what} has no IA3 factors that are read for {module.name[:100]!r}."
            )
        if len(info.shape) == 2:
            side: Literal["out", "in"] = "in" if info.shape[0] == 1 else "out"
        elif ends is None:
            # A text is a regular expression to PEFT, which is never run.
            raise WeightsError("unsupported_adapter", f"{what} names no feedforward_modules in a list.")
        else:
            side = "in" if module.name.endswith(ends) else "out"
        factors[module] = Factors(info, side)
    if not factors:
        raise WeightsError("unsupported_adapter", f"{what} changes no tensor.")
    return AdapterContents(
        kind="IA3", changes={}, factors=factors, others=others, is_transposed=config.get("fan_in_fan_out") is True
    )


def _is_vector(info: TensorInfo) -> bool:
    return info.is_readable and 0 < max(info.shape) == math.prod(info.shape)
