"""What a card says about one parent, and how statements that say the same become one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

MAX_QUOTE_CHARACTERS: Final = 300
MAX_NAME_CHARACTERS: Final = 500
"""No id is that long; what is longer is cut and then names no model."""

MAX_STATEMENTS: Final = 1000
"""A merge names some dozens of models; a card that names more parents than this is noise."""

RELATIONS: Final = ("finetune", "adapter", "quantized", "merge")
"""Relations that a card can state, under the Hub's names."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One parent that a card names.

    Attributes:
        source: card_data, mergekit or card_text.
        declared_parent: the parent as the card writes it, or as the address that it links to.
        relation: one of RELATIONS, or None where the words do not say.
        role: merged or base, in a merge.
        quote: the words in which it stands, whitespace normalised; None for front matter.
    """

    source: str
    declared_parent: str
    relation: str | None = None
    role: str | None = None
    quote: str | None = None


def collapsed(statements: Iterable[Statement]) -> list[Statement]:
    """One statement for each source and parent, in the order of first mention.

    The first one that says a relation is kept. Of a merge's parent with two roles it is ``merged``: it gave weights,
    whatever else it was.
    """
    kept: dict[tuple[str, str], Statement] = {}
    for statement in statements:
        key = (statement.source, statement.declared_parent)
        before = kept.get(key)
        if before is None:
            if len(kept) < MAX_STATEMENTS:
                kept[key] = statement
        elif before.relation is None and statement.relation is not None:
            kept[key] = statement
        elif before.role == "base" and statement.role == "merged":
            kept[key] = replace(before, role="merged")
    return list(kept.values())
