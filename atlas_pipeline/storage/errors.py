"""What can go wrong with tables, each with a sentence that says what to do."""

from __future__ import annotations


class StorageError(Exception):
    """A table cannot be read or written."""


class ContractError(StorageError):
    """Data that does not keep its table's contract; nothing was written."""


class TableNotMaterialized(StorageError):
    """A table or partition that was never made.

    Attributes:
        table: the table's name.
        partition: the partition that is missing; None for the whole table.
    """

    def __init__(self, table: str, partition: str | None = None) -> None:
        self.table, self.partition = table, partition
        what = f"{table}, partition {partition}," if partition else table
        key = table.replace(".", "/")
        super().__init__(f"{what} is not there: materialise the asset {key} first (atlas run --select {table})")
