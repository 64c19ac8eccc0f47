"""Pictures of any number of rows, with any text in their labels, nothing cut off, and never a warning."""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.image import imread

from atlas_pipeline.trends.figures import MOST_BARS, bars, lines_over_time, stacked_shares


def rows(groups, parts) -> pa.Table:
    pairs = [(g, p) for g in groups for p in parts]
    return pa.table(
        {
            "group": pa.array([g for g, _ in pairs]),
            "part": pa.array([p for _, p in pairs]),
            "share": pa.array([1 / len(parts) for _ in pairs], pa.float64()),
        }
    )


def sound(picture: bytes) -> bytes:
    """The picture, if it is a PNG of sane size that has nothing on its edge, where text would be cut."""
    assert picture.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", picture[16:24])
    assert width == 630 and 100 < height < 1800
    assert len(picture) < 200_000
    pixels = imread(io.BytesIO(picture))[..., :3]
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert edge.min() > 0.99, "something is cut off"
    return picture


def drawn(table: pa.Table, title: str = "Shares", **options: int) -> bytes:
    return sound(stacked_shares(table, group="group", part="part", title=title, **options))


def ink(picture: bytes) -> float:
    """Share of the picture that is neither white nor black nor grey."""
    pixels = imread(io.BytesIO(picture))[..., :3]
    return float((np.ptp(pixels, axis=-1) > 0.2).mean())


@pytest.mark.parametrize(("n_groups", "n_parts"), [(0, 3), (1, 1), (100, 3), (5, 35)])
def test_any_number_of_groups_and_parts_gives_a_picture_with_bars(n_groups, n_parts):
    picture = drawn(rows([f"2024-{i:03}" for i in range(n_groups)], range(n_parts)))
    assert (ink(picture) > 0.1) == (n_groups > 0)


def test_months_are_drawn_in_order_and_those_without_a_date_last():
    months = [datetime(2024, m, 1, tzinfo=UTC) for m in (2, 1)]
    picture = drawn(rows([None, *months], ["merge", "finetune"]))
    assert picture == drawn(rows([*months[::-1], None], ["finetune", "merge"])), "the order of rows draws nothing"
    assert picture != drawn(rows([*months[::-1], datetime(2024, 3, 1, tzinfo=UTC)], ["finetune", "merge"]))


def test_numbers_from_some_point_on_are_one_piece():
    shares = pa.table({"group": ["a"] * 4, "part": [0, 2, 3, 9], "share": [0.4, 0.2, 0.3, 0.1]})
    together = pa.table({"group": ["a"] * 2, "part": [0, 2], "share": [0.4, 0.6]})
    assert drawn(shares, most=2) == drawn(together, most=2)
    assert drawn(shares) != drawn(shares, most=9), "the last one is named otherwise"


def test_a_relation_looks_the_same_in_every_picture():
    alone, beside = (imread(io.BytesIO(drawn(rows(["g"], parts)))) for parts in (["merge"], ["adapter", "merge"]))
    # Low in the one bar, and high in the other, clear of hatches and legend.
    assert {tuple(color) for color in alone[60:70, 100:300].reshape(-1, 4)} & {
        tuple(color) for color in beside[60:70, 100:300].reshape(-1, 4)
    } - {(1.0, 1.0, 1.0, 1.0)}


HOSTILE = ["$x^2", "$", "$$", "$\\frac{$", "a_b$c_d$", "_hidden", "模型", "\x00\n\x1b[31m", "x" * 10_000, "", "\\"]


def test_labels_are_text_whatever_they_hold():
    assert ink(drawn(rows(HOSTILE, HOSTILE), title="$x^2$ of $")) > 0.1
    # Drawn as it stands: as a formula, both would be an x.
    assert drawn(rows(["$x$"], ["a"])) != drawn(rows(["x"], ["a"]))
    assert drawn(rows(["x"], ["$x$"])) != drawn(rows(["x"], ["x"]))
    assert drawn(rows(["x"], ["_a"])) != drawn(rows(["x"], ["_"])), "a name with an underscore is in the legend too"


def barred(values: dict[str, list], labels: list[str] | None = None, *, is_log: bool = False) -> bytes:
    labels = labels or [f"row {i}" for i in range(len(next(iter(values.values()))))]
    table = pa.table(
        {"label": pa.array(labels, pa.string())} | {k: pa.array(v, pa.float64()) for k, v in values.items()}
    )
    return sound(bars(table, label=["label"], values=list(values), title="Values", is_log=is_log))


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        {"a": []},
        {"a": [0.0]},
        {"a": [None, None]},
        {"a": [1.0], "b": [None]},
        {"ours": [0.3, None, 0.001], "paper": [0.5, 0.2, 0.0015]},
        {"a": [float(10**i) for i in range(16)], "b": [1.0] * 16},
        {"a": [float(i) for i in range(500)]},
    ],
    ids=["no rows", "nothing", "unknown", "one unknown", "shares", "magnitudes", "many"],
)
def test_bars_of_any_values(values, is_log):
    picture = barred(values, is_log=is_log)
    assert (ink(picture) > 0.005) == any(v for lengths in values.values() for v in lengths[:MOST_BARS])


def test_bars_have_hostile_names_and_as_many_as_there_is_room_for():
    barred({"a": [float(i) for i in range(len(HOSTILE))]}, HOSTILE)
    assert barred({"a": [1.0]}, ["$x$"]) != barred({"a": [1.0]}, ["x"])
    first = [float(i) for i in range(MOST_BARS)]
    assert barred({"a": first}) == barred({"a": [*first, 3.0]})


def test_unknown_is_not_zero():
    assert barred({"a": [1.0, None]}) != barred({"a": [1.0, 0.0]})


def timed(points: list[tuple[datetime | None, str, float]]) -> bytes:
    at, line, value = zip(*points, strict=True) if points else ((), (), ())
    table = pa.table(
        {
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "line": pa.array(line, pa.string()),
            "share": pa.array(value, pa.float64()),
        }
    )
    return sound(lines_over_time(table, at="at", line="line", value="share", title="Over time"))


QUARTERS = [datetime(2020 + i // 4, 1 + 3 * (i % 4), 1, tzinfo=UTC) for i in range(24)]


def test_lines_of_any_length():
    points = [(at, name, i / 24) for i, at in enumerate(QUARTERS) for name in ("merge", "adapter", "finetune")]
    picture = timed(points)
    assert ink(picture) > 0.005
    assert timed(points[::-1]) == picture, "the order of rows draws nothing"
    assert timed([*points, (None, "merge", 0.5)]) == picture, "what has no date has no place"
    for few in ([], [(None, "merge", 1.0)], points[:1], [(datetime(1, 1, 1, tzinfo=UTC), "$x^2", 0.0)]):
        assert timed(few) != picture


def test_many_lines_with_long_names():
    timed([(at, f"{name}{i}", i / 12) for i, name in enumerate(HOSTILE) for at in QUARTERS])
