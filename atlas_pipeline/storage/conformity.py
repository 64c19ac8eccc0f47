"""Rows as a contract wants them: columns by name, types that keep their meaning, one order, row groups of one size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from atlas_pipeline.schema import Column, TableContract
from atlas_pipeline.storage.errors import ContractError

WIDE_BYTES: Final = 1 << 31
"""From so many bytes on, rows are reordered with 64-bit offsets: Arrow's text columns address 2 GiB at a time."""


def write_parquet(contract: TableContract, data: pa.Table | pa.RecordBatchReader, stream: IO[bytes]) -> int:
    """Write rows as the one Parquet file that they make, however they were ordered or cut into batches.

    Args:
        contract: of the table.
        data: rows with the contract's columns in any order; a Table is sorted by the contract's order or key, a
            reader must come sorted.
        stream: takes the file.

    Returns:
        number of rows.

    Raises:
        ContractError: the rows do not keep the contract, or a reader's are in another order.
    """
    _require_columns(contract, data.schema)
    is_ordered = isinstance(data, pa.Table)
    if isinstance(data, pa.Table):
        data = _sorted(contract, data).to_reader()
    rows = 0
    last: pa.Table | None = None
    with pq.ParquetWriter(stream, contract.arrow_schema, compression="zstd") as writer:
        for group in _in_row_groups(data, contract.row_group_rows):
            conformed = [_conform(contract, column, group.column(column.name)) for column in contract.columns]
            columns = [values.combine_chunks() for values in conformed]
            table = pa.Table.from_arrays(columns, schema=contract.arrow_schema)
            if not is_ordered:
                last = _require_order(contract, table, last)
            writer.write_table(table, row_group_size=contract.row_group_rows)
            rows += group.num_rows
    return rows


def _require_columns(contract: TableContract, schema: pa.Schema) -> None:
    expected, given = [c.name for c in contract.columns], schema.names
    if missing := [name for name in expected if name not in given]:
        raise ContractError(f"{contract.name}: missing columns {', '.join(missing)}")
    if unknown := [name for name in given if name not in expected]:
        raise ContractError(f"{contract.name}: columns that the contract does not know: {', '.join(unknown)}")
    if len(given) > len(expected):
        raise ContractError(f"{contract.name}: a column stands twice among {', '.join(given)}")
    for column in contract.columns:
        if not _is_of_kind(schema.field(column.name).type, column.type):
            given_type = schema.field(column.name).type
            raise ContractError(f"{contract.name}.{column.name}: {given_type} does not become {column.type}")


def _is_of_kind(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of one type can keep their meaning as another: texts stay texts, numbers numbers.

    Arrow's own cast would parse texts, count an integer as microseconds, and drop or invent the fields of a struct.
    Whether each value fits is left to the cast. Instants without a zone count as UTC.
    """
    kind = pa.types
    if isinstance(given, pa.BaseExtensionType):
        return _is_of_kind(given.storage_type, wanted)
    if kind.is_dictionary(given):
        return _is_of_kind(given.value_type, wanted)
    if kind.is_null(given):
        return True
    if kind.is_struct(wanted):
        return (
            kind.is_struct(given)
            and sorted(field.name for field in given) == sorted(field.name for field in wanted)
            and all(_is_of_kind(given.field(field.name).type, field.type) for field in wanted)
        )
    if kind.is_map(wanted):
        return (
            kind.is_map(given)
            and _is_of_kind(given.key_type, wanted.key_type)
            and _is_of_kind(given.item_type, wanted.item_type)
        )
    if kind.is_list(wanted):
        is_list = kind.is_list(given) or kind.is_large_list(given) or kind.is_fixed_size_list(given)
        return is_list and _is_of_kind(given.value_type, wanted.value_type)
    return any(
        is_one(given) and is_one(wanted) for is_one in (_is_text, _is_number, kind.is_boolean, kind.is_timestamp)
    )


def _is_text(given: pa.DataType) -> bool:
    return pa.types.is_string(given) or pa.types.is_large_string(given) or pa.types.is_string_view(given)


def _is_number(given: pa.DataType) -> bool:
    return pa.types.is_integer(given) or pa.types.is_floating(given) or pa.types.is_decimal(given)


def _sorted(contract: TableContract, table: pa.Table) -> pa.Table:
    """Rows in the contract's order; those that stand in it already are not moved."""
    names = contract.order_by or contract.key
    columns = {column.name: column for column in contract.columns}
    keys = pa.table({name: _conform(contract, columns[name], table.column(name)) for name in names})
    if _stands_in_order(keys):
        return table
    order = pc.sort_indices(keys, [(name, "ascending") for name in names])
    if table.nbytes >= WIDE_BYTES:
        table = table.cast(pa.schema([field.with_type(_wide(field.type)) for field in table.schema]))
    return table.take(order)


def _stands_in_order(keys: pa.Table) -> bool:
    """Whether rows ascend by the columns, nulls last: each compared with the next, which is far cheaper than a sort."""
    is_tied = pa.scalar(True)
    for column in keys.columns:
        values = column.combine_chunks()
        this, following = values.slice(0, max(len(values) - 1, 0)), values.slice(1)
        is_less = pc.if_else(pc.is_null(following), pc.is_valid(this), pc.fill_null(pc.less(this, following), False))
        is_same = pc.if_else(pc.is_null(following), pc.is_null(this), pc.fill_null(pc.equal(this, following), False))
        if not pc.all(pc.or_(pc.invert(is_tied), pc.or_(is_less, is_same))).as_py() and len(this):
            return False
        is_tied = pc.and_(is_tied, is_same)
    return True


def _require_order(contract: TableContract, group: pa.Table, last: pa.Table | None) -> pa.Table:
    """Refuse rows that do not come in the contract's order, given the key of the row before; returns the last key."""
    keys = group.select(list(contract.order_by or contract.key))
    joined = keys if last is None else pa.concat_tables([last, keys])
    if not _stands_in_order(joined):
        raise ContractError(f"{contract.name}: rows do not come in the order of {', '.join(keys.column_names)}")
    return keys.slice(max(keys.num_rows - 1, 0))


def _wide(given: pa.DataType) -> pa.DataType:
    """The type with 64-bit offsets, which hold more than 2 GiB in one column."""
    if pa.types.is_string(given):
        return pa.large_string()
    if pa.types.is_struct(given):
        return pa.struct([field.with_type(_wide(field.type)) for field in given])
    if pa.types.is_list(given):
        return pa.large_list(given.value_field.with_type(_wide(given.value_type)))
    if pa.types.is_map(given):
        return pa.map_(_wide(given.key_type), _wide(given.item_type))
    return given


def _in_row_groups(reader: pa.RecordBatchReader, n_rows: int) -> Iterator[pa.Table]:
    """Batches gathered to row groups of equal size, so that the bytes do not depend on how the batches came."""
    pending: list[pa.RecordBatch] = []
    n_pending = 0
    is_first = True
    for batch in reader:
        pending.append(batch)
        n_pending += batch.num_rows
        while n_pending >= n_rows:
            table = pa.Table.from_batches(pending, reader.schema)
            yield table.slice(0, n_rows)
            is_first = False
            pending = table.slice(n_rows).to_batches()
            n_pending -= n_rows
    if n_pending or is_first:
        yield pa.Table.from_batches(pending, reader.schema)


def _conform(contract: TableContract, column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        conformed = values.cast(column.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise ContractError(
            f"{contract.name}.{column.name}: {values.type} does not become {column.type}: {error}"
        ) from error
    if not column.nullable and conformed.null_count:
        raise ContractError(f"{contract.name}.{column.name}: {conformed.null_count} nulls where none may be")
    return conformed
