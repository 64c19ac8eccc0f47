"""Puts the release folder together: tables, database, card, dictionary, and a datapackage with checksums, last."""

from __future__ import annotations

import json
from typing import Final

import pyarrow as pa

from atlas_pipeline.release.card import write_card
from atlas_pipeline.release.warehouse import build_warehouse
from atlas_pipeline.schema import RELEASED, TableContract, contract_of
from atlas_pipeline.schema.dictionary import data_dictionary
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage import Receipt, TableNotMaterialized, TableStore
from atlas_pipeline.storage.table_store import WHOLE

FOLDER: Final = "release"
DATABASE: Final = "atlas.duckdb"
DATAPACKAGE: Final = "datapackage.json"


def version_of(store: TableStore) -> str:
    """Version of a release made now: CalVer, the date of its latest snapshot.

    Raises:
        TableNotMaterialized: there is no snapshot.
    """
    snapshots = store.partitions("components.models")
    if not snapshots:
        raise TableNotMaterialized("components.models")
    return snapshots[-1].replace("-", ".")


def make_bundle(store: TableStore, settings: Settings, checks: pa.Table) -> pa.Table:
    """Write the release folder and return the rows of ``release.files``.

    Every file is put in place whole and ``datapackage.json`` last, so that a folder whose checksums agree is complete.

    Args:
        store: where the tables lie, and the release folder beside them.
        settings: recorded in the datapackage, but for locations of this machine.
        checks: rows of ``release.checks``.
    """
    version = version_of(store)
    files = [_file(path, *_copy(store, path, receipt), receipt) for path, receipt in _released_files(store)]
    card = write_card(store, checks, version=version, repo_id=settings.release_repo)
    texts = {"README.md": card, "data_dictionary.md": data_dictionary(RELEASED)}
    for name, text in texts.items():
        files.append(_file(name, *store.files.write(f"{FOLDER}/{name}", text.encode())))
    files.append(_file(DATABASE, *build_warehouse(store, f"{FOLDER}/{DATABASE}")))
    described = json.dumps(_datapackage(files, settings, version), indent=1, sort_keys=True)
    files.append(_file(DATAPACKAGE, *store.files.write(f"{FOLDER}/{DATAPACKAGE}", described.encode())))
    _remove_strays(store, {str(file["path"]) for file in files})
    return pa.Table.from_pylist(files, contract_of("release.files").arrow_schema)


def _released_files(store: TableStore) -> list[tuple[str, Receipt]]:
    """Path in the release and receipt of every partition that is there, with the arrays beside them."""
    found = []
    for table in RELEASED:
        for partition in store.partitions(table):
            receipt = store.receipt(table, None if partition == WHOLE else partition)
            if receipt is None:
                raise TableNotMaterialized(table, partition)
            found.append((store.file_name(table, receipt.partition), receipt))
    return found


def _copy(store: TableStore, path: str, receipt: Receipt) -> tuple[int, str]:
    content = store.files.read(path)
    if content is None:
        raise TableNotMaterialized(receipt.table, receipt.partition)
    return store.files.write(f"{FOLDER}/{path}", content)


def _file(path: str, size: int, digest: str, receipt: Receipt | None = None) -> dict[str, object]:
    table, rows = (receipt.table, receipt.rows) if receipt else (None, None)
    return {"path": path, "table": table, "bytes": size, "sha256": digest, "rows": rows}


def _datapackage(files: list[dict[str, object]], settings: Settings, version: str) -> dict[str, object]:
    """A Frictionless Data Package: one resource for each table, its files with bytes and sha256."""
    resources = []
    for table in RELEASED:
        own = [file for file in files if file["table"] == table]
        if own:
            resources.append(_resource(contract_of(table), own))
    further = [{k: file[k] for k in ("path", "bytes", "sha256")} for file in files if file["table"] is None]
    used = {name: getattr(settings, name) for name in ("seed", "n_neurons", "n_neighbors", "large_region_models")}
    return {
        "name": "model-atlas",
        "title": "Model atlas",
        "version": version,
        "resources": resources,
        "files": further,
        "settings": used,
    }


def _resource(contract: TableContract, files: list[dict[str, object]]) -> dict[str, object]:
    fields = [
        {"name": c.name, "type": str(c.type), "description": c.description, **({"unit": c.unit} if c.unit else {})}
        for c in contract.columns
    ]
    return {
        "name": contract.name,
        "description": contract.description,
        "format": "parquet",
        "path": [file["path"] for file in files],
        "rows": sum(int(str(file["rows"])) for file in files),
        "files": [{k: file[k] for k in ("path", "bytes", "sha256", "rows")} for file in files],
        "schema": {"fields": fields, "primaryKey": list(contract.key)},
    }


def _remove_strays(store: TableStore, wanted: set[str]) -> None:
    for table in RELEASED:
        folder = f"{FOLDER}/tables/{table.replace('.', '/')}"
        for name in store.files.list(folder, ".parquet"):
            if f"tables/{table.replace('.', '/')}/{name}.parquet" not in wanted:
                store.files.delete(f"{folder}/{name}.parquet")
