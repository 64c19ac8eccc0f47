"""One hub for all tests of this folder, and a second one of the same seed made by another process meanwhile."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open
from threadpoolctl import threadpool_limits

from atlas_pipeline.repositories.demo import DemoHub, ensure_demo_hub

_BUILD = """
import pathlib, sys
from atlas_pipeline.repositories.demo import ensure_demo_hub
ensure_demo_hub(pathlib.Path(sys.argv[1]))
"""


class Hub:
    """The hub as tests read it: from its files only."""

    def __init__(self, places: DemoHub) -> None:
        self.places = places
        self.truth = pq.read_table(places.truth).to_pylist()
        self.first, self.second = (
            {row["id"]: row for row in pq.read_table(places.hub_stats / snapshot / "models.parquet").to_pylist()}
            for snapshot in ("2025-06-01", "2025-12-01")
        )

    def edges(self, *patterns: str) -> list[dict]:
        """True edges of some patterns between models whose weights are there."""
        edges = [
            edge
            for edge in self.truth
            if edge["pattern"] in patterns
            and self.folder(edge["child_id"]).is_dir()
            and self.folder(edge["parent_id"]).is_dir()
        ]
        assert edges, patterns
        return edges

    def folder(self, model_id: str) -> Path:
        return self.places.weights / model_id

    def stored(self, model_id: str, file: str = "model.safetensors") -> dict[str, np.ndarray]:
        with safe_open(self.folder(model_id) / file, framework="numpy") as handle:
            return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a mapping

    def weights(self, model_id: str) -> dict[str, np.ndarray]:
        """Float64 values of a safetensors model of a float type."""
        tensors = self.stored(model_id)
        assert {t.dtype for t in tensors.values()} <= {np.dtype(t) for t in ("f4", "f2", ml_dtypes.bfloat16)}
        return {name: tensor.astype(np.float64) for name, tensor in tensors.items()}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small are multiplied faster by one thread than by many."""
    with threadpool_limits(limits=1):
        yield


@pytest.fixture(scope="session")
def twin_roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoHub, Path]:
    here, there = tmp_path_factory.mktemp("here") / "demo", tmp_path_factory.mktemp("there") / "hub"
    with subprocess.Popen([sys.executable, "-c", _BUILD, str(there)]) as other:
        places = ensure_demo_hub(here)
    assert other.returncode == 0
    return places, there


@pytest.fixture(scope="session")
def hub(twin_roots: tuple[DemoHub, Path]) -> Hub:
    return Hub(twin_roots[0])
