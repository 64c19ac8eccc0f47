"""Where an adapter's changes belong in a base: the base's tensors by module, and what does not fit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from atlas_pipeline.weights.adapters.contents import AdapterContents
from atlas_pipeline.weights.adapters.deltas import MAX_FACTOR_ELEMENTS, Change, Factors, LowRank, squeezed
from atlas_pipeline.weights.adapters.lora_names import COMPONENTS, DENOISER, Module, comparable_stem
from atlas_pipeline.weights.names import canonical_name, is_layer_tensor
from atlas_pipeline.weights.tensors import StoredWeights, TensorInfo
from atlas_pipeline.weights.unet_names import diffusers_unet_name

SINGLE_FILE_PREFIXES: Final = {
    "model.diffusion_model.": DENOISER,
    "cond_stage_model.transformer.": "text_encoder",
    "conditioner.embedders.0.transformer.": "text_encoder",
}
"""Prefixes of an image model's components where one file holds all of them (Stable Diffusion's original layout)."""


class Misfit(Exception):
    """A base is not the one that an adapter was made for; a clause says why."""


@dataclass(frozen=True, slots=True)
class AppliedChange:
    """What happens to one tensor of the base.

    Attributes:
        target: The tensor, with the shape that it has afterwards.
        change: What is added.
        factors: What it is multiplied with after that.
        replacement: A whole tensor of the adapter that takes the base's place before the change.
        is_transposed: Whether the base stores [in, out].
        is_by_row: Whether each factor belongs to a stored row, else to stored columns.
    """

    target: TensorInfo
    change: Change | None = None
    factors: Factors | None = None
    replacement: TensorInfo | None = None
    is_transposed: bool = False
    is_by_row: bool = True

    @property
    def n_repeats(self) -> int:
        """Columns that share a factor, where factors belong to columns: the size of a kernel."""
        return math.prod(self.target.shape[2:])

    @property
    def is_normed_over_rows(self) -> bool:
        """Whether every row has to be read to compute one: DoRA with magnitudes of columns."""
        return self.change is not None and self.factors is not None and not self.is_by_row


class BaseModules:
    """A base's tensors by the names that adapters use for its modules."""

    def __init__(self, base: StoredWeights) -> None:
        self._base = base
        self._by_canonical = {info.canonical: info for info in base.tensors.values()}
        self._stems: dict[tuple[str, str, str], TensorInfo | None] = {}
        for info in base.tensors.values():
            if not info.name.endswith(".weight"):
                continue
            component, name = _component(info)
            # A base that does not say what it is may be a text encoder.
            stem = comparable_stem(name.removesuffix(".weight"), component or "text_encoder")
            spellings = (("dotted", stem), ("flat", stem.replace(".", "_")), ("diffusers", diffusers_unet_name(stem)))
            for spelling, text in spellings:
                # Two tensors whose names differ only by the separator cannot be told apart.
                is_known = (component, spelling, text) in self._stems
                self._stems[component, spelling, text] = None if is_known else info

    def weight(self, module: Module) -> TensorInfo | None:
        """The matrix of a module; None if the base has none of that name, or several."""
        if not module.component and not module.is_flat:
            return self.tensor(f"{module.name}.weight")
        spellings = [("flat" if module.is_flat else "dotted", module.stem)]
        if module.component == DENOISER:
            spellings.append(("diffusers", module.dotted_stem))
        # A base of one component does not say which it is.
        keys = [(part, *spelling) for spelling in spellings for part in dict.fromkeys((module.component, ""))]
        return next((self._stems[key] for key in keys if key in self._stems), None)

    def tensor(self, name: str) -> TensorInfo | None:
        """A tensor by its own or its canonical name, wrappers of PEFT removed."""
        own = name.removeprefix("base_model.").removeprefix("model.").replace(".base_layer.", ".")
        return self._base.tensors.get(own) or self._by_canonical.get(canonical_name(name))


def match_base(contents: AdapterContents, base: StoredWeights) -> tuple[dict[str, AppliedChange], list[str]]:
    """Finds the base's tensor of every change.

    A component that the base lacks as a whole (a text encoder beside a U-Net) is left out. So are changes outside the
    layers that have no counterpart: a new head, or one that shares the base's embedding.

    Returns:
        Changes by the names of the base's tensors, and the names of what was left out, sorted.

    Raises:
        Misfit: If the base lacks a module, or has it in another shape or in a form that is not read.
    """
    index = BaseModules(base)
    applied, unmatched = _replacements(contents.others, index)
    targets = {module: index.weight(module) for module in contents.modules}
    present = {module.component for module, target in targets.items() if target}
    if not present:
        raise Misfit("has none of the modules that are changed")
    for module, target in targets.items():
        if target is None and module.component in present and is_layer_tensor(module.canonical):
            raise Misfit(f"lacks {module.name[:100]!r}")
        if target is None:
            unmatched.append(module.own_name)
            continue
        replaced = applied.get(target.name)
        if replaced and (replaced.change or replaced.factors):
            raise Misfit(f"has one tensor {target.name[:100]!r} for several modules that are changed")
        applied[target.name] = _fitted(contents, module, replaced or AppliedChange(target))
    return applied, sorted(unmatched)


def _replacements(others: Mapping[str, TensorInfo], index: BaseModules) -> tuple[dict[str, AppliedChange], list[str]]:
    applied: dict[str, AppliedChange] = {}
    unmatched = []
    for name, info in sorted(others.items()):
        plain = name.replace(".modules_to_save.default.", ".").replace(".modules_to_save.", ".")
        target = index.tensor(plain)
        if target is None or not info.is_readable or len(target.shape) != len(info.shape):
            unmatched.append(name)
            continue
        # A head or an embedding may be made anew in another size, a layer's matrix may not.
        if target.shape != info.shape and is_layer_tensor(target.canonical):
            raise Misfit(f"has {target.name[:100]!r} in the shape {list(target.shape)} and not {list(info.shape)}")
        applied[target.name] = AppliedChange(
            target=replace(target, shape=info.shape, dtype=info.dtype, is_readable=True, flaw=""), replacement=info
        )
    return applied, unmatched


def _fitted(contents: AdapterContents, module: Module, applied: AppliedChange) -> AppliedChange:
    target = applied.target
    change, factors = contents.changes.get(module), contents.factors.get(module)
    if not target.is_readable:
        raise Misfit(f"has a tensor {target.name[:100]!r} that {target.flaw or f'is stored as {target.dtype}'}")
    is_embedding = isinstance(change, LowRank) and change.is_embedding
    shape = squeezed(target.shape)
    is_transposed = False
    if change:
        may_be_transposed = not module.component and len(shape) == 2 and not is_embedding
        is_transposed = may_be_transposed and change.shape == shape[::-1]
        if change.shape == shape:
            # Only for a square matrix does it take the configuration's word.
            is_transposed = is_transposed and contents.is_transposed
        elif not is_transposed:
            raise Misfit(
                f"has {target.name[:100]!r} in the shape {list(target.shape)}, which the change of shape "
                f"{list(change.shape)} does not fit"
            )
        if is_transposed and math.prod(change.info.shape) > MAX_FACTOR_ELEMENTS:
            raise Misfit(f"has {target.name[:100]!r} transposed, and its change is too large to be read whole")
    elif factors and len(shape) == 2:
        fits = [factors.n == shape[int((factors.side == "in") != is_turned)] for is_turned in (False, True)]
        is_transposed = contents.is_transposed if all(fits) else fits[1]
    is_by_row = factors is None or (factors.side == "out") != (is_transposed or is_embedding)
    if factors and (len(shape) < 2 or factors.n != target.shape[0 if is_by_row else 1]):
        raise Misfit(
            f"has {target.name[:100]!r} in the shape {list(target.shape)}, which {factors.n} factors do not fit"
        )
    return replace(
        applied, change=change, factors=factors, is_transposed=is_transposed and change is not None, is_by_row=is_by_row
    )


def _component(info: TensorInfo) -> tuple[str, str]:
    """The component of a pipeline that a base's tensor belongs to, and its name there; empty where nothing tells."""
    folder = info.path.rpartition("/")[0]
    if folder in COMPONENTS:
        return COMPONENTS[folder], info.name
    for prefix, component in SINGLE_FILE_PREFIXES.items():
        if info.name.startswith(prefix):
            return component, info.name.removeprefix(prefix)
    return "", info.name
