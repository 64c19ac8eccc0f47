"""Pictures of the trend tables, small enough for a run's metadata."""

from __future__ import annotations

import io
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes

HATCHES = ("", "//", "..", "xx", "\\\\", "++", "--", "oo")
"""Bars are told apart in grey as well as in colour."""

MOST_TICKS: Final = 40
MOST_NAMED: Final = 30
MOST_LETTERS: Final = 30
"""More ticks, more names in the legend or longer ones leave no room for the bars."""

LETTERS_END: Final = 0x250
"""The font has the Latin letters before this one; others are drawn as question marks."""


def stacked_shares(rows: pa.Table, *, group: str, part: str, title: str) -> bytes:
    """Shares of each part within each group, as stacked bars.

    Args:
        rows: one row for each (group, part), with the column ``share``.
        group: column of the bars.
        part: column of the pieces of a bar.
        title: the picture's title.

    Returns:
        a PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  a second: paid by who draws
    from matplotlib.figure import Figure  # noqa: PLC0415

    records = rows.to_pylist()
    groups = _in_order(r[group] for r in records)
    parts = _in_order(r[part] for r in records)
    share = {(r[group], r[part]): r["share"] for r in records}
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    positions = np.arange(len(groups))
    bottom = np.zeros(len(groups))
    for index, value in enumerate(parts):
        heights = np.array([share.get((g, value), 0.0) for g in groups])
        axes.bar(positions, heights, bottom=bottom, hatch=HATCHES[index % len(HATCHES)], edgecolor="white")
        bottom += heights
    axes.set_title(title, parse_math=False)
    axes.set(ylabel="share", ylim=(0, 1))
    shown = positions[:: 1 + len(groups) // MOST_TICKS]
    # Labels are data: a dollar sign in one is a dollar sign, not a formula.
    axes.set_xticks(shown, [_text(groups[i]) for i in shown], parse_math=False)
    axes.tick_params(axis="x", rotation=90 if len(groups) > 8 else 0, labelsize=7)
    if parts:
        _name_parts(axes, part, parts)
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return buffer.getvalue()


def _name_parts(axes: Axes, part: str, parts: list[Any]) -> None:
    """The legend: one name for each piece of a bar, as many as there is room for."""
    bars = axes.containers[:MOST_NAMED]
    legend = axes.legend(
        bars,
        [_text(value) for value in parts[:MOST_NAMED]],
        title=part if len(parts) <= MOST_NAMED else f"{part} (first {MOST_NAMED})",
        fontsize=7,
        title_fontsize=7,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        ncols=1 + (len(bars) - 1) // 15,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _in_order(values: Iterable[Any]) -> list[Any]:
    """Distinct values in their own order, null last."""
    distinct = set(values)
    return sorted(distinct - {None}) + ([None] if None in distinct else [])


def _text(value: object) -> str:
    """A value as a label: a month, or the start of its text in letters that the font has."""
    if value is None:
        return "no date"
    text = f"{value:%Y-%m}" if isinstance(value, datetime) else str(value)
    shown = "".join(c if c.isprintable() and ord(c) < LETTERS_END else "?" for c in text)
    return shown if len(shown) <= MOST_LETTERS else shown[: MOST_LETTERS - 1] + "…"
