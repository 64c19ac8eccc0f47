import json
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.components.cards.yaml import MAX_DEPTH, MAX_DOCUMENTS, MAX_VALUES, CardYamlError, as_json, read_yaml

SCALARS = {
    "no": "no",
    "off": "off",
    "yes": "yes",
    "n": "n",
    "true": True,
    "False": False,
    "null": None,
    "~": None,
    "12": 12,
    "-3": -3,
    "1.5": 1.5,
    "1e3": 1000.0,
    "007": "007",
    "1_000": "1_000",
    "0x1F": "0x1F",
    "12:30:45": "12:30:45",
    "2024-01-02": "2024-01-02",
    "2024-01-02T03:04:05Z": "2024-01-02T03:04:05Z",
    ".nan": ".nan",
    ".inf": ".inf",
    "1e999": "1e999",
    "9" * 30: 1e30,
    "'12'": "12",
    '"true"': "true",
    "!!str 12": "12",
    "=": "=",
    "<<": "<<",
}


@pytest.mark.parametrize(("written", "value"), SCALARS.items(), ids=list(SCALARS))
def test_a_scalar_is_what_its_author_wrote(written, value):
    (document,) = read_yaml(f"key: {written}\n")
    assert document == {"key": value}
    assert type(document["key"]) is type(value)
    assert json.loads(as_json(document)) == document


def test_keys_are_text():
    assert read_yaml("on: 1\nnull: 2\n3: 4\ntrue: 5\n") == [{"on": 1, "null": 2, "3": 4, "true": 5}]


def test_the_character_nul_is_left_out():
    assert read_yaml('a: "x\\0y"') == [{"a": "xy"}]


def test_aliases_stand_for_their_anchors():
    assert read_yaml("a: &x [1, 2]\nb: *x\n") == [{"a": [1, 2], "b": [1, 2]}]


def test_several_documents_and_none():
    assert read_yaml("a: 1\n---\nb: 2\n") == [{"a": 1}, {"b": 2}]
    assert read_yaml("") == read_yaml("# nothing\n") == []


BOMB = "a: &a [" + ", ".join(["x"] * 10) + "]\n"
for before, name in zip("abcdefg", "bcdefgh", strict=True):
    BOMB += f"{name}: &{name} [" + ", ".join([f"*{before}"] * 10) + "]\n"

HOSTILE = {
    "alias bomb": (BOMB, f"more than {MAX_VALUES} values"),
    "anchor within itself": ("a: &x [*x]", "stands for nothing"),
    "alias of nothing": ("a: *x", "found undefined alias|stands for nothing"),
    "object": ("a: !!python/object/apply:os.system [ls]", "is not allowed"),
    "name": ("a: !!python/name:os.system ''", "is not allowed"),
    "own tag": ("a: !secret x", "is not allowed"),
    "binary": ("a: !!binary aGk=", "is not allowed"),
    "set": ("a: !!set {x, y}", "is not allowed"),
    "deep flow": ("a: " + "[" * 10_000, f"nested deeper than {MAX_DEPTH}"),
    "deep block": ("\n".join(" " * i + "a:" for i in range(100)), f"nested deeper than {MAX_DEPTH}"),
    "many values": ("[" + "1," * (MAX_VALUES + 1) + "]", f"more than {MAX_VALUES} values"),
    "many documents": ("--- 1\n" * (MAX_DOCUMENTS + 1), f"more than {MAX_DOCUMENTS} documents"),
    "key twice": ("license: mit\nlicense: apache-2.0\n", "the key 'license' stands twice"),
    "key that is a list": ("? [a, b]\n: c\n", "a key is no text"),
    "no YAML": ("a: b: c", "line 1: "),
    "tab": ("a:\n\t- b", "line 2: "),
    "open quote": ("a: 'b", "line "),
    "control character": ("a: \x07", "."),
    "surrogate": ("a: \ud800", "."),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_yaml_is_refused_with_a_reason_and_at_once(case):
    text, reason = HOSTILE[case]
    started = time.perf_counter()
    with pytest.raises(CardYamlError, match=reason):
        read_yaml(text)
    assert time.perf_counter() - started < 5


def test_a_huge_scalar_is_a_text():
    assert read_yaml("a: " + "x" * 200_000) == [{"a": "x" * 200_000}]


@given(st.text(max_size=200) | st.text(alphabet="a:-[]{}&*!|>'\"#%@ \n,?", max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        documents = read_yaml(text)
    except CardYamlError as error:
        assert str(error)
    else:
        assert json.loads(as_json(documents)) == documents


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(st.characters(codec="ascii"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=50)
@given(VALUES)
def test_what_pyyaml_writes_comes_back(value):
    # PyYAML quotes whatever it would itself take for something else than text.
    written = yaml.safe_dump(value, default_style='"' if isinstance(value, str) else None)
    (read,) = read_yaml(written)
    assert read == _without_nul(value)


def _without_nul(value):
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_without_nul(each) for each in value]
    return {key: _without_nul(each) for key, each in value.items()} if isinstance(value, dict) else value
