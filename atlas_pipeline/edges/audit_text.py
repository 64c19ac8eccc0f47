"""What the audit says of a declared edge in words: a sentence for the table, and a message for the author.

Ids come from a hub and are hostile text: none can break out of the code span or the YAML in which it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from atlas_pipeline.edges.audit_lineage import Apart

HUB_RELATIONS: Final = frozenset({"adapter", "finetune", "merge", "quantized"})
"""Values that the Hub knows for ``base_model_relation``."""

_SOURCES: Final = {
    "base_models": "what the Hub shows as its base model",
    "tag": "the tags",
    "annotation": "a note that was made by hand",
    "card_data": "the front matter of the model card",
    "mergekit": "the mergekit configuration",
    "adapter_config": "adapter_config.json",
    "card_text": "the text of the model card",
    "config": "config.json",
    "gguf": "the metadata of the GGUF file",
}
_RELATIONS: Final = {
    "finetune": "a fine-tune",
    "adapter": "an adapter",
    "quantized": "a quantisation",
    "merge": "a merge",
    "duplicate": "a copy",
    "unknown": "a derivative",
}
_RELATION_WORDS: Final = {
    "finetune": "fine-tune",
    "adapter": "adapter",
    "quantized": "quantisation",
    "merge": "merge",
    "duplicate": "copy",
}
_PLAIN: Final = re.compile(r"[A-Za-z][\w.-]*/[A-Za-z][\w.-]*", re.ASCII)
_LONGEST: Final = 200


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is known of a declared edge, and what was found.

    Attributes:
        child_id: the model that is said to be made.
        parent_id: the model that it is said to be made from.
        relation: how, as declared.
        sources: where that stands.
        days_apart: days from the parent's creation to the child's, where known.
        base_id: of an adapter, the model that it was applied to when it was sampled.
        verdict: agrees, contradicts or undecided.
        finding: the finding.
        note: which case of the finding it is.
        confidence: how sure the verdict is; None where undecided.
        measured_parents: parents that were measured.
        measured_relation: the relation that was measured.
        measured_confidence: how sure the measured parents are by themselves.
        measured_source: the measured source model of the child's lineage, the child itself where it has no parent.
        declared_apart: distance of the child to the declared parent, where comparable.
        measured_apart: distance of the child to the nearest measured parent.
        suggested_parents: parents that the documentation should name.
    """

    child_id: str
    parent_id: str
    relation: str
    sources: tuple[str, ...]
    days_apart: float | None
    base_id: str | None
    verdict: str
    finding: str
    note: str | None
    confidence: float | None
    measured_parents: tuple[str, ...]
    measured_relation: str | None
    measured_confidence: float | None
    measured_source: str
    declared_apart: Apart | None
    measured_apart: Apart | None
    suggested_parents: tuple[str, ...] = ()


def explanation(case: Case) -> str:
    """One plain sentence on the finding, with its numbers. It is text, not Markdown; control characters are gone."""
    return _finding(case, _plain)


def message(case: Case) -> str:
    """Markdown that could be sent to the author of the child.

    It says what the documentation says, what the weights say, how sure that is, and which lines of the front matter
    would say it.
    """
    sources = _listed([_SOURCES.get(source, "the description") for source in case.sources] or ["the description"])
    relation = _RELATION_WORDS.get(case.relation)
    named = f" with the relation {relation}" if relation else ""
    return "\n\n".join(
        [
            f"## Base model of {code(case.child_id)}",
            "Hello, and thank you for sharing this model. A comparison of model weights found something in its "
            "description that may be worth a look.",
            f"**What the description says.** {code(case.parent_id)} stands{named} in {sources}.",
            f"**What the weights say.** {_finding(case, code)}",
            f"**How sure this is.** {_basis(case)} You know how the model was made: if the description is right after "
            "all, please excuse the noise.",
            f"**What could be changed.** {_change(case)}",
        ]
    )


def code(text: str) -> str:
    """Hostile text as a Markdown code span that it cannot leave: one line, of bounded length."""
    plain = _plain(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    pad = " " if plain[:1] in ("`", " ", "") or plain[-1:] in ("`", " ") else ""
    return f"{fence}{pad}{plain or '?'}{pad}{fence}"


def front_matter(parents: Sequence[str], relation: str | None) -> str:
    """The lines of a model card's YAML that name parents and relation.

    Args:
        parents: ids; one is written as a text, several as a list.
        relation: the relation; one that the Hub does not know is left out.
    """
    if len(parents) == 1:
        lines = [f"base_model: {_yaml(parents[0])}"]
    else:
        lines = ["base_model:", *(f"  - {_yaml(parent)}" for parent in parents)]
    if relation in HUB_RELATIONS:
        lines.append(f"base_model_relation: {relation}")
    return "\n".join(lines)


def _finding(case: Case, name: Callable[[str], str]) -> str:
    """The finding as one sentence in which models are named in a given way."""
    child, declared = name(case.child_id), name(case.parent_id)
    found = _listed([name(parent) for parent in case.measured_parents])
    measured = _RELATIONS[case.measured_relation or "unknown"]
    match case.finding:
        case "parent_confirmed":
            return f"The weights agree that {child} comes from {declared}{_confirmation(case, name)}."
        case "ancestor_not_parent":
            return f"{declared} is an ancestor of {child}, but the weights show {measured} of {found}{_nearer(case)}."
        case "sibling_declared":
            return (
                f"{declared} and {child} look like siblings: the weights show {measured} of {found}{_nearer(case)}, "
                f"and {declared} was made from there too."
            )
        case "descendant_declared":
            return f"The weights show it the other way round: {declared} was made from {child}."
        case "quantization_of_other":
            return f"The weights are a quantisation of {found}, not of {declared}{_nearer(case)}."
        case "other_parent":
            return f"The weights show {measured} of {found}, not of {declared}{_nearer(case)}."
        case "unrelated_weights":
            return f"The weights share nothing with {declared}{_far(case)}; {_kin(case, name)}."
        case "wrong_relation":
            return f"It is described as {_RELATIONS[case.relation]}, but {_stored(case, declared)}."
        case "missing_merge_parents":
            return f"The weights are a merge of {found}; the description does not name all of them."
        case "child_older_than_parent":
            return (
                f"{child} was created {_days(case.days_apart)} before {declared}, and nothing in the weights says "
                "which of the two came first."
            )
        case "not_comparable":
            return f"The weights of {child} and {declared} cannot be compared: {_obstacle(case, name)}."
        case _:
            return f"The weights of {child} do not settle whether it comes from {declared}: {_doubt(case, found)}."


def _confirmation(case: Case, name: Callable[[str], str]) -> str:
    distance = f" (relative squared distance {_number(case.declared_apart.relative)})" if case.declared_apart else ""
    found = _listed([name(parent) for parent in case.measured_parents])
    return distance + {
        "twin": f": what was measured, {found}, holds the same weights, exactly or in fewer bits",
        "copy": ": it equals a model that does",
        "base": f": it is the base of a merge of {found}",
        "older": f", although it was created {_days(case.days_apart)} earlier",
    }.get(case.note or "", "")


def _obstacle(case: Case, name: Callable[[str], str]) -> str:
    match (case.note or "").split(" ", 1):
        case [("child" | "parent") as end, "not sampled"]:
            return f"no weights of the {end} were sampled"
        case [("child" | "parent") as end, status]:
            return f"no weights of the {end} were sampled (status {status})"
        case ["adapter"]:
            base = f" to {name(case.base_id)}" if case.base_id else ""
            return f"an adapter is applied{base} before it is sampled, so it fits whatever base is named"
        case _:
            return "their repeated layers have other matrices or shapes"


def _doubt(case: Case, found: str) -> str:
    sure = _percent(case.measured_confidence)
    return {
        "source": "no parent was measured, it may be the first of its lineage",
        "direction": "the two are near, but which came first is not in the weights",
        "far": f"they are far apart{_far(case)}, though not as far as unrelated models",
        "candidate": f"{found} is nearest ({sure} sure), but the declared parent explains them as well",
        "merge": f"{found} was found ({sure} sure), but a small share in a merge can go unseen",
        "base": f"they are a merge of {found}, and the declared parent, an ancestor of these, may be its base",
    }.get(case.note or "", f"{found} was found{_nearer(case)}, but only {sure} sure")


def _nearer(case: Case) -> str:
    """How much further the declared parent lies than the measured one, in brackets."""
    declared, measured = case.declared_apart, case.measured_apart
    if declared is None or measured is None:
        return ""
    numbers = f"relative squared distance {_number(measured.relative)} against {_number(declared.relative)}"
    if measured.squared == 0:
        return f" ({numbers}: no sampled weight differs)" if declared.squared > 0 else ""
    times = declared.squared / measured.squared
    return f" ({numbers}, {times:.2g} times as far)" if times < 100 else f" ({numbers}, {times:.0f} times as far)"


def _far(case: Case) -> str:
    if case.declared_apart is None:
        return ", whose repeated layers have other matrices or shapes"
    return f" (relative squared distance {case.declared_apart.relative:.2f}; unrelated models lie near 1)"


def _kin(case: Case, name: Callable[[str], str]) -> str:
    if not case.measured_parents:
        return "no relative of it was found"
    found = _listed([name(parent) for parent in case.measured_parents])
    source = (
        "" if case.measured_source in case.measured_parents else f", of the lineage of {name(case.measured_source)}"
    )
    return f"its nearest relative is {found}{source} ({_percent(case.measured_confidence)} sure)"


def _stored(case: Case, declared: str) -> str:
    if case.note == "stored":
        held = {"adapter": "an adapter", "quantized": "quantised weights of the whole model"}
        return f"its files hold {held.get(case.measured_relation or '', 'weights of the whole model')}"
    subject = "files" if case.measured_relation == "duplicate" else "weights"
    if case.note == "cast":
        return f"its weights are those of {declared} in fewer bits"
    return f"its {subject} are {_RELATIONS[case.measured_relation or 'unknown']} of {declared}"


def _basis(case: Case) -> str:
    if case.note == "stored":
        return f"{_percent(case.confidence)}: it is the format of the files."
    if case.measured_relation == "duplicate" and case.finding == "wrong_relation":
        return f"{_percent(case.confidence)}: the digests of the files were compared."
    return (
        f"{_percent(case.confidence)}, by a comparison of some of the weights, not all, that was made without a look "
        "at the description."
    )


def _change(case: Case) -> str:
    if not case.suggested_parents:
        return f"The line that names {code(case.parent_id)} could go, or name the model that was the start."
    is_measured = set(case.suggested_parents) <= set(case.measured_parents) or case.finding == "wrong_relation"
    relation = "merge" if len(case.suggested_parents) > 1 else case.measured_relation if is_measured else case.relation
    lines = front_matter(case.suggested_parents, relation)
    text = f"These lines in the front matter of the model card would say it:\n\n```yaml\n{lines}\n```"
    if relation == "duplicate":
        text += "\n\nThe Hub has no relation for a copy; a sentence in the card would tell."
    return text


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}" if texts else "no model"


def _percent(share: float | None) -> str:
    """A probability as people read it; nothing is ever certain."""
    percent = 100 * (share or 0.0)
    return "over 99 %" if percent >= 99.5 else f"{percent:.0f} %"


def _days(days: float | None) -> str:
    """A time span without its sign, in the unit in which it reads best."""
    hours = abs(days or 0.0) * 24
    if hours < 2:
        return f"{hours * 60:.0f} minutes"
    return f"{hours:.0f} hours" if hours < 72 else f"{hours / 24:.0f} days"


def _number(value: float) -> str:
    return f"{value:.2g}"


def _plain(text: str) -> str:
    """One line of printable characters of bounded length."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _yaml(text: str) -> str:
    """A text as a YAML scalar: plain if it cannot be anything else, otherwise in double quotes."""
    plain = _plain(text)
    # Printable text has no line breaks, and what JSON escapes beyond them (quotes, backslashes) YAML escapes alike.
    return plain if _PLAIN.fullmatch(plain) else json.dumps(plain, ensure_ascii=False)
