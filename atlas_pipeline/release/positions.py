"""The map of the atlas: a place for every model, and a picture of all of them."""

from __future__ import annotations

import io
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from atlas_pipeline.graph import EdgeList, layout, weak_components
from atlas_pipeline.storage import load_query

PIXELS: Final = 720
MOST_LINES: Final = 50_000
"""More edges than that only cover the models."""


def positioned(connection: duckdb.DuckDBPyConnection, last: pa.Table) -> pa.Table:
    """Rows of ``release.positions``.

    Args:
        connection: with the models of one snapshot and all charted edges as views.
        last: rows of the map before this one.
    """
    connection.register("last_positions", last)
    models = connection.sql(load_query("release/positions_models")).to_arrow_table()
    edges = connection.sql(load_query("release/positions_edges")).to_arrow_table()
    connection.unregister("last_positions")
    graph = EdgeList.from_ids(models["model_id"], edges["parent_id"], edges["child_id"])
    previous = np.stack([_reals(models[axis]) for axis in ("x", "y")], axis=1)
    place = layout(graph, _reals(edges["coefficient"]), previous)
    component = weak_components(graph) if graph.n_nodes else np.empty(0, dtype=np.int64)
    first = np.flatnonzero(np.diff(np.maximum.accumulate(component), prepend=-1))
    return pa.table(
        {
            "model_id": models["model_id"],
            "x": place[:, 0],
            "y": place[:, 1],
            "component_id": models["model_id"].take(pa.array(first[component])),
            "component_size": np.bincount(component)[component] if graph.n_nodes else component,
        }
    )


def _reals(column: pa.ChunkedArray) -> np.ndarray:
    """A column as float64 [k], null as nan."""
    return np.asarray(column.to_numpy().astype(np.float64))


def drawn_map(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> bytes:
    """A picture of the map: how many models there are at each place, and the edges where they are not too many.

    Args:
        connection: with all charted edges as a view.
        rows: the map.

    Returns:
        a PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  a second: paid by who draws
    from matplotlib.collections import LineCollection  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(PIXELS / 90, PIXELS / 90))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    x, y = rows["x"].to_numpy(), rows["y"].to_numpy()
    if len(x):
        reach = float(max(np.abs(x).max(), np.abs(y).max())) + 1.0
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
        connection.register("map", rows)
        lines = connection.sql(load_query("release/positions_lines")).fetchnumpy()
        if len(lines["x"]) <= MOST_LINES:
            ends = np.stack((lines["x"], lines["y"], lines["parent_x"], lines["parent_y"]), axis=1).reshape(-1, 2, 2)
            axes.add_collection(LineCollection(list(ends), colors="#0072b2", linewidths=0.4, alpha=0.5))
        n_models, _, _ = np.histogram2d(y, x, bins=PIXELS, range=[[-reach, reach]] * 2)
        shade = np.ma.masked_less(np.log1p(n_models), 0.5)
        axes.imshow(
            shade, extent=(-reach, reach, -reach, reach), origin="lower", cmap="viridis_r", interpolation="none"
        )
    else:
        axes.text(0.5, 0.5, "nothing to show", ha="center", va="center")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return buffer.getvalue()
