"""What the audit says in words: hostile ids stay text."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.edges.audit_text import code, front_matter
from atlas_pipeline_tests.edges.test_audit import CHILD, OTHER, PARENT, declared, edge, judged

HOSTILE = "a`b/``c`\n# Hello\n![x](http://x) <script> @everyone | **x**"


def test_hostile_ids_stay_within_their_code_spans():
    row = judged(declared(child="x/<b>`", parent=HOSTILE), edge("x/<b>`", OTHER + "\n- x", confidence=0.9999))
    outside = re.sub(r"```yaml\n.*?\n```", "", row.message, flags=re.DOTALL)
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", outside)
    assert not any(mark in outside for mark in ("<", "![", "@", "|", "http", "`"))
    assert [line for line in row.message.splitlines() if line.startswith("#")] == [
        f"## Base model of {code('x/<b>`')}",
    ]
    assert "\n" not in row.explanation


def test_suggested_lines_stand_in_a_block_of_their_own():
    """Also where a sentence follows, as it does for a copy, which the Hub has no relation for."""
    equal = declared(child_sha256="x", parent_sha256="x")
    for row in (
        judged(equal, edge(CHILD, PARENT, rule="duplicate", relation="duplicate", confidence=0.999)),
        judged(declared(parent=HOSTILE), edge(CHILD, OTHER + "\n```\n# x", confidence=0.9999)),
    ):
        fences = [line for line in row.message.splitlines() if line.startswith("```")]
        assert fences == ["```yaml", "```"]


@pytest.mark.parametrize(("confidence", "says"), [(0.9999, "over 99 %"), (0.99, "84 %")])
def test_a_message_says_how_sure_it_is(confidence, says):
    row = judged(declared(), edge(CHILD, OTHER, confidence=confidence))
    assert f"**How sure this is.** {says}" in row.message
    assert "`lab/parent` stands with the relation fine-tune in the tags." in row.message


@given(st.text(max_size=60))
def test_a_code_span_is_one_line_that_ends_where_it_should(text):
    span = code(text)
    fence = re.match("`+", span)[0]
    inside = span[len(fence) : -len(fence)]
    assert span.endswith(fence)
    assert len(fence) not in {len(run) for run in re.findall("`+", inside)}
    assert span.splitlines() == [span]


@given(st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=4), st.sampled_from(["merge", "duplicate"]))
def test_suggested_lines_are_the_yaml_that_they_should_be(parents, relation):
    read = yaml.safe_load(front_matter(parents, relation))
    seen = ["".join(c if c.isprintable() else " " for c in parent) for parent in parents]
    assert read["base_model"] == (seen[0] if len(seen) == 1 else seen)
    assert read.get("base_model_relation") == ("merge" if relation == "merge" else None)
