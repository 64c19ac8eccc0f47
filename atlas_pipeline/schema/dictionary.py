"""The data dictionary: every table and column in words, generated from the contracts."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from atlas_pipeline.schema import contract_of
from atlas_pipeline.schema.contract import Column, TableContract

NAMES = {pa.string(): "text", pa.int64(): "integer", pa.float64(): "real", pa.bool_(): "flag"}


def data_dictionary(tables: Sequence[str]) -> str:
    """The dictionary of some tables as Markdown."""
    intro = (
        "# Data dictionary\n\nGenerated from the table contracts. Ids are Hub ids (`org/name`), times are UTC. "
        "`key` marks the columns that identify a row within a partition; **required** ones are never null."
    )
    return "\n\n".join([intro, *(_section(contract_of(table)) for table in tables)]) + "\n"


def _section(contract: TableContract) -> str:
    lines = [f"## {contract.name}", "", f"One row per {contract.grain}. {contract.description}", ""]
    made_from = ", ".join(f"`{given.table}`" for given in contract.inputs[:6])
    more = f" and {len(contract.inputs) - 6} more" if len(contract.inputs) > 6 else ""
    lines += [
        f"Partitioned by {contract.partitioned_by or 'nothing'}. Made from {made_from or 'the source'}{more}.",
        "",
    ]
    lines += ["| column | type | | meaning |", "|---|---|---|---|"]
    return "\n".join(lines + [_row(contract, column) for column in contract.columns])


def _row(contract: TableContract, column: Column) -> str:
    marks = ["key"] if column.name in contract.key else []
    marks += [] if column.nullable else ["**required**"]
    meaning = column.description
    if column.unit:
        meaning += f" Unit: {column.unit}."
    if column.values:
        meaning += f" One of {', '.join(f'`{value}`' for value in column.values)}."
    return f"| `{column.name}` | {_type(column.type)} | {', '.join(marks)} | {meaning} |"


def _type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "timestamp (UTC)"
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type)}"
    if pa.types.is_struct(kind):
        return "struct of " + ", ".join(f"{field.name} ({_type(field.type)})" for field in kind)
    if pa.types.is_map(kind):
        return f"map of {_type(kind.key_type)} to {_type(kind.item_type)}"
    return NAMES[kind]
