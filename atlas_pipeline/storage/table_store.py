"""TableStore: the only way to write a table, and to read one.

A partition is one Parquet file, written whole, with a receipt beside it. The contract is enforced by name and type.
Belongs here: paths, atomicity, contracts on write, DuckDB views. Does not belong here: what tables mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from atlas_pipeline.schema import TABLES, TableContract, contract_of
from atlas_pipeline.storage.attachments import unpack
from atlas_pipeline.storage.errors import ContractError, StorageError, TableNotMaterialized
from atlas_pipeline.storage.files import FileStore
from atlas_pipeline.storage.receipts import Receipt

ROW_GROUP_ROWS = 100_000
WHOLE = "data"
"""File name of a table that is not partitioned."""

_PARTITION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


class TableStore:
    """Tables under one home, a folder or an object-store URL."""

    def __init__(self, home: str) -> None:
        self.files = FileStore(home)

    # -- names ---------------------------------------------------------------------------------------------------

    def file_name(self, table: str, partition: str | None = None) -> str:
        """Path of a partition's Parquet file under the home.

        Raises:
            StorageError: the partition's name cannot be one of a file in this table's folder.
        """
        contract = contract_of(table)
        if (contract.partitioned_by is None) != (partition is None):
            raise StorageError(f"{table} is partitioned by {contract.partitioned_by}, not addressed by {partition!r}")
        if partition is not None and not _PARTITION.fullmatch(partition):
            raise StorageError(f"{partition!r} is no name of a partition of {table}")
        return f"tables/{contract.stage}/{contract.table}/{partition or WHOLE}.parquet"

    def partitions(self, table: str) -> list[str]:
        """Partitions that are there, sorted; ``['data']`` stands for a table that is not partitioned."""
        contract = contract_of(table)
        return self.files.list(f"tables/{contract.stage}/{contract.table}", ".parquet")

    def receipt(self, table: str, partition: str | None = None) -> Receipt | None:
        """The receipt of a partition that is there and whole; None otherwise."""
        name = self.file_name(table, partition)
        text = self.files.read(_beside(name, ".json"))
        receipt = Receipt.from_json(text.decode(errors="replace")) if text is not None else None
        if receipt is None or not self.files.exists(name):
            return None
        return receipt if self.files.filesystem.size(self.files.path(name)) == receipt.bytes else None

    # -- writing -------------------------------------------------------------------------------------------------

    def write(
        self,
        table: str,
        data: pa.Table | pa.RecordBatchReader,
        *,
        partition: str | None = None,
        inputs: Mapping[str, str] | None = None,
        attachment: bytes | None = None,
    ) -> Receipt:
        """Write a partition whole: temporary file, fsync, rename, receipt last.

        Args:
            table: the table's name.
            data: rows with the contract's columns in any order; a Table is sorted by the contract's order or key,
                a reader must come sorted.
            partition: the partition, for a partitioned table.
            inputs: digests of what it was made from, kept in the receipt.
            attachment: bytes of a safetensors file to lie beside it.

        Raises:
            ContractError: a column is missing, unknown, of a type that does not cast safely, or null where it must
                not be. Nothing is written then.
        """
        contract, name = contract_of(table), self.file_name(table, partition)
        if isinstance(data, pa.Table):
            columns = [(column, "ascending") for column in contract.order_by or contract.key]
            _require_columns(contract, data.schema)
            data = data.sort_by(columns).to_reader()
        rows = 0

        def produce(stream: object) -> None:
            nonlocal rows
            _require_columns(contract, data.schema)
            with pq.ParquetWriter(stream, contract.arrow_schema, compression="zstd") as writer:
                for batch in _in_row_groups(data):
                    writer.write_table(_conform(contract, batch), row_group_size=ROW_GROUP_ROWS)
                    rows += batch.num_rows

        self.files.delete(_beside(name, ".json"))
        beside = self.files.write(_beside(name, ".safetensors"), attachment)[1] if attachment is not None else None
        size, digest = self.files.write_with(name, produce)
        receipt = Receipt(table, partition, rows, size, digest, contract.fingerprint, dict(inputs or {}), beside)
        self.files.write(_beside(name, ".json"), receipt.to_json().encode())
        return receipt

    def delete(self, table: str, partition: str | None = None) -> None:
        """Remove a partition with its receipt and attachment."""
        name = self.file_name(table, partition)
        for path in (_beside(name, ".json"), name, _beside(name, ".safetensors")):
            self.files.delete(path)

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self, table: str, partition: str | None = None) -> pa.Table:
        """A table as Arrow: one partition, or all of them.

        Raises:
            TableNotMaterialized: it is not there; the message names the asset to materialise.
        """
        with self.connect({table: None if partition is None else [partition]}) as connection:
            return connection.sql(f"select * from {table}").to_arrow_table().cast(contract_of(table).arrow_schema)

    def read_attachment(self, table: str, partition: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Arrays and metadata of the safetensors file beside a partition, as ``attachments.pack`` took them.

        Raises:
            TableNotMaterialized: it is not there.
        """
        content = self.files.read(_beside(self.file_name(table, partition), ".safetensors"))
        if content is None:
            raise TableNotMaterialized(table, partition)
        return unpack(content)

    def connect(
        self,
        tables: Mapping[str, Sequence[str] | None] | None = None,
        *,
        optional: Sequence[str] = (),
        threads: int = 0,
        memory_limit: str = "",
    ) -> duckdb.DuckDBPyConnection:
        """An in-memory DuckDB with one view for each table, named as the table.

        Args:
            tables: partitions by table, None for all that are there; every table that is there when None.
            optional: tables that may be missing and are empty then.
            threads: number of threads; 0 for DuckDB's default.
            memory_limit: as DuckDB takes it; empty for its default.

        Raises:
            TableNotMaterialized: a table or partition is not there and not optional.
        """
        if tables is None:
            tables = {table: None for table in TABLES if self.partitions(table)}
        connection = duckdb.connect()
        connection.execute("set TimeZone = 'UTC'")
        if threads:
            connection.execute(f"set threads = {int(threads)}")
        if memory_limit:
            connection.execute("set memory_limit = ?", [memory_limit])
        if not self.files.is_local:
            connection.register_filesystem(self.files.filesystem)
        for table, wanted in tables.items():
            stage, name = table.split(".")
            connection.execute(f'create schema if not exists "{stage}"')
            connection.execute(f"create view {stage}.{name} as {self._select(table, wanted, table in optional)}")
        return connection

    def _select(self, table: str, wanted: Sequence[str] | None, is_optional: bool) -> str:
        contract, there = contract_of(table), self.partitions(table)
        if contract.partitioned_by is None:
            wanted = [WHOLE]
        missing = sorted(set(wanted or ()) - set(there))
        if (missing or not there) and not is_optional:
            raise TableNotMaterialized(table, missing[0] if missing and contract.partitioned_by else None)
        chosen = [p for p in there if wanted is None or p in wanted]
        if not chosen:
            return f"select * from ({_empty_select(contract)}) where false"
        folder = f"tables/{contract.stage}/{contract.table}"
        files = ", ".join(sql_literal(self.files.url(f"{folder}/{partition}.parquet")) for partition in chosen)
        return f"select * from read_parquet([{files}])"


def sql_literal(text: str) -> str:
    """A text as a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def _beside(name: str, suffix: str) -> str:
    return name.removesuffix(".parquet") + suffix


def _require_columns(contract: TableContract, schema: pa.Schema) -> None:
    expected, given = [c.name for c in contract.columns], schema.names
    if missing := [name for name in expected if name not in given]:
        raise ContractError(f"{contract.name}: missing columns {', '.join(missing)}")
    if unknown := [name for name in given if name not in expected]:
        raise ContractError(f"{contract.name}: columns that the contract does not know: {', '.join(unknown)}")


def _in_row_groups(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Batches gathered to row groups of equal size, so that the bytes do not depend on how the batches came."""
    pending: list[pa.RecordBatch] = []
    n_pending = 0
    is_first = True
    for batch in reader:
        pending.append(batch)
        n_pending += batch.num_rows
        while n_pending >= ROW_GROUP_ROWS:
            table = pa.Table.from_batches(pending, reader.schema)
            yield table.slice(0, ROW_GROUP_ROWS)
            is_first = False
            pending = table.slice(ROW_GROUP_ROWS).to_batches()
            n_pending -= ROW_GROUP_ROWS
    if n_pending or is_first:
        yield pa.Table.from_batches(pending, reader.schema)


def _conform(contract: TableContract, table: pa.Table) -> pa.Table:
    columns = []
    for column in contract.columns:
        try:
            values = table.column(column.name).cast(column.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            given = table.schema.field(column.name).type
            raise ContractError(
                f"{contract.name}.{column.name}: {given} does not become {column.type}: {error}"
            ) from error
        if not column.nullable and values.null_count:
            raise ContractError(f"{contract.name}.{column.name}: {values.null_count} nulls where none may be")
        columns.append(values.combine_chunks())
    return pa.Table.from_arrays(columns, schema=contract.arrow_schema)


def _empty_select(contract: TableContract) -> str:
    return "select " + ", ".join(f'null::{duckdb_type(c.type)} as "{c.name}"' for c in contract.columns)


def duckdb_type(kind: pa.DataType) -> str:
    """DuckDB's name of an Arrow type that contracts use."""
    if pa.types.is_struct(kind):
        return "struct(" + ", ".join(f'"{f.name}" {duckdb_type(f.type)}' for f in kind) + ")"
    if pa.types.is_map(kind):
        return f"map({duckdb_type(kind.key_type)}, {duckdb_type(kind.item_type)})"
    if pa.types.is_list(kind):
        return f"{duckdb_type(kind.value_type)}[]"
    names = {pa.string(): "varchar", pa.int64(): "bigint", pa.float64(): "double", pa.bool_(): "boolean"}
    return names.get(kind, "timestamptz")
