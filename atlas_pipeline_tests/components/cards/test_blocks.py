import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.components.cards.blocks import normalised, read_body, split_front_matter


def test_front_matter_is_what_stands_between_the_lines():
    assert split_front_matter("---\na: 1\n---\n# Title\n") == ("a: 1\n", "\n# Title\n")
    assert split_front_matter("\ufeff\r\n---\r\na: 1\r\n---  \r\ntext") == ("a: 1\n", "\ntext")
    assert split_front_matter("---\n---\ntext") == ("", "\ntext")
    assert split_front_matter("# Title\n---\na: 1\n---\n") == (None, "# Title\n---\na: 1\n---\n")
    assert split_front_matter("") == (None, "")


def test_front_matter_without_an_end_is_an_error():
    with pytest.raises(ValueError, match="no end"):
        split_front_matter("---\nlicense: mit\n\n# Title\n")


def test_blocks_are_headings_paragraphs_items_and_rows():
    body = "# Title #\nA paragraph\nof two lines.\n\n- one\n  more\n* two\n1. three\n\n| a | b |\n|---|---|\n> quoted\n"
    found = [(block.kind, block.text, block.section) for block in read_body(body).blocks]
    assert found == [
        ("heading", "Title", ""),
        ("paragraph", "A paragraph of two lines.", "title"),
        ("item", "one more", "title"),
        ("item", "two", "title"),
        ("item", "three", "title"),
        ("row", "| a | b |", "title"),
        ("row", "|---|---|", "title"),
        ("paragraph", "quoted", "title"),
    ]


def test_code_is_no_prose():
    fenced = "before\n```python\nx = 1\n\n# y\n```\nafter\n\n"
    body = fenced + "    indented:\n      - deeper\n\n    still\n\nend\n~~~~\nz\n~~~\nz\n~~~~\n"
    read = read_body(body)
    assert [block.text for block in read.blocks] == ["before", "after", "end"]
    assert read.code == ("x = 1\n\n# y", "indented:\n  - deeper\n\nstill\n", "z\n~~~\nz")
    assert read.n_words == 3


def test_a_fence_that_is_not_closed_hides_the_rest():
    assert [block.text for block in read_body("a\n```\nb\n\nc").blocks] == ["a"]


def test_what_is_indented_in_a_list_is_no_code():
    read = read_body("- one\n\n    continued\n\n    - two\n")
    assert [block.text for block in read.blocks] == ["one", "continued", "two"]
    assert read.code == ()


def test_comments_are_hidden():
    assert [b.text for b in read_body("a <!-- b\n\nc --> d\n<!-- e").blocks] == ["a", "d"]


def test_words_are_counted_without_marks():
    assert read_body("# One two\n\n- three | - * 4 five-six\n\n| seven | |\n").n_words == 6


def test_normalised_text_has_no_control_characters():
    assert normalised("a\x00\x1b[1m\u202eb\t\n c\u200b\ue000") == "a[1mb c"


@given(st.text(max_size=300) | st.text(alphabet="ab`~#-*>| \n\t<!1.", max_size=80))
def test_blocks_are_pieces_of_the_card(text):
    whole = normalised(text)
    for block in read_body(text).blocks:
        assert block.text
        assert block.text in whole


@pytest.mark.parametrize(
    "text",
    ["---\n" + "\n" * 200_000, "<!--" * 50_000, "```\n~~~\n" * 25_000, "- " * 100_000, "#" * 200_000, ">" * 200_000],
)
def test_no_text_takes_long(text):
    started = time.perf_counter()
    try:
        _, body = split_front_matter(text)
    except ValueError:
        body = text
    read_body(body)
    assert time.perf_counter() - started < 5
