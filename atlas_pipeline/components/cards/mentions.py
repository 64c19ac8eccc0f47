"""Finds models that a piece of prose names, and masks them so that sentences can be read by their words.

A mention counts where a reader could follow it: a link to the Hub, an id ``org/name``, or in code quotes one of the
names that the Hub gave before it had organisations. Everything else in Markdown or HTML that is no word is taken out.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from atlas_pipeline.components.cards.blocks import MARK_CLOSE, MARK_OPEN

SELF: Final = "this-model"
"""Stands in masked text for the card's own model."""

_TOKEN = re.compile(
    r"""
      !\[[^\[\]]{0,300}\]\([^()]{0,500}\)                                          # picture
    | \[(?P<text>[^\[\]]{1,300})\](?:\(\s?<?(?P<target>[^()\s<>]{1,400})>?[^()]{0,200}\)|\[(?P<name>[^\[\]]{0,100})\])
    | <a\s[^<>]{0,300}?href\s?=\s?["']?(?P<href>[^"'\s<>]{1,400})[^<>]{0,300}>(?P<anchor>[^<>]{0,300})</a>
    | `{1,2}(?P<code>[^`]{1,200})`{1,2}
    | (?P<url>(?:https?://|(?<![\w./-])(?:huggingface\.co|hf\.co)/)[^\s<>()\[\]|"'`*,]{1,400})
    | </?(?P<tag>[A-Za-z][A-Za-z0-9]{0,20})(?:[\s/][^<>]{0,300})?>
    | (?<![\w./@:~\\-])(?P<plain>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?![\w/])
    | (?P<emphasis>\*{1,3}|(?<!\w)_{1,3}|_{1,3}(?!\w)|~~)
    """,
    re.VERBOSE,
)
_HUB_ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/+(?P<path>[^?#]*)", re.IGNORECASE)
_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_WITHOUT_ORGANISATION = re.compile(
    r"(?:albert|bert|camembert|distilbert|gpt2|openai-gpt|roberta|t5|transfo-xl|xlm|xlnet)-[a-z0-9][a-z0-9.-]{0,80}"
    r"|gpt2|ctrl|distilgpt2|distilroberta-base|openai-gpt"
)
"""The 68 models that the Hub lists without an organisation are all of these families."""

_PAGE = re.compile(
    r"api|blog|brand|changelog|chat|collections|course|datasets?|docs|enterprise|exbert|front|inference|inference-api|"
    r"join|languages|learn|login|metrics|models|new|organizations|papers|posts|pricing|search|settings|spaces|storage|"
    r"support|tasks|templates|transformers|welcome",
    re.IGNORECASE,
)
"""First part of those of the Hub's addresses that lead to no organisation."""

_WITHIN_MODEL: Final = frozenset(("tree", "blob", "resolve", "raw", "discussions", "commit", "commits"))
_FOLDER = re.compile(
    r"assets|cache|checkpoints?|configs?|content|data|examples|experiments|files|home|images|lib|local|logs|mnt|model|"
    r"notebooks|opt|out|outputs?|path|results|root|runs|saved|scripts|src|tests|tmp|to|train|usr|weights",
    re.IGNORECASE,
)
"""First part of paths in a file system, which look like ids."""

_FILE_ENDING = re.compile(
    r"\.(?:py|md|txt|json|jsonl|ya?ml|csv|tsv|png|jpe?g|gif|svg|pdf|ipynb|sh|bin|pt|pth|ckpt|gguf|zip|tar|gz|html?|"
    r"safetensors|onnx|h5|npz|params|torchparams|msgpack|tflite|com|org|net|io)$",
    re.IGNORECASE,
)
_INLINE_TAGS: Final = frozenset(
    ("a", "b", "i", "u", "em", "strong", "code", "span", "font", "small", "sup", "sub", "s", "del")
)
_REFERENCE = re.compile(r"^ {0,3}\[([^\[\]\n]{1,100})\]: {0,4}<?([^\s<>]{1,400})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Masked:
    """Prose in which every mention of a model is a number between two marks.

    Attributes:
        text: the masked prose; links to other places are their words, marks of emphasis are gone.
        models: ids by number.
        starts: for each piece, where it begins in the masked text.
        origins: for each piece, where it begins in the prose.
    """

    text: str
    models: tuple[str, ...]
    starts: tuple[int, ...]
    origins: tuple[int, ...]

    def origin(self, position: int) -> int:
        """Place in the prose of a place in the masked text; within a mention, the mention's beginning."""
        piece = bisect_right(self.starts, position) - 1
        is_copied = piece % 2 == 0
        return self.origins[piece] + (position - self.starts[piece] if is_copied else 0)


def references(body: str) -> dict[str, str]:
    """Targets of reference links (``[name]: target``) by name in small letters."""
    return {name.casefold(): target for name, target in _REFERENCE.findall(body)} if "]:" in body else {}


def masked(text: str, *, own_id: str, targets: Mapping[str, str]) -> Masked:
    """Mask the mentions in a block of prose.

    Args:
        text: normalised prose.
        own_id: id of the card's model; what names it becomes SELF.
        targets: targets of the card's reference links.
    """
    pieces: list[str] = []
    starts, origins = [0], [0]
    models: list[str] = []
    position = length = 0
    for match in _TOKEN.finditer(text):
        found = _understood(match, own_id, targets)
        if isinstance(found, _Model):
            models.append(found.model_id)
            found = f"{MARK_OPEN}{len(models) - 1}{MARK_CLOSE}"
        before = text[position : match.start()]
        pieces += [before, found]
        starts += [length + len(before), length + len(before) + len(found)]
        origins += [match.start(), match.end()]
        length, position = starts[-1], match.end()
    pieces.append(text[position:])
    return Masked("".join(pieces), tuple(models), tuple(starts), tuple(origins))


def model_of_address(address: str) -> str | None:
    """The model that an address on the Hub leads to; None for its other pages and for other sites."""
    match = _HUB_ADDRESS.match(address)
    if match is None:
        return None
    parts = [unquote(part) for part in match["path"].rstrip(".,;:!").strip("/").split("/")]
    if _PAGE.fullmatch(parts[0]):
        return None
    if len(parts) == 1 or parts[1] in _WITHIN_MODEL:
        return parts[0] if _WITHOUT_ORGANISATION.fullmatch(parts[0]) else None
    is_model = len(parts) == 2 or parts[2] in _WITHIN_MODEL
    model_id = "/".join(parts[:2])
    return model_id if is_model and _ID.fullmatch(model_id) and ".." not in model_id else None


@dataclass(frozen=True, slots=True)
class _Model:
    model_id: str


def _understood(match: re.Match[str], own_id: str, targets: Mapping[str, str]) -> _Model | str:
    """The model that a token names, or the text that stands for it in masked prose."""
    model, words = _read(match, targets)
    if model is None:
        return words
    own = own_id.casefold()
    is_own = model.casefold() == own or (match["code"] is not None and model.casefold() == own.rpartition("/")[2])
    return SELF if is_own else _Model(model)


def _read(match: re.Match[str], targets: Mapping[str, str]) -> tuple[str | None, str]:
    if (text := match["text"]) is not None:
        target = match["target"] or targets.get((match["name"] or text).casefold(), "")
        return model_of_address(target), text.replace("`", "").replace("*", "")
    if match["href"] is not None:
        return model_of_address(match["href"]), match["anchor"]
    if (code := match["code"]) is not None:
        return _model_of_code(code.strip()), code
    if (url := match["url"]) is not None:
        return model_of_address(url), "url"
    if (tag := match["tag"]) is not None:
        return None, "" if tag.casefold() in _INLINE_TAGS else "\n"
    if (plain := match["plain"]) is not None:
        plain = plain.rstrip(".-_")
        return (plain if is_plain_id(plain) else None), plain
    return None, ""


def _model_of_code(code: str) -> str | None:
    if _WITHOUT_ORGANISATION.fullmatch(code) or is_plain_id(code):
        return code
    return model_of_address(code)


def is_plain_id(text: str) -> bool:
    """Whether words with a slash are a model's id: not a path, a fraction, a file, or two words side by side."""
    if not _ID.fullmatch(text) or ".." in text or _FILE_ENDING.search(text):
        return False
    organisation, _, name = text.partition("/")
    has_letters = any(c.isalpha() for c in organisation) and any(c.isalpha() for c in name)
    is_name = "-" in name or "_" in name or any(c.isdigit() for c in name)
    return has_letters and is_name and not (_FOLDER.fullmatch(organisation) or _PAGE.fullmatch(organisation))
