"""Layout and map of atlases of several sizes, in a browser: `python -m benchmarks.map --models 3000 --models 60000`.

parents_near is the share of edges whose parent is among the ten models nearest to the child.
Models are made up, with families of the sizes that preferential attachment gives; a quarter stands alone.
Needs Chromium.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
from playwright.sync_api import Page, sync_playwright
from scipy.spatial import cKDTree

from atlas_pipeline.graph import EdgeList
from atlas_pipeline.graph.layout import layout
from atlas_pipeline.release.map_files import map_files

CHROMIUM: Final = "/usr/bin/chromium"
ARGUMENTS: Final = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
SIZE: Final = {"width": 1400, "height": 850}
PAN_SECONDS: Final = 4.0
MILLION: Final = 1e6

PAN: Final = """async (seconds) => {
    const began = performance.now(), frames = [];
    for (let last = began, step = 0; last - began < 1000 * seconds; step++) {
        await new Promise(requestAnimationFrame);
        atlasScene.move(0.2 * Math.sin(step / 15), 0.2 * Math.cos(step / 11), 0);
        frames.push(performance.now() - last);
        last = performance.now();
    }
    return frames;
}"""
"""Pans in small steps, one a frame; gives the milliseconds of each."""

POPULATION: Final = """
create schema components; create schema edges; create schema release;
create table components.models as select
    '2026-01-01' as snapshot,
    'org-' || number % 9973 || '/model-' || number || list_extract(['', '-gguf', '-lora'], 1 + number % 3) as model_id,
    timestamptz '2022-03-02' + to_days((number * 1400 / n_models)::int) as created_at,
    (1e6 / (1 + number % 4999))::bigint as downloads_30d,
    list_extract(['apache-2.0', 'mit', 'llama3', null], 1 + number % 4) as license,
    list_extract(['text-generation', 'image-classification', null], 1 + number % 3) as pipeline_tag,
    list_extract(['nlp', 'vision', null], 1 + number % 3) as modality, number
from numbers;
create table components.impact as select '2026-01-01' as snapshot, model_id, 0 as n_descendants from components.models;
create table release.positions as
select model_id, x, y, component::varchar as component_id, count(*) over (partition by component) as component_size
from numbers join components.models using (number);
create table edges.charted as select
    c.model_id as child_id, p.model_id as parent_id,
    list_extract(['finetune', 'adapter', 'quantized', 'merge'], 1 + c.number % 4) as relation,
    if(c.number % 5 = 0, 'charted', 'documented') as origin, if(c.number % 5 = 0, 'fan', 'known') as rule,
    0.5 + (c.number % 50) / 100 as confidence, null::double as coefficient, false as is_ambiguous,
    {'sources': ['tag'], 'relative_distance': 0.01, 'candidates': ['x']} as evidence
from ends join components.models as c on c.number = ends.child join components.models as p on p.number = ends.parent;
"""


def forest(n: int, seed: int = 0) -> EdgeList:
    """A forest of n models, numbered by age: a new one joins what has many already, and one in four stands alone."""
    rng = np.random.default_rng(seed)
    child = np.arange(1, n)
    # Who copies the choice of an earlier model makes large fans larger (Kleinberg and others, 1999).
    parent = (rng.random(n - 1) * child).astype(np.int64)
    for _ in range(3):
        copied = (rng.random(n - 1) < 0.6) & (parent > 0)
        parent = np.where(copied, parent[np.maximum(parent - 1, 0)], parent)
    kept = rng.random(n - 1) < 0.75
    return EdgeList(n, parent[kept], child[kept])


def written(n: int, folder: Path) -> dict[str, Any]:
    """Lay out n models and write their map; what it took."""
    graph = forest(n)
    began = time.perf_counter()
    place = layout(graph)
    laid_out = time.perf_counter() - began
    near = cKDTree(place).query(place[graph.child], k=11, workers=2)[1]
    quality = float((near == graph.parent[:, None]).any(axis=1).mean())
    _, component = np.unique(_roots(graph), return_inverse=True)
    connection = duckdb.connect()
    connection.register(
        "numbers",
        {
            "number": np.arange(n),
            "n_models": np.full(n, n),
            "x": place[:, 0].copy(),
            "y": place[:, 1].copy(),
            "component": component,
        },
    )
    connection.register("ends", {"child": graph.child, "parent": graph.parent})
    connection.execute(POPULATION)
    began = time.perf_counter()
    size = 0
    for name, content in map_files(connection, "benchmark"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        size += len(content)
    return {"layout_s": laid_out, "parents_near": quality, "write_s": time.perf_counter() - began, "mb": size / MILLION}


def _roots(graph: EdgeList) -> np.ndarray:
    up = np.arange(graph.n_nodes)
    up[graph.child] = graph.parent
    while (up != up[up]).any():
        up = up[up]
    return up


def looked_at(page: Page, folder: Path, picture: Path | None) -> dict[str, Any]:
    """Open a map and wander on it; milliseconds, megabytes and frames a second."""
    page.goto((folder / "index.html").as_uri())
    page.wait_for_selector("html[data-ready]", state="attached", timeout=300_000)
    page.wait_for_timeout(3_000)
    measured = page.evaluate(
        "Object.fromEntries(performance.getEntriesByType('measure').map((m) => [m.name, m.duration]))"
    )
    if picture:
        page.screenshot(path=str(picture))
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    frames = np.array(page.evaluate(PAN, PAN_SECONDS))
    return {
        "first_piece_ms": measured["first piece"],
        "ready_ms": measured["all pieces"],
        "heap_mb": metrics["JSHeapUsedSize"] / MILLION,
        "fps": len(frames) / frames.sum() * 1000,
        "median_frame_ms": float(np.median(frames)),
        "slowest_frame_ms": frames.max(),
    }


def main() -> None:
    """Print one line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, action="append", help="number of models; may be repeated")
    parser.add_argument("--pictures", type=Path, help="folder for screenshots")
    given = parser.parse_args()
    with sync_playwright() as browsers:
        for n in given.models or [3_000]:
            with tempfile.TemporaryDirectory() as name:
                facts: dict[str, Any] = {"models": n, **written(n, Path(name))}
                browser = browsers.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
                page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
                picture = given.pictures / f"map-{n}.png" if given.pictures else None
                facts |= looked_at(page, Path(name), picture)
                browser.close()
            print(" ".join(f"{key}={value:,.2f}" if key != "models" else f"{value:,}" for key, value in facts.items()))


if __name__ == "__main__":
    main()
