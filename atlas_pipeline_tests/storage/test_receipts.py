"""A damaged receipt is no receipt, however it is damaged."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.storage import Receipt

GOOD = Receipt("edges.charted", "bucket-00", 3, 1000, "ab", "cd", {"seed": "0"}, "ef", 50)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)


def test_a_receipt_comes_back_from_its_json() -> None:
    for receipt in (GOOD, dataclasses.replace(GOOD, partition=None, attachment_sha256=None, attachment_bytes=None)):
        assert Receipt.from_json(receipt.to_json()) == receipt


DAMAGED = {
    "rows": ["3", -1, 1.5, True, None],
    "bytes": ["1000", None, -1],
    "sha256": [None, 7],
    "table": [None, ["edges"]],
    "partition": [7, {}],
    "inputs": [None, [], {"seed": 0}, "seed"],
    "attachment_sha256": [None, 5],
    "attachment_bytes": [None, "50"],
    "more": [1],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in DAMAGED.items() for value in values])
def test_a_field_of_another_type_makes_it_none(name: str, value: object) -> None:
    assert Receipt.from_json(json.dumps(dataclasses.asdict(GOOD) | {name: value})) is None


@pytest.mark.parametrize("text", ["", "null", "[]", "7", "{", "[" * 100_000, '{"table": 1}', "NaN", "\ufffd"])
def test_what_is_no_receipt_is_none(text: str) -> None:
    assert Receipt.from_json(text) is None


@given(st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(Receipt)]), JSON) | JSON)
def test_any_json_is_a_receipt_or_none(value: object) -> None:
    found = Receipt.from_json(json.dumps(value))
    assert found is None or json.loads(found.to_json())["table"] == value["table"]


def test_the_digest_tells_arrays_apart() -> None:
    assert GOOD.digest != dataclasses.replace(GOOD, attachment_sha256="00").digest
    assert GOOD.digest != dataclasses.replace(GOOD, attachment_sha256=None, attachment_bytes=None).digest
