"""YAML from strangers: front matter and merge recipes, read without running or guessing anything.

The parser is PyYAML's (libyaml); values are built here from its events, so that nothing but text, numbers, true, false
and null can come out. YAML 1.1 would make ``no``, ``off`` and dates something else than what their authors wrote;
here only ``true`` and ``false`` are booleans (YAML 1.2, core schema) and dates stay text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

MAX_DEPTH: Final = 32
"""Nesting that is read; a card's model-index needs 8."""

MAX_VALUES: Final = 50_000
"""Values of one text, aliases counted as what they stand for; the longest model-index found has some thousands."""

MAX_DOCUMENTS: Final = 100

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE_TAGS: Final = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null")}
_TEXT_TAG: Final = "tag:yaml.org,2002:str"
_CONSTANTS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_REAL = re.compile(r"[-+]?(?:[0-9]{1,50}(?:\.[0-9]{0,50})?|\.[0-9]{1,50})(?:[eE][-+]?[0-9]{1,3})?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")


class CardYamlError(ValueError):
    """YAML that is broken or not safe to read; the sentence says where and why."""


def read_yaml(text: str) -> list[Any]:
    """Values of the documents in a text.

    Args:
        text: YAML; the caller has capped its length.

    Returns:
        one value for each document: nested dicts with text keys, lists, texts, whole numbers, finite reals, booleans
        and None.

    Raises:
        CardYamlError: it cannot be parsed, a key stands twice or is no scalar, a tag is not one of JSON's types, it is
            nested too deeply, or has too many values, aliases counted as what they stand for.
    """
    try:
        return list(_Builder(text).documents())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}: " if mark is not None else ""
        raise CardYamlError(f"{place}{error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise CardYamlError((str(error).splitlines() or ["unreadable"])[0][:200]) from error


def as_json(value: Any) -> str:
    """JSON text of a value that ``read_yaml`` gave."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


class _Builder:
    """Builds values from the events of one text."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._n_values = 0

    def documents(self) -> Iterator[Any]:
        n_documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                n_documents += 1
                if n_documents > MAX_DOCUMENTS:
                    raise CardYamlError(f"more than {MAX_DOCUMENTS} documents")
                self._anchors = {}
                yield self._value(next(self._events), 0)

    def _value(self, event: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise CardYamlError(f"{_place(event)}nested deeper than {MAX_DEPTH}")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise CardYamlError(f"{_place(event)}the alias {event.anchor[:50]!r} stands for nothing")
            known, size = self._anchors[event.anchor]
            self._count(event, size)
            return known
        before = self._n_values
        self._count(event, 1)
        if event.tag is not None and event.tag != "!" and event.tag not in _CORE_TAGS:
            raise CardYamlError(f"{_place(event)}the tag {event.tag[:80]!r} is not allowed")
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = [self._value(each, depth + 1) for each in self._until(yaml.SequenceEndEvent)]
        else:
            value = self._mapping(depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, self._n_values - before
        return value

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for event in self._until(yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise CardYamlError(f"{_place(event)}a key is no text")
            key = _printable(event.value)
            if key in found:
                raise CardYamlError(f"{_place(event)}the key {key[:50]!r} stands twice")
            found[key] = self._value(next(self._events), depth + 1)
        return found

    def _until(self, end: type) -> Iterator[Any]:
        for event in self._events:
            if isinstance(event, end):
                return
            yield event

    def _count(self, event: Any, size: int) -> None:
        self._n_values += size
        if self._n_values > MAX_VALUES:
            raise CardYamlError(f"{_place(event)}more than {MAX_VALUES} values, aliases counted")


def _scalar(event: Any) -> Any:
    text = _printable(event.value)
    if event.style or event.tag in ("!", _TEXT_TAG):
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    # A leading zero is a name ("007"), and what is too large for a number stays as it is written.
    if _REAL.fullmatch(text) and not _LEADING_ZERO.match(text) and math.isfinite(number := float(text)):
        return number
    return text


def _printable(text: str) -> str:
    """A text without the character NUL, which quoted YAML can hold and databases cannot."""
    return text.replace("\0", "")


def _place(event: Any) -> str:
    return f"line {event.start_mark.line + 1}: "
