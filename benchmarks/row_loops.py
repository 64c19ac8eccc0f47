"""The documented graph as people compute it today, row by row with pandas and networkx, beside this pipeline's.

Both read the same hub-stats file, clean the models (license, model type, quantisation, presence), gather the parents of
every model from baseModels, tags and card data, resolve letter case, drop what is no model, self-loops and cycles,
restore missing parents, and find components, depth, sets of sibling leaves and the downloads of distinct descendants.
Each side runs in a process of its own; then models, edges and figures are compared. The row loops stop there;
the pipeline's time includes writing and reading its tables.

    python -m benchmarks.row_loops --rows 100000
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import networkx as nx
import pandas as pd

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.components import documented
from atlas_pipeline.components.hand_made import load_hand_made
from atlas_pipeline.raw.hub_stats import read_hub_stats
from atlas_pipeline.schema import contract_of
from atlas_pipeline.settings import Settings
from benchmarks.hub import SNAPSHOT, write_hub

TYPED = re.compile(r"base_model:(finetune|adapter|quantized|merge):(.+)")
WEIGHTS = re.compile(
    r"\.(safetensors|bin|gguf|ggml|pt|pth|th|ckpt|h5|onnx|msgpack|tflite|pb|keras|npz|npy|pkl|joblib)$"
)
MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_.-]{1,95}")


def parents_of(row: Any) -> dict[str, int]:
    """Declared parents of one row, with the strength of the strongest source (1 the strongest)."""
    found: dict[str, int] = {}
    if isinstance(row["baseModels"], dict):
        for model in row["baseModels"]["models"]:
            found.setdefault(model["id"], 1)
    for tag in row["tags"]:
        if tag.startswith("base_model:"):
            typed = TYPED.fullmatch(tag)
            found.setdefault(typed.group(2) if typed else tag.split(":", 1)[1], 2)
    if isinstance(row["cardData"], str) and "base_model" in row["cardData"]:
        declared = json.loads(row["cardData"]).get("base_model") or []
        for parent in [declared] if isinstance(declared, str) else declared:
            found.setdefault(parent, 4)
    return found


def cleaned(row: Any) -> list[Any]:
    """License, model type, quantisation and presence of one row."""
    config = json.loads(row["config"]) if isinstance(row["config"], str) else {}
    card = json.loads(row["cardData"]) if isinstance(row["cardData"], str) else {}
    licenses = [tag.removeprefix("license:") for tag in row["tags"] if tag.startswith("license:")]
    dtypes = row["safetensors"]["parameters"] if isinstance(row["safetensors"], dict) else {}
    has_weights = any(WEIGHTS.search(name.lower()) for name in row["siblings"]) or bool(dtypes)
    is_quantized = (
        "quantization_config" in config
        or bool({"gguf", "gptq", "awq", "exl2", "bitsandbytes", "4-bit", "8-bit"} & set(row["tags"]))
        or any(tag.startswith("base_model:quantized:") for tag in row["tags"])
        or (isinstance(row["baseModels"], dict) and row["baseModels"]["relation"] == "quantized")
        or any(dtype in ("I8", "U8", "I4", "F8_E4M3", "F8_E5M2", "F4") for dtype in dtypes)
    )
    license_name = licenses[0] if licenses else card.get("license")
    presence = "present" if has_weights else "without_weights"
    return [row["id"], license_name, config.get("model_type"), is_quantized, presence]


def graph_by_rows(path: Path) -> tuple[nx.DiGraph, dict[str, Any]]:
    """The documented graph, one row at a time."""
    frame = pd.read_parquet(path).drop_duplicates("id")
    graph = nx.DiGraph()
    folded = {}
    models = []
    for _, row in frame.iterrows():
        models.append(cleaned(row))
        graph.add_node(row["id"], downloads=row["downloads"], created=row["createdAt"])
        folded.setdefault(row["id"].lower(), row["id"])
    for _, row in frame.iterrows():
        for declared, strength in parents_of(row).items():
            parent = declared if declared in graph else folded.get(declared.lower(), declared)
            if not MODEL_ID.fullmatch(parent) or parent == row["id"]:
                continue
            if parent not in graph:
                graph.add_node(parent, downloads=0, created=None)
            if not graph.has_edge(parent, row["id"]) or graph[parent][row["id"]]["strength"] > strength:
                graph.add_edge(parent, row["id"], strength=strength)
    mend(graph)
    gone = sorted(set(graph) - {model[0] for model in models})
    models += [[name, None, None, False, "removed"] for name in gone]
    facts = {
        "models": sorted(models),
        "components": nx.number_weakly_connected_components(graph),
        "depth": {},
        "hubs": {},
        "below": {},
    }
    for node in nx.topological_sort(graph):
        facts["depth"][node] = max((facts["depth"][p] + 1 for p in graph.predecessors(node)), default=0)
        if graph.out_degree(node) == 0 and graph.in_degree(node) > 0:
            facts["hubs"].setdefault(" + ".join(sorted(graph.predecessors(node))), []).append(node)
    for node in graph:
        facts["below"][node] = sum(graph.nodes[d]["downloads"] for d in nx.descendants(graph, node))
    return graph, facts


def mend(graph: nx.DiGraph) -> None:
    """Drop one edge of every cycle: a child older than its parent first, then the weakest source, then by name."""

    def rank(edge: tuple[str, str]) -> tuple[Any, ...]:
        parent, child = (graph.nodes[end]["created"] for end in edge)
        is_older = parent is not None and child is not None and child < parent
        return (is_older, graph.edges[edge]["strength"], edge[1], edge[0])

    while cyclic := [c for c in nx.strongly_connected_components(graph) if len(c) > 1]:
        for component in cyclic:
            graph.remove_edge(*max(graph.subgraph(component).edges, key=rank))


def graph_by_tables(path: Path, home: Path) -> Atlas:
    """The documented graph as the pipeline makes it, tables written."""
    atlas = Atlas(Settings(home=str(home), hub_stats=str(path), weights="", truth="", threads=2))
    hand_made = load_hand_made("")
    atlas.write("raw.hub_stats", read_hub_stats(path, snapshot=SNAPSHOT, source_revision="drawn").rows, SNAPSHOT)
    atlas.write("components.cards", contract_of("components.cards").arrow_schema.empty_table(), SNAPSHOT)
    for table, rows in (
        ("claims", lambda c: documented.claims(c, SNAPSHOT, hand_made)),
        ("parents", lambda c: documented.documented_parents(c, SNAPSHOT)),
        ("models", lambda c: documented.cleaned_models(c, SNAPSHOT)),
        ("regions", lambda c: documented.regions(c, SNAPSHOT, large_region_models=1000)),
        ("impact", lambda c: documented.impact(c, SNAPSHOT)),
    ):
        with atlas.connect(f"components.{table}", SNAPSHOT) as connection:
            atlas.write(f"components.{table}", rows(connection), SNAPSHOT)
    return atlas


def summary_of(atlas: Atlas) -> dict[str, Any]:
    """What is compared, read back from the tables."""
    with atlas.store.connect(None) as connection:
        edges = connection.execute("select parent_id, child_id from components.parents where is_kept order by all")
        pairs = [list(row) for row in edges.fetchall()]
        impact = connection.execute(
            "select model_id, depth, descendant_downloads from components.impact order by 1"
        ).fetchall()
        models = connection.execute(
            "select model_id, license, model_type, is_quantized, presence from components.models order by 1"
        ).fetchall()
        components = connection.execute("select count(distinct region_id) from components.regions").fetchall()[0][0]
        hubs = connection.execute(
            "select count(distinct hub_id) from components.impact where hub_id is not null"
        ).fetchall()[0][0]
    rows = [list(row) for row in models]
    return {
        "models": rows,
        "edges": pairs,
        "impact": [list(row) for row in impact],
        "components": components,
        "hubs": hubs,
    }


def one_side(side: str, path: Path, home: Path, result: Path) -> None:
    """Run one side in this process and write what it found, with its seconds and peak memory."""
    start = time.perf_counter()
    if side == "tables":
        atlas = graph_by_tables(path, home)
        seconds = time.perf_counter() - start
        found = summary_of(atlas)
    else:
        graph, facts = graph_by_rows(path)
        seconds = time.perf_counter() - start
        found = {
            "models": facts["models"],
            "edges": sorted([p, c] for p, c in graph.edges),
            "impact": sorted([node, facts["depth"][node], int(facts["below"][node])] for node in graph),
            "components": facts["components"],
            "hubs": sum(len(leaves) > 1 for leaves in facts["hubs"].values()),
        }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    result.write_text(json.dumps({**found, "seconds": seconds, "peak_gb": peak}))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="The documented graph row by row, and by tables.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path(".benchmarks"))
    parser.add_argument("--side", choices=("tables", "rows"))
    given = parser.parse_args()
    folder = given.folder / f"{given.rows}"
    path = write_hub(folder / "hub", rows=given.rows)
    if given.side:
        one_side(given.side, path, folder / "home", folder / f"{given.side}.json")
        return
    found = {}
    for side in ("rows", "tables"):
        options = ["--rows", str(given.rows), "--folder", str(given.folder), "--side", side]
        subprocess.run([sys.executable, "-m", "benchmarks.row_loops", *options], check=True)  # noqa: S603
        found[side] = json.loads((folder / f"{side}.json").read_text())
        rate = given.rows / found[side]["seconds"]
        print(f"{side}: {found[side]['seconds']:.2f} s, {rate:,.0f} rows/s, peak {found[side]['peak_gb']:.2f} GB")
    for what in ("models", "edges", "impact", "components", "hubs"):
        print(f"same {what}: {found['rows'][what] == found['tables'][what]}")
    print(f"ratio: {found['rows']['seconds'] / found['tables']['seconds']:.1f} times")


if __name__ == "__main__":
    main()
