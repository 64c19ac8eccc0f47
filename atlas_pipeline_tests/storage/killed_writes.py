"""Writes a partition again and again in processes that are killed, and says what each kill left behind.

Run as ``python killed_writes.py HOME N_RANDOM``: a process of its own, because it forks. Prints a JSON list.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from atlas_pipeline.storage import TableStore
from atlas_pipeline.storage.attachments import Attachment, unpack
from atlas_pipeline_tests.storage.contract_rows import some_rows

TABLE, PARTITION = "edges.charted", "bucket-00"
N_ROWS = 400
VERSIONS = {"old": 1, "new": 2}
CONTENT = {
    version: (some_rows(TABLE, version, N_ROWS, confidence=0.5), Attachment({"version": np.full(N_ROWS, number)}, {}))
    for version, number in VERSIONS.items()
}
"""Two versions whose files have the same sizes, so that a size cannot tell them apart."""


def write(store: TableStore, version: str) -> None:
    rows, arrays = CONTENT[version]
    store.write(TABLE, rows, partition=PARTITION, inputs={"version": version}, attachment=arrays)


def in_child(act: Callable[[], None], kill_after: float | None = None) -> bool:
    """Do something in a process of its own; returns whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def kill_before_operation(number: int, home: str) -> None:
    """From now on, let this process die just before the nth thing that it does to a file of the home."""
    done = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal done
        is_ours = any(isinstance(a, str | bytes | os.PathLike) and home in os.fsdecode(a) for a in arguments)
        if event in ("open", "os.rename", "os.remove", "os.chmod", "os.mkdir") and is_ours:
            done += 1
            if done == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def left_behind(store: TableStore) -> dict[str, object]:
    path = Path(store.files.path(store.file_name(TABLE, PARTITION)))
    arrays = path.with_suffix(".safetensors").read_bytes()
    receipt = store.receipt(TABLE, PARTITION)
    found: dict[str, object] = {
        "rows": sorted({text.split("-")[0] for text in pq.read_table(path)["child_id"].to_pylist()}),
        "n_rows": pq.read_metadata(path).num_rows,
        "bytes": path.stat().st_size,
        "arrays": sorted({int(value) for value in unpack(arrays)[0]["version"]}),
        "receipt": receipt and receipt.inputs["version"],
        "partitions": store.partitions(TABLE),
    }
    if receipt is not None:
        digest = f"{hashlib.sha256(path.read_bytes()).hexdigest()}+{hashlib.sha256(arrays).hexdigest()}"
        found["is_true"] = receipt.digest == digest and receipt.rows == found["n_rows"]
    return found


def main(home: str, n_random: int) -> None:
    store = TableStore(home)
    left: list[dict[str, object]] = []
    for number in range(1, 100):
        in_child(lambda: write(store, "old"))

        def act(number: int = number) -> None:
            kill_before_operation(number, home)
            write(store, "new")

        is_killed = in_child(act)
        left.append({"operation": number, "is_killed": is_killed, **left_behind(store)})
        if not is_killed:
            break
    delays = np.random.default_rng(0).uniform(0, 0.04, n_random)

    def forever() -> None:
        while True:
            write(store, "new")
            write(store, "old")

    for delay in delays.tolist():
        in_child(forever, delay)
        left.append({"operation": 0, "is_killed": True, **left_behind(store)})
    sys.stdout.write(json.dumps(left))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
