"""Makes a listing of a folder of weights: one row a model, in the columns of hub-stats.

For a folder that nobody described: ids are the names of folders, ``config`` is an excerpt of the configurations as the
Hub makes it, ``gguf`` comes from the header of a GGUF file. No weights are read, and nothing is believed that a file
says of its own size.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from atlas_pipeline.raw.folder_dates import (
    ListedModel,
    creation_times,
    listed_models,
    misplaced_weights,
    storable,
    written_dates,
)
from atlas_pipeline.raw.hub_stats import MODEL_ID_PATTERN, RawSnapshot
from atlas_pipeline.repositories import FileEntry, FolderRepository
from atlas_pipeline.schema import contract_of
from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.gguf_header import read_gguf_header
from atlas_pipeline.weights.opening import ADAPTER_CONFIG, MAX_CONFIG_BYTES, find_weights, read_json_file
from atlas_pipeline.weights.tensors import FileReader

MAX_TEXT: Final = 500
"""Characters of a name that are kept; no id and no path of a model is that long."""

_CONFIG_NAMES: Final = ("model_type", "_name_or_path")
_QUANTIZATION_NAMES: Final = ("quant_method", "bits", "load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type")
_GGUF_PARENTS: Final = ("general.base_model.", "general.source.")
_Files = Mapping[str, FileEntry]


def list_folder(folder: Path, snapshot: str) -> RawSnapshot:
    """The models of a folder as rows of ``raw.hub_stats``, sorted by id.

    A model whose files cannot be listed or whose configuration cannot be read stays, with the problem; one whose folder
    has a name that is no model id is rejected. Dates are those of ``models.csv``, else those of weight files where
    they can be dates of models (``creation_times``), else null.

    Args:
        folder: the folder of weights; nothing outside it is read.
        snapshot: the listing's date, YYYY-MM-DD.

    Raises:
        RepositoryError: the folder or its ``models.csv`` cannot be read.
    """
    repository = FolderRepository(folder)
    models = listed_models(repository)
    written, notes = written_dates(repository)
    found = dict(zip((model.model_id for model in models), creation_times(models).tolist(), strict=True))
    if misplaced := misplaced_weights(folder):
        notes += (
            f"{len(misplaced)} weight files lie in no model <org>/<name>/: {_printable(', '.join(misplaced[:5]))}",
        )
    unknown = sorted(written.keys() - found.keys())
    notes += tuple(f"models.csv dates {_printable(name)}, which is no model of the folder" for name in unknown)
    revision = _revision(models, written)
    rows = [
        {
            **_row(repository, model, found.keys()),
            **_dates(model, found[model.model_id], written.get(model.model_id)),
            "snapshot": snapshot,
            "source_revision": revision,
            "row_number": number,
        }
        for number, model in enumerate(models, start=1)
    ]
    schema = contract_of("raw.hub_stats").arrow_schema
    table = pa.Table.from_pylist(rows, schema)
    return RawSnapshot(pa.RecordBatchReader.from_batches(schema, table.to_batches()), notes)


def _row(repository: FolderRepository, model: ListedModel, ids: Collection[str]) -> dict[str, Any]:
    is_id = re.fullmatch(MODEL_ID_PATTERN, model.model_id) is not None and not model.model_id.endswith("/.")
    row: dict[str, Any] = {
        "id": storable(model.model_id),
        "author": storable(model.model_id.rpartition("/")[0]) or None,
        "is_rejected": not is_id,
        "problem": storable(model.problem or "") or None
        if is_id
        else f"id is no model id: {_printable(model.model_id)}",
    }
    if model.problem is not None or not is_id:
        return row
    files = {file.path: file for file in model.files}
    problems: list[str] = []
    for name, read in (("config", _config), ("gguf", _gguf)):
        try:
            content = read(repository, model.model_id, files, ids)
            row[name] = json.dumps(content, sort_keys=True) if content else None
        except WeightsError as error:
            problems.append(f"{name} cannot be read: {_printable(str(error))}")
    return row | {"siblings": [storable(path) for path in model.paths], "problem": "; ".join(problems) or None}


def _config(repository: FolderRepository, model_id: str, files: _Files, ids: Collection[str]) -> dict[str, Any]:
    """What the Hub would list of config.json, of an adapter's and of a pipeline's configuration."""

    def content(name: str) -> dict[str, Any]:
        if name not in files:
            return {}
        return read_json_file(repository, model_id, files[name], max_bytes=MAX_CONFIG_BYTES, status="invalid_header")

    config, adapter, pipeline = content("config.json"), content(ADAPTER_CONFIG), content("model_index.json")
    found: dict[str, Any] = _texts(config, _CONFIG_NAMES, lambda text: _as_id(text, ids))
    architectures = config.get("architectures")
    if isinstance(architectures, list):
        found["architectures"] = [name[:MAX_TEXT] for name in architectures[:1] if isinstance(name, str)]
    if isinstance(quantization := config.get("quantization_config"), dict):
        found["quantization_config"] = {
            name: value[:MAX_TEXT] if isinstance(value, str) else value
            for name, value in quantization.items()
            if name in _QUANTIZATION_NAMES and isinstance(value, str | int)
        }
    parts = {
        "peft": _texts(adapter, ("base_model_name_or_path", "peft_type", "task_type"), lambda text: _as_id(text, ids)),
        "diffusers": _texts(pipeline, ("_class_name",), str),
    }
    return found | {name: part for name, part in parts.items() if part}


def _gguf(repository: FolderRepository, model_id: str, files: _Files, ids: Collection[str]) -> dict[str, Any]:
    """Architecture, size and named parents of the GGUF file that counts as the model; empty where none does."""
    if not any(path.endswith(".gguf") for path in files):
        return {}
    weights = find_weights(repository, model_id)
    if weights.format != "gguf":
        return {}
    header = read_gguf_header(FileReader(repository, model_id, weights.entries[0]))
    parents = [name for name in header.values if name.startswith(_GGUF_PARENTS)]
    architecture = _texts(header.values, ("general.architecture",), str).get("general.architecture")
    return {
        **({"architecture": architecture} if architecture else {}),
        **_texts(header.values, parents, lambda text: _as_id(text, ids)),
        "total": sum(math.prod(info.shape) for info in header.tensors.values()),
    }


def _texts(values: Mapping[str, Any], names: Collection[str], turned: Callable[[str], str]) -> dict[str, str]:
    """The entries of these names that hold a text."""
    found = {name: values[name] for name in names if isinstance(values.get(name), str) and values[name]}
    return {name: turned(text[:MAX_TEXT]) for name, text in found.items()}


def _as_id(text: str, ids: Collection[str]) -> str:
    """A path that ends like a model of the folder is that model: its maker worked on a copy of the same folders."""
    parts = text.replace("\\", "/").rstrip("/").split("/")
    ending = "/".join(parts[-2:])
    return ending if text not in ids and ending in ids else text


def _dates(model: ListedModel, made_at: float, written: datetime | None) -> dict[str, datetime | None]:
    if written is not None:
        return {"createdAt": written, "lastModified": None}
    if np.isnan(made_at):
        return {"createdAt": None, "lastModified": None}
    made, changed = (datetime.fromtimestamp(round(time), UTC) for time in (made_at, model.changed_at))
    return {"createdAt": made, "lastModified": changed}


def _revision(models: list[ListedModel], written: Mapping[str, datetime]) -> str:
    """A digest of what was listed: names, sizes and times of all files, and the dates written down."""
    digest = hashlib.sha256()
    for model in models:
        entries = [(f.path, f.size_bytes, time) for f, time in zip(model.files, model.times, strict=True)]
        digest.update(json.dumps([model.model_id, model.problem, entries]).encode())
    digest.update(json.dumps({name: date.isoformat() for name, date in sorted(written.items())}).encode())
    return f"folder:{digest.hexdigest()}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_TEXT])
