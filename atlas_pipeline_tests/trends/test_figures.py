"""Pictures of any number of groups, with any text in their labels, and never a warning."""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.image import imread

from atlas_pipeline.trends.figures import stacked_shares


def rows(groups, parts) -> pa.Table:
    pairs = [(g, p) for g in groups for p in parts]
    return pa.table(
        {
            "group": pa.array([g for g, _ in pairs]),
            "part": pa.array([p for _, p in pairs]),
            "share": pa.array([1 / len(parts) for _ in pairs], pa.float64()),
        }
    )


def drawn(table: pa.Table, title: str = "Shares") -> bytes:
    picture = stacked_shares(table, group="group", part="part", title=title)
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24]) == (630, 306)
    return picture


def ink(picture: bytes) -> float:
    """Share of the picture that is neither white nor black nor grey."""
    pixels = imread(io.BytesIO(picture))[..., :3]
    return float((np.ptp(pixels, axis=-1) > 0.2).mean())


@pytest.mark.parametrize(("n_groups", "n_parts"), [(0, 3), (1, 1), (1, 35), (100, 3), (20, 35)])
def test_any_number_of_groups_and_parts_gives_a_picture_with_bars(n_groups, n_parts):
    picture = drawn(rows([f"2024-{i:03}" for i in range(n_groups)], range(n_parts)))
    assert (ink(picture) > 0.1) == (n_groups > 0)


def test_months_are_drawn_in_order_and_those_without_a_date_last():
    months = [datetime(2024, m, 1, tzinfo=UTC) for m in (2, 1)]
    picture = drawn(rows([None, *months], ["merge", "finetune"]))
    assert picture == drawn(rows([*months[::-1], None], ["finetune", "merge"])), "the order of rows draws nothing"
    assert picture != drawn(rows([*months[::-1], datetime(2024, 3, 1, tzinfo=UTC)], ["finetune", "merge"]))


HOSTILE = ["$x^2", "$", "$$", "$\\frac{$", "a_b$c_d$", "_hidden", "模型", "\x00\n\x1b[31m", "x" * 10_000, "", "\\"]


def test_labels_are_text_whatever_they_hold():
    assert ink(drawn(rows(HOSTILE, HOSTILE), title="$x^2$ of $")) > 0.1
    # Drawn as it stands: as a formula, both would be an x.
    assert drawn(rows(["$x$"], ["a"])) != drawn(rows(["x"], ["a"]))
    assert drawn(rows(["x"], ["$x$"])) != drawn(rows(["x"], ["x"]))
    assert drawn(rows(["x"], ["_a"])) != drawn(rows(["x"], ["_"])), "a name with an underscore is in the legend too"
