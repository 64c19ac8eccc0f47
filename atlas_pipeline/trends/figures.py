"""Pictures of trend tables, small enough for a run's metadata: stacked shares, lines over time, bars side by side."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from atlas_pipeline.schema.components import RELATIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f")
"""Told apart by the colour-blind (Okabe and Ito)."""

HATCHES: Final = ("", "//", "..", "xx", "\\\\", "++", "--", "oo")
LINE_STYLES: Final = ("-", "--", "-.", ":")
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Bars and lines are told apart in grey as well as in colour."""

MOST_TICKS: Final = 40
MOST_NAMED: Final = 30
MOST_BARS: Final = 40
MOST_LETTERS: Final = 24
MOST_LETTERS_OF_A_BAR: Final = 38
"""More ticks, names in the legend or bars, or longer names, leave no room for what is drawn."""

MOST_LETTERS_BESIDE: Final = 70
"""Letters of all ticks together that have room beside each other."""

LETTERS_END: Final = 0x250
"""The font has the Latin letters before this one; others are drawn as question marks."""

DOTS_PER_INCH: Final = 90


def stacked_shares(rows: pa.Table, *, group: str, part: str, title: str, most: int | None = None) -> bytes:
    """Shares of each part within each group, as stacked bars.

    Args:
        rows: one row for each (group, part), with the column ``share``.
        group: column of the bars.
        part: column of the pieces of a bar; numbers go from dark to light, anything else from colour to colour.
        title: the picture's title.
        most: numbers from here on are one piece.

    Returns:
        a PNG.
    """
    records = rows.to_pylist()
    groups = _in_order(r[group] for r in records)
    share: dict[tuple[Any, Any], float] = {}
    for r in records:
        key = r[group], r[part] if most is None else min(r[part], most)
        share[key] = share.get(key, 0.0) + r["share"]
    parts = _in_order(piece for _, piece in share)
    figure, axes = _canvas(title, height=3.4)
    positions = np.arange(len(groups))
    bottom = np.zeros(len(groups))
    for index, value in enumerate(parts):
        heights = np.array([share.get((g, value), 0.0) for g in groups])
        style = _style(value, index)
        color = _shade(index, len(parts)) if isinstance(value, int) else COLORS[style % len(COLORS)]
        axes.bar(positions, heights, bottom=bottom, color=color, hatch=HATCHES[style % len(HATCHES)], edgecolor="white")
        bottom += heights
    axes.set(ylabel="share", ylim=(0, 1))
    _name_places(axes, groups)
    if parts:
        _name(figure, axes.containers, part, [f"{p} or more" if p == most else p for p in parts])
    else:
        _say_nothing_to_show(axes)
    return _png(figure)


def lines_over_time(rows: pa.Table, *, at: str, line: str, value: str, title: str) -> bytes:
    """A share over time, one line for each group. Rows without a date are left out.

    Instants stand side by side in their order, whatever lies between them: one date gone astray, in the year 1 or 9999,
    does not press all others together.

    Args:
        rows: one row for each (instant, line).
        at: column of the instants.
        line: column that tells the lines apart.
        value: column of the heights, from 0 to 1.
        title: the picture's title.

    Returns:
        a PNG.
    """
    records = [r for r in rows.to_pylist() if r[at] is not None]
    instants = _in_order(r[at] for r in records)
    place = {instant: position for position, instant in enumerate(instants)}
    lines = _in_order(r[line] for r in records)
    figure, axes = _canvas(title, height=3.4)
    drawn = []
    for index, name in enumerate(lines):
        points = sorted((place[r[at]], r[value]) for r in records if r[line] == name)
        style = _style(name, index)
        drawn += axes.plot(
            [position for position, _ in points],
            [height for _, height in points],
            color=COLORS[style % len(COLORS)],
            linestyle=LINE_STYLES[style % len(LINE_STYLES)],
            marker=MARKERS[style % len(MARKERS)],
            markersize=4,
            linewidth=1.3,
        )
    axes.set(ylabel=value, ylim=(-0.02, 1.02))
    axes.grid(axis="y", alpha=0.3)
    _name_places(axes, instants)
    if drawn:
        _name(figure, drawn, line, lines)
    else:
        _say_nothing_to_show(axes)
    return _png(figure)


def bars(rows: pa.Table, *, label: Sequence[str], values: Sequence[str], title: str, is_log: bool = False) -> bytes:
    """Values of each row as bars that lie beside each other, the first row on top, each with its number.

    Args:
        rows: what to draw; only the first forty rows are.
        label: columns whose texts name a row.
        values: columns with the values, all in one unit; a missing value is said to be unknown.
        title: the picture's title.
        is_log: whether the values grow by magnitudes; zero is then drawn as no bar.

    Returns:
        a PNG, the higher the more rows.
    """
    records = rows.to_pylist()[:MOST_BARS]
    figure, axes = _canvas(title, height=1.2 + (0.1 + 0.17 * len(values)) * max(len(records), 4))
    positions = np.arange(len(records))
    height = 0.8 / len(values)
    for index, column in enumerate(values):
        lengths = [r[column] for r in records]
        drawn = axes.barh(
            positions + (index - (len(values) - 1) / 2) * height,
            [length or 0 for length in lengths],
            height,
            color=COLORS[index % len(COLORS)],
            hatch=HATCHES[index % len(HATCHES)],
            edgecolor="white",
            label=column,
        )
        axes.bar_label(drawn, [_number(length) for length in lengths], fontsize=6, padding=2)
    axes.set_yticks(
        positions, [_text(" ".join(str(r[c]) for c in label), MOST_LETTERS_OF_A_BAR) for r in records], parse_math=False
    )
    axes.set_ylim(max(len(records), 1) - 0.5, -0.5)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    lengths = [r[column] or 0 for r in records for column in values]
    longest = max(lengths, default=0) or 1
    if is_log:
        axes.set_xscale("symlog", linthresh=1)
    # A fifth of the width is left to the number beside the longest bar.
    axes.set_xlim(0, max(longest, 1) ** 1.2 * 2 if is_log else longest * 1.2)
    if not records:
        _say_nothing_to_show(axes)
    elif len(values) > 1:
        _name(figure, axes.containers, None, list(values))
    else:
        axes.set_xlabel(values[0].replace("_", " "), fontsize=8)
    return _png(figure)


def _canvas(title: str, *, height: float) -> tuple[Figure, Axes]:
    """A figure of seven inches' width with one pair of axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  a second: paid by who draws
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(7, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_title(title, fontsize=10, parse_math=False)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _name_places(axes: Axes, values: list[Any]) -> None:
    """The places 0, 1, 2, … of the horizontal axis, as many as there is room for."""
    shown = range(0, len(values), 1 + len(values) // MOST_TICKS)
    texts = [_text(values[i]) for i in shown]
    # Labels are data: a dollar sign in one is a dollar sign, not a formula.
    axes.set_xticks(list(shown), texts, parse_math=False)
    axes.tick_params(axis="x", rotation=90 if sum(map(len, texts)) > MOST_LETTERS_BESIDE else 0, labelsize=7)


def _name(figure: Figure, drawn: Sequence[Any], title: str | None, names: list[Any]) -> None:
    """The legend: one name for each thing that is drawn, as many as there is room for."""
    shown = drawn[:MOST_NAMED]
    if title is not None and len(names) > MOST_NAMED:
        title = f"{title} (first {MOST_NAMED})"
    legend = figure.legend(
        shown,
        [_text(value) for value in names[:MOST_NAMED]],
        title=title,
        fontsize=7,
        title_fontsize=7,
        loc="outside right center",
        ncols=1 + (len(shown) - 1) // 15,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _say_nothing_to_show(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, "nothing to show", transform=axes.transAxes, ha="center", va="center")


def _style(value: object, index: int) -> int:
    """A relation looks the same in every picture; anything else by its place."""
    return RELATIONS.index(value) if value in RELATIONS else index


def _shade(index: int, n: int) -> Any:
    """A colour of a scale that grows lighter."""
    from matplotlib import colormaps  # noqa: PLC0415

    return colormaps["viridis"](index / max(n - 1, 1))


def _in_order(values: Iterable[Any]) -> list[Any]:
    """Distinct values in their own order, null last."""
    distinct = set(values)
    return sorted(distinct - {None}) + ([None] if None in distinct else [])


def _number(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:.3g}" if isinstance(value, float) and value < 1000 else f"{value:,.0f}"


def _text(value: object, most: int = MOST_LETTERS) -> str:
    """A value as a label: a month, or the start of its text in letters that the font has."""
    if value is None:
        return "no date"
    text = f"{value:%Y-%m}" if isinstance(value, datetime) else str(value)
    shown = "".join(c if c.isprintable() and ord(c) < LETTERS_END else "?" for c in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
