"""Several cores for work that NumPy does on one: gathering, widening and folding rows.

NumPy lets other threads run while it computes. Every piece of work writes to rows of its own, so the result does not
depend on how many threads there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Final, TypeVar

_MOST_THREADS: Final = 8
"""More do not gather faster: memory is the limit."""

Item = TypeVar("Item")


def for_each(work: Callable[[Item], object], items: Sequence[Item]) -> None:
    """Do a piece of work for each item, several at once; an error in one of them is raised here.

    Args:
        work: Called once for each item; must not call this function itself.
        items: What it is called with.
    """

    def do(batch: Sequence[Item]) -> None:
        for item in batch:
            work(item)

    if len(items) < 2 or _n_threads() < 2:
        do(items)
    else:
        # A few batches for each thread: one that was held up leaves the rest to the others.
        step = -(-len(items) // (4 * _n_threads()))
        list(_pool().map(do, [items[start : start + step] for start in range(0, len(items), step)]))


@lru_cache(maxsize=1)
def _n_threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_THREADS)


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_n_threads(), thread_name_prefix="distances")
