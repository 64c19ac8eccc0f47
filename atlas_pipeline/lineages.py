"""What came from what, for the terminal: lineages as trees, doubts and failures beside them, edges as JSON lines."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.graph import EdgeList, weak_components
from atlas_pipeline.reporting import open_tables

SHOWN: Final = 20
"""Children of a model, and models of a list, that are shown unless all are asked for."""

SHOWN_CANDIDATES: Final = 3
"""Other candidates for a parent that a line names."""

UNDATED: Final = (
    "No model has a date: the files seem to have been copied in one go. Where you know dates, write them to models.csv "
    "in the folder (model_id, created_at); with them parents are told from children more surely."
)
_INDENT: Final = 4
_NARROWEST: Final = 60
_STRANGER: Final = "not in the folder"


@dataclass(frozen=True)
class Chart:
    """What was found in a folder.

    Attributes:
        edges: rows of ``edges.charted``, by child and parent.
        order: position of each model by creation, undated ones last.
        n_models: models that were charted, unreadable ones included.
        missing: models that are only named as a parent and are not there.
        unread: why models could not be read, by id.
        alone: models that were read and have no relative, by name.
        contradicted: children with what the weights say against their documented parent.
        is_dated: whether any model has a date.
    """

    edges: Sequence[Mapping[str, Any]]
    order: Mapping[str, int] = field(default_factory=dict)
    n_models: int = 0
    missing: frozenset[str] = frozenset()
    unread: Mapping[str, str] = field(default_factory=dict)
    alone: Sequence[str] = ()
    contradicted: Sequence[tuple[str, str]] = ()
    is_dated: bool = True


def read_chart(atlas: Atlas) -> Chart:
    """What the tables of a folder's home say; tables that are not there count as empty."""
    with open_tables(atlas) as connection:
        edges = connection.sql("from edges.charted order by child_id, parent_id").to_arrow_table().to_pylist()
        models = connection.execute(
            """select model_id, presence = 'removed', status, error, created_at from atlas_models
            left join features.models using (model_id) order by created_at nulls last, model_id"""
        ).fetchall()
        rejected = connection.execute(
            """select id, problem from raw.hub_stats
            where is_rejected and snapshot = (select max(snapshot) from raw.hub_stats)"""
        ).fetchall()
        contradicted = connection.execute(
            "select child_id, explanation from edges.audit where verdict = 'contradicts' order by all"
        ).fetchall()
    there = [row for row in models if not row[1]]
    unread = {
        model_id: error or status or "not reached"
        for model_id, _, status, error, _ in there
        if status not in ("ok", None)
    }
    related = {edge[end] for edge in edges for end in ("child_id", "parent_id")}
    return Chart(
        edges=edges,
        order={row[0]: number for number, row in enumerate(models)},
        n_models=len(there) + len(rejected),
        missing=frozenset(row[0] for row in models if row[1]),
        unread=dict(sorted((unread | dict(rejected)).items())),
        alone=sorted(row[0] for row in there if row[2] == "ok" and row[0] not in related),
        contradicted=contradicted,
        is_dated=any(row[4] is not None for row in there),
    )


def write_edges(stream: IO[str], chart: Chart) -> None:
    """Write each edge as one line of JSON, with the columns of ``edges.charted``."""
    for edge in chart.edges:
        stream.write(json.dumps(edge, default=str) + "\n")


def print_chart(console: Console, chart: Chart, *, show_all: bool, with_edges: bool = True) -> None:
    """Print the lineages, largest first, then what stands alone, what could not be read, and the sums.

    Args:
        console: where to.
        chart: what was found.
        show_all: whether long lists are shown whole.
        with_edges: whether the lineages themselves are shown.
    """
    limit = None if show_all else SHOWN
    found = lineage_trees(chart, limit=limit)
    for trees in found if with_edges else ():
        with wide_enough(console, trees):
            console.print(*trees, sep="\n")
        console.print()
    _print_list(console, "Documented otherwise", [f"{child}: {why}" for child, why in chart.contradicted], limit)
    _print_list(console, "Without relatives", chart.alone, limit)
    _print_list(console, "Not read", [f"{name}: {why}" for name, why in chart.unread.items()], limit)
    console.print(_sums(chart, len(found)), soft_wrap=True)
    if not chart.is_dated:
        console.print(Text(UNDATED), soft_wrap=True)


def lineage_trees(chart: Chart, *, limit: int | None) -> list[list[Tree]]:
    """The trees of each lineage, one for each model in it that has no parent; lineages by size, then by name.

    A model with several parents stands in full under the one that gave most, and as a mere line under the others.

    Args:
        chart: what was found.
        limit: children of a model that are shown; None for all.
    """
    parents, children = defaultdict(list), defaultdict(list)
    for edge in chart.edges:
        parents[edge["child_id"]].append(edge)
        children[edge["parent_id"]].append(edge)
    main = {child: max(edges, key=_share)["parent_id"] for child, edges in parents.items()}
    position = defaultdict(lambda: len(chart.order), chart.order)
    for edges in children.values():
        edges.sort(key=lambda edge: (position[edge["child_id"]], edge["child_id"]))
    made: dict[int, list[Tree]] = defaultdict(list)
    members = _members(chart.edges)
    sizes = Counter(members.values())
    for root in sorted(members.keys() - parents.keys(), key=lambda name: (position[name], name)):
        tree = Tree(_root_label(root, chart))
        pending = [(tree, root)]
        while pending:
            branch, model_id = pending.pop()
            shown = children[model_id][:limit]
            for edge in shown:
                child = edge["child_id"]
                is_main = main[child] == model_id
                added = branch.add(_label(edge, parents[child], chart) if is_main else _reference(edge, main[child]))
                if is_main:
                    pending.append((added, child))
            if more := len(children[model_id]) - len(shown):
                branch.add(Text(f"… {more} more (--all)", style="dim"))
        made[members[root]].append(tree)
    return [made[number] for number in sorted(made, key=lambda number: (-sizes[number], number))]


def _members(edges: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Number of the lineage of each model that has a relative; lineages are numbered by their first name."""
    ids = sorted({edge[end] for edge in edges for end in ("child_id", "parent_id")})
    ends = (pa.chunked_array([[edge[end] for edge in edges]], pa.string()) for end in ("parent_id", "child_id"))
    labels = weak_components(EdgeList.from_ids(pa.chunked_array([ids], pa.string()), *ends))
    _, first, numbers = np.unique(labels, return_index=True, return_inverse=True)
    return dict(zip(ids, first[numbers].tolist(), strict=True))


def _share(edge: Mapping[str, Any]) -> tuple[float, float, str]:
    return edge["coefficient"] or 0.0, edge["confidence"], edge["parent_id"]


def _root_label(model_id: str, chart: Chart) -> Text:
    label = Text(printable(model_id), style="bold")
    return label.append(_remark(model_id, chart), style="not bold red")


def _remark(model_id: str, chart: Chart) -> str:
    if model_id in chart.missing:
        return f"  ({_STRANGER})"
    return "  (not read)" if model_id in chart.unread else ""


def _label(edge: Mapping[str, Any], edges: Sequence[Mapping[str, Any]], chart: Chart) -> Text:
    label = Text(printable(edge["child_id"]), style="bold")
    label.append(f"  {described(edge)}", style="not bold")
    if len(edges) > 1:
        parts = sorted(edges, key=_share, reverse=True)
        named = " + ".join(printable(part["parent_id"]) + _coefficient(part) for part in parts)
        label.append(f"  of {named}", style="not bold")
    candidates = edge["evidence"].get("candidates") or () if edge["is_ambiguous"] else ()
    others = [name for name in candidates if name not in {part["parent_id"] for part in edges}]
    if edge["is_ambiguous"]:
        label.append(f"  ambiguous{_others(others)}", style="not bold yellow")
    return label.append(_remark(edge["child_id"], chart), style="not bold red")


def described(edge: Mapping[str, Any]) -> str:
    """Relation of an edge, and that it is documented, or by which rule and how surely it was charted."""
    relation = "unknown relation" if edge["relation"] == "unknown" else edge["relation"]
    if edge["origin"] == "documented":
        return f"{relation}, documented"
    return f"{relation}, {edge['rule']}, {edge['confidence']:.2f}"


def _coefficient(edge: Mapping[str, Any]) -> str:
    return "" if edge["coefficient"] is None else f" ({edge['coefficient']:.2f})"


def _others(candidates: Sequence[str]) -> str:
    if not candidates:
        return ""
    more = len(candidates) - SHOWN_CANDIDATES
    named = ", ".join(printable(name) for name in candidates[:SHOWN_CANDIDATES])
    return f": or {named}" + (f", {more} more" if more > 0 else "")


def _reference(edge: Mapping[str, Any], main: str) -> Text:
    text = f"{printable(edge['child_id'])}  {described(edge)}{_coefficient(edge)}, see under {printable(main)}"
    return Text(text, style="dim")


@contextmanager
def wide_enough(console: Console, trees: Iterable[Tree]) -> Any:
    """A terminal wraps what is long; elsewhere a model stays on one line. A deep tree needs its indents anywhere."""
    depth, longest, pending = 0, 0, [(tree, 0) for tree in trees]
    while pending:
        tree, level = pending.pop()
        depth, longest = max(depth, level), max(longest, len(str(tree.label)))
        pending += [(child, level + 1) for child in tree.children]
    width = console.width
    console.width = max(width, _INDENT * depth + (min(longest, _NARROWEST) if console.is_terminal else longest))
    try:
        yield
    finally:
        console.width = width


def _print_list(console: Console, title: str, lines: Sequence[str], limit: int | None) -> None:
    if not lines:
        return
    shown = lines[:limit]
    console.print(Text(f"{title} ({len(lines)})", style="bold"))
    for line in shown:
        console.print(Text(f"  {printable(line)}"), soft_wrap=True)
    if more := len(lines) - len(shown):
        console.print(Text(f"  … {more} more (--all)", style="dim"))
    console.print()


def _sums(chart: Chart, n_lineages: int) -> Text:
    n_ambiguous = sum(bool(edge["is_ambiguous"]) for edge in chart.edges)
    n_documented = sum(edge["origin"] == "documented" for edge in chart.edges)
    return Text(
        f"{_counted(chart.n_models, 'model')}: {_counted(n_lineages, 'lineage')} with "
        f"{_counted(len(chart.edges), 'edge')} ({n_documented} documented, {n_ambiguous} ambiguous), "
        f"{_counted(len(chart.alone), 'model')} without relatives, {len(chart.unread)} not read"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def printable(text: str) -> str:
    """A name from outside without what would move the terminal's cursor or change its colours."""
    return "".join(c if c.isprintable() else "?" for c in text)
