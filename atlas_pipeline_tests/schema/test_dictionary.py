"""The data dictionary says everything that the contracts say, in Markdown that holds."""

from __future__ import annotations

import re

import pytest

from atlas_pipeline.schema import RELEASED, TABLES, contract_of
from atlas_pipeline.schema.dictionary import data_dictionary

ROW = re.compile(r"\| `(?P<name>[^`|]+)` \| (?P<type>[^|]+) \| (?P<marks>[^|]*) \| (?P<meaning>[^|]+) \|")


def sections(tables: tuple[str, ...]) -> dict[str, list[str]]:
    parts = data_dictionary(tables).split("\n## ")
    return {part.split("\n")[0]: part.split("\n") for part in parts[1:]}


def test_every_table_that_was_asked_for_has_a_section_in_order() -> None:
    assert list(sections(tuple(TABLES))) == list(TABLES)
    assert list(sections(RELEASED[:2])) == list(RELEASED[:2])
    with pytest.raises(KeyError, match="there is no table"):
        data_dictionary(["edges.none"])


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_there_with_all_that_is_known_of_it(table: str) -> None:
    contract = contract_of(table)
    lines = sections(tuple(TABLES))[table]
    rows = [ROW.fullmatch(line) for line in lines if line.startswith("| `")]
    assert None not in rows
    assert [row["name"] for row in rows] == [column.name for column in contract.columns]
    for row, column in zip(rows, contract.columns, strict=True):
        assert column.description in row["meaning"]
        assert ("key" in row["marks"]) == (column.name in contract.key)
        assert ("**required**" in row["marks"]) == (not column.nullable)
        assert (f"Unit: {column.unit}." in row["meaning"]) == (column.unit is not None)
        for value in column.values or ():
            assert f"`{value}`" in row["meaning"]
    text = "\n".join(lines)
    assert f"One row per {contract.grain}. {contract.description}" in text
    assert f"Partitioned by {contract.partitioned_by or 'nothing'}." in text


def test_types_are_said_in_words() -> None:
    text = "\n".join(sections(tuple(TABLES))["raw.hub_stats"])
    assert "| list of text |" in text
    assert "| timestamp (UTC) |" in text
    assert "| struct of parameters (map of text to integer), total (integer) |" in text
    assert "| struct of relation (text), models (list of struct of _id (text), id (text)) |" in text
