"""Sampled neurons of many models: one row about each model, one matrix for each group of comparable models.

Here belongs the loop over models and what becomes of those that fail; how one is read belongs in `reading`.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Final

import numpy as np

from atlas_pipeline.features.plans import SamplingPlan
from atlas_pipeline.features.reading import ModelReader, ModelToSample, Reading, SampledModel, joined_sha256
from atlas_pipeline.repositories import FileEntry, Repository, RepositoryError
from atlas_pipeline.weights import Float32Array

Progress = Callable[[int, int, str], None]

ROWS_AT_ONCE: Final = 32
"""Matrices that are asked for at the same time where reading is mostly waiting."""

AHEAD: Final = 4
"""Models, for each read at once, that may wait for one before them: their vectors take memory."""

MAX_HASHED_BYTES: Final = 1 << 30
"""Models of more bytes are not hashed to prove what their sampled neurons say already."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class VectorGroup:
    """Comparable models.

    Attributes:
        model_ids: Models in the order of the vectors.
        vectors: float32 [models, plan.n_dimensions]: the planned rows, joined; a memory map of a file.
        plan: Which coordinates these are.
    """

    model_ids: tuple[str, ...]
    vectors: Float32Array
    plan: SamplingPlan


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """The result: rows in the order of the models asked for, groups by name."""

    rows: tuple[SampledModel, ...] = ()
    groups: dict[str, VectorGroup] = field(default_factory=dict)


def sample_models(
    repository: Repository,
    models: Sequence[ModelToSample],
    folder: Path,
    *,
    n_neurons: int = 100,
    seed: int = 0,
    limit_bytes: int | None = None,
    progress: Progress | None = None,
) -> Sampled:
    """Reads the same neurons of all models that can be compared.

    A model that cannot be read gets a row that says why and never keeps others from being read. No model's vector
    depends on which other models are sampled, nor on how many are read at once.

    Args:
        repository: Where the models are.
        models: Each model once.
        folder: Takes the vectors while they are gathered; it must outlive the result.
        n_neurons: Neurons per model.
        seed: Seed of the draw of neurons.
        limit_bytes: What one model may take; None for as much as it needs.
        progress: Called as progress(done, total, model_id) after each model.

    Raises:
        ValueError: If a model is given twice, n_neurons is below 1 or the seed is negative.
    """
    if n_neurons < 1 or seed < 0:
        raise ValueError("Sampling needs at least one neuron and a seed that is not negative.")
    if len({model.model_id for model in models}) != len(models):
        raise ValueError("A model is given twice.")
    rows: list[SampledModel] = []
    files: dict[str, tuple[FileEntry, ...]] = {}
    with ExitStack() as stack:
        gathered = stack.enter_context(_Gathered(folder))
        workers = stack.enter_context(ThreadPoolExecutor(repository.n_parallel))
        threads = stack.enter_context(ThreadPoolExecutor(ROWS_AT_ONCE)) if repository.gap_bytes else None
        reader = ModelReader(repository, n_neurons, seed, limit_bytes, threads)
        for model, reading in _in_order(workers, reader.read, models, ahead=AHEAD * repository.n_parallel):
            rows.append(reading.row)
            files[model.model_id] = reading.entries
            gathered.add(reading)
            if progress:
                progress(len(rows), len(models), model.model_id)
        groups = gathered.groups()
    return Sampled(tuple(_prove_copies(repository, rows, files)), groups)


def _in_order(
    workers: ThreadPoolExecutor,
    read: Callable[[ModelToSample], Reading],
    models: Sequence[ModelToSample],
    *,
    ahead: int,
) -> Iterator[tuple[ModelToSample, Reading]]:
    """Readings in the order of the models, at most `ahead` of them before they are asked for."""
    waiting: deque[tuple[ModelToSample, Future[Reading]]] = deque()
    try:
        for model in models:
            waiting.append((model, workers.submit(read, model)))
            if len(waiting) > ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


class _Gathered:
    """Vectors written to one file a group, so that memory does not grow with their number."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._streams: dict[str, IO[bytes]] = {}
        self._plans: dict[str, SamplingPlan] = {}
        self._ids: dict[str, list[str]] = defaultdict(list)

    def __enter__(self) -> _Gathered:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def add(self, reading: Reading) -> None:
        if reading.plan is None or reading.vector is None:
            return
        name = reading.plan.vector_group
        if name not in self._streams:
            self._streams[name] = self._stack.enter_context((self._folder / f"{name}.f32").open("wb"))
            self._plans[name] = reading.plan
        self._streams[name].write(np.asarray(reading.vector, dtype="<f4").data)
        self._ids[name].append(reading.row.model_id)

    def groups(self) -> dict[str, VectorGroup]:
        found = {}
        for name, stream in sorted(self._streams.items()):
            stream.flush()
            plan, ids = self._plans[name], self._ids[name]
            shape = (len(ids), plan.n_dimensions)
            found[name] = VectorGroup(tuple(ids), np.memmap(stream.name, dtype="<f4", mode="r", shape=shape), plan)
        return found


def _prove_copies(
    repository: Repository, rows: Sequence[SampledModel], files: dict[str, tuple[FileEntry, ...]]
) -> Iterator[SampledModel]:
    """Hash the files of models that look equal, where the listing does not know and reading them is no download."""
    looks = [(row.sampled_sha256, row.vector_group, row.bytes_total) for row in rows]
    n_alike = Counter(looks)
    for row, look in zip(rows, looks, strict=True):
        is_alone = n_alike[look] == 1
        is_open = row.status == "ok" and row.content_sha256 is None and row.bytes_total <= MAX_HASHED_BYTES
        if is_alone or not is_open:
            yield row
            continue
        try:
            digests = [repository.sha256(row.model_id, entry.path) for entry in files[row.model_id]]
        except RepositoryError as error:
            _logger.warning("%s Its content is not hashed.", error)
            digests = []
        yield replace(row, content_sha256=joined_sha256(digests))
