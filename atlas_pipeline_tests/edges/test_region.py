"""A region that does not fit together is refused with a sentence that names the part."""

from __future__ import annotations

import numpy as np
import pytest

from atlas_pipeline.edges.region import Region
from atlas_pipeline_tests.edges.populations import region_of

TWO = np.eye(2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_ids": ("a/b", "a/b")}, "twice"),
        ({"created_at": np.zeros(3)}, "created_at"),
        ({"squared_distances": np.zeros((2, 3))}, "squared_distances"),
        ({"content_sha256": ("aa",)}, "content_sha256"),
        ({"downloads": np.zeros(1, dtype=np.int64)}, "downloads"),
        ({"known_parents": {5: ()}}, "row 5"),
        ({"known_parents": {0: ((2, "merge"),)}}, "org/m000: row 2"),
        ({"known_parents": {0: ((0, "merge"),)}}, "org/m000: row 0"),
        ({"known_parents": {1: ((0, "sibling"),)}}, "'sibling' is not a relation"),
        ({"known_parents": {1: ((0, "merge"), (0, "finetune"))}}, "given twice"),
    ],
)
def test_parts_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        region_of(TWO, **fields)


def test_vectors_without_weights_are_refused():
    with pytest.raises(ValueError, match="at least one sampled weight"):
        region_of(np.zeros((2, 0)))


def test_chronology_puts_unknown_dates_last_and_breaks_ties_by_id():
    region = region_of(
        np.eye(5), days=[3, float("nan"), 1, 1, float("nan")], model_ids=("a/e", "a/d", "a/c", "a/b", "a/a")
    )
    assert isinstance(region, Region)
    assert [region.model_ids[row] for row in region.chronology] == ["a/b", "a/c", "a/e", "a/a", "a/d"]


def test_relative_distance_of_empty_models_is_zero():
    region = region_of(np.array([[0, 0], [0, 0], [3, 4]]))
    assert region.relative_distance(0, 1) == 0
    assert region.relative_distance(0, 2) == 1
