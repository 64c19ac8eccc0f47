"""Statements about parents in a card's prose: precision before recall.

Each sentence is read by itself. A phrase counts when a mention of a model follows it, when no word before it turns the
sentence to another subject, a comparison, an advice or a negation, and when no other model is named before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from atlas_pipeline.components.cards.blocks import MARK_OPEN, Block
from atlas_pipeline.components.cards.mentions import Masked, masked
from atlas_pipeline.components.cards.phrases import (
    ADAPTER_WORD,
    ADVICE,
    FROM_SCRATCH,
    LABEL,
    LABEL_HEADING,
    MENTION,
    NEGATION_IN_PHRASE,
    ORIGINAL_CARD,
    OTHER_SECTION,
    PHRASES,
    PRETRAINED_ANEW,
    QUANTIZED_NAME,
    QUANTIZED_WORD,
    TUNED_WORD,
    VETO,
    VETO_AFTER,
    Phrase,
)
from atlas_pipeline.components.cards.statements import MAX_QUOTE_CHARACTERS, Statement

MAX_SENTENCE_CHARACTERS: Final = 2000
"""Longer than any sentence; what follows in a line without an end is not read."""

_MENTION = re.compile(MENTION)
_END = re.compile(r"[.!?](?=[\"'\u201d\u2019)\]]{0,2}\s+[^a-z\s])|\n")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|vs|cf|al|approx|no|fig|dr|mr|st|inc|resp|incl|ver|v)|\b[A-Z])$", re.IGNORECASE
)
_ALONE = re.compile(rf"(?P<parents>{MENTION})[\s.]{{0,3}}")


def prose_statements(blocks: tuple[Block, ...], *, own_id: str, targets: Mapping[str, str]) -> Iterator[Statement]:
    """Statements of source card_text, in the order of the text.

    Args:
        blocks: the card's prose.
        own_id: id of the card's model.
        targets: targets of the card's reference links.
    """
    is_from_scratch = any(FROM_SCRATCH.search(block.text) for block in blocks)
    for block in blocks:
        if block.kind == "heading" and ORIGINAL_CARD.search(block.text):
            return
        if not ("/" in block.text or "`" in block.text or "][" in block.text) or OTHER_SECTION.search(block.section):
            continue
        prose = masked(block.text, own_id=own_id, targets=targets)
        if not prose.models:
            continue
        spans = [(0, len(prose.text))] if block.kind == "row" else sentences(prose.text)
        for start, end in spans:
            sentence = _Sentence(
                block, prose, start, min(end, start + MAX_SENTENCE_CHARACTERS), own_id.rpartition("/")[2]
            )
            if MARK_OPEN in sentence.text:
                yield from _labelled(sentence) or _stated(sentence, is_from_scratch=is_from_scratch)


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each sentence of masked prose."""
    start = 0
    for match in _END.finditer(text):
        if text[match.start()] == "." and _ABBREVIATION.search(text[max(start, match.start() - 10) : match.start()]):
            continue
        yield start, match.end()
        start = match.end()
    if start < len(text):
        yield start, len(text)


def quoted(block: Block, prose: Masked, start: int, end: int, focus: int) -> str:
    """The words of a sentence, cut around its mention where they are too many.

    Args:
        block: that the sentence stands in.
        prose: the block, masked.
        start: of the sentence, in masked text.
        end: of the sentence, in masked text.
        focus: place in masked text that the quote must show.
    """
    first, last = prose.origin(start), prose.origin(end)
    if last - first > MAX_QUOTE_CHARACTERS:
        first = max(first, min(prose.origin(focus) - MAX_QUOTE_CHARACTERS // 3, last - MAX_QUOTE_CHARACTERS))
        last = first + MAX_QUOTE_CHARACTERS
    return block.text[first:last].strip()


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence, or a table row: the masked text from ``start`` to ``end`` of a block; and its model's own name."""

    block: Block
    prose: Masked
    start: int
    end: int
    own_name: str

    @property
    def text(self) -> str:
        return self.prose.text[self.start : self.end].strip()

    def statements(self, mentions: str, relation: str | None) -> list[Statement]:
        """Statements of the mentioned models; a quantised version of this one is no parent of it."""
        role = "merged" if relation == "merge" else None
        focus = self.prose.text.find(mentions, self.start)
        quote = quoted(self.block, self.prose, self.start, self.end, focus)
        models = [self.prose.models[int(match[0][1:-1])] for match in _MENTION.finditer(mentions)]
        is_own_quantized = QUANTIZED_NAME.search(self.own_name) is not None
        return [
            Statement("card_text", model, relation, role, quote)
            for model in models
            if relation != "quantized" or is_own_quantized or not QUANTIZED_NAME.search(model.rpartition("/")[2])
        ]


def _labelled(sentence: _Sentence) -> list[Statement]:
    text, relation = sentence.text, None
    is_row = sentence.block.kind == "row"
    match = LABEL.match(text)
    if match is not None:
        is_quantized = QUANTIZED_NAME.search(sentence.own_name) or QUANTIZED_WORD.search(match[0])
        relation = "finetune" if match["tuned"] else "quantized" if match["original"] and is_quantized else None
    elif LABEL_HEADING.fullmatch(sentence.block.section.strip(" :*")) and not is_row:
        match = _ALONE.fullmatch(text)
    if match is None or VETO_AFTER.match(text, match.end("parents")):
        return []
    # A row of more models compares some.
    return [] if is_row and MARK_OPEN in text[match.end() :] else sentence.statements(match["parents"], relation)


def _stated(sentence: _Sentence, *, is_from_scratch: bool) -> list[Statement]:
    text = sentence.text
    first_mention = text.index(MARK_OPEN)
    if sentence.block.kind == "row":
        return []
    for phrase in PHRASES:
        for match in phrase.pattern.finditer(text):
            before, after = text[: match.start()], text[match.end() :]
            is_about_tuning = "tuning" in match[0].casefold() and (before.endswith("for ") or ADVICE.search(after))
            if (
                first_mention < match.start()
                or is_about_tuning
                or VETO.search(before)
                or NEGATION_IN_PHRASE.search(match[0])
                or VETO_AFTER.match(text, match.end("parents"))
            ):
                continue
            relation = _relation(phrase, before, text)
            is_anew = is_from_scratch or PRETRAINED_ANEW.search(after) is not None
            if relation is None and phrase.is_open and is_anew:
                continue
            return sentence.statements(match["parents"], relation)
    return []


def _relation(phrase: Phrase, before: str, sentence: str) -> str | None:
    """What the phrase says, or the words around it: "this 4-bit model is based on x"."""
    if not phrase.is_open and phrase.relation != "finetune":
        return phrase.relation
    if ADAPTER_WORD.search(before):
        return "adapter"
    if phrase.is_open and QUANTIZED_WORD.search(before):
        return "quantized"
    if phrase.is_open and TUNED_WORD.search(sentence):
        return "finetune"
    return phrase.relation
