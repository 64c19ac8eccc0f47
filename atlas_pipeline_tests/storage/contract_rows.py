"""Rows that keep a contract: drawn at random, or one of each, told apart by a marker."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import strategies as st

from atlas_pipeline.schema import TableContract, contract_of
from atlas_pipeline.schema.contract import FLAG, INSTANT, INTEGER, REAL, TEXT

_INT64 = 2**63
SIMPLE = {
    TEXT: st.text(max_size=8),
    INTEGER: st.integers(-_INT64, _INT64 - 1),
    REAL: st.floats(allow_nan=False),
    FLAG: st.booleans(),
    INSTANT: st.datetimes(timezones=st.just(UTC)),
}


def values_of(kind: pa.DataType, *, nullable: bool = True) -> st.SearchStrategy:
    """Python values of an Arrow type."""
    if pa.types.is_struct(kind):
        made = st.fixed_dictionaries({field.name: values_of(field.type) for field in kind})
    elif pa.types.is_map(kind):
        made = st.dictionaries(values_of(kind.key_type, nullable=False), values_of(kind.item_type), max_size=3).map(
            lambda pairs: list(pairs.items())
        )
    elif pa.types.is_list(kind):
        made = st.lists(values_of(kind.value_type), max_size=3)
    else:
        made = SIMPLE[kind]
    return st.none() | made if nullable else made


@st.composite
def rows_of(draw: st.DrawFn, contract: TableContract, max_size: int = 6) -> pa.Table:
    """A table that keeps the contract's columns, nullability and key, in no particular order of rows."""
    row = st.fixed_dictionaries({c.name: values_of(c.type, nullable=c.nullable) for c in contract.columns})
    sorted_by = {*contract.key, *contract.order_by}
    unique = [lambda r: tuple(r[k] for k in contract.key), lambda r: tuple(r[k] for k in sorted_by)]
    rows = draw(st.lists(row, max_size=max_size, unique_by=tuple(unique)))
    return pa.Table.from_pylist(rows, contract.arrow_schema)


def one_of_each(kind: pa.DataType, marker: str) -> object:
    """One value of a type that depends on the marker."""
    if pa.types.is_struct(kind):
        return {field.name: one_of_each(field.type, marker) for field in kind}
    if pa.types.is_map(kind):
        return [(one_of_each(kind.key_type, marker), one_of_each(kind.item_type, marker))]
    if pa.types.is_list(kind):
        return [one_of_each(kind.value_type, marker)]
    number = sum(marker.encode())
    return {TEXT: marker, INTEGER: number, REAL: number / 8, FLAG: True, INSTANT: datetime(2025, 1, 1, tzinfo=UTC)}[
        kind
    ]


def some_rows(table: str, marker: str = "some", n_rows: int = 2, **values: object) -> pa.Table:
    """Rows of a table with distinct keys, every column filled.

    Args:
        table: the table.
        marker: what its texts say.
        n_rows: number of rows.
        values: values by column, the same in every row, or a list with one for each.
    """
    contract = contract_of(table)
    rows = []
    for i in range(n_rows):
        row = {c.name: one_of_each(c.type, f"{marker}-{i}") for c in contract.columns}
        row |= {name: value[i] if isinstance(value, list) else value for name, value in values.items()}
        rows.append(row)
    return pa.Table.from_pylist(rows, contract.arrow_schema)
