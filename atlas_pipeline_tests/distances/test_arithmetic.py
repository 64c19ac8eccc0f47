"""Products come out alike whatever computes them, and PyTorch is asked only where it can be of use."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from atlas_pipeline.distances import arithmetic
from atlas_pipeline.distances.arithmetic import NumpyArithmetic, TorchArithmetic, fastest
from atlas_pipeline.distances.dense import squared_distances
from atlas_pipeline.distances.neighbors import nearest_neighbors
from atlas_pipeline_tests.distances.vectors import fans


class Recorder(NumpyArithmetic):
    """Counts the products that it computes, by type."""

    def __init__(self):
        self.types = []

    def product(self, left, right):
        self.types.append(left.dtype)
        return super().product(left, right)

    def sum_of_products(self, slabs, shape):
        return super().sum_of_products(((left, self.noted(right)) for left, right in slabs), shape)

    def noted(self, array):
        self.types.append(array.dtype)
        return array


def some_slabs(n_slabs=3):
    generator = np.random.default_rng(4)
    return [(generator.normal(size=(5, 7)), generator.normal(size=(4, 7))) for _ in range(n_slabs)]


def test_slabs_are_added_up():
    slabs = some_slabs()
    expected = sum(left @ right.T for left, right in slabs)
    np.testing.assert_allclose(NumpyArithmetic().sum_of_products(iter(slabs), (5, 4)), expected, rtol=1e-14)


def test_slabs_of_float32_are_added_in_float64():
    ones = np.ones((1, 1), dtype=np.float32)
    tiny = np.full((1, 1), 1e-5, dtype=np.float32)
    total = NumpyArithmetic().sum_of_products([(ones, ones), *[(tiny, tiny)] * 1000], (1, 1))
    assert total.dtype == np.float64
    assert total[0, 0] == pytest.approx(1 + 1e-7, rel=1e-12)


def test_a_given_arithmetic_computes_all_products():
    vectors = fans(n_bases=2, n_each=80, width=60_000, step=1e-3)
    recorder = Recorder()
    expected = squared_distances(vectors, arithmetic=NumpyArithmetic())
    assert (squared_distances(vectors, arithmetic=recorder) == expected).all()
    assert {np.dtype(np.float32), np.dtype(np.float64)} == set(recorder.types)
    recorder.types.clear()
    nearest_neighbors(vectors, k=3, arithmetic=recorder)
    assert recorder.types.count(np.dtype(np.float32)) >= 2
    assert np.dtype(np.float64) in recorder.types


def test_pytorch_computes_the_same_numbers():
    torch = pytest.importorskip("torch")
    on_cpu = TorchArithmetic(torch, "cpu")
    for kind in (np.float32, np.float64):
        left, right = (array.astype(kind) for array in some_slabs(1)[0])
        product = on_cpu.product(left, right)
        assert product.dtype == kind
        np.testing.assert_allclose(product, left @ right.T, rtol=20 * np.finfo(kind).eps, atol=np.finfo(kind).eps * 9)
        of_itself = on_cpu.product(left, left)
        assert (of_itself == of_itself.T).all()
    vectors = fans(n_bases=2, n_each=40, width=500, step=1e-3)
    expected, found = (nearest_neighbors(vectors, k=4, arithmetic=a) for a in (NumpyArithmetic(), on_cpu))
    assert (found.index == expected.index).all()
    np.testing.assert_allclose(found.squared, expected.squared, rtol=1e-7)
    np.testing.assert_allclose(squared_distances(vectors, arithmetic=on_cpu), squared_distances(vectors), rtol=1e-7)


@pytest.fixture
def choice(monkeypatch):
    """Pretends that PyTorch is there or not, a driver is there or not, and PyTorch finds a device or not."""
    imported = []

    def pretend(*, is_installed, has_driver, finds_device):
        torch = SimpleNamespace(
            cuda=SimpleNamespace(is_available=lambda: finds_device),
            backends=SimpleNamespace(cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True))),
        )

        def load(library):
            if not has_driver:
                raise OSError(library)

        monkeypatch.setattr(arithmetic, "find_spec", lambda name: object() if is_installed else None)
        monkeypatch.setattr(arithmetic, "import_module", lambda name: imported.append(name) or torch)
        monkeypatch.setattr(ctypes, "CDLL", load)
        return torch

    fastest.cache_clear()
    yield pretend, imported
    fastest.cache_clear()


@pytest.mark.parametrize(("is_installed", "has_driver", "finds_device"), [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_numpy_computes_where_there_is_no_gpu(choice, is_installed, has_driver, finds_device):
    pretend, imported = choice
    pretend(is_installed=is_installed, has_driver=has_driver, finds_device=finds_device)
    assert fastest().name == "numpy"
    assert imported == (["torch"] if is_installed and has_driver else [])


def test_a_gpu_computes_without_tf32_where_there_is_one(choice):
    pretend, _ = choice
    torch = pretend(is_installed=True, has_driver=True, finds_device=True)
    assert fastest().name == "cuda"
    assert torch.backends.cuda.matmul.allow_tf32 is False


def test_importing_the_stage_does_not_import_pytorch():
    code = "import sys, atlas_pipeline.distances.partitions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
