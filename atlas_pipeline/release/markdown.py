"""Tables of Markdown from data that may hold anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_ENDS: Final = "|<>\r\n\u2028\u2029"
_MEANS_SOMETHING: Final = "&`[]!*_\\"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows as a table of Markdown; what would end a cell, a row or the text becomes a character reference."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_referenced(str(cell), _ENDS) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def plain(value: object) -> str:
    """A value from outside as text that Markdown takes for nothing else; empty for None."""
    return "" if value is None else _referenced(str(value), _MEANS_SOMETHING)


def code(value: object) -> str:
    """A name from outside as a code span; empty for None."""
    return "" if value is None else "`" + str(value).replace("`", "'") + "`"


def _referenced(text: str, characters: str) -> str:
    return "".join(f"&#{ord(c)};" if c in characters else c for c in text)
