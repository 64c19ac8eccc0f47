"""Pictures of the trend tables, small enough for a run's metadata."""

from __future__ import annotations

import io

import pyarrow as pa
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

HATCHES = ("", "//", "..", "xx", "\\\\", "++", "--", "oo")
"""Bars are told apart in grey as well as in colour."""


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
    records = rows.to_pylist()
    groups = sorted({_text(r[group]) for r in records})
    parts = sorted({r[part] for r in records})
    share = {(_text(r[group]), r[part]): r["share"] for r in records}
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    bottom = [0.0] * len(groups)
    for index, value in enumerate(parts):
        heights = [share.get((g, value), 0.0) for g in groups]
        axes.bar(
            groups, heights, bottom=bottom, label=str(value), hatch=HATCHES[index % len(HATCHES)], edgecolor="white"
        )
        bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
    axes.set(title=title, ylabel="share", ylim=(0, 1))
    axes.tick_params(axis="x", rotation=90 if len(groups) > 8 else 0, labelsize=7)
    if len(groups) > 40:
        axes.set_xticks(axes.get_xticks()[:: len(groups) // 20])
    axes.legend(title=part, fontsize=7, title_fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), ncols=1 + len(parts) // 10)
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return buffer.getvalue()


def _text(value: object) -> str:
    if value is None:
        return "no date"
    return f"{value:%Y-%m}" if hasattr(value, "strftime") else str(value)
