"""Where matrix products are computed: by NumPy's BLAS, or on a GPU where PyTorch is installed and finds one.

This is the only module of the stage that knows of more than one kind of processor. Everything else hands over NumPy
arrays and gets NumPy arrays back; both kinds give the same numbers within rounding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

_DRIVERS: Final = ("libcuda.so.1", "nvcuda.dll")
"""Libraries of Nvidia's driver. Without one there is no device, and importing PyTorch to ask would cost seconds."""


class Arithmetic(Protocol):
    """Products of matrices whose rows are vectors."""

    @property
    def name(self) -> str:
        """What computes: ``numpy``, or PyTorch's name of the device."""
        ...

    def product(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        """Multiply all pairs of rows in the precision of the arrays.

        Args:
            left: float32 or float64 [a, w].
            right: [b, w], of the same type.

        Returns:
            ``left @ right.T``, [a, b], of the same type; symmetric where both are the same array.
        """
        ...

    def sum_of_products(
        self, slabs: Iterable[tuple[NDArray[Any], NDArray[Any]]], shape: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Add up the products of slabs of columns, each computed in its own precision and added in float64.

        Args:
            slabs: pairs (left [a, w], right [b, w]) as ``product`` takes them; an array may be reused for the next.
            shape: (a, b).

        Returns:
            float64 [a, b].
        """
        ...


class NumpyArithmetic:
    """Products by the BLAS that NumPy was built with, on all its threads."""

    name = "numpy"

    def product(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        """See `Arithmetic.product`. Where both are the same array, BLAS computes one triangle and copies it."""
        return left @ right.T

    def sum_of_products(
        self, slabs: Iterable[tuple[NDArray[Any], NDArray[Any]]], shape: tuple[int, int]
    ) -> NDArray[np.float64]:
        """See `Arithmetic.sum_of_products`."""
        total = np.zeros(shape, dtype=np.float64)
        for left, right in slabs:
            total += left @ right.T
        return total


class TorchArithmetic:
    """Products by PyTorch on one of its devices.

    Args:
        torch: the module ``torch``.
        device: PyTorch's name of the device.
    """

    def __init__(self, torch: Any, device: str = "cuda") -> None:
        self._torch = torch
        self.name = device
        # Nineteen bits are no float32: relatives differ in the digits that TF32 drops.
        torch.backends.cuda.matmul.allow_tf32 = False

    def product(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        """See `Arithmetic.product`."""
        result: NDArray[Any] = self._multiplied(left, right).cpu().numpy()
        return result

    def sum_of_products(
        self, slabs: Iterable[tuple[NDArray[Any], NDArray[Any]]], shape: tuple[int, int]
    ) -> NDArray[np.float64]:
        """See `Arithmetic.sum_of_products`; the sum stays on the device until it is complete."""
        total = self._torch.zeros(shape, dtype=self._torch.float64, device=self.name)
        for left, right in slabs:
            total += self._multiplied(left, right)
        result: NDArray[np.float64] = total.cpu().numpy()
        return result

    def _multiplied(self, left: NDArray[Any], right: NDArray[Any]) -> Any:
        """Left times right on the device; its upper triangle mirrored where both are the same array."""
        moved = self._moved(left)
        if left is not right:
            return moved @ self._moved(right).T
        product = moved @ moved.T
        return self._torch.triu(product) + self._torch.triu(product, 1).T

    def _moved(self, array: NDArray[Any]) -> Any:
        # A copy even on the CPU: the caller reuses its array.
        return self._torch.tensor(array, device=self.name)


@lru_cache(maxsize=1)
def fastest() -> Arithmetic:
    """The GPU where PyTorch is installed and finds one, else NumPy; PyTorch is imported only where a driver is."""
    if find_spec("torch") is not None and _has_driver():
        torch = import_module("torch")
        if torch.cuda.is_available():
            return TorchArithmetic(torch)
    return NumpyArithmetic()


def _has_driver() -> bool:
    for library in _DRIVERS:
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        return True
    return False
