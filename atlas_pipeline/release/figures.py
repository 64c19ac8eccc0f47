"""The paper's figures, from the tables: each as SVG and PNG, or the reason why it cannot be drawn."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from atlas_pipeline.schema import contract_of
from atlas_pipeline.storage import load_query, run_query

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TABLES: Final = tuple(given.table for given in contract_of("release.figures").inputs)
"""What figures are drawn from; one that is missing counts as empty, and its figures say so."""

TOP: Final = 0.3
"""Share of models, the most downloaded ones, that figures 1 and 13 show of each component (paper, figure 1)."""

LEAST_MODELS: Final = 200
"""Components with fewer models are shown whole."""

ALL: Final = 1 << 30
DPI: Final = 150
MOST_IN_SVG: Final = 4_000
"""More marks than that are a picture within the SVG."""

OTHER: Final = "#9aa1a9"
STYLES: Final[dict[str, tuple[str, str]]] = {
    "source": ("#000000", "*"),
    "finetune": ("#0072b2", "o"),
    "adapter": ("#e69f00", "^"),
    "quantized": ("#cc79a7", "s"),
    "merge": ("#009e73", "D"),
    "duplicate": ("#56b4e9", "P"),
    "unknown": ("#d55e00", "X"),
}
"""Colour (Okabe and Ito) and marker, so that nothing is told by colour alone."""

ORDER: Final = {"earlier parents": ("#009e73", "o"), "later parent": ("#d55e00", "X")}
VERDICTS: Final = {"right": ("#009e73", "-"), "wrong": ("#d55e00", "--"), "missed": ("#000000", ":")}
MARKERS: Final = "os^DPXv"


class Drawn(NamedTuple):
    """A figure and how many models or edges it shows; or, without a figure, why there is none."""

    figure: Figure | None
    n_shown: int
    reason: str | None = None


def figures(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Rows of ``release.figures``.

    Args:
        connection: with ``TABLES`` as views; of several snapshots, the latest is drawn.
    """
    connection.execute(load_query("release/figure_models"))
    return pa.Table.from_pylist(list(_rows(connection)), schema=None)


def _rows(connection: duckdb.DuckDBPyConnection) -> Iterator[dict[str, object]]:
    for name, (paper, title, draw) in FIGURES.items():
        drawn = draw(connection)
        svg, png = _files(drawn.figure, title) if drawn.figure else (None, None)
        yield {
            "figure": name,
            "paper_figure": paper,
            "title": title,
            "n_shown": drawn.n_shown,
            "reason": drawn.reason,
            "svg": svg,
            "png": png,
        }


def _files(figure: Figure, title: str) -> tuple[str, str]:
    """A figure as SVG and as PNG in base64, the same bytes every time."""
    import matplotlib as mpl  # noqa: PLC0415  a second: paid by who draws

    figure.suptitle(title, fontsize=11)
    texts = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "atlas", "svg.fonttype": "none"}):
        figure.savefig(texts, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI, metadata={"Software": None})
    return texts.getvalue().decode(), base64.b64encode(picture.getvalue()).decode()


def _canvas(n_axes: int = 1, width: float = 8.0, height: float = 6.0) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(np.atleast_1d(figure.subplots(1, n_axes)))


def _plain(text: object, most: int = 40) -> str:
    """A text from outside that is shown as it stands: never read as a formula, without control characters, not long."""
    shown = "".join(each if each.isprintable() else "\ufffd" for each in str(text)).replace("$", r"\$")
    return shown if len(shown) <= most else shown[: most - 1] + "…"


# -- graphs ----------------------------------------------------------------------------------------------------------

Marks = list[tuple[str, str, str, np.ndarray]]
"""Label, colour, marker and which models: bool [n]."""


def _of(connection: duckdb.DuckDBPyConnection, n_components: int, share: float) -> tuple[pa.Table, pa.Table]:
    chosen: dict[str, Any] = {"n_components": n_components, "share": share, "least_models": LEAST_MODELS}
    return (
        run_query(connection, "release/figure_map", **chosen),
        run_query(connection, "release/figure_lines", **chosen),
    )


def _column(rows: pa.Table, name: str) -> np.ndarray:
    return np.asarray(rows[name].to_numpy(zero_copy_only=False))


def _lines(axes: Axes, edges: pa.Table, color: str = OTHER, style: str = "-", width: float = 0.4) -> None:
    from matplotlib.collections import LineCollection  # noqa: PLC0415

    ends = np.stack([_column(edges, name) for name in ("x", "y", "parent_x", "parent_y")], axis=1).reshape(-1, 2, 2)
    lines = LineCollection(list(ends), colors=color, linewidths=width, linestyles=style, zorder=1)
    lines.set_rasterized(len(ends) > MOST_IN_SVG)
    axes.add_collection(lines)


def _graph(axes: Axes, models: pa.Table, edges: pa.Table, marks: Marks, title: str) -> None:
    _lines(axes, edges)
    x, y, size = (_column(models, name) for name in ("x", "y", "size"))
    # Dots shrink with their number, or they cover each other.
    scale = min(4.0, 40.0 / np.sqrt(max(len(x), 1)))
    for label, color, marker, chosen in marks:
        if chosen.any():
            dots = axes.scatter(
                x[chosen], y[chosen], s=size[chosen] * scale, c=color, marker=marker, linewidths=0, zorder=2,
                label=f"{label} ({int(chosen.sum()):,})",
            )  # fmt: skip
            dots.set_rasterized(len(x) > MOST_IN_SVG)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.margins(0.03)


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all, below."""
    from matplotlib.collections import PathCollection  # noqa: PLC0415

    found: dict[str, Any] = {}
    for each in axes:
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True):
            found.setdefault(label if len(axes) == 1 else label.rpartition(" (")[0], handle)
    legend = figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    for mark in legend.legend_handles:
        if isinstance(mark, PathCollection):
            mark.set_sizes([36.0])


def _by_relation(models: pa.Table) -> Marks:
    relation = _column(models, "relation")
    return [(name, *style, relation == name) for name, style in STYLES.items()]


def _component(models: pa.Table, number: int) -> pa.Table:
    return models.filter(_column(models, "component") == number)


def _side_by_side(connection: duckdb.DuckDBPyConnection) -> Drawn:
    models, edges = _of(connection, 2, TOP)
    numbers = sorted(set(models["component"].to_pylist()))
    if not numbers:
        return Drawn(None, 0, NO_EDGES)
    figure, axes = _canvas(len(numbers), 5.5 * len(numbers))
    for each, number in zip(axes, numbers, strict=True):
        own = _component(models, number)
        facts = own.slice(0, 1).to_pylist()[0]
        shown = f"{own.num_rows:,} of {facts['component_size']:,} models"
        _graph(each, own, _component(edges, number), _by_relation(own), f"{_title(facts['component_id'])}\n{shown}")
    _legend(figure, axes)
    return Drawn(figure, models.num_rows)


def _title(model_id: object) -> str:
    return _plain(model_id).replace(r"\$", "$")


def _whole(connection: duckdb.DuckDBPyConnection) -> Drawn:
    models, edges = _of(connection, ALL, 1.0)
    return _single(models, edges, _by_relation(models), f"{models.num_rows:,} models, {edges.num_rows:,} edges")


def _single(models: pa.Table, edges: pa.Table, marks: Marks, title: str) -> Drawn:
    if not models.num_rows:
        return Drawn(None, 0, NO_EDGES)
    figure, axes = _canvas(1, 8.0, 7.0)
    _graph(axes[0], models, edges, marks, title)
    _legend(figure, axes)
    return Drawn(figure, models.num_rows)


def _leaves(connection: duckdb.DuckDBPyConnection) -> Drawn:
    models, edges = _of(connection, 1, 1.0)
    is_quantized, is_leaf = _column(models, "relation") == "quantized", _column(models, "is_leaf").astype(bool)
    if not is_quantized.any():
        return Drawn(None, 0, "no model of the largest component is a quantisation")
    marks: Marks = [
        ("other models", OTHER, "o", ~is_quantized),
        ("quantised, a leaf", *STYLES["quantized"], is_quantized & is_leaf),
        ("quantised, with children", STYLES["unknown"][0], "X", is_quantized & ~is_leaf),
    ]
    share = (is_quantized & is_leaf).sum() / is_quantized.sum()
    return _single(models, edges, marks, f"{share:.2%} of {int(is_quantized.sum()):,} quantised models are leaves")


def _time_order(connection: duckdb.DuckDBPyConnection) -> Drawn:
    models, edges = _of(connection, 1, 1.0)
    good = _column(models, "is_in_order").astype(bool)
    marks: Marks = [(name, *ORDER[name], chosen) for name, chosen in zip(ORDER, (good, ~good), strict=True)]
    share = good.mean() if len(good) else 0.0
    return _single(models, edges, marks, f"{share:.2%} of {models.num_rows:,} models are no older than their parents")


def _attributes(connection: duckdb.DuckDBPyConnection) -> Drawn:
    models, edges = _of(connection, 1, TOP)
    if not models.num_rows:
        return Drawn(None, 0, NO_EDGES)
    figure, axes = _canvas(2, 11.0)
    for each, attribute in zip(axes, ("license", "pipeline_tag"), strict=True):
        found = run_query(connection, "release/figure_words", attribute=attribute, n_words=len(MARKERS) - 1)
        words, values = found["word"].to_pylist(), _column(models, attribute)
        colors = [color for color, _ in STYLES.values()]
        marks: Marks = [(_plain(word, 24), colors[at], MARKERS[at], values == word) for at, word in enumerate(words)]
        marks.insert(0, ("other or unknown", OTHER, ".", ~np.isin(values.astype(str), words)))
        _graph(each, models, edges, marks, attribute)
        each.legend(loc="lower left", fontsize=7, frameon=False, markerscale=1.5)
    return Drawn(figure, models.num_rows)


def _errors(connection: duckdb.DuckDBPyConnection) -> Drawn:
    edges = run_query(connection, "release/figure_errors")
    if not edges.num_rows:
        return Drawn(None, 0, "no documented edge joins models whose weights could be compared")
    figure, axes = _canvas(1, 8.0, 7.0)
    verdict = _column(edges, "verdict")
    for name, (color, style) in VERDICTS.items():
        own = edges.filter(verdict == name)
        _lines(axes[0], own, color, style, 1.2)
        axes[0].plot([], [], color=color, linestyle=style, label=f"{name} ({own.num_rows:,})")
        axes[0].scatter(_column(own, "x"), _column(own, "y"), s=9, c=color, linewidths=0, zorder=2)
    shown = f"{edges.num_rows:,} edges, all documentation hidden"
    axes[0].set_aspect("equal")
    axes[0].set_axis_off()
    axes[0].set_title(shown, fontsize=9)
    _legend(figure, axes)
    return Drawn(figure, edges.num_rows)


# -- shares ----------------------------------------------------------------------------------------------------------


def _bars(axes: Axes, names: Sequence[object], shares: Sequence[float], counts: Sequence[int], unit: str) -> None:
    places = np.arange(len(names))
    bars = axes.barh(places, shares, color="#0072b2")
    axes.bar_label(bars, [f"{share:.1%}  ({count:,})" for share, count in zip(shares, counts, strict=True)], fontsize=8)
    axes.set_yticks(places, [_plain(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.0, *shares) * 1.25)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}" if value <= 1 else "")
    axes.set_xlabel(f"share (number) of {unit}")
    axes.spines[["top", "right"]].set_visible(False)


def _table(query: str, label: str, count: str, unit: str) -> Callable[[duckdb.DuckDBPyConnection], Drawn]:
    def draw(connection: duckdb.DuckDBPyConnection) -> Drawn:
        rows = connection.sql(query).to_arrow_table().to_pydict()
        if not rows[label]:
            return Drawn(None, 0, f"there are no {unit} to count")
        figure, axes = _canvas(1, 7.0, 1.2 + 0.4 * len(rows[label]))
        _bars(axes[0], rows[label], rows["share"], rows[count], unit)
        axes[0].set_ylabel(label.replace("_", " ").replace("n items", "items said"))
        return Drawn(figure, sum(rows[count]))

    return draw


def _depth(connection: duckdb.DuckDBPyConnection) -> Drawn:
    rows = run_query(connection, "release/figure_depth")
    items = run_query(connection, "release/figure_items").to_pydict()
    if not rows.num_rows or not items["item"]:
        return Drawn(None, 0, NO_EDGES)
    figure, axes = _canvas(2, 11.0, 4.2)
    modality, depth, share = (_column(rows, name) for name in ("modality", "depth", "share"))
    for at, each in enumerate(sorted(set(modality))):
        own = modality == each
        color = list(STYLES.values())[at + 1][0] if at + 1 < len(STYLES) else OTHER
        n = int(_column(rows, "n_models")[own].sum())
        axes[0].plot(
            depth[own], share[own], marker=MARKERS[at % len(MARKERS)], color=color, label=f"{_plain(each)} (n = {n:,})"
        )
    axes[0].set(xlabel="edges from the source (5: or more)", ylabel="share of models", ylim=(0, 1))
    axes[0].set_xticks(range(int(depth.max()) + 1))
    axes[0].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes[0].legend(fontsize=8, frameon=False)
    axes[0].spines[["top", "right"]].set_visible(False)
    _bars(axes[1], items["item"], items["share"], items["n_models"], "models that say it, of those known")
    return Drawn(figure, int(_column(rows, "n_models").sum()))


def _by_neurons(_: duckdb.DuckDBPyConnection) -> Drawn:
    return Drawn(
        None, 0, "an atlas samples one number of neurons; `python -m benchmarks.figures fig7` compares several"
    )


NO_EDGES: Final = "no two models hang together"
FIGURES: Final[dict[str, tuple[str, str, Callable[[duckdb.DuckDBPyConnection], Drawn]]]] = {
    "01_regions": ("1", "The two largest components: their most downloaded models", _side_by_side),
    "02_atlas": ("2", "The atlas: everything that hangs together", _whole),
    "03_depth_and_documentation": ("3", "Distance from the source, and what models say of themselves", _depth),
    "04_quantised_leaves": ("4", "Quantised models are leaves", _leaves),
    "05_time_order": ("5", "Children are younger than their parents", _time_order),
    "07_neurons": ("7", "Accuracy by number of neurons", _by_neurons),
    "08_relations": (
        "8",
        "Documented edges by relation",
        _table(load_query("release/figure_relations"), "relation", "n_edges", "documented edges"),
    ),
    "09_documentation": (
        "9",
        "How much models say of themselves",
        _table(load_query("release/figure_levels"), "n_items", "n_models", "models"),
    ),
    "13_attributes": ("13", "License and task in the largest component", _attributes),
    "14_errors": ("14, 15", "Charting without documentation, beside it", _errors),
}
