"""Model cards: which models have one, and what its front matter says, measurements included."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from atlas_pipeline.repositories.demo.lineage import Documentation, Gguf, LoraTuning, ModelPlan, Pretraining
from atlas_pipeline.repositories.demo.making import MadeModel, generator_for
from atlas_pipeline.repositories.demo.networks import StripFormer
from atlas_pipeline.repositories.demo.tasks import TASKS, Digits
from atlas_pipeline.repositories.demo.training import accuracy, restoration_error

_SHARE_WITHOUT_CARD: Final = 0.3
_SHARE_EVALUATED: Final = 0.45
_LICENSES: Final = ("apache-2.0", "mit", "cc-by-nc-4.0", "openrail", None)
_LICENSE_SHARES: Final = (0.55, 0.2, 0.1, 0.05, 0.1)


def with_card(plans: Sequence[ModelPlan], *, seed: int) -> frozenset[str]:
    """Choose the models that have a card: all pretrained or documented ones, and most of the others."""
    optional = [p for p in plans if p.documentation is Documentation.NONE and not isinstance(p.making, Pretraining)]
    bare = {p.model_id for p in _first_by_draw(optional, _SHARE_WITHOUT_CARD, "card", seed=seed)}
    return frozenset(p.model_id for p in plans if p.model_id not in bare)


def evaluated(plans: Sequence[ModelPlan], carded: Collection[str], *, seed: int) -> frozenset[str]:
    """Choose the models whose cards report a measurement."""
    candidates = [p for p in plans if p.model_id in carded]
    return frozenset(p.model_id for p in _first_by_draw(candidates, _SHARE_EVALUATED, "evaluation", seed=seed))


def _first_by_draw(plans: Sequence[ModelPlan], share: float, purpose: str, *, seed: int) -> list[ModelPlan]:
    drawn = sorted(plans, key=lambda plan: float(generator_for(seed, plan.model_id, purpose).random()))
    return drawn[: round(share * len(plans))]


def _library(made: MadeModel) -> str:
    making = made.plan.making
    if isinstance(making, Gguf):
        return "gguf"
    return "peft" if isinstance(making, LoraTuning) and not making.is_merged else "transformers"


def _pipeline_tag(made: MadeModel) -> str:
    return "image-classification" if isinstance(made.network, StripFormer) else "image-to-image"


def _results(made: MadeModel, digits: Digits) -> list[dict[str, Any]]:
    """Measure on the held-out digits as they are, and on the model's own variant of them."""
    results = []
    for task in dict.fromkeys(("plain", made.task)):
        if isinstance(made.network, StripFormer):
            value = accuracy(made.network, made.weights, task=TASKS[task], digits=digits)
            metric = {"type": "accuracy", "name": "Accuracy", "value": round(value, 4)}
        else:
            value = restoration_error(made.network, made.weights, task=TASKS[task], digits=digits)
            metric = {"type": "mse", "name": "Mean squared error per pixel", "value": round(value, 5)}
        results.append(
            {
                "task": {"type": _pipeline_tag(made)},
                "dataset": {"name": f"Digits ({task})", "type": "digits", "config": task, "split": "test"},
                "metrics": [metric],
            }
        )
    return results


def card_data(made: MadeModel, *, digits: Digits, is_evaluated: bool, seed: int) -> dict[str, Any]:
    """Compose the front matter of a model's card.

    Args:
        made: The model.
        digits: The split to measure on.
        is_evaluated: Whether the card has a `model-index`, with values measured here.
        seed: Seed of the hub.

    Returns:
        The front matter in the Hub's words, ready for YAML and JSON.
    """
    plan = made.plan
    card: dict[str, Any] = {"library_name": _library(made), "pipeline_tag": _pipeline_tag(made), "tags": ["digits"]}
    drawn = generator_for(seed, plan.model_id, "license").choice(len(_LICENSES), p=_LICENSE_SHARES)
    license_name = "apache-2.0" if isinstance(plan.making, Pretraining) else _LICENSES[int(drawn)]
    if license_name is not None:
        card["license"] = license_name
    if plan.documentation in (Documentation.BASE_MODELS, Documentation.CARD):
        card["base_model"] = plan.declared[0] if len(plan.declared) == 1 else list(plan.declared)
    if is_evaluated:
        card["model-index"] = [{"name": plan.name, "results": _results(made, digits)}]
    return card
