"""Puts the release folder together: tables, database, card, dictionary, and a datapackage with checksums, last."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import version as package_version
from typing import IO, Final

import pyarrow as pa

from atlas_pipeline.release.card import source_revisions, write_card
from atlas_pipeline.release.gate import ReleaseRefused
from atlas_pipeline.release.graph_files import write_graph_files
from atlas_pipeline.release.map_files import TABLES as MAP_TABLES
from atlas_pipeline.release.map_files import map_files
from atlas_pipeline.release.versions import release_notes, version_of
from atlas_pipeline.release.warehouse import build_warehouse
from atlas_pipeline.schema import RELEASED, STAGES, Column, TableContract, contract_of
from atlas_pipeline.schema.dictionary import data_dictionary
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage import Receipt, TableStore, code_digest

FOLDER: Final = "release"
DATABASE: Final = "atlas.duckdb"
DATAPACKAGE: Final = "datapackage.json"
GRAPHS: Final = "graphs"
MAP: Final = "map"
FIGURES: Final = "figures"
CHUNK: Final = 1 << 20


def make_bundle(store: TableStore, settings: Settings, checks: pa.Table) -> pa.Table:
    """Write the release folder and return the rows of ``release.files``.

    Every file is put in place whole, what belongs to no release is removed, and ``datapackage.json`` comes last, so
    that a folder whose checksums agree is complete. The same tables give the same bytes but for the database, which
    DuckDB never writes twice alike: it has neither size nor checksum.

    Args:
        store: where the tables lie, and the release folder beside them.
        settings: recorded in the datapackage, but for locations of this machine.
        checks: rows of ``release.checks``.

    Raises:
        ReleaseRefused: a table's file is not the one that its receipt describes.
        TableNotMaterialized: there is no snapshot.
    """
    version = version_of(store, settings)
    files = [_file(path, *_copy(store, path, receipt), receipt) for path, receipt in _released_files(store)]
    card = write_card(store, checks, version=version, repo_id=settings.release_repo)
    texts = {
        "README.md": card,
        "CHANGES.md": release_notes(store, version=version),
        "data_dictionary.md": data_dictionary(RELEASED),
    }
    for name, text in texts.items():
        files.append(_file(name, *store.files.write(f"{FOLDER}/{name}", text.encode())))
    graphs = write_graph_files(store, f"{FOLDER}/{GRAPHS}")
    files += [_file(f"{GRAPHS}/{path}", size, digest) for path, size, digest in graphs]
    for path, content in _figure_files(store):
        files.append(_file(path, *store.files.write(f"{FOLDER}/{path}", content)))
    with store.connect(dict.fromkeys(MAP_TABLES), optional=MAP_TABLES) as connection:
        for name, content in map_files(connection, version):
            files.append(_file(f"{MAP}/{name}", *store.files.write(f"{FOLDER}/{MAP}/{name}", content)))
    build_warehouse(store, f"{FOLDER}/{DATABASE}")
    files.append(_file(DATABASE, None, None))
    _remove_strays(store, {str(file["path"]) for file in files} | {DATAPACKAGE})
    described = json.dumps(_datapackage(files, settings, version) | _origin(store), indent=1, sort_keys=True)
    files.append(_file(DATAPACKAGE, *store.files.write(f"{FOLDER}/{DATAPACKAGE}", described.encode())))
    return pa.Table.from_pylist(files, contract_of("release.files").arrow_schema)


def _figure_files(store: TableStore) -> Iterator[tuple[str, bytes]]:
    """The drawn figures as they lie in their table."""
    if store.partitions("release.figures"):
        for row in store.read("release.figures").to_pylist():
            if row["reason"] is None:
                yield f"{FIGURES}/{row['figure']}.svg", row["svg"].encode()
                yield f"{FIGURES}/{row['figure']}.png", base64.b64decode(row["png"])


def _released_files(store: TableStore) -> list[tuple[str, Receipt]]:
    """Path in the release and receipt of every partition that is there; the arrays beside them stay at home."""
    found = []
    for table in RELEASED:
        for partition, receipt in store.receipts(table).items():
            if receipt is None:
                raise _unlike(table, partition)
            found.append((store.file_name(table, receipt.partition), receipt))
    return found


def _copy(store: TableStore, path: str, receipt: Receipt) -> tuple[int, str]:
    """Copy a table's file, unless it is another one than its receipt says; nothing is put in place then."""

    def produce(stream: IO[bytes]) -> None:
        digest = hashlib.sha256()
        with store.files.filesystem.open(store.files.path(path)) as source:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                stream.write(chunk)
        if digest.hexdigest() != receipt.sha256:
            raise _unlike(receipt.table, receipt.partition)

    return store.files.write_with(f"{FOLDER}/{path}", produce)


def _unlike(table: str, partition: str | None) -> ReleaseRefused:
    return ReleaseRefused(
        f"nothing was released: {table}, partition {partition}, is not the file that was written last; materialise it "
        "again"
    )


def _file(path: str, size: int | None, digest: str | None, receipt: Receipt | None = None) -> dict[str, object]:
    table, rows = (receipt.table, receipt.rows) if receipt else (None, None)
    return {"path": path, "table": table, "bytes": size, "sha256": digest, "rows": rows}


def _datapackage(files: list[dict[str, object]], settings: Settings, version: str) -> dict[str, object]:
    """A Frictionless Data Package: one resource for each table, its files with bytes and sha256."""
    resources = []
    for table in RELEASED:
        own = [file for file in files if file["table"] == table]
        if own:
            resources.append(_resource(contract_of(table), own))
    further = [_described(file) for file in files if file["table"] is None]
    used = {name: getattr(settings, name) for name in ("seed", "n_neurons", "n_neighbors", "large_region_models")}
    return {
        "name": "model-atlas",
        "title": "Model atlas",
        "version": version,
        "resources": resources,
        "files": further,
        "settings": used,
    }


def _origin(store: TableStore) -> dict[str, object]:
    """What the release was made from: the files of the snapshots, and the code, by version and by digest."""
    code = {"name": "atlas-pipeline", "version": package_version("atlas-pipeline")}
    return {
        "sources": [
            {"title": f"hub-stats of {each['snapshot']}", "revision": each["source_revision"]}
            for each in source_revisions(store)
        ],
        "code": code | {"sha256": {stage: code_digest(stage) for stage in STAGES}},
    }


def _described(file: dict[str, object]) -> dict[str, object]:
    """What there is to say of a file, without what there is not: size and checksum of the database, rows of a text."""
    return {name: file[name] for name in ("path", "bytes", "sha256", "rows") if file[name] is not None}


def _resource(contract: TableContract, files: list[dict[str, object]]) -> dict[str, object]:
    return {
        "name": contract.name,
        "description": contract.description,
        "format": "parquet",
        "path": [file["path"] for file in files],
        "rows": sum(int(str(file["rows"])) for file in files),
        "files": [_described(file) for file in files],
        "schema": {"fields": [_field(column) for column in contract.columns], "primaryKey": list(contract.full_key)},
    }


def _field(column: Column) -> dict[str, object]:
    """A column as a field of Table Schema; its Arrow type beside the coarser one that the standard knows."""
    limits = {
        "required": None if column.nullable else True,
        "enum": list(column.values) if column.values else None,
        "minimum": column.minimum,
        "maximum": column.maximum,
    }
    field: dict[str, object] = {
        "name": column.name,
        "type": _field_type(column.type),
        "arrowType": str(column.type),
        "description": column.description,
    }
    if column.unit:
        field["unit"] = column.unit
    if constraints := {name: value for name, value in limits.items() if value is not None}:
        field["constraints"] = constraints
    return field


def _field_type(kind: pa.DataType) -> str:
    """Type of a Table Schema field (Frictionless Data, Table Schema 1, Types and Formats)."""
    if pa.types.is_timestamp(kind):
        return "datetime"
    if pa.types.is_list(kind):
        return "array"
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return "object"
    return {pa.string(): "string", pa.int64(): "integer", pa.float64(): "number", pa.bool_(): "boolean"}[kind]


def _remove_strays(store: TableStore, wanted: set[str]) -> None:
    """Remove every file of the folder that is not of this release: the folder is generated as a whole."""
    root = store.files.path(FOLDER)
    store.files.filesystem.invalidate_cache()
    for path in store.files.filesystem.find(root):
        name = path.removeprefix(root).lstrip("/")
        if name not in wanted:
            store.files.delete(f"{FOLDER}/{name}")
