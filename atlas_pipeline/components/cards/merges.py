"""Statements of merges: mergekit's recipes in a card's code blocks, and the words of the cards that it writes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from atlas_pipeline.components.cards.blocks import Block, normalised
from atlas_pipeline.components.cards.mentions import Masked, masked
from atlas_pipeline.components.cards.phrases import MENTION
from atlas_pipeline.components.cards.prose import quoted
from atlas_pipeline.components.cards.statements import MAX_NAME_CHARACTERS, MAX_QUOTE_CHARACTERS, Statement
from atlas_pipeline.components.cards.yaml import CardYamlError, read_yaml

DELTA_METHODS: Final = frozenset(
    (
        *("arcee_fusion", "breadcrumbs", "breadcrumbs_ties", "dare_linear", "dare_ties", "della", "della_linear"),
        *("model_stock", "sce", "task_arithmetic", "ties"),
    )
)
"""Merge methods that add differences to a base: the base is one even where it stands among the models."""

_RECIPE = re.compile(r"^[ \t-]*(?:merge_method|source_model|slices|merges)[ \t]*:", re.MULTILINE)
_REVISION = re.compile(r"@[^@/+]{1,100}$")
_MENTION = re.compile(MENTION)
_AS_BASE = re.compile(
    rf"\bmerge[ds]?\b[^\n]{{0,300}}?\busing\s(?:the\s)?(?P<base>{MENTION})\sas\s(?:a|the|its)?\s?base\b", re.IGNORECASE
)
_LIST_FOLLOWS = re.compile(
    r"\b(?:included in the merge|merge of the following (?:\w{1,20}\s){0,3}models|"
    r"following (?:\w{1,20}\s){0,2}models (?:were|are) (?:merged|included in (?:the|this) merge))\b",
    re.IGNORECASE,
)


def recipe_statements(code: tuple[str, ...], *, own_id: str) -> Iterator[Statement]:
    """Statements of every mergekit recipe among a card's code blocks.

    A block that is no YAML, or YAML of something else, says nothing.

    Args:
        code: texts of code blocks.
        own_id: id of the card's model.
    """
    for block in code:
        if not _RECIPE.search(block):
            continue
        try:
            recipes = [value for value in read_yaml(block) if isinstance(value, dict)]
        except CardYamlError:
            continue
        # Recipes in steps name the result of one as a model of the next.
        names = {str(recipe["name"]).casefold() for recipe in recipes if recipe.get("name")} | {own_id.casefold()}
        for recipe in recipes:
            for model, role in _models(recipe):
                if model.casefold() not in names:
                    yield Statement("mergekit", model[:MAX_NAME_CHARACTERS], "merge", role, _line(block, model))


def merge_prose(blocks: tuple[Block, ...], *, own_id: str, targets: Mapping[str, str]) -> Iterator[Statement]:
    """Statements in the words of mergekit's cards: "using x as a base", and the list of models merged.

    Args:
        blocks: the card's prose.
        own_id: id of the card's model.
        targets: targets of the card's reference links.
    """
    is_listing = False
    for block in blocks:
        is_item = block.kind == "item"
        is_listed = is_item and (is_listing or block.section in ("models merged", "merged models"))
        if is_listed or "merge" in block.text:
            prose = masked(block.text, own_id=own_id, targets=targets)
            if is_listed:
                yield from _spoken(block, prose, _MENTION.finditer(prose.text), "merged")
            else:
                bases = (_MENTION.search(match["base"]) for match in _AS_BASE.finditer(prose.text))
                yield from _spoken(block, prose, (base for base in bases if base is not None), "base")
        if not is_item:
            is_listing = _LIST_FOLLOWS.search(block.text) is not None


def _spoken(block: Block, prose: Masked, mentions: Iterator[re.Match[str]], role: str) -> Iterator[Statement]:
    for mention in mentions:
        model = prose.models[int(mention[0][1:-1])]
        quote = quoted(block, prose, 0, len(prose.text), max(prose.text.find(mention[0]), 0))
        yield Statement("mergekit", model, "merge", role, quote)


def _models(recipe: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Models of one recipe with their roles, the sources first."""
    given = recipe.get("merge_method")
    method = given if isinstance(given, str) else ""
    is_moe = any("source_model" in each for each in _dicts(recipe.get("experts")))
    if not method and not is_moe:
        return
    bases = list(_names(recipe.get("base_model")))
    sources = [*_dicts(recipe.get("models"))]
    for part in _dicts(recipe.get("slices")):
        sources += _dicts(part.get("sources"))
    for module in _dicts(list(_values(recipe.get("modules")))):
        sources += _dicts(module.get("models"))
        sources += [each for part in _dicts(module.get("slices")) for each in _dicts(part.get("sources"))]
    named = [name for source in sources for name in _names(source.get("model"))]
    named += [name for expert in _dicts(recipe.get("experts")) for name in _names(expert.get("source_model"))]
    for name in named:
        yield name, "base" if method in DELTA_METHODS and name in bases else "merged"
    for name in bases:
        if name not in named:
            yield name, "base"


def _names(value: Any) -> Iterator[str]:
    """Models of one reference: ``model``, ``model@revision``, ``model+adapter``, or the same as a mapping."""
    if isinstance(value, dict):
        for key in ("path", "model", "lora"):
            yield from _names(value.get(key))
    elif isinstance(value, str):
        for part in value.split("+"):
            if name := _REVISION.sub("", part.strip()):
                yield name


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else []


def _line(block: str, model: str) -> str | None:
    """The line of a recipe that names a model; None where it is written otherwise, as with escapes."""
    for line in block.splitlines():
        if model in line:
            return normalised(line)[:MAX_QUOTE_CHARACTERS].strip() or None
    return None
