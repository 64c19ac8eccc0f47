"""Opens quantised models for tests and counts what is read."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.weights.safetensors_file import open_safetensors
from atlas_pipeline.weights.tensors import FileReader, Meter, StoredWeights
from atlas_pipeline_tests.weights.writing import MODEL, model_folder, raw_safetensors

FLOAT8 = np.dtype(ml_dtypes.float8_e4m3fn)

NAMES = {
    np.dtype(np.float32): "F32",
    np.dtype(np.float16): "F16",
    np.dtype(ml_dtypes.bfloat16): "BF16",
    FLOAT8: "F8_E4M3",
    np.dtype(ml_dtypes.float8_e5m2): "F8_E5M2",
    np.dtype(np.int8): "I8",
    np.dtype(np.uint8): "U8",
    np.dtype(np.int32): "I32",
    np.dtype(np.uint32): "U32",
    np.dtype(np.int64): "I64",
}


class CountingRepository(FolderRepository):
    """Counts requests."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.n_requests = 0

    def read_ranges(self, model_id: str, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        self.n_requests += len(ranges)
        return super().read_ranges(model_id, path, ranges)


def write_tensors(root: Path, tensors: Mapping[str, np.ndarray]) -> Path:
    """A safetensors file of any types, in the order given."""
    header: dict[str, object] = {}
    data = b""
    for name, tensor in tensors.items():
        start = len(data)
        data += tensor.tobytes()
        offsets = [start, len(data)]
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
    path = model_folder(root) / "model.safetensors"
    path.write_bytes(raw_safetensors(header, data))
    return path


def open_written(
    root: Path,
    tensors: Mapping[str, np.ndarray] | Path,
    quantization_config: Mapping[str, Any] | None = None,
    *,
    repository: FolderRepository | None = None,
    meter: Meter | None = None,
    **config: Any,
) -> StoredWeights:
    """Tensors, or a copy of a file, as an opened model."""
    if isinstance(tensors, Path):
        shutil.copy(tensors, model_folder(root) / "model.safetensors")
    else:
        write_tensors(root, tensors)
    if quantization_config is not None:
        # Through JSON, as a config.json would come.
        config |= {"quantization_config": json.loads(json.dumps(quantization_config))}
    repository = repository or FolderRepository(root)
    (entry,) = (entry for entry in repository.files(MODEL) if entry.path == "model.safetensors")
    reader = FileReader(repository, MODEL, entry, meter)
    return open_safetensors([reader], model_id=MODEL, tensor_files=None, config=config)
