"""What reading a hub has cost so far, and the limit on it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Literal

from atlas_pipeline.repositories.interface import BudgetSpent

Kind = Literal["api", "resolve", "data"]
"""What a request is for: a listing, a file at the hub itself (hubs limit the rate of these), or a range of a file at
the store that the hub redirects to."""


@dataclass(frozen=True, slots=True)
class Count:
    """Requests that were sent and bytes of bodies that arrived, also of requests that failed."""

    n_requests: int = 0
    n_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests and bytes by kind of request."""

    api: Count = field(default_factory=Count)
    resolve: Count = field(default_factory=Count)
    data: Count = field(default_factory=Count)

    @property
    def n_requests(self) -> int:
        """Requests of all kinds."""
        return self.api.n_requests + self.resolve.n_requests + self.data.n_requests

    @property
    def n_bytes(self) -> int:
        """Bytes of all kinds."""
        return self.api.n_bytes + self.resolve.n_bytes + self.data.n_bytes


class TrafficMeter:
    """Counts requests and bytes of all threads, and refuses those that would exceed a budget.

    What a request asks for is set aside while it runs, so that requests that run side by side cannot exceed the budget
    together.
    """

    def __init__(self, budget_bytes: int | None = None) -> None:
        """Starts at zero.

        Args:
            budget_bytes: Bytes that may be fetched; None for as many as it takes.
        """
        self.budget_bytes = budget_bytes
        self._lock = threading.Lock()
        self._traffic = Traffic()
        self._set_aside = 0

    @property
    def traffic(self) -> Traffic:
        """What was counted so far."""
        with self._lock:
            return self._traffic

    def require(self, n_bytes: int) -> None:
        """Raises BudgetSpent if so many bytes more would exceed the budget; counts nothing."""
        with self._lock:
            self._check(n_bytes)

    def set_aside(self, n_bytes: int) -> None:
        """Keeps bytes for a request that is about to be sent, or that turns out to take more.

        Raises:
            BudgetSpent: If there are not so many left; nothing is set aside then.
        """
        with self._lock:
            self._check(n_bytes)
            self._set_aside += n_bytes

    def count(self, kind: Kind, *, n_bytes: int, set_aside: int) -> None:
        """Counts a request that is over.

        Args:
            kind: What it was for.
            n_bytes: What has arrived.
            set_aside: What was set aside for it.
        """
        with self._lock:
            self._set_aside -= set_aside
            before: Count = getattr(self._traffic, kind)
            counted = Count(before.n_requests + 1, before.n_bytes + n_bytes)
            self._traffic = replace(self._traffic, **{kind: counted})

    def _check(self, n_bytes: int) -> None:
        spent = self._traffic.n_bytes + self._set_aside
        if self.budget_bytes is not None and spent + n_bytes > self.budget_bytes:
            raise BudgetSpent(
                f"{n_bytes} bytes more would exceed the {self.budget_bytes} bytes that this run may fetch from the "
                f"Hub, of which {spent} are spent."
            )
