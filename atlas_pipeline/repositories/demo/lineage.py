"""The words of the demo hub's recipe: a model, how it is made, and what its metadata says of its parents.

Only values stand here; the recipe itself is in `recipe`, the making in `making`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_SWEEP_RATES: Final = (1e-4, 1.5e-4, 2e-4, 3e-4)


class Documentation(StrEnum):
    """Where a model's listing names its parents, if it does."""

    NONE = "none"
    BASE_MODELS = "base_models"
    """Everywhere the Hub shows it: `baseModels`, tags and `cardData`."""
    TAGS = "tags"
    """Only as `base_model:` tags."""
    CARD = "card"
    """Only as `cardData.base_model`."""


class Presence(StrEnum):
    """Whether the hub still has a model."""

    LISTED = "listed"
    REMOVED = "removed"
    """In the first snapshot, gone from the second, weights and all."""
    UNLISTED = "unlisted"
    """In no snapshot: it was never published, or deleted before anyone looked."""


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """Training from fresh weights; `architecture` names an entry of `making.NETWORKS`."""

    architecture: str
    n_steps: int = 300
    learning_rate: float = 2e-3
    task: str = "plain"


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Training of all tensors from the parent's; `continues` takes over the parent's optimiser as well."""

    task: str
    learning_rate: float = 2e-4
    n_steps: int = 40
    frozen: tuple[str, ...] = ()
    continues: bool = False
    dtype: str = "F32"


@dataclass(frozen=True, kw_only=True)
class LoraTuning:
    """Low-rank training; published as an adapter, or added to the parent's weights where `is_merged`."""

    task: str
    modules: tuple[str, ...]
    rank: int = 4
    alpha: float = 8.0
    learning_rate: float = 8e-4
    n_steps: int = 40
    is_merged: bool = False
    stated_base: str | None = None
    """What adapter_config.json names as the base where that is not the parent's id."""


@dataclass(frozen=True)
class Cast:
    """The parent's weights rounded to F16 or BF16."""

    dtype: str


@dataclass(frozen=True)
class Int8:
    """The parent's weights as rows of int8 with one scale each, as bitsandbytes stores them."""


@dataclass(frozen=True)
class Gguf:
    """The parent's weights as GGUF files, one per type (Q8_0, Q4_0, F16)."""

    types: tuple[str, ...]


@dataclass(frozen=True)
class Reupload:
    """The parent's very files under another name."""


@dataclass(frozen=True)
class LinearMerge:
    """The weighted sum of the parents, coefficients in their order."""

    coefficients: tuple[float, ...]
    dtype: str = "F32"


@dataclass(frozen=True)
class SphericalMerge:
    """Spherical interpolation, tensor by tensor, from the first of two parents to the second."""

    fraction: float


Making = Pretraining | FineTuning | LoraTuning | Cast | Int8 | Gguf | Reupload | LinearMerge | SphericalMerge


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """One model of the hub.

    `day` counts days since 2024-01-01; where `minutes_after_parent` is given it decides instead, and may be negative.
    `declares` replaces the parents' ids in the metadata where those are wrong, misspelt or not ids at all.
    """

    model_id: str
    making: Making
    parents: tuple[str, ...] = ()
    pattern: str = "root"
    day: float = 0.0
    minutes_after_parent: float | None = None
    documentation: Documentation = Documentation.NONE
    declares: tuple[str, ...] | None = None
    presence: Presence = Presence.LISTED

    @property
    def author(self) -> str:
        """The organisation or person before the slash."""
        return self.model_id.partition("/")[0]

    @property
    def name(self) -> str:
        """The name after the slash."""
        return self.model_id.partition("/")[2]

    @property
    def relation(self) -> str | None:
        """How the model was made from its parents, in the words of the atlas; None for a root."""
        match self.making:
            case Pretraining():
                return None
            case FineTuning():
                return "finetune"
            case LoraTuning(is_merged=is_merged):
                return "finetune" if is_merged else "adapter"
            case Cast() | Int8() | Gguf():
                return "quantized"
            case Reupload():
                return "duplicate"
            case LinearMerge() | SphericalMerge():
                return "merge"

    @property
    def declared(self) -> tuple[str, ...]:
        """The parents that card, tags or `baseModels` name, true or not."""
        if self.documentation is Documentation.NONE:
            return ()
        return self.parents if self.declares is None else self.declares

    @property
    def adapter_base(self) -> str | None:
        """What adapter_config.json names as the base; None where there is no such file."""
        if not isinstance(self.making, LoraTuning) or self.making.is_merged:
            return None
        return self.making.stated_base or self.parents[0]

    @property
    def coefficients(self) -> tuple[float | None, ...]:
        """Each parent's share in a merge, in order; None for everything else."""
        match self.making:
            case LinearMerge(coefficients=coefficients):
                return coefficients
            case SphericalMerge(fraction=fraction):
                return (1.0 - fraction, fraction)
            case _:
                return (None,) * len(self.parents)

    def documents(self, parent_id: str) -> bool:
        """Whether the metadata names this parent, if only in another letter case."""
        named = [*self.declared, self.adapter_base or ""]
        return parent_id.casefold() in {name.casefold() for name in named}


def sweep(
    stem: str, parent: str, task: str, *, day: float, gaps: Sequence[float], documented: Sequence[int] = ()
) -> Iterator[ModelPlan]:
    """Yield a fan: one parent and task under several learning rates and seeds, `gaps` days after one another."""
    for number, gap in enumerate(gaps):
        day += gap
        rate = _SWEEP_RATES[number % len(_SWEEP_RATES)]
        yield ModelPlan(
            model_id=f"{stem}-lr{rate:.1e}-s{number}".replace("e-0", "e-"),
            making=FineTuning(task=task, learning_rate=rate, n_steps=40),
            parents=(parent,),
            pattern="fan",
            day=day,
            documentation=Documentation.TAGS if number in documented else Documentation.NONE,
        )


def checkpoints(
    stem: str, parent: str, task: str, *, day: float, gaps: Sequence[float], documented: Sequence[int] = ()
) -> Iterator[ModelPlan]:
    """Yield a snake: consecutive checkpoints of one run, each made from the one before."""
    for number, gap in enumerate(gaps):
        day += gap
        model_id = f"{stem}-step-{30 * (number + 1):04d}"
        yield ModelPlan(
            model_id=model_id,
            making=FineTuning(task=task, learning_rate=1.5e-4, n_steps=30, continues=number > 0),
            parents=(parent,),
            pattern="snake",
            day=day,
            documentation=Documentation.CARD if number in documented else Documentation.NONE,
        )
        parent = model_id


def single(
    model_id: str,
    parent: str,
    making: FineTuning | LoraTuning,
    day: float,
    documentation: Documentation = Documentation.NONE,
    *,
    pattern: str = "single",
    declares: tuple[str, ...] | None = None,
) -> ModelPlan:
    """Plan one fine-tune or adapter."""
    return ModelPlan(
        model_id=model_id,
        making=making,
        parents=(parent,),
        pattern=pattern,
        day=day,
        documentation=documentation,
        declares=declares,
    )


def copy(
    model_id: str,
    parent: str,
    making: Cast | Int8 | Gguf | Reupload,
    day: float,
    documentation: Documentation = Documentation.NONE,
) -> ModelPlan:
    """Plan a copy in another form: cast, quantised or uploaded again."""
    pattern = {Cast: "cast", Int8: "int8", Gguf: "gguf", Reupload: "reupload"}[type(making)]
    return ModelPlan(
        model_id=model_id, making=making, parents=(parent,), pattern=pattern, day=day, documentation=documentation
    )


def merge(
    model_id: str,
    parents: tuple[str, ...],
    making: LinearMerge | SphericalMerge,
    day: float,
    documentation: Documentation = Documentation.NONE,
) -> ModelPlan:
    """Plan a merge of several parents."""
    pattern = "merge_linear" if isinstance(making, LinearMerge) else "merge_slerp"
    return ModelPlan(
        model_id=model_id, making=making, parents=parents, pattern=pattern, day=day, documentation=documentation
    )
