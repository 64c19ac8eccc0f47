"""Writes a hub-stats file of any number of rows, with the Hub's own shares, to measure the documented atlas with.

The rows are drawn, not real: names, dates and lineages mean nothing. Shares are those of the Hub in October 2025
(2,161,698 rows): 28.09 % have parents, of which adapters 42.6 %, fine-tunes 35.9 %, quantisations 19.2 %, merges 2.3 %;
safetensors on 23.4 %, downloads on 35.5 %. So are the flaws: duplicate rows, self-loops, cycles, ids in another letter
case, local paths, parents that are gone, creation dates at the Hub's floor.

    python -m benchmarks.hub --rows 3000000 .benchmarks/hub
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

SNAPSHOT: Final = "2026-11-01"
SHARE_WITH_PARENTS: Final = 0.2809
RELATIONS: Final = {"adapter": 0.426, "finetune": 0.359, "quantized": 0.192, "merge": 0.023}
SHARE_COPIED: Final = 0.85
"""Chance that a child takes the parent of an earlier child: what makes some models the parents of very many."""

_QUERY = Path(__file__).with_suffix(".sql")


def lineage(rows: int, *, seed: int) -> pa.Table:
    """Draw who was made from whom.

    Models are numbered by age. A child's parent is the parent of a random earlier edge, or a random earlier model:
    preferential attachment by copying (Price's model), which gives the heavy tail that hubs of models have.

    Args:
        rows: number of models.
        seed: seed of the draw.

    Returns:
        child, parent (int64 numbers of models, from 0), relation, position (of the parent among the child's, from 0).
    """
    random = np.random.default_rng(seed)
    children = 1 + np.flatnonzero(random.random(rows - 1) < SHARE_WITH_PARENTS)
    relation = random.choice(len(RELATIONS), size=len(children), p=list(RELATIONS.values()))
    n_parents = np.where(relation == list(RELATIONS).index("merge"), random.integers(2, 5, len(children)), 1)
    child = np.repeat(children, n_parents)
    position = np.arange(len(child)) - np.repeat(np.cumsum(n_parents) - n_parents, n_parents)
    edge = np.arange(len(child))
    pointer = np.where(
        random.random(len(child)) < SHARE_COPIED, (random.random(len(child)) * edge).astype(np.int64), edge
    )
    while not np.array_equal(pointer, pointer[pointer]):
        pointer = pointer[pointer]
    parent = (random.random(len(child)) * child).astype(np.int64)[pointer]
    names = np.array(list(RELATIONS))[relation]
    return pa.table({"child": child, "parent": parent, "relation": np.repeat(names, n_parents), "position": position})


def write_hub(folder: Path, *, rows: int, seed: int = 0) -> Path:
    """Write ``<folder>/<snapshot>/models.parquet`` and return its path; one that is there already is kept.

    Args:
        folder: made where it is missing.
        rows: number of models.
        seed: seed of every draw.
    """
    path = folder / SNAPSHOT / "models.parquet"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'; set preserve_insertion_order = true")
        connection.register("lineage", lineage(rows, seed=seed))
        for name, value in (("rows", rows), ("seed", seed), ("snapshot", SNAPSHOT)):
            connection.execute(f"set variable {name} = ?", [value])
        connection.execute(_QUERY.read_text(encoding="utf-8"))
        temporary = path.with_suffix(".tmp")
        connection.execute(f"copy hub to '{temporary}' (format parquet, compression zstd)")
        temporary.replace(path)
    return path


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write a hub-stats file of any number of rows.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    path = write_hub(given.folder, rows=given.rows, seed=given.seed)
    print(f"{path}: {given.rows:,} rows, {path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
