"""Every format, single and sharded, from a folder and over HTTP by the real client: the same numbers bit by bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from atlas_pipeline.repositories import FolderRepository, HubRepository, Repository
from atlas_pipeline.weights import Weights, find_weights, looks_like_lora, open_adapter, open_found
from atlas_pipeline_tests.repositories.hub.local_hub import LocalHub
from atlas_pipeline_tests.weights.writing import random_matrix, write_gguf, write_json, write_safetensors

REFERENCES = Path(__file__).parent / "references"
QUANTISED = sorted(path.stem for path in (REFERENCES / "quantised").glob("*.safetensors") if path.stem != "expected")
ADAPTERS = sorted(f"{p.parent.name}/{p.name}" for p in (REFERENCES / "adapters" / "models").glob("*/*") if p.is_dir())
WRITTEN = [
    *(
        "safetensors",
        "safetensors-sharded",
        "safetensors-indexed",
        "gguf",
        "gguf-sharded",
        "pytorch",
        "pytorch-sharded",
    ),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of each format, every quantised reference, every adapter with its base."""
    root = tmp_path_factory.mktemp("formats")
    shutil.copytree(REFERENCES / "adapters" / "models", root, dirs_exist_ok=True)
    tensors = {f"model.layers.{n}.q.weight": random_matrix(40, 64, seed=n) for n in range(4)}
    halves = [dict(list(tensors.items())[:2]), dict(list(tensors.items())[2:])]
    write_safetensors(root, tensors, "written/safetensors")
    for number, half in enumerate(halves, start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        write_safetensors(root, half, "written/safetensors-sharded", file=file)
        write_safetensors(root, half, "written/safetensors-indexed", file=f"part{number}.safetensors")
    where = {name: f"part{number}.safetensors" for number, half in enumerate(halves, start=1) for name in half}
    write_json(root, "model.safetensors.index.json", {"weight_map": where}, "written/safetensors-indexed")
    kinds = dict(zip(tensors, (Kind.F16, Kind.Q8_0, Kind.Q4_0, Kind.Q5_1), strict=True))
    write_gguf(root, {name: (tensors[name], kind) for name, kind in kinds.items()}, "written/gguf")
    _write_split_gguf(root / "written" / "gguf-sharded", [{n: tensors[n] for n in half} for half in halves])
    for name, files in {
        "pytorch": ["plain.bin"],
        "pytorch-sharded": [f"shard-0000{n}-of-00002.bin" for n in (1, 2)],
    }.items():
        (root / "written" / name).mkdir()
        for file in files:
            shutil.copy(REFERENCES / "torch" / file, root / "written" / name)
    cases = json.loads((REFERENCES / "quantised" / "cases.json").read_text())
    for stem in QUANTISED:
        (folder := root / "quantised" / stem).mkdir(parents=True)
        shutil.copy(REFERENCES / "quantised" / f"{stem}.safetensors", folder / "model.safetensors")
        declared = cases[stem].get("quantization_config")
        (folder / "config.json").write_text(json.dumps({"quantization_config": declared} if declared else {}))
    return root


def _write_split_gguf(folder: Path, parts: list[dict[str, np.ndarray]]) -> None:
    """What llama.cpp's splitter makes: parts with a header each."""
    folder.mkdir(parents=True)
    for number, part in enumerate(parts, start=1):
        writer = gguf.GGUFWriter(folder / f"model-0000{number}-of-00002.gguf", "qwen2")
        for name, tensor in part.items():
            writer.add_tensor(name, gguf.quants.quantize(tensor, Kind.Q8_0), raw_dtype=Kind.Q8_0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


@pytest.fixture(scope="module")
def hub(root: Path) -> Iterator[HubRepository]:
    with LocalHub(root) as served, HubRepository(endpoint=served.endpoint) as repository:
        yield repository


def opened(repository: Repository, model_id: str) -> Weights:
    found = find_weights(repository, model_id)
    if found.format != "adapter":
        weights = open_found(repository, model_id, found)
        if not looks_like_lora(weights.stored):
            return weights
        found = replace(found, format="adapter")
    return open_adapter(repository, model_id, base_ids=["tiny/diffusion", "tiny/convolutions"], found=found)


@pytest.mark.parametrize(
    "model_id",
    [*(f"written/{name}" for name in WRITTEN), *(f"quantised/{name}" for name in QUANTISED), *ADAPTERS],
)
def test_rows_are_the_same_from_a_folder_and_over_http(root: Path, hub: HubRepository, model_id: str) -> None:
    near = opened(FolderRepository(root), model_id)
    far = opened(hub, model_id)
    assert far.format == near.format
    assert far.tensors == near.tensors
    n_compared = 0
    for name, info in near.tensors.items():
        if info.is_readable and len(info.shape) >= 2 and info.shape[0]:
            rows = np.unique(np.linspace(0, info.shape[0] - 1, 5).astype(np.int64))[::-1]
            assert near.rows(name, rows).tobytes() == far.rows(name, rows).tobytes(), name
            n_compared += 1
    assert n_compared
