"""How far the confidence of edges can be believed: Brier score, calibration error, reliability table and picture.

Bins have equal width, so that those of many regions can be added up: a calibration error over several regions is that
of their summed bins, not the mean of their errors, each of which is too large where edges are few.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

N_BINS: Final = 10
"""A tenth each: the usual number, and as fine as some hundred edges bear."""

_DOTS_PER_INCH: Final = 90


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Edges of like confidence; a bin with no edges is left out.

    Attributes:
        name: the bounds of the bin, as ``0.9-1.0``; the upper one belongs to the next bin, but for 1.
        n_edges: edges in it.
        n_right: how many of them are right.
        mean_confidence: their mean confidence.
        brier_score: their mean squared difference of confidence and outcome.
    """

    name: str
    n_edges: int
    n_right: int
    mean_confidence: float
    brier_score: float


def brier_score(confidence: Sequence[float], is_right: Sequence[bool]) -> float | None:
    """Mean squared difference of confidence and outcome; None without edges.

    Args:
        confidence: of each edge, 0 to 1.
        is_right: whether each edge is right.
    """
    sure, right = _checked(confidence, is_right)
    return float(np.mean((sure - right) ** 2)) if len(sure) else None


def bin_name(confidence: float) -> str:
    """The bin of a confidence between 0 and 1, by its bounds, as ``0.9-1.0``."""
    index = min(int(confidence * N_BINS), N_BINS - 1)
    return f"{index / N_BINS:.1f}-{(index + 1) / N_BINS:.1f}"


def reliability(confidence: Sequence[float], is_right: Sequence[bool]) -> list[ReliabilityBin]:
    """Gather edges into bins of equal width by their confidence.

    Args:
        confidence: of each edge, 0 to 1.
        is_right: whether each edge is right.

    Returns:
        The bins that hold edges, from low to high.

    Raises:
        ValueError: If the arguments differ in length or a confidence is not between 0 and 1.
    """
    sure, right = _checked(confidence, is_right)
    names = np.array([bin_name(each) for each in sure.tolist()], dtype=np.str_)
    bins = []
    for name in np.unique(names).tolist():
        here = names == name
        bins.append(
            ReliabilityBin(
                name=name,
                n_edges=int(here.sum()),
                n_right=int(right[here].sum()),
                mean_confidence=float(sure[here].mean()),
                brier_score=float(np.mean((sure[here] - right[here]) ** 2)),
            )
        )
    return bins


def expected_calibration_error(bins: Iterable[ReliabilityBin]) -> float | None:
    """Mean gap between confidence and share right, over all edges of the bins; None without edges.

    Args:
        bins: of one region, or of several: bins of one name are added up first.
    """
    summed = added_up(bins)
    n_edges = sum(each.n_edges for each in summed)
    if not n_edges:
        return None
    return sum(abs(each.n_edges * each.mean_confidence - each.n_right) for each in summed) / n_edges


def added_up(bins: Iterable[ReliabilityBin]) -> list[ReliabilityBin]:
    """Bins of one name as one, in the order of the names."""
    by_name: dict[str, list[ReliabilityBin]] = {}
    for each in bins:
        by_name.setdefault(each.name, []).append(each)
    return [_sum(name, group) for name, group in sorted(by_name.items())]


def bins_of_rows(rows: Iterable[Mapping[str, Any]]) -> list[ReliabilityBin]:
    """Read the bins back from lines of ``edges.scores`` with the breakdown ``confidence``.

    Args:
        rows: lines of one method, documentation, matching and subset; lines of other breakdowns are passed over.
    """
    return [
        ReliabilityBin(
            name=row["breakdown_value"],
            n_edges=row["n_edges"],
            n_right=round(row["precision"] * row["n_edges"]),
            mean_confidence=row["mean_confidence"],
            brier_score=row["brier_score"],
        )
        for row in rows
        if row["breakdown"] == "confidence"
    ]


def reliability_picture(bins: Iterable[ReliabilityBin], *, title: str) -> bytes:
    """Draw the share of right edges over their mean confidence, beside the diagonal of perfect calibration.

    Args:
        bins: of one or several regions; bins of one name are added up.
        title: The picture's title.

    Returns:
        A PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  a second: paid by who draws
    from matplotlib.figure import Figure  # noqa: PLC0415

    summed = added_up(bins)
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.plot([0, 1], [0, 1], color="#7f7f7f", linestyle="--", linewidth=1)
    sure = np.array([each.mean_confidence for each in summed])
    share = np.array([each.n_right / each.n_edges for each in summed])
    n_edges = np.array([each.n_edges for each in summed], dtype=np.float64)
    # One standard error of a share that the confidence states exactly: gaps within it are no news.
    error = np.sqrt(np.clip(sure * (1 - sure), 0, None) / np.maximum(n_edges, 1))
    axes.errorbar(sure, share, yerr=error, color="#0072b2", marker="o", capsize=3, linewidth=1.3)
    for each, at, height in zip(summed, sure, share, strict=True):
        axes.annotate(f"{each.n_edges}", (at, height), textcoords="offset points", xytext=(5, -9), fontsize=7)
    axes.set(xlabel="confidence", ylabel="share of edges that are right", xlim=(-0.02, 1.02), ylim=(-0.05, 1.05))
    axes.grid(alpha=0.3)
    found = expected_calibration_error(summed)
    said = "nothing to show" if found is None else f"expected calibration error {found:.3f}"
    axes.text(0.03, 0.95, said, transform=axes.transAxes, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _checked(confidence: Sequence[float], is_right: Sequence[bool]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(is_right, dtype=np.float64)
    if sure.shape != right.shape or sure.ndim != 1:
        raise ValueError(f"{sure.shape} confidences do not fit {right.shape} outcomes")
    if not ((sure >= 0) & (sure <= 1)).all():
        raise ValueError("a confidence must lie between 0 and 1")
    return sure, right


def _sum(name: str, group: Sequence[ReliabilityBin]) -> ReliabilityBin:
    n_edges = sum(each.n_edges for each in group)
    return ReliabilityBin(
        name=name,
        n_edges=n_edges,
        n_right=sum(each.n_right for each in group),
        mean_confidence=sum(each.n_edges * each.mean_confidence for each in group) / n_edges,
        brier_score=sum(each.n_edges * each.brier_score for each in group) / n_edges,
    )
