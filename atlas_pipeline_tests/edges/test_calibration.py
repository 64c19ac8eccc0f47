"""Brier score, calibration error and reliability bins, and how those of several regions add up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.edges.calibration import (
    ReliabilityBin,
    added_up,
    bins_of_rows,
    brier_score,
    expected_calibration_error,
    reliability,
    reliability_picture,
)

EDGES = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=30)


def test_figures_are_those_worked_out_by_hand():
    confidence, is_right = [0.95, 1.0, 0.9, 0.25], [True, True, False, True]
    bins = reliability(confidence, is_right)
    assert [(each.name, each.n_edges, each.n_right) for each in bins] == [("0.2-0.3", 1, 1), ("0.9-1.0", 3, 2)]
    assert bins[1].mean_confidence == pytest.approx(0.95)
    assert brier_score(confidence, is_right) == pytest.approx((0.05**2 + 0 + 0.9**2 + 0.75**2) / 4)
    assert expected_calibration_error(bins) == pytest.approx((0.75 + 3 * (0.95 - 2 / 3)) / 4)


def test_nothing_to_measure_gives_none():
    assert brier_score([], []) is None
    assert expected_calibration_error([]) is None
    assert reliability([], []) == []


@pytest.mark.parametrize(("confidence", "is_right"), [([0.5], []), ([1.5], [True]), ([float("nan")], [True])])
def test_what_is_no_confidence_is_refused(confidence, is_right):
    with pytest.raises(ValueError, match=r"confidence"):
        reliability(confidence, is_right)


@settings(max_examples=80, deadline=None)
@given(first=EDGES, second=EDGES)
def test_bins_of_two_regions_add_up_to_the_bins_of_both(first, second):
    apart = [reliability([c for c, _ in edges], [r for _, r in edges]) for edges in (first, second)]
    both = reliability([c for c, _ in first + second], [r for _, r in first + second])
    summed = added_up(apart[0] + apart[1])
    assert [(each.name, each.n_edges, each.n_right) for each in summed] == [
        (each.name, each.n_edges, each.n_right) for each in both
    ]
    error = expected_calibration_error(apart[0] + apart[1])
    assert error == pytest.approx(expected_calibration_error(both))
    assert error is None or 0 <= error <= 1
    assert sum(each.n_edges * each.brier_score for each in summed) == pytest.approx(
        sum((c - r) ** 2 for c, r in first + second)
    )


def test_bins_are_read_back_from_rows_of_the_table():
    bins = reliability([0.5, 0.55, 0.91], [True, False, True])
    rows = [
        {
            "breakdown": "confidence",
            "breakdown_value": each.name,
            "n_edges": each.n_edges,
            "precision": each.n_right / each.n_edges,
            "mean_confidence": each.mean_confidence,
            "brier_score": each.brier_score,
        }
        for each in bins
    ]
    assert bins_of_rows([*rows, {"breakdown": "all"}]) == bins


def test_the_picture_shows_one_region_none_and_the_same_each_time():
    one = ReliabilityBin(name="0.9-1.0", n_edges=7, n_right=7, mean_confidence=1.0, brier_score=0.0)
    drawn = [reliability_picture(bins, title="$1 & <b>") for bins in ([], [one], [one])]
    assert all(picture.startswith(b"\x89PNG") for picture in drawn)
    assert drawn[1] == drawn[2] != drawn[0]
