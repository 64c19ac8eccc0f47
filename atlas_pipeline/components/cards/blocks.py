"""Cuts a card's Markdown into front matter, blocks of prose and blocks of code.

No full Markdown parser: a line decides by its first characters, as a reader's eye does. What matters is that code never
passes for prose, and that every block is a piece of the card as it stands, so that it can be quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["paragraph", "heading", "item", "row"]

_FENCE = re.compile(r"[ \t>]{0,12}(?:[-*+][ \t]{1,4})?(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}#{1,6}(?=[ \t]|$)[ \t]*")
_ITEM = re.compile(r"[ \t]{0,16}(?:[-*+•]|[0-9]{1,3}[.)])[ \t]+")
_QUOTE_MARK = re.compile(r" {0,3}>[ \t>]{0,8}")
_ROW = re.compile(r"\s{0,3}\|")
_RULE = re.compile(r"\s{0,3}(?:(?:-[ \t]?){3,40}|(?:=[ \t]?){3,40}|(?:\*[ \t]?){3,40}|(?:_[ \t]?){3,40})\s*")
_INDENTED = re.compile(r"(?: {4}| {0,3}\t)")
_WORD = re.compile(r"[^\W_][^\s|]*")
_FRONT_MATTER_END = re.compile(r"^---[ \t]*$", re.MULTILINE)

MARK_OPEN: Final = "\ue000"
MARK_CLOSE: Final = "\ue001"
"""Private characters that stand around the number of a mention in masked text; a card never keeps them."""


_CONTROL_AND_FORMAT: Final = (
    *((0x00, 0x08), (0x0E, 0x1B), (0x7F, 0x84), (0x86, 0x9F), (0xAD, 0xAD), (0x0600, 0x0605), (0x061C, 0x061C)),
    *((0x06DD, 0x06DD), (0x070F, 0x070F), (0x180E, 0x180E), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F)),
    *((0xE000, 0xE001), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0xE0000, 0xE007F)),
)
"""First and last of characters that are neither text nor whitespace: controls, directions, joiners, the two marks."""

_UNWANTED: Final = re.compile(f"[{''.join(f'{chr(first)}-{chr(last)}' for first, last in _CONTROL_AND_FORMAT)}]+")


@dataclass(frozen=True, slots=True)
class Block:
    """A heading, paragraph, list item or table row.

    Attributes:
        text: its words, normalised, marks of heading or item left out.
        kind: what it is.
        section: the heading under which it stands, in small letters.
    """

    text: str
    kind: Kind
    section: str


@dataclass(frozen=True, slots=True)
class CardBody:
    """A card without its front matter.

    Attributes:
        blocks: prose, in order.
        code: text of fenced and indented code blocks, in order.
        n_words: words of the prose.
    """

    blocks: tuple[Block, ...]
    code: tuple[str, ...]
    n_words: int


def normalised(text: str) -> str:
    """A text with control and format characters out, and one space for any whitespace."""
    return " ".join(_UNWANTED.sub("", text).split())


def split_front_matter(card: str) -> tuple[str | None, str]:
    """The YAML between the ``---`` lines at a card's beginning, and the rest; None where a card does not begin so.

    Raises:
        ValueError: the front matter does not end; the whole card is text then.
    """
    card = card.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff \t\n")
    first, _, rest = card.partition("\n")
    if first.rstrip() != "---":
        return None, card
    end = _FRONT_MATTER_END.search(rest)
    if end is None:
        raise ValueError("the front matter has no end")
    return rest[: end.start()], rest[end.end() :]


def read_body(body: str) -> CardBody:
    """Blocks of prose and of code.

    Args:
        body: Markdown without front matter.
    """
    reader = _Reader()
    for line in _without_comments(body).splitlines():
        reader.take(line)
    reader.finish()
    n_words = sum(len(_WORD.findall(block.text)) for block in reader.blocks)
    return CardBody(tuple(reader.blocks), tuple(reader.code), n_words)


def _without_comments(text: str) -> str:
    """HTML comments as empty lines; one that is not closed hides the rest, as it does in a browser."""
    if "<!--" not in text:
        return text
    pieces, position = [], 0
    while (start := text.find("<!--", position)) >= 0:
        pieces.append(text[position:start])
        end = text.find("-->", start + 4)
        if end < 0:
            return "\n\n".join(pieces)
        position = end + 3
    return "\n\n".join([*pieces, text[position:]])


class _Reader:
    """Takes a card line by line."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.code: list[str] = []
        self._lines: list[str] = []
        self._kind: Kind = "paragraph"
        self._section = ""
        self._fence = ""
        self._code_lines: list[str] = []
        self._is_after_blank = True
        self._is_in_list = False

    def take(self, line: str) -> None:
        if self._fence:
            self._take_fenced(line)
        elif not line.strip():
            self._end_block()
            # A blank line inside indented code belongs to it.
            if self._code_lines:
                self._code_lines.append("")
            self._is_after_blank = True
        else:
            self._take_text(line)
            self._is_after_blank = False

    def finish(self) -> None:
        self._end_block()
        self._end_code()

    def _take_fenced(self, line: str) -> None:
        closing = line.strip(" \t>")
        if closing.startswith(self._fence) and not closing.strip(self._fence[0]):
            self._fence = ""
            self._end_code()
        else:
            self._code_lines.append(line)

    def _take_text(self, line: str) -> None:
        fence = _FENCE.match(line)
        item = _ITEM.match(line)
        if fence is not None and fence[1][0] not in line[fence.end() :]:
            self.finish()
            self._fence = fence[1]
        elif _INDENTED.match(line) and (self._code_lines or (self._is_after_blank and not self._is_in_list)):
            self._code_lines.append(line)
        else:
            self._end_code()
            self._take_prose(line, item)

    def _take_prose(self, line: str, item: re.Match[str] | None) -> None:
        if _RULE.fullmatch(line):
            self._end_block()
        elif heading := _HEADING.match(line):
            title = normalised(line[heading.end() :].rstrip().rstrip("#"))
            self._start("heading", title)
            self._end_block()
            self._section = title.casefold()
            self._is_in_list = False
        elif _ROW.match(line):
            self._start("row", line)
            self._end_block()
        elif item is not None:
            self._start("item", line[item.end() :])
            self._is_in_list = True
        elif quoted := _QUOTE_MARK.match(line):
            self._start("paragraph", line[quoted.end() :])
            self._end_block()
        elif self._lines:
            self._lines.append(line)
        else:
            self._is_in_list = self._is_in_list and line[:1].isspace()
            self._start("paragraph", line)

    def _start(self, kind: Kind, text: str) -> None:
        self._end_block()
        self._kind, self._lines = kind, [text]

    def _end_block(self) -> None:
        if self._lines and (text := normalised("\n".join(self._lines))):
            self.blocks.append(Block(text, self._kind, self._section))
        self._lines = []

    def _end_code(self) -> None:
        if self._code_lines:
            self.code.append("\n".join(_dedented(self._code_lines)))
        self._code_lines = []


def _dedented(lines: Iterable[str]) -> list[str]:
    """Lines without the indentation that all of them share, tabs as four spaces."""
    expanded = [line.expandtabs(4) for line in lines]
    shared = min((len(line) - len(line.lstrip()) for line in expanded if line.strip()), default=0)
    return [line[shared:] for line in expanded]
