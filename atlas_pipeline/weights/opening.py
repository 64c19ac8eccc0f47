"""From a model in a repository to its weights: which files count, and which format opens them.

The order of preference is safetensors, then GGUF, then an adapter; pickled formats are recognised and not read.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from atlas_pipeline.repositories import FileEntry, ModelNotFound, Repository, RepositoryError
from atlas_pipeline.weights.bounded_json import parse_json_object
from atlas_pipeline.weights.errors import Status, WeightsError
from atlas_pipeline.weights.gguf_file import open_gguf
from atlas_pipeline.weights.safetensors_file import open_safetensors
from atlas_pipeline.weights.tensors import FileReader, StoredWeights

MAX_INDEX_BYTES: Final = 32_000_000
"""The index of a model with 100,000 tensors takes about 10 MB."""

MAX_CONFIG_BYTES: Final = 4_000_000
"""A config.json with a class name for each of 20,000 labels takes about 1 MB."""

ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_FILE: Final = "adapter_model.safetensors"
SAFETENSORS_INDEX: Final = "model.safetensors.index.json"
SAFETENSORS_FILE: Final = "model.safetensors"

UNREAD_SUFFIXES: Final = (
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".h5",
    ".msgpack",
    ".onnx",
    ".keras",
    ".tflite",
    ".npz",
    ".nemo",
)
"""Files that hold weights in formats that are not read."""

_NOT_MODELS: Final = (
    "training_args.bin",
    "optimizer.pt",
    "optimizer.bin",
    "scheduler.pt",
    "rng_state.pth",
    "tokenizer.bin",
)
_GGUF_PART = re.compile(r"(?P<stem>.*)-\d{5}-of-\d{5}\.gguf")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The files that make up a model's weights.

    Attributes:
        format: `safetensors`, `gguf`, `adapter`, or `unread` for a format that is not read.
        entries: The files, sorted by path.
        tensor_files: For a sharded model with an index, the file of every tensor.
    """

    format: str
    entries: tuple[FileEntry, ...]
    tensor_files: Mapping[str, str] | None = field(default=None, compare=False)


def open_weights(repository: Repository, model_id: str) -> StoredWeights:
    """Opens the full weights of a model; reads headers only.

    Raises:
        WeightsError: no_weights, unsupported_format, unreadable, invalid_header or truncated; missing_base for a model
            that holds only an adapter (see `open_adapter`).
    """
    return open_found(repository, model_id, find_weights(repository, model_id))


def open_found(repository: Repository, model_id: str, found: WeightFiles) -> StoredWeights:
    """As `open_weights`, for files that `find_weights` has found."""
    if found.format == "adapter":
        raise WeightsError(
            "missing_base", f"Model {model_id} holds only an adapter, which has no weights without its base."
        )
    if found.format == "unread":
        names = ", ".join(entry.path for entry in found.entries[:3])
        raise WeightsError(
            "unsupported_format", f"Model {model_id} has its weights in a format that is not read: {names}."
        )
    readers = [FileReader(repository, model_id, entry) for entry in found.entries]
    config = read_config(repository, model_id)
    if found.format == "gguf":
        return open_gguf(readers, model_id=model_id, config=config)
    return open_safetensors(readers, model_id=model_id, tensor_files=found.tensor_files, config=config)


def find_weights(repository: Repository, model_id: str) -> WeightFiles:
    """Decides which files of a model count as its weights; reads at most the shard index.

    Safetensors: the shards that `model.safetensors.index.json` names, else `model.safetensors`, else every file at the
    top of the model, else every file in its folders. GGUF: of several files the largest, as the most precise
    quantisation; parts of a split file count as one.

    Raises:
        WeightsError: no_weights, unreadable, or invalid_header for a wrong index.
    """
    entries = {entry.path: entry for entry in list_files(repository, model_id)}
    if SAFETENSORS_INDEX in entries:
        return _indexed(repository, model_id, entries)
    if SAFETENSORS_FILE in entries:
        return WeightFiles("safetensors", (entries[SAFETENSORS_FILE],))
    tensors = [path for path in entries if path.endswith(".safetensors") and not path.endswith(ADAPTER_FILE)]
    ggufs = [path for path in entries if path.endswith(".gguf") and "mmproj" not in path]
    if tensors and ADAPTER_CONFIG not in entries:
        top = [path for path in tensors if "/" not in path]
        return WeightFiles("safetensors", tuple(entries[path] for path in sorted(top or tensors)))
    if ggufs:
        return WeightFiles("gguf", _largest_gguf([entries[path] for path in ggufs]))
    if ADAPTER_CONFIG in entries and ADAPTER_FILE in entries:
        return WeightFiles("adapter", (entries[ADAPTER_FILE],))
    unread = [path for path in entries if path.endswith(UNREAD_SUFFIXES) and not path.endswith(_NOT_MODELS)]
    if unread or tensors:
        return WeightFiles("unread", tuple(entries[path] for path in sorted(unread or tensors)))
    raise WeightsError("no_weights", f"Model {model_id} has no weight files.")


def list_files(repository: Repository, model_id: str) -> list[FileEntry]:
    """Files of a model; raises WeightsError no_weights if there is no such model, unreadable if listing fails."""
    try:
        return repository.files(model_id)
    except ModelNotFound as error:
        raise WeightsError("no_weights", str(error)) from error
    except RepositoryError as error:
        raise WeightsError("unreadable", str(error)) from error


def read_json_file(
    repository: Repository, model_id: str, entry: FileEntry, *, max_bytes: int, status: Status
) -> dict[str, Any]:
    """Reads a JSON file of a model as one object.

    Raises:
        WeightsError: `status` if it is larger than `max_bytes` or not one sound JSON object; unreadable or truncated
            if the repository fails.
    """
    reader = FileReader(repository, model_id, entry)
    if entry.size_bytes > max_bytes:
        raise WeightsError(status, f"{reader.label} has {entry.size_bytes} bytes; at most {max_bytes} are read.")
    return parse_json_object(reader.read(0, entry.size_bytes), what=reader.label, status=status)


def read_config(repository: Repository, model_id: str) -> dict[str, Any]:
    """The model's config.json; empty if there is none or, with a warning, if it cannot be read.

    A broken config.json does not make the weights unreadable, so it never fails a model.
    """
    entry = next((entry for entry in list_files(repository, model_id) if entry.path == "config.json"), None)
    if entry is None:
        return {}
    try:
        return read_json_file(repository, model_id, entry, max_bytes=MAX_CONFIG_BYTES, status="invalid_header")
    except WeightsError as error:
        _logger.warning("%s It is read as empty.", error.message)
        return {}


def _indexed(repository: Repository, model_id: str, entries: Mapping[str, FileEntry]) -> WeightFiles:
    index = read_json_file(
        repository, model_id, entries[SAFETENSORS_INDEX], max_bytes=MAX_INDEX_BYTES, status="invalid_header"
    )
    tensor_files = index.get("weight_map")
    if not isinstance(tensor_files, dict) or not tensor_files:
        raise WeightsError("invalid_header", f"The file {SAFETENSORS_INDEX!r} of model {model_id} has no weight_map.")
    shards = set()
    for path in tensor_files.values():
        # Only names from the listing count, so an index cannot lead anywhere else.
        if not isinstance(path, str) or path not in entries or not path.endswith(".safetensors"):
            raise WeightsError(
                "invalid_header",
                f"The file {SAFETENSORS_INDEX!r} of model {model_id} names the shard {str(path)[:100]!r}, "
                "which does not exist.",
            )
        shards.add(path)
    return WeightFiles("safetensors", tuple(entries[path] for path in sorted(shards)), tensor_files)


def _largest_gguf(entries: list[FileEntry]) -> tuple[FileEntry, ...]:
    models: dict[str, list[FileEntry]] = {}
    for entry in sorted(entries):
        match = _GGUF_PART.fullmatch(entry.path)
        models.setdefault(match["stem"] if match else entry.path, []).append(entry)
    # Dictionaries keep the order of paths, so the first of equals wins.
    return tuple(max(models.values(), key=lambda parts: sum(part.size_bytes for part in parts)))
