"""Where tables live: atomic Parquet by name and type, read through DuckDB."""

from atlas_pipeline.storage.attachments import Attachment
from atlas_pipeline.storage.errors import ContractError, StorageError, TableNotMaterialized
from atlas_pipeline.storage.files import sha256_of
from atlas_pipeline.storage.queries import code_digest, load_query, project_file, run_query
from atlas_pipeline.storage.receipts import Receipt
from atlas_pipeline.storage.table_store import TableStore, parquet_scan, sql_literal, sql_path

__all__ = [
    "Attachment",
    "ContractError",
    "Receipt",
    "StorageError",
    "TableNotMaterialized",
    "TableStore",
    "code_digest",
    "load_query",
    "parquet_scan",
    "project_file",
    "run_query",
    "sha256_of",
    "sql_literal",
    "sql_path",
]
