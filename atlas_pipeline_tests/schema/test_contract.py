"""The contracts keep the grammar that everything generated from them relies on."""

from __future__ import annotations

import dataclasses
import re

import pyarrow as pa
import pytest

from atlas_pipeline.schema import RELEASED, STAGES, TABLES, Column, TableContract, contract_of
from atlas_pipeline.schema.contract import FLAG, INSTANT, INTEGER, REAL, TEXT, TEXTS, struct
from atlas_pipeline.schema.release import TEXTS_OF_OTHERS
from atlas_pipeline.settings import Settings

CONTRACTS = pytest.mark.parametrize("contract", TABLES.values(), ids=lambda contract: contract.name)
LOWER = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@CONTRACTS
def test_names_can_stand_in_sql_paths_and_keys(contract: TableContract) -> None:
    assert TABLES[contract.name] is contract_of(contract.name) is contract
    assert contract.name == f"{contract.stage}.{contract.table}"
    assert contract.stage in STAGES
    assert LOWER.fullmatch(contract.table)
    assert contract.grain
    assert contract.description.endswith(".")


@CONTRACTS
def test_columns_are_distinct_and_described(contract: TableContract) -> None:
    names = [column.name for column in contract.columns]
    assert len({name.lower() for name in names}) == len(names), "DuckDB does not tell letter cases apart"
    for column in contract.columns:
        assert column.description.endswith(".")
    assert contract.arrow_schema.names == names
    assert [field.nullable for field in contract.arrow_schema] == [column.nullable for column in contract.columns]


@CONTRACTS
def test_keys_and_order_are_columns_that_can_be_sorted_by(contract: TableContract) -> None:
    columns = {column.name: column for column in contract.columns}
    assert contract.key
    assert len(set(contract.key)) == len(contract.key)
    for name in (*contract.key, *contract.order_by):
        assert columns[name].type in (TEXT, INTEGER, INSTANT)
    if contract.order_by:
        assert contract.order_by[0] in contract.key


@CONTRACTS
def test_rules_for_values_fit_the_type(contract: TableContract) -> None:
    for column in contract.columns:
        if column.values is not None:
            assert column.type == TEXT
            assert column.values
            assert len(set(column.values)) == len(column.values)
        if column.minimum is not None or column.maximum is not None:
            assert column.type in (INTEGER, REAL)
            assert (column.minimum or 0) < (column.maximum or float("inf"))


@CONTRACTS
def test_names_tell_the_type(contract: TableContract) -> None:
    """The raw stage keeps the source's own names."""
    if contract.stage == "raw":
        return
    for column in contract.columns:
        assert LOWER.fullmatch(column.name)
        assert column.name.endswith("_at") == (column.type == INSTANT)
        if column.name.startswith("n_"):
            assert (column.type, bool(column.unit), column.minimum in (0, 1)) == (INTEGER, True, True)
        if column.name.startswith(("is_", "has_")):
            assert column.type == FLAG
        if column.type == FLAG:
            assert re.search(r"(^|_)(is|has)_", column.name)
        if column.name.endswith(("_id", "_name", "_key", "_sha256")):
            assert column.type == TEXT


@CONTRACTS
def test_partitioned_tables_say_which_partition_a_row_is_of(contract: TableContract) -> None:
    columns = {column.name: column for column in contract.columns}
    needed = {"snapshot": "snapshot", "region": "region_id", None: None}[contract.partitioned_by]
    if needed is not None:
        assert (columns[needed].type, columns[needed].nullable) == (TEXT, False)
    assert ("snapshot" in columns) == (contract.partitioned_by == "snapshot")


@CONTRACTS
def test_inputs_come_earlier_and_settings_exist(contract: TableContract) -> None:
    order = list(TABLES)
    given = [each.table for each in contract.inputs]
    assert len(set(given)) == len(given)
    for each in contract.inputs:
        assert order.index(each.table) < order.index(contract.name)
        other = contract_of(each.table)
        if each.scope == "same":
            assert other.partitioned_by == contract.partitioned_by
        if each.scope == "up_to":
            assert other.partitioned_by == contract.partitioned_by == "snapshot"
        if each.scope == "latest":
            assert other.partitioned_by == "snapshot"
    assert set(contract.settings) <= {field.name for field in dataclasses.fields(Settings)}
    assert bool(contract.inputs) != (contract.stage == "raw")


def test_one_name_means_one_type_and_one_unit_outside_the_raw_stage() -> None:
    found: dict[str, set[tuple[pa.DataType, str | None]]] = {}
    for contract in TABLES.values():
        if contract.stage != "raw":
            for column in contract.columns:
                found.setdefault(column.name, set()).add((column.type, column.unit))
    free = {"value", "reported_value"}
    assert {name for name, kinds in found.items() if len(kinds) > 1} <= free


def test_stages_follow_each_other_and_all_but_the_source_is_released() -> None:
    stages = [contract.stage for contract in TABLES.values()]
    assert stages == sorted(stages, key=STAGES.index)
    assert set(stages) == set(STAGES)
    made = tuple(name for name, c in TABLES.items() if c.stage != "raw")
    kept = (*TEXTS_OF_OTHERS, "release.editions", "release.checks", "release.files", "release.published")
    assert tuple(name for name in made if name not in kept) == RELEASED
    for name in ("release.checks", "release.files"):
        read = {given.table for given in contract_of(name).inputs if given.scope == "all"}
        assert set(RELEASED) <= read


def test_a_table_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(KeyError, match=r"there is no table 'edges'; the tables are raw\.hub_stats, "):
        contract_of("edges")


# -- fingerprints ----------------------------------------------------------------------------------------------------

BASE = TableContract(
    name="edges.charted",
    grain="edge",
    description="Edges.",
    columns=(
        Column("a", TEXT, "A.", nullable=False),
        Column("b", struct(x=INTEGER, y=TEXTS), "B."),
        Column("c", pa.map_(TEXT, INTEGER), "C."),
    ),
    key=("a",),
    partitioned_by="region",
)


def with_column(number: int, **changes: object) -> tuple[Column, ...]:
    columns = list(BASE.columns)
    columns[number] = dataclasses.replace(columns[number], **changes)
    return tuple(columns)


SEEN = {
    "name": {"name": "edges.scores"},
    "version": {"version": "2"},
    "key": {"key": ("a", "b")},
    "order": {"order_by": ("b",)},
    "partitions": {"partitioned_by": "snapshot"},
    "column order": {"columns": BASE.columns[::-1]},
    "column name": {"columns": with_column(0, name="d")},
    "column type": {"columns": with_column(0, type=INTEGER)},
    "column nullable": {"columns": with_column(0, nullable=True)},
    "a column less": {"columns": BASE.columns[:-1]},
    "field name": {"columns": with_column(1, type=struct(z=INTEGER, y=TEXTS))},
    "field type": {"columns": with_column(1, type=struct(x=REAL, y=TEXTS))},
    "element name": {"columns": with_column(1, type=struct(x=INTEGER, y=pa.list_(pa.field("item", TEXT))))},
    "map type": {"columns": with_column(2, type=pa.map_(TEXT, REAL))},
}
NOT_SEEN = {
    "words": {"grain": "x", "description": "X.", "columns": with_column(0, description="X.", unit="x")},
    "rules for values": {"columns": with_column(0, values=("x",))},
    "the key named as the order": {"order_by": ("a",)},
    "settings": {"settings": ("seed",)},
}


def test_a_fingerprint_changes_with_what_is_stored() -> None:
    prints = [dataclasses.replace(BASE, **changes).fingerprint for changes in SEEN.values()]
    assert len({BASE.fingerprint, *prints}) == len(SEEN) + 1


@pytest.mark.parametrize("change", NOT_SEEN)
def test_a_fingerprint_does_not_change_with_what_is_not_stored(change: str) -> None:
    assert dataclasses.replace(BASE, **NOT_SEEN[change]).fingerprint == BASE.fingerprint
