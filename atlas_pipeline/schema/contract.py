"""What a table promises: columns, types, units, key, grain, and the tables that it is made from.

Belongs here: the vocabulary of contracts. The contracts themselves stand in the modules named after the stages.
Does not belong here: reading, writing or checking tables (``storage``, ``quality``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final, Literal

import pyarrow as pa

Partitioning = Literal["snapshot", "region", None]
Scope = Literal["same", "up_to", "latest", "all"]

TEXT: Final = pa.string()
INTEGER: Final = pa.int64()
REAL: Final = pa.float64()
FLAG: Final = pa.bool_()
INSTANT: Final = pa.timestamp("us", tz="UTC")
TEXTS: Final = pa.list_(pa.field("element", pa.string()))

STAGES: Final = ("raw", "components", "features", "distances", "edges", "attributes", "trends", "release")
"""The stages in the order in which data flows; each is a folder, a group, a SQL schema and a Parquet directory."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: the column's name; ``_at`` for UTC instants, ``is_``/``has_`` for flags, ``n_`` for counts.
        type: its Arrow type; a write casts safely to it or fails.
        description: what a value means, in one sentence.
        unit: the unit of a quantity, where it has one.
        nullable: whether a value may be missing.
        values: the closed set of values, where there is one.
        minimum: the least allowed value.
        maximum: the greatest allowed value.
    """

    name: str
    type: pa.DataType
    description: str
    unit: str | None = None
    nullable: bool = True
    values: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Input:
    """A table that another one is made from.

    Attributes:
        table: its name.
        scope: which of its partitions are read: the ``same`` one, every snapshot ``up_to`` the own one, the
            ``latest`` snapshot, or ``all``.
    """

    table: str
    scope: Scope = "same"


@dataclass(frozen=True)
class TableContract:
    """The contract of one table.

    Attributes:
        name: ``stage.table``.
        grain: what one row stands for.
        description: what the table is for, and what it does not say.
        columns: the columns, in the order in which they are stored.
        key: the columns that identify a row within a partition.
        partitioned_by: ``snapshot``, ``region`` or None (one file).
        inputs: the tables that it is made from.
        settings: names of the settings whose value changes the table.
        version: raised when the same input gives another table.
        order_by: the columns that a stored partition is sorted by; the key when empty.
        row_group_rows: rows that are written, and so in memory, at a time; fewer where a row is large.
    """

    name: str
    grain: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partitioned_by: Partitioning
    inputs: tuple[Input, ...] = ()
    settings: tuple[str, ...] = ()
    version: str = "1"
    order_by: tuple[str, ...] = field(default=())
    row_group_rows: int = 100_000

    @property
    def stage(self) -> str:
        """The stage that makes the table."""
        return self.name.split(".")[0]

    @property
    def table(self) -> str:
        """The table's name within its stage."""
        return self.name.split(".")[1]

    @property
    def full_key(self) -> tuple[str, ...]:
        """Columns that identify a row among all partitions: the key, after the snapshot where there are some."""
        return ("snapshot", *self.key) if self.partitioned_by == "snapshot" else self.key

    @property
    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema of a stored partition, nullability included."""
        return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns])

    @property
    def fingerprint(self) -> str:
        """A digest of what a stored partition must look like; it changes when columns, order, key or version do."""
        text = "\n".join(
            [
                f"{self.name} {self.version} by {self.partitioned_by}",
                f"key {', '.join(self.key)}; order {', '.join(self.order_by or self.key)}",
                *(f"{c.name} {c.type} {c.nullable}" for c in self.columns),
            ]
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def struct(**fields: pa.DataType) -> pa.DataType:
    """An Arrow struct type with nullable fields in the given order."""
    return pa.struct([pa.field(name, kind) for name, kind in fields.items()])
