"""From a model in a repository to its weights: which files count, and which format opens them.

The order of preference is safetensors, GGUF, an adapter, PyTorch; other formats are recognised and not read.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from atlas_pipeline.repositories import FileEntry, Repository, RepositoryError
from atlas_pipeline.weights.bounded_json import parse_json_object
from atlas_pipeline.weights.errors import Status, WeightsError
from atlas_pipeline.weights.gguf_file import open_gguf
from atlas_pipeline.weights.pytorch import TORCH_SUFFIXES, open_torch
from atlas_pipeline.weights.safetensors_file import open_safetensors
from atlas_pipeline.weights.tensors import FileReader, Meter, StoredWeights, repository_failure

MAX_INDEX_BYTES: Final = 32_000_000
"""The index of a model with 100,000 tensors takes about 10 MB."""

MAX_CONFIG_BYTES: Final = 4_000_000
"""A config.json with a class name for each of 20,000 labels takes about 1 MB."""

ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_FILES: Final = ("adapter_model.safetensors", "adapter_model.bin")

FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    "safetensors": (".safetensors",),
    "gguf": (".gguf",),
    "pytorch": TORCH_SUFFIXES,
}
"""Formats that are read and the endings of their files, best first."""

UNREAD_SUFFIXES: Final = (".h5", ".msgpack", ".onnx", ".keras", ".tflite", ".npz", ".nemo", ".mlmodel", ".engine")
"""Files that hold weights in formats that are not read."""

COMPONENTS: Final = ("transformer", "unet", "prior")
"""Folders of a diffusion pipeline that hold the model that makes the pictures; text encoders and the rest are parts
that it shares with others."""

USUAL_STEMS: Final = ("model", "pytorch_model", "diffusion_pytorch_model", "consolidated")
"""Names that libraries give to a model's own weights, without endings, shards and variants."""

_NOT_MODELS: Final = re.compile(
    r"(?:.*/)?(?:training_args|optimizer|scheduler|scaler|rng_state|tokenizer|mmproj|imatrix|ggml-vocab)[^/]*"
)
_SHARD = re.compile(r"(?P<stem>.*?)[-.](?P<number>\d{5})-of-(?P<count>\d{5})(?P<ending>\.[a-z]+)")
_VARIANT = re.compile(r"(?P<stem>.*?)\.(?:fp16|bf16|fp32|fp8|non_ema|ema)")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The files that make up a model's weights.

    Attributes:
        format: `safetensors`, `gguf`, `pytorch`, `adapter`, or `unread` for a format that is not read.
        entries: The files, sorted by path.
        tensor_files: For a sharded model with an index, the file of every tensor.
        config: The model's config.json, if it has one.
    """

    format: str
    entries: tuple[FileEntry, ...]
    tensor_files: Mapping[str, str] | None = field(default=None, compare=False)
    config: FileEntry | None = None


def open_weights(repository: Repository, model_id: str, meter: Meter | None = None) -> StoredWeights:
    """Opens the full weights of a model; reads headers only, and counts what it reads.

    Raises:
        WeightsError: no_weights, unsupported_format, unreadable, invalid_header or truncated; missing_base for a model
            that holds only an adapter (see `open_adapter`).
    """
    meter = meter or Meter()
    return open_found(repository, model_id, find_weights(repository, model_id, meter), meter)


def open_found(repository: Repository, model_id: str, found: WeightFiles, meter: Meter | None = None) -> StoredWeights:
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
    meter = meter or Meter()
    readers = [FileReader(repository, model_id, entry, meter) for entry in found.entries]
    config = read_config(repository, model_id, found.config, meter)
    if found.format == "gguf":
        return open_gguf(readers, model_id=model_id, config=config)
    if found.format == "pytorch":
        return open_torch(readers, model_id=model_id, config=config)
    return open_safetensors(readers, model_id=model_id, tensor_files=found.tensor_files, config=config)


def find_weights(repository: Repository, model_id: str, meter: Meter | None = None) -> WeightFiles:
    """Decides which files of a model count as its weights; reads at most the index of shards with unusual names.

    A model in safetensors comes first, then GGUF, then an adapter, then PyTorch. Of a diffusion pipeline the model that
    makes the pictures counts. Where a repository holds several models in one format, the one with a library's usual
    name counts, else the largest: the most precise of several quantisations. All shards of a model are one.

    Raises:
        WeightsError: no_weights, not_found, gated, disabled, unreadable, or invalid_header for a wrong index.
    """
    entries = {entry.path: entry for entry in list_files(repository, model_id)}
    found = _find(repository, model_id, entries, meter)
    folder = found.entries[0].path.rpartition("/")[0]
    config = next((entries[p] for p in (f"{folder}/config.json", "config.json") if p in entries), None)
    return replace(found, config=config)


def _find(repository: Repository, model_id: str, entries: Mapping[str, FileEntry], meter: Meter | None) -> WeightFiles:
    adapter = next((path for path in ADAPTER_FILES if path in entries), None)
    is_adapter = adapter is not None and ADAPTER_CONFIG in entries
    for format_, endings in FORMATS.items():
        if is_adapter and format_ == "pytorch":
            break
        paths = _candidates(entries, endings)
        # Beside an adapter lie heads and embeddings; only a file with a model's name is a merged model.
        if is_adapter and not any(_stem(path) in USUAL_STEMS for path in paths):
            continue
        index = _index(entries, paths, endings[0])
        if index and (indexed := _indexed(repository, model_id, index, paths, meter)):
            return replace(indexed, format=format_)
        if models := _models(paths):
            return WeightFiles(format_, tuple(entries[path] for path in models))
    if adapter is not None:
        return WeightFiles("adapter", (entries[adapter],))
    if unread := [path for path in entries if path.endswith(UNREAD_SUFFIXES)]:
        return WeightFiles("unread", tuple(entries[path] for path in unread))
    raise WeightsError("no_weights", f"Model {model_id} has no weight files.")


def list_files(repository: Repository, model_id: str) -> list[FileEntry]:
    """Files of a model; raises WeightsError not_found, gated, disabled or unreadable."""
    try:
        return repository.files(model_id)
    except RepositoryError as error:
        raise repository_failure(error) from error


def read_json_file(
    repository: Repository,
    model_id: str,
    entry: FileEntry,
    *,
    max_bytes: int,
    status: Status,
    meter: Meter | None = None,
) -> dict[str, Any]:
    """Reads a JSON file of a model as one object.

    Raises:
        WeightsError: `status` if it is larger than `max_bytes` or not one sound JSON object; unreadable or truncated
            if the repository fails.
    """
    reader = FileReader(repository, model_id, entry, meter)
    if entry.size_bytes > max_bytes:
        raise WeightsError(status, f"{reader.label} has {entry.size_bytes} bytes; at most {max_bytes} are read.")
    return parse_json_object(reader.read(0, entry.size_bytes), what=reader.label, status=status)


def read_config(
    repository: Repository, model_id: str, entry: FileEntry | None, meter: Meter | None = None
) -> dict[str, Any]:
    """A model's config.json; empty if there is none or, with a warning, if it cannot be read.

    A broken config.json does not make the weights unreadable, so it never fails a model; a repository that fails does.
    """
    if entry is None:
        return {}
    try:
        return read_json_file(
            repository, model_id, entry, max_bytes=MAX_CONFIG_BYTES, status="invalid_header", meter=meter
        )
    except WeightsError as error:
        if error.status != "invalid_header":
            raise
        _logger.warning("%s It is read as empty.", error.message)
        return {}


def _candidates(entries: Mapping[str, FileEntry], endings: tuple[str, ...]) -> dict[str, FileEntry]:
    """Files with one of the endings that may be a model: those of a pipeline's main part, else at the top, else any."""
    found = {
        path: entry
        for path, entry in entries.items()
        if path.endswith(endings) and not path.endswith(ADAPTER_FILES) and not _NOT_MODELS.fullmatch(path)
    }
    for folder in (*COMPONENTS, None):
        inside = {p: e for p, e in found.items() if (p.rpartition("/")[0] == folder if folder else "/" not in p)}
        if inside:
            return inside
    return found


def _stem(path: str) -> str:
    """A file's name without its folder, its ending and the number of its shard."""
    shard = _SHARD.fullmatch(path)
    stem = shard["stem"] if shard else path.rpartition(".")[0]
    return stem.rpartition("/")[2]


def _models(candidates: Mapping[str, FileEntry]) -> list[str]:
    """Paths of the one model that counts, sorted; empty if there is none."""
    models: dict[tuple[str, str], list[str]] = {}
    for path in sorted(candidates):
        shard = _SHARD.fullmatch(path)
        models.setdefault((shard["stem"], shard["count"]) if shard else (path, ""), []).append(path)
    whole = {key: paths for key, paths in models.items() if not key[1] or len(paths) == int(key[1])} or models

    def worth(key: tuple[str, str]) -> tuple[bool, bool, int]:
        stem = _stem(whole[key][0])
        size = sum(candidates[path].size_bytes for path in whole[key])
        return stem in USUAL_STEMS, _VARIANT.fullmatch(stem) is None, size

    # The first of equals wins.
    return whole[max(whole, key=worth)] if whole else []


def _index(entries: Mapping[str, FileEntry], candidates: Mapping[str, FileEntry], ending: str) -> FileEntry | None:
    """The index beside the candidates; None without one, and where a whole model in one file makes it a left-over."""
    folders = {path.rpartition("/")[0] for path in candidates}
    is_whole = any(_SHARD.fullmatch(path) is None and _stem(path) in USUAL_STEMS for path in candidates)
    if len(folders) != 1 or is_whole:
        return None
    beside = (path for path in entries if path.rpartition("/")[0] in folders)
    return next((entries[path] for path in beside if path.endswith(f"{ending}.index.json")), None)


def _indexed(
    repository: Repository,
    model_id: str,
    index_entry: FileEntry,
    candidates: Mapping[str, FileEntry],
    meter: Meter | None,
) -> WeightFiles | None:
    """The shards that an index names; None where the names of the shards say as much and it need not be read."""
    folder = index_entry.path.rpartition("/")[0]
    shards = {path: match for path in candidates if (match := _SHARD.fullmatch(path))}
    if shards and all(len(shards) == int(match["count"]) for match in shards.values()):
        return None
    index = read_json_file(
        repository,
        model_id,
        index_entry,
        max_bytes=MAX_INDEX_BYTES,
        status="invalid_header",
        meter=meter,
    )
    tensor_files = index.get("weight_map")
    if not isinstance(tensor_files, dict) or not tensor_files:
        raise WeightsError("invalid_header", f"The file {index_entry.path!r} of model {model_id} has no weight_map.")
    located = {}
    for name, path in tensor_files.items():
        # Only names from the listing count, so an index cannot lead anywhere else.
        inside = f"{folder}/{path}" if folder else path
        if not isinstance(path, str) or inside not in candidates:
            raise WeightsError(
                "invalid_header",
                f"The file {index_entry.path!r} of model {model_id} names the shard {str(path)[:100]!r}, "
                "which does not exist.",
            )
        located[name] = inside
    return WeightFiles("", tuple(candidates[path] for path in sorted(set(located.values()))), located)
