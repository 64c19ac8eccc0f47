"""Lineages on the terminal: every model stands somewhere, doubts are told, hostile names stay text."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.tree import Tree

from atlas_pipeline.lineages import SHOWN, UNDATED, Chart, lineage_trees, print_chart, write_edges


def edge(child: str, parent: str, **given: Any) -> dict[str, Any]:
    """A row of edges.charted; what is not given is that of a fine-tune found by charting."""
    known = {
        "relation": "finetune",
        "origin": "charted",
        "rule": "fan",
        "confidence": 0.75,
        "coefficient": None,
        "is_ambiguous": False,
        "evidence": {"candidates": None},
    }
    return {"child_id": child, "parent_id": parent, **known, **given}


def printed(chart: Chart, *, show_all: bool = False, with_edges: bool = True, width: int = 80, **console: Any) -> str:
    stream = io.StringIO()
    print_chart(Console(file=stream, width=width, **console), chart, show_all=show_all, with_edges=with_edges)
    return stream.getvalue()


def labels(trees: list[list[Tree]]) -> list[str]:
    found, pending = [], [tree for lineage in trees for tree in lineage]
    while pending:
        tree = pending.pop()
        found.append(str(tree.label))
        pending += tree.children
    return found


def test_a_lineage_is_a_tree_with_rule_and_confidence():
    chart = Chart(
        [
            edge("b/child", "a/root"),
            edge("c/leaf", "b/child", relation="quantized", rule="quantized", confidence=1.0),
            edge("d/leaf", "a/root", origin="documented", rule="known", relation="unknown"),
        ],
        n_models=4,
    )
    assert printed(chart).splitlines() == [
        "a/root",
        "├── b/child  finetune, fan, 0.75",
        "│   └── c/leaf  quantized, quantized, 1.00",
        "└── d/leaf  unknown relation, documented",
        "",
        "4 models: 1 lineage with 3 edges (1 documented, 0 ambiguous), 0 models without relatives, 0 not read",
    ]


def test_a_merge_stands_under_the_parent_that_gave_most_and_is_named_under_the_others():
    edges = [
        edge("c/merge", "a/one", relation="merge", rule="merge", coefficient=0.4),
        edge("c/merge", "b/two", relation="merge", rule="merge", coefficient=0.6),
        edge("d/leaf", "c/merge"),
    ]
    assert printed(Chart(edges)).splitlines()[:7] == [
        "a/one",
        "└── c/merge  merge, merge, 0.75 (0.40), see under b/two",
        "b/two",
        "└── c/merge  merge, merge, 0.75  of b/two (0.60) + a/one (0.40)",
        "    └── d/leaf  finetune, fan, 0.75",
        "",
        "0 models: 1 lineage with 3 edges (0 documented, 0 ambiguous), 0 models without relatives, 0 not read",
    ]


@pytest.mark.parametrize(
    ("candidates", "text"),
    [
        (None, "ambiguous"),
        (["a/root"], "ambiguous"),
        (["a/root", "x/1"], "ambiguous: or x/1"),
        (["x/1", "x/2", "a/root", "x/3", "x/4", "x/5"], "ambiguous: or x/1, x/2, x/3, 2 more"),
    ],
)
def test_an_ambiguous_edge_names_the_other_candidates(candidates, text):
    chart = Chart([edge("b/child", "a/root", is_ambiguous=True, evidence={"candidates": candidates})])
    lines = printed(chart).splitlines()
    assert lines[1] == f"└── b/child  finetune, fan, 0.75  {text}"
    assert "1 ambiguous" in lines[-1]


def test_candidates_of_an_edge_that_is_not_ambiguous_are_not_shown():
    assert "x/1" not in printed(Chart([edge("b/child", "a/root", evidence={"candidates": ["x/1"]})]))


def test_larger_lineages_come_first_and_children_in_the_order_of_their_making():
    edges = [edge("a/y", "a/x"), edge("m/1", "z/root"), edge("m/2", "z/root"), edge("m/0", "z/root")]
    chart = Chart(edges, order={"m/2": 0, "m/1": 1})
    assert [line.split()[-4] for line in printed(chart).splitlines() if "fan" in line] == ["m/2", "m/1", "m/0", "a/y"]


def test_parents_that_are_not_there_and_models_that_were_not_read_are_marked():
    edges = [edge("b/child", "a/gone", origin="documented")]
    text = printed(
        Chart(edges, missing=frozenset({"a/gone"}), unread={"b/child": "ends early", "c/other": "no weights"})
    )
    assert "a/gone  (not in the folder)" in text
    assert "b/child  finetune, documented  (not read)" in text
    assert "Not read (2)\n  b/child: ends early\n  c/other: no weights\n" in text


def test_what_stands_alone_and_what_is_documented_otherwise_is_listed():
    chart = Chart([], alone=["a/1", "a/2"], contradicted=[("b/child", "the card names c/other")], n_models=3)
    text = printed(chart)
    assert "Without relatives (2)\n  a/1\n  a/2\n" in text
    assert "Documented otherwise (1)\n  b/child: the card names c/other\n" in text
    assert "3 models: 0 lineages with 0 edges" in text


def test_dates_are_asked_for_where_there_are_none():
    assert UNDATED.split(":", maxsplit=1)[0] in printed(Chart([], is_dated=False))
    assert "models.csv" not in printed(Chart([]))


def test_long_lists_are_cut_unless_all_is_asked_for():
    edges = [edge(f"b/{i:03}", "a/root") for i in range(SHOWN + 7)]
    chart = Chart(edges, alone=[f"c/{i:03}" for i in range(SHOWN + 3)])
    text = printed(chart)
    assert "… 7 more (--all)" in text and "… 3 more (--all)" in text
    assert f"b/{SHOWN:03}" not in text and f"c/{SHOWN:03}" not in text
    whole = printed(chart, show_all=True)
    assert "more" not in whole
    assert all(f"b/{i:03}" in whole for i in range(SHOWN + 7))


def test_names_are_text_and_neither_markup_nor_control_of_the_terminal():
    hostile = "[red]x[/red]\x1b[2J\x9b31m"
    chart = Chart([edge(hostile, "a/[b]root")], unread={hostile: "bad\x1b]0;title\x07"}, alone=["[bold]y"])
    text = printed(chart)
    assert "\x1b" not in text and "\x9b" not in text and "\x07" not in text
    assert "[red]x[/red]?[2J?31m" in text and "a/[b]root" in text and "  [bold]y" in text


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_long_chain_is_shown_whole_however_narrow_the_terminal(is_terminal):
    edges = [edge(f"m/{i + 1:04}", f"m/{i:04}") for i in range(200)]
    lines = printed(Chart(edges), width=30, force_terminal=is_terminal, no_color=True, show_all=True).splitlines()
    assert sum("fan, 0.75" in line for line in lines) == 200


def test_elsewhere_than_on_a_terminal_a_model_is_one_line():
    candidates = [f"organisation-{i}/{'n' * 60}" for i in range(3)]
    chart = Chart([edge("b/child", "a/root", is_ambiguous=True, evidence={"candidates": candidates})])
    assert any(all(name in line for name in candidates) for line in printed(chart, width=40).splitlines())


def test_edges_are_lines_of_json():
    stream = io.StringIO()
    chart = Chart([edge("b/c\n", "a/r"), edge("d/é", "a/r", coefficient=0.5)])
    write_edges(stream, chart)
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == list(chart.edges)
    assert "b/c" not in printed(chart, with_edges=False)


@st.composite
def charts(draw) -> Chart:
    n = draw(st.integers(1, 25))
    pairs = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=40))
    edges = {(max(pair), min(pair)) for pair in pairs if pair[0] != pair[1]}
    share = st.none() | st.floats(0, 1)
    rows = [edge(f"m/{c:02}", f"m/{p:02}", coefficient=draw(share)) for c, p in sorted(edges)]
    return Chart(rows, order={f"m/{i:02}": n - i for i in range(n)})


@settings(max_examples=60, deadline=None)
@given(charts())
def test_every_model_stands_in_full_once_and_every_edge_once(chart):
    trees = lineage_trees(chart, limit=None)
    found = labels(trees)
    in_full = Counter(label.split("  ")[0] for label in found if "see under" not in label)
    related = {row[end] for row in chart.edges for end in ("child_id", "parent_id")}
    assert in_full == dict.fromkeys(related, 1)
    roots = related - {row["child_id"] for row in chart.edges}
    assert sum(map(len, trees)) == len(roots)
    assert len(found) == len(roots) + len(chart.edges)
    shuffled = replace(chart, edges=list(reversed(chart.edges)))
    assert labels(lineage_trees(shuffled, limit=None)) == found
