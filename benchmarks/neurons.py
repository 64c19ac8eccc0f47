"""A hundred neurons of models of a real size: what they cost over HTTP, against a download, and from a folder.

python -m benchmarks.neurons hub --layout 7b --models 12 --latency 0 50 200
python -m benchmarks.neurons download --layout 1b --models 2
python -m benchmarks.neurons folder --layout 7b --models 50
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import ml_dtypes  # noqa: F401 - NumPy's bfloat16, which safetensors returns
import numpy as np
from huggingface_hub import hf_hub_download
from safetensors import safe_open

from atlas_pipeline.features.plans import SamplingPlan
from atlas_pipeline.features.reading import ModelToSample
from atlas_pipeline.features.sampling import Sampled, sample_models
from atlas_pipeline.repositories import FolderRepository, HubRepository, Repository
from benchmarks.layouts import LARGE, SMALL, Layout, write_model

LAYOUTS = {layout.name: layout for layout in (SMALL, LARGE)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["hub", "download", "folder"])
    parser.add_argument("--layout", choices=LAYOUTS, default="7b")
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--latency", type=int, nargs="+", default=[0, 50, 200], help="milliseconds before every answer")
    given = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        root = Path(folder) / "models"
        ids = write_models(root, LAYOUTS[given.layout], given.models)
        if given.what == "hub":
            for latency in given.latency:
                print(over_http(root, ids, latency / 1000), flush=True)
        elif given.what == "download":
            print(against_download(root, ids), flush=True)
        else:
            print(from_folder(root, ids), flush=True)


def write_models(root: Path, layout: Layout, n_models: int) -> list[str]:
    """Models of one layout; their ids."""
    ids = [f"org/model-{number:03}" for number in range(n_models)]
    for model_id in ids:
        write_model(root / model_id, layout)
    return ids


@contextmanager
def served(root: Path, latency_s: float) -> Iterator[str]:
    """The folder as a hub, in a process of its own; gives its endpoint."""
    command = [sys.executable, "-m", "atlas_pipeline_tests.repositories.hub.local_hub", str(root)]
    with subprocess.Popen([*command, "--latency", str(latency_s)], stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip().partition("=")[2]
        finally:
            server.kill()


def sampled(repository: Repository, ids: Sequence[str]) -> tuple[Sampled, float]:
    """A hundred neurons of each, and the seconds that it took."""
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        found = sample_models(repository, [ModelToSample(model_id) for model_id in ids], Path(folder))
        seconds = time.perf_counter() - start
        assert [(row.status, row.n_neurons) for row in found.rows] == [("ok", 100)] * len(ids), found.rows
    return found, seconds


def over_http(root: Path, ids: Sequence[str], latency_s: float) -> str:
    """Bytes, requests and models a minute at one latency."""
    with served(root, latency_s) as endpoint, HubRepository(endpoint=endpoint) as repository:
        found, seconds = sampled(repository, ids)
        traffic = repository.traffic
    n, total = len(ids), found.rows[0].bytes_total
    return (
        f"latency {latency_s * 1000:.0f} ms: {found.rows[0].bytes_read:,} bytes of {total:,} a model "
        f"({found.rows[0].bytes_read / total:.4%}); on the wire {traffic.n_bytes / n:,.0f} bytes in "
        f"{traffic.n_requests / n:.1f} requests a model ({traffic.api.n_requests / n:.1f} listings, "
        f"{traffic.resolve.n_requests / n:.1f} at the hub, {traffic.data.n_requests / n:.1f} at the store); "
        f"{60 * n / seconds:,.0f} models a minute"
    )


def against_download(root: Path, ids: Sequence[str]) -> str:
    """The same rows of the same models from the same server, by range and by whole files."""
    with served(root, 0) as endpoint:
        with HubRepository(endpoint=endpoint) as repository:
            found, ours = sampled(repository, ids)
            n_bytes = repository.traffic.n_bytes
        (group,) = found.groups.values()
        start, downloaded = time.perf_counter(), 0
        for model_id in ids:
            with TemporaryDirectory() as folder:
                names = [path.name for path in sorted((root / model_id).iterdir())]
                for name in names:
                    hf_hub_download(model_id, name, endpoint=endpoint, local_dir=folder)
                downloaded += sum((Path(folder) / name).stat().st_size for name in names)
                read_with_safetensors(Path(folder), group.plan)
        theirs = time.perf_counter() - start
    return (
        f"{len(ids)} models: by range {n_bytes:,} bytes, {ours:.2f} s; downloaded {downloaded:,} bytes, "
        f"{theirs:.2f} s; {downloaded / n_bytes:,.0f} times fewer bytes, {theirs / ours:.0f} times faster"
    )


def from_folder(root: Path, ids: Sequence[str]) -> str:
    """Models a second beside safetensors' own reader, which is told the rows; the better of three runs each."""
    repository = FolderRepository(root)
    runs = [sampled(repository, ids) for _ in range(3)]
    (group,) = runs[0][0].groups.values()
    ours, theirs = min(seconds for _, seconds in runs), float("inf")
    for _ in range(3):
        start = time.perf_counter()
        for model_id in ids:
            read_with_safetensors(root / model_id, group.plan)
        theirs = min(theirs, time.perf_counter() - start)
    n = len(ids)
    return f"{n / ours:,.0f} models a second; safe_open {n / theirs:,.0f}; {ours / theirs:.1f} times as long"


def read_with_safetensors(folder: Path, plan: SamplingPlan) -> np.ndarray:
    """The planned rows as float32, by the safetensors package."""
    files = [safe_open(path, "np") for path in sorted(folder.glob("*.safetensors"))]
    holder = {name: file for file in files for name in file.keys()}  # noqa: SIM118 - no mapping
    rows = []
    for tensor in plan.tensors:
        name = f"model.{tensor.canonical}"
        stored = holder[name].get_slice(name)
        rows += [np.asarray(stored[row : row + 1]).astype(np.float32).reshape(-1) for row in tensor.rows]
    return np.concatenate(rows)


if __name__ == "__main__":
    main()
