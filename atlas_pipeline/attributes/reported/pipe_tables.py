"""Reads the pipe tables and the Trainer's lists of results out of a model card's Markdown.

A card is a stranger's text: sizes are bounded, every pattern takes linear time, markup is removed and never rendered.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MOST_LINES: Final = 20_000
MOST_TABLES: Final = 100
MOST_ROWS: Final = 400
MOST_COLUMNS: Final = 60
LONGEST_LINE: Final = 8_000
LONGEST_CELL: Final = 600
LINES_BEFORE: Final = 6

_LINK = re.compile(r"!?\[([^\[\]]{0,300})\](?:\([^()]{0,400}\)|\[[^\[\]]{0,100}\])")
_RAISED = re.compile(r"<sup>[^<>]{0,40}</sup>|</?sub>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,300}>")
_EMPHASIS = re.compile(r"[*`~]+|(?<![A-Za-z0-9])_+|_+(?![A-Za-z0-9])")
_PIPE = re.compile(r"(?<!\\)\|")
_ACHIEVES = re.compile(r"achiev(?:es|ed) the following results?\b[^\n:]{0,120}:?\s*$", re.IGNORECASE)
_ITEM = re.compile(r"\s{0,3}[-*+]\s+\**([^:=|*\n]{1,80}?)\**\s*[:=]\s*\**\s*([^\s|*]{1,40})\**\s*$")
_DATASET = re.compile(r"\bon (?:the|an?) \[?([^\[\]\n]{1,120}?)\]?(?:\([^()\n]{0,300}\))? data ?set\b", re.IGNORECASE)
_NAMELESS: Final = frozenset(
    {"none", "unknown", "unkown", "custom", "private", "generator", "given", "following", "same"}
)


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: without markup.
        source: as it stands in the card.
    """

    text: str
    source: str


@dataclass(frozen=True)
class PipeTable:
    """A pipe table; all rows have as many cells as the header.

    Attributes:
        header: the header's cells.
        rows: the rows' cells.
        before: the last lines with text before it, the nearest last.
    """

    header: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]
    before: tuple[str, ...]


@dataclass(frozen=True)
class ResultList:
    """A list of results as the Trainer writes it.

    Attributes:
        dataset: the data set that the text before it names, if any.
        items: metric and value as written.
    """

    dataset: str | None
    items: tuple[tuple[str, str], ...]


def bounded_lines(card: str) -> list[str]:
    """The lines of a card, cut to the first ones and to their first characters."""
    return [line[:LONGEST_LINE] for line in card.split("\n", MOST_LINES)[:MOST_LINES]]


def plain(text: str) -> str:
    """A cell's text without markup."""
    text = _EMPHASIS.sub("", _TAG.sub(" ", _RAISED.sub("", _LINK.sub(r"\1", text))))
    return " ".join(html.unescape(text).replace("\\", "").split())


def pipe_tables(lines: list[str]) -> Iterator[PipeTable]:
    """The pipe tables of a card, in order, the first ``MOST_TABLES`` of them."""
    place, found = 1, 0
    while place < len(lines) and found < MOST_TABLES:
        if not _is_delimiter(lines[place]) or "|" not in lines[place - 1] or _is_delimiter(lines[place - 1]):
            place += 1
            continue
        end = place + 1
        while end < len(lines) and "|" in lines[end] and not _is_delimiter(lines[end]):
            end += 1
        header = _cells(lines[place - 1])
        rows = tuple(_fit(_cells(line), len(header)) for line in lines[place + 1 : min(end, place + 1 + MOST_ROWS)])
        yield PipeTable(header, rows, _before(lines, place - 1))
        found += 1
        place = end + 1


def result_lists(lines: list[str]) -> Iterator[ResultList]:
    """Lists below "It achieves the following results on the evaluation set", in order."""
    for place, line in enumerate(lines):
        if not _ACHIEVES.search(line[-400:]):
            continue
        start = place + 1
        while start < len(lines) and start <= place + 2 and not lines[start].strip():
            start += 1
        items = []
        for item in lines[start : start + 100]:
            if not (match := _ITEM.match(item[:200])):
                break
            items.append((match[1].strip(), match[2]))
        if items:
            before = " ".join([*_before(lines, place), line[:1000]])[-2000:]
            yield ResultList(_dataset(before), tuple(items))


def _dataset(text: str) -> str | None:
    """The data set that is named last."""
    names = [match[1].strip() for match in _DATASET.finditer(text)]
    if not names or not names[-1] or names[-1].split()[0].lower() in _NAMELESS:
        return None
    # The Trainer writes NA for a data set without configurations.
    return plain(names[-1]).removesuffix(" - NA")


def _before(lines: list[str], place: int) -> tuple[str, ...]:
    """The last lines with text before a place, no further away than a few paragraphs."""
    near = lines[max(0, place - 4 * LINES_BEFORE) : place]
    return tuple(line for line in near if line.strip())[-LINES_BEFORE:]


def _is_delimiter(line: str) -> bool:
    return "-" in line and "|" in line and not line.strip("|-: \t\r")


def _cells(line: str) -> tuple[Cell, ...]:
    line = line.strip()
    parts = _PIPE.split(line.removeprefix("|"), MOST_COLUMNS)[:MOST_COLUMNS]
    if len(parts) > 1 and not parts[-1].strip():
        parts.pop()
    return tuple(Cell(plain(part[:LONGEST_CELL]), part[:LONGEST_CELL].strip()) for part in parts)


def _fit(cells: tuple[Cell, ...], width: int) -> tuple[Cell, ...]:
    return (cells + (Cell("", ""),) * width)[:width]
