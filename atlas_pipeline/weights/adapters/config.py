"""What an adapter's configuration says: its kind, and how strongly each module is changed.

A low-rank change is scaled by s = alpha / r, or alpha / sqrt(r) where the configuration asks for rank stabilisation
(rsLoRA); alpha may differ between modules. The rank is never taken from here: the tensors have it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from atlas_pipeline.weights.errors import WeightsError

BASE_CHANGING_INITIALISATIONS: Final = ("pissa", "olora", "corda", "lora_ga", "loftq")
"""Values of `init_lora_weights` that also change the base: the stored change is not relative to the published base.
Others (gaussian, eva, orthogonal, mica) leave it as it is."""

UNREAD_VARIANTS: Final = {
    "target_parameters": "targets parameters instead of modules",
    "layer_replication": "repeats layers of its base",
    "use_qalora": "is a QALoRA, whose matrices are pooled",
    "use_bdlora": "is a BdLoRA, whose matrices are block-diagonal",
    "alora_invocation_tokens": "is an activated LoRA, which changes a part of each text only",
    "arrow_config": "routes between several adapters",
    "kasa_config": "is a KaSA, which cuts the base down",
}
"""Fields of PEFT's LoraConfig that make the change something else than a scaled product of A and B."""

MAX_ALPHA: Final = 1e6
"""Alphas in use are 1 to a few thousand."""

MAX_PATTERNS: Final = 20_000
"""One for each matrix of the largest models."""

_ESCAPED_MARK = re.compile(r"\\([.\-_])")
_PLAIN_PATTERN = re.compile(r"[\w.\-]{1,500}")


@dataclass(frozen=True, slots=True)
class Scaling:
    """How strongly low-rank changes count.

    Attributes:
        alpha: Alpha of modules that no pattern names.
        patterns: Position and alpha by the end of a module's name, whole parts.
        anchored: The same by whole names.
        is_rank_stabilised: Whether alpha is divided by the root of the rank.
    """

    alpha: float
    patterns: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    anchored: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    is_rank_stabilised: bool = False

    def scale(self, module: str, rank: int) -> float:
        """The factor s of a module whose change has this rank.

        PEFT matches patterns as the end of a name that follows a dot, or as all of it; the first in the configuration
        wins.
        """
        parts = module.split(".")
        ends = (".".join(parts[first:]) for first in range(len(parts)))
        hits = [self.patterns[end] for end in ends if end in self.patterns]
        hits += [self.anchored[module]] if module in self.anchored else []
        alpha = min(hits)[1] if hits else self.alpha
        return alpha / (math.sqrt(rank) if self.is_rank_stabilised else rank)


def check_kind(config: Mapping[str, Any], what: str) -> str:
    """The kind of an adapter, `LORA` or `IA3`.

    Args:
        config: adapter_config.json.
        what: The adapter in words, for errors.

    Raises:
        WeightsError: unsupported_adapter if it is of another kind, or of a variant that cannot be read as a change of
            the published base.
    """
    kind = config.get("peft_type")
    if kind is None:
        raise WeightsError("unsupported_adapter", f"{what} does not say what kind it is (peft_type); it is not read.")
    if kind == "IA3":
        return "IA3"
    if kind != "LORA":
        raise WeightsError("unsupported_adapter", f"{what} is of the kind {str(kind)[:40]!r}; it is not read.")
    check_variant(config, what)
    return "LORA"


def check_variant(config: Mapping[str, Any], what: str) -> None:
    """Raises unsupported_adapter for a LoRA that is no plain change of the published base."""
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(BASE_CHANGING_INITIALISATIONS):
        flaw = f"was initialised by {start[:40]!r}, which changes the base"
    else:
        flaw = next((words for name, words in UNREAD_VARIANTS.items() if config.get(name)), "")
    if flaw:
        raise WeightsError("unsupported_adapter", f"{what} {flaw}; it is not read.")


def read_scaling(config: Mapping[str, Any], what: str) -> Scaling:
    """Alphas of a LoRA's configuration.

    Patterns are regular expressions to PEFT. A stranger's expression is never run: names, names with escaped dots, and
    names anchored at the beginning are understood, which is what people write.

    Raises:
        WeightsError: unsupported_adapter if alpha or a pattern cannot be used.
    """
    written = config.get("alpha_pattern") or {}
    if not isinstance(written, dict) or len(written) > MAX_PATTERNS:
        raise WeightsError(
            "unsupported_adapter", f"{what} has an alpha_pattern that is no object of at most {MAX_PATTERNS} entries."
        )
    patterns: dict[str, tuple[int, float]] = {}
    anchored: dict[str, tuple[int, float]] = {}
    for position, (pattern, value) in enumerate(written.items()):
        is_anchored = pattern.startswith("^")
        name = _ESCAPED_MARK.sub(r"\1", pattern.removeprefix("^").removesuffix("$"))
        if not _PLAIN_PATTERN.fullmatch(name):
            raise WeightsError(
                "unsupported_adapter", f"{what} has the alpha_pattern {pattern[:100]!r}; it is not read."
            )
        entry = (position, checked_alpha(value, f"{what} has an alpha_pattern that"))
        (anchored if is_anchored else patterns).setdefault(name, entry)
    return Scaling(
        alpha=checked_alpha(config.get("lora_alpha"), f"{what} has a lora_alpha that"),
        patterns=patterns,
        anchored=anchored,
        is_rank_stabilised=config.get("use_rslora") is True,
    )


def checked_alpha(value: object, what: str) -> float:
    """An alpha as a number; raises unsupported_adapter if it is none, not finite or larger than MAX_ALPHA."""
    # The comparison also refuses NaN.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= MAX_ALPHA:
        raise WeightsError("unsupported_adapter", f"{what} is no number of at most {MAX_ALPHA:.0f}: {str(value)[:40]}.")
    return float(value)
