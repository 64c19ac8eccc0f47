"""Reads damaged and made-up files with every reader, and feeds them to a coverage-guided fuzzer.

`python -m atlas_pipeline_tests.weights.fuzzing torch --runs 1000000` needs the extra `fuzz` (atheris). It stops at the
first input that raises anything but a WeightsError, reads more than its share, or takes longer than the time limit, and
keeps that input. `test_hostile_files.py` uses the same targets.
"""

import argparse
import contextlib
import importlib
import inspect
import io
import json
import logging
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import gguf
import numpy as np
import safetensors.numpy

from atlas_pipeline.repositories import FileEntry, FileNotInModel, ModelNotFound, ShortRead
from atlas_pipeline.weights import WeightsError, find_weights, open_adapter, open_found
from atlas_pipeline.weights.bounded_json import parse_json_object
from atlas_pipeline.weights.pytorch.pickled import read_pickle
from atlas_pipeline.weights.tensors import Weights
from atlas_pipeline_tests.weights.pytorch.writing import (
    Padded,
    checkpoint,
    mapping,
    program,
    state_dict,
    storage,
    stream_archive,
    tensor,
)
from atlas_pipeline_tests.weights.writing import random_matrix, raw_safetensors

MODEL = "birch/leaf"
BASE = "birch/stem"
TIME_LIMIT_S = 10
REPORT_EVERY_S = 30
MAX_INPUT_BYTES = 1 << 16

REFERENCES = Path(__file__).parent / "references" / "torch"


class MemoryRepository:
    """Models in memory; insists that only what exists is asked for, and not much more often than once."""

    n_parallel = 1

    def __init__(self, models: Mapping[str, Mapping[str, bytes]], *, gap_bytes: int = 0) -> None:
        self.gap_bytes = gap_bytes
        self._models = models
        self._left = 64 * sum(len(content) for files in models.values() for content in files.values()) + (1 << 16)

    def models(self) -> list[str]:
        return sorted(self._models)

    def files(self, model_id: str) -> list[FileEntry]:
        if model_id not in self._models:
            raise ModelNotFound(f"There is no model {model_id[:100]!r}.")
        return sorted(FileEntry(path, len(content)) for path, content in self._models[model_id].items())

    def revision(self, model_id: str) -> str | None:
        return None

    def sha256(self, model_id: str, path: str) -> str | None:
        return None

    def read(self, model_id: str, path: str, start: int, stop: int) -> bytes:
        files = self._models[model_id]
        if path not in files:
            raise FileNotInModel(f"Model {model_id} has no file {path[:100]!r}.")
        assert 0 <= start <= stop, (start, stop)
        if stop > len(files[path]):
            raise ShortRead(f"The file {path[:100]!r} of model {model_id} ends before byte {stop}.")
        self._left -= stop - start
        assert self._left >= 0, "more is read than the files explain"
        return files[path][start:stop]

    def read_ranges(self, model_id: str, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        assert len(ranges) <= 100_000, "more requests than anyone would answer"
        return [self.read(model_id, path, start, stop) for start, stop in ranges]


def read_model(files: Mapping[str, bytes], *, gap_bytes: int = 0) -> None:
    """Opens a model and reads some of its rows; only a WeightsError is an answer to a bad file."""
    repository = MemoryRepository({MODEL: files}, gap_bytes=gap_bytes)
    with contextlib.suppress(WeightsError):
        read_rows(open_found(repository, MODEL, find_weights(repository, MODEL)))


def read_rows(weights: Weights) -> None:
    """Reads the first and last row of some tensors."""
    for name, info in sorted(weights.tensors.items())[:20]:
        if not info.is_readable or not info.shape or not info.shape[0]:
            continue
        indices = [0, info.shape[0] - 1]
        weights.cost_bytes(name, 2)
        with contextlib.suppress(WeightsError):
            rows = weights.rows(name, indices)
            assert rows.dtype == np.float32
            assert rows.shape == (2, info.n_columns), (rows.shape, info)


def _safetensors(data: bytes) -> None:
    read_model({"model.safetensors": data})
    # The same header with a length that is right, which mutations rarely leave.
    read_model({"model.safetensors": raw_safetensors(data[8:].partition(b"}}")[0] + b"}}", bytes(560))})


def _gguf(data: bytes) -> None:
    read_model({"model.gguf": data})


def _torch(data: bytes) -> None:
    read_model({"pytorch_model.bin": data}, gap_bytes=len(data) % 2 << 12)


def _pickle(data: bytes) -> None:
    with contextlib.suppress(WeightsError):
        read_pickle(data, what="The file")
    members = checkpoint(b"", {str(key): bytes(96) for key in range(3)})
    _torch(_archive(members | {"archive/data.pkl": data}))


def _json(data: bytes) -> None:
    with contextlib.suppress(WeightsError):
        parse_json_object(data, what="The file", status="invalid_header")


DOCUMENTS = ("config.json", "model.safetensors.index.json", "adapter_config.json", "__metadata__")
"""What surrounds weights; the last stands for the metadata of an adapter's own file."""


def _documents(data: bytes) -> None:
    document, content = DOCUMENTS[data[0] % len(DOCUMENTS) if data else 0], data[1:]
    if document in DOCUMENTS[:2]:
        shard = {"q.weight": np.ones((4, 8), np.int8), "q.SCB": np.ones(4, np.float32)}
        read_model({"a.safetensors": safetensors.numpy.save(shard), document: content})
        return
    lora = {
        "base_model.model.q.lora_A.weight": random_matrix(2, 8),
        "base_model.model.q.lora_B.weight": random_matrix(4, 2),
    }
    metadata = {"lora_adapter_metadata": content.decode("utf-8", "replace")} if document == "__metadata__" else None
    files = {"adapter_model.safetensors": safetensors.numpy.save(lora, metadata=metadata)}
    if metadata is None:
        files[document] = content
    base = {"model.safetensors": safetensors.numpy.save({"q.weight": random_matrix(4, 8)})}
    repository = MemoryRepository({MODEL: files, BASE: base})
    with contextlib.suppress(WeightsError):
        read_rows(open_adapter(repository, MODEL, base_ids=[BASE]))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "safetensors": _safetensors,
    "gguf": _gguf,
    "torch": _torch,
    "pickle": _pickle,
    "json": _json,
    "documents": _documents,
}


def _archive(members: Mapping[str, bytes | Padded]) -> bytes:
    stream = io.BytesIO()
    stream_archive(stream, members)
    return stream.getvalue()


def seeds(target: str) -> list[bytes]:
    """Valid inputs to start from."""
    matrix = random_matrix(4, 32)
    if target == "safetensors":
        plain = {"model.layers.0.q.weight": matrix, "norm": matrix[0].astype(np.float16)}
        scaled = {"q.weight": np.ones((4, 8), np.int8), "q.SCB": np.ones(4, np.float32)}
        return [safetensors.numpy.save(plain, metadata={"format": "pt"}), safetensors.numpy.save(scaled)]
    if target == "gguf":
        return [_gguf_file(matrix, "llama"), _gguf_file(matrix, "qwen2")]
    if target == "torch":
        return [_archive(checkpoint(*state_dict({"a": matrix, "b": matrix[:, :4]}))), *_saved()]
    if target == "pickle":
        stored = storage("0", "F32", 24)
        views = {
            "w": tensor(stored, (4, 6)),
            "t": tensor(stored, (6, 4), (1, 6)),
            "c": tensor(stored, (4, 2), (6, 1), 3),
        }
        value = mapping({"state_dict": mapping(views), "epoch": b"K\x03"})
        return [program(value), *map(_pickled, _saved())]
    values: list[object] = [
        {"model_type": "llama", "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": -1}},
        {"metadata": {"total_size": 8}, "weight_map": {"q.weight": "a.safetensors"}},
        {"peft_type": "LORA", "r": 2, "lora_alpha": 4.0, "alpha_pattern": {"q": 8}, "base_model_name_or_path": "a/b"},
        {"transformer.lora_alpha": 4, "transformer.r": 2},
    ]
    texts = [json.dumps(value).encode() for value in values]
    return texts if target == "json" else [bytes([number]) + text for number, text in enumerate(texts)]


def _saved() -> list[bytes]:
    paths = sorted(path for path in REFERENCES.iterdir() if path.suffix in {".bin", ".ckpt", ".pt", ".pth"})
    return [path.read_bytes() for path in paths if zipfile.is_zipfile(path)]


def _pickled(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))


def _gguf_file(matrix: np.ndarray, architecture: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.gguf"
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_uint32(f"{architecture}.attention.head_count", 2)
        writer.add_array("tokenizer.ggml.tokens", ["a", "bc"])
        for name, kind in {
            "blk.0.attn_q.weight": gguf.GGMLQuantizationType.Q8_0,
            "norm": gguf.GGMLQuantizationType.F16,
        }.items():
            writer.add_tensor(name, gguf.quants.quantize(matrix, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def _functions(module: ModuleType) -> list[Callable[..., object]]:
    """Functions and methods that a module defines."""
    places = [vars(module), *(vars(kind) for kind in vars(module).values() if inspect.isclass(kind))]
    found = {id(value): value for place in places for value in place.values() if inspect.isfunction(value)}
    return [function for function in found.values() if function.__module__ == module.__name__]


def main() -> None:
    """Runs the fuzzer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--runs", type=int, default=100_000, help="inputs to try")
    parser.add_argument("--seconds", type=int, default=0, help="stop after this time")
    parser.add_argument("--corpus", type=Path, help="folder that keeps inputs which reach something new")
    arguments = parser.parse_args()
    # Only who fuzzes needs it.
    atheris = importlib.import_module("atheris")
    for name, module in sorted(sys.modules.items()):
        if name.startswith("atlas_pipeline.weights.") or name in {"pickletools", "zipfile"}:
            for function in _functions(module):
                atheris.instrument_func(function)
    logging.disable(logging.CRITICAL)
    corpus = arguments.corpus or Path(tempfile.mkdtemp(prefix="fuzzing-"))
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(arguments.target)):
        (corpus / f"seed-{number}").write_bytes(seed)
    run = TARGETS[arguments.target]
    tally = {"inputs": 0, "slowest": 0.0, "printed": time.monotonic()}

    def one(data: bytes) -> None:
        started = time.perf_counter()
        run(data)
        tally["slowest"] = max(tally["slowest"], time.perf_counter() - started)
        tally["inputs"] += 1
        # The fuzzer ends the process by itself, so the last word cannot be kept for the end.
        if time.monotonic() - tally["printed"] > REPORT_EVERY_S or tally["inputs"] == arguments.runs:
            print(
                f"{arguments.target}: {tally['inputs']} inputs, the slowest took {tally['slowest']:.3f} s", flush=True
            )
            tally["printed"] = time.monotonic()

    options = [
        f"-runs={arguments.runs}",
        f"-timeout={TIME_LIMIT_S}",
        f"-max_len={MAX_INPUT_BYTES}",
        "-rss_limit_mb=2048",
    ]
    if arguments.seconds:
        options.append(f"-max_total_time={arguments.seconds}")
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
