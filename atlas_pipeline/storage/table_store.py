"""TableStore: the only way to write a table, and to read one.

A partition is one Parquet file, written whole, with a receipt beside it. The contract is enforced by name and type.
Belongs here: paths, atomicity, contracts on write, DuckDB views. Does not belong here: what tables mean.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import duckdb
import numpy as np
import pyarrow as pa

from atlas_pipeline.schema import TABLES, TableContract, contract_of
from atlas_pipeline.schema.contract import FLAG, INSTANT, INTEGER, REAL, TEXT
from atlas_pipeline.storage.attachments import Attachment, unpack
from atlas_pipeline.storage.conformity import write_parquet
from atlas_pipeline.storage.errors import StorageError, TableNotMaterialized
from atlas_pipeline.storage.files import FileStore, sha256_of
from atlas_pipeline.storage.receipts import Receipt

WHOLE = "data"
"""File name of a table that is not partitioned."""

_LITERALLY = str.maketrans({"*": "[*]", "?": "[?]", "[": "[[]"})
_PARTITION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
_DUCKDB_TYPES = {TEXT: "varchar", INTEGER: "bigint", REAL: "double", FLAG: "boolean", INSTANT: "timestamptz"}


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
        if partition is not None and not _is_partition(partition):
            raise StorageError(f"{partition!r} is no name of a partition of {table}")
        return f"tables/{contract.stage}/{contract.table}/{partition or WHOLE}.parquet"

    def partitions(self, table: str) -> list[str]:
        """Partitions that are there, sorted; ``['data']`` stands for a table that is not partitioned.

        Files whose name cannot be a partition's are passed over: copies that a file manager or a sync made.
        """
        contract = contract_of(table)
        names = self.files.list(f"tables/{contract.stage}/{contract.table}", ".parquet")
        is_one = _is_partition if contract.partitioned_by else WHOLE.__eq__
        return [name for name in names if is_one(name)]

    def receipt(self, table: str, partition: str | None = None) -> Receipt | None:
        """The receipt of a partition that is there and whole; None otherwise.

        Whole means: the receipt is this partition's own, and the files have the sizes that it says.
        """
        name = self.file_name(table, partition)
        text = self.files.read(_beside(name, ".json"))
        receipt = Receipt.from_json(text.decode(errors="replace")) if text is not None else None
        if receipt is None or (receipt.table, receipt.partition) != (table, partition):
            return None
        sizes = [(name, receipt.bytes)]
        if receipt.attachment_bytes is not None:
            sizes.append((_beside(name, ".safetensors"), receipt.attachment_bytes))
        return receipt if all(self.files.size(path) == size for path, size in sizes) else None

    def receipts(self, table: str) -> dict[str, Receipt | None]:
        """The receipt of each of ``partitions``; None for one that is not whole."""
        is_one = contract_of(table).partitioned_by is None
        return {name: self.receipt(table, None if is_one else name) for name in self.partitions(table)}

    # -- writing -------------------------------------------------------------------------------------------------

    def write(
        self,
        table: str,
        data: pa.Table | pa.RecordBatchReader,
        *,
        partition: str | None = None,
        inputs: Mapping[str, str] | None = None,
        attachment: Attachment | None = None,
    ) -> Receipt:
        """Write a partition whole: temporary files, fsync, rename, receipt last.

        While the files are renamed there is no receipt, so that a kill leaves the old partition, or the new one, or
        one without a receipt, which counts as not made.

        Args:
            table: the table's name.
            data: rows with the contract's columns in any order; a Table is sorted by the contract's order or key,
                a reader must come sorted.
            partition: the partition, for a partitioned table.
            inputs: digests of what it was made from, kept in the receipt.
            attachment: arrays to lie beside it.

        Raises:
            ContractError: a column is missing, unknown, of a type that does not cast safely, or null where it must
                not be. Nothing is changed then.
        """
        contract, name = contract_of(table), self.file_name(table, partition)
        receipt_name, beside_name = _beside(name, ".json"), _beside(name, ".safetensors")
        rows = 0

        def produce(stream: IO[bytes]) -> None:
            nonlocal rows
            rows = write_parquet(contract, data, stream)

        with ExitStack() as stack:
            file = stack.enter_context(self.files.staged(name, produce))
            beside = None
            if attachment is not None:
                beside = stack.enter_context(self.files.staged(beside_name, attachment.write_to))
            self.files.delete(receipt_name)
            if beside is None:
                self.files.delete(beside_name)
            else:
                beside.put()
            file.put()
        receipt = Receipt(
            table,
            partition,
            rows,
            file.size,
            file.sha256,
            contract.fingerprint,
            dict(inputs or {}),
            attachment_sha256=beside.sha256 if beside else None,
            attachment_bytes=beside.size if beside else None,
        )
        self.files.write(receipt_name, receipt.to_json().encode())
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
            StorageError: what lies there cannot be read, or was written under another contract.
        """
        schema = contract_of(table).arrow_schema
        if partition is not None:
            self.file_name(table, partition)
        with self.connect({table: None if partition is None else [partition]}) as connection:
            try:
                rows = connection.sql(f"select * from {table}").to_arrow_table()
                return rows.select(schema.names).cast(schema)
            except (duckdb.Error, pa.ArrowException, KeyError, ValueError) as error:
                raise _unreadable(table, error) from error

    def read_attachment(self, table: str, partition: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Arrays and metadata of the safetensors file beside a partition, as they were written.

        The arrays are read-only; those of a local file are mapped into memory.

        Raises:
            TableNotMaterialized: it is not there, or the partition is not whole.
            StorageError: its content is not what was written.
        """
        receipt = self.receipt(table, partition)
        name = _beside(self.file_name(table, partition), ".safetensors")
        local = Path(self.files.path(name)) if self.files.is_local else None
        content = (local if local.is_file() else None) if local else self.files.read(name)
        if receipt is None or receipt.attachment_sha256 is None or content is None:
            raise TableNotMaterialized(table, partition)
        digest = sha256_of(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()
        if digest != receipt.attachment_sha256:
            raise _unreadable(table, f"the arrays beside partition {partition} are not those that were written")
        return unpack(content)

    def connect(
        self,
        tables: Mapping[str, Sequence[str] | None] | None = None,
        *,
        optional: Sequence[str] = (),
        threads: int = 0,
        memory_limit: str = "",
        keeps_order: bool = True,
    ) -> duckdb.DuckDBPyConnection:
        """An in-memory DuckDB with one view for each table, named as the table.

        Args:
            tables: partitions by table, None for all that are there; every table that is there when None.
            optional: tables that may be missing and are empty then.
            threads: number of threads; 0 for DuckDB's default.
            memory_limit: as DuckDB takes it; empty for its default.
            keeps_order: whether rows come in the files' order where a query asks for none; without it, queries that
                make tables use all cores.

        Raises:
            TableNotMaterialized: a table or partition is not there and not optional.
            StorageError: a file that is there cannot be read.
        """
        if tables is None:
            tables = {table: None for table in TABLES if self.partitions(table)}
        selects = {table: self._select(table, wanted, table in optional) for table, wanted in tables.items()}
        connection = open_database(threads=threads, memory_limit=memory_limit, keeps_order=keeps_order)
        if not self.files.is_local:
            connection.register_filesystem(self.files.filesystem)
        for table, select in selects.items():
            try:
                connection.execute(f'create schema if not exists "{contract_of(table).stage}"')
                connection.execute(f"create view {table} as {select}")
            except duckdb.Error as error:
                connection.close()
                raise _unreadable(table, error) from error
        return connection

    def _select(self, table: str, wanted: Sequence[str] | None, is_optional: bool) -> str:
        contract, there = contract_of(table), self.partitions(table)
        if contract.partitioned_by is None:
            wanted = [WHOLE]
        missing = sorted(set(wanted or ()) - set(there))
        if (missing or not there) and not is_optional:
            raise TableNotMaterialized(table, missing[0] if missing and contract.partitioned_by else None)
        chosen = [p for p in there if wanted is None or p in wanted]
        if not chosen and not is_optional:
            raise TableNotMaterialized(table)
        if not chosen:
            return f"select * from ({_empty_select(contract)}) where false"
        folder = f"tables/{contract.stage}/{contract.table}"
        return f"select * from {parquet_scan([self.files.url(f'{folder}/{each}.parquet') for each in chosen])}"


def sql_literal(text: str) -> str:
    """A text as a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def sql_path(path: str) -> str:
    """A path as a SQL string literal that names exactly this file; DuckDB takes ``*``, ``?`` and ``[`` for patterns."""
    return sql_literal(path.translate(_LITERALLY))


def parquet_scan(paths: Sequence[str], *, row_numbers: bool = False) -> str:
    """SQL that reads exactly these Parquet files, and of them nothing but their own columns.

    A folder that is named ``key=value`` adds no column.

    Args:
        paths: paths or URLs.
        row_numbers: whether to add ``file_row_number``, from 0.
    """
    files = ", ".join(sql_path(path) for path in paths)
    numbered = ", file_row_number = true" if row_numbers else ""
    return f"read_parquet([{files}], hive_partitioning = false{numbered})"


def open_database(*, threads: int = 0, memory_limit: str = "", keeps_order: bool = True) -> duckdb.DuckDBPyConnection:
    """An empty in-memory DuckDB with times in UTC.

    Args:
        threads: number of threads; 0 for DuckDB's default.
        memory_limit: as DuckDB takes it; empty for its default. What is more goes to a temporary folder.
        keeps_order: whether rows keep the order in which they are read.
    """
    connection = duckdb.connect()
    connection.execute(f"set TimeZone = 'UTC'; set preserve_insertion_order = {str(keeps_order).lower()}")
    if threads:
        connection.execute(f"set threads = {int(threads)}")
    if memory_limit:
        connection.execute("set memory_limit = ?", [memory_limit])
    return connection


def _is_partition(name: str) -> bool:
    return name != WHOLE and _PARTITION.fullmatch(name) is not None


def _unreadable(table: str, problem: object) -> StorageError:
    reason = str(problem).strip().split("\n")[0]
    return StorageError(
        f"{table} cannot be read: {reason}. Materialise the asset {table.replace('.', '/')} again "
        f"(atlas run --force --select {table})"
    )


def _beside(name: str, suffix: str) -> str:
    return name.removesuffix(".parquet") + suffix


def _empty_select(contract: TableContract) -> str:
    return "select " + ", ".join(f'null::{duckdb_type(c.type)} as "{c.name}"' for c in contract.columns)


def duckdb_type(kind: pa.DataType) -> str:
    """DuckDB's name of an Arrow type that contracts use.

    Raises:
        KeyError: contracts do not use the type.
    """
    if pa.types.is_struct(kind):
        return "struct(" + ", ".join(f'"{field.name}" {duckdb_type(field.type)}' for field in kind) + ")"
    if pa.types.is_map(kind):
        return f"map({duckdb_type(kind.key_type)}, {duckdb_type(kind.item_type)})"
    if pa.types.is_list(kind):
        return f"{duckdb_type(kind.value_type)}[]"
    return _DUCKDB_TYPES[kind]
