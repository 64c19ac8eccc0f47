"""The comparison scores each region once, with documents hidden and used, and leaves out what cannot be charted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest

from atlas_pipeline.edges.clustering import WEIGHT_CLUSTERS
from atlas_pipeline.edges.comparison import (
    TruthError,
    compare,
    compare_places,
    given_truth,
    is_headline,
    methods,
)
from atlas_pipeline.edges.region import Region
from atlas_pipeline.edges.scoring import TrueEdge
from atlas_pipeline.schema import contract_of
from atlas_pipeline_tests.edges.populations import Population

RESOLVED = "algorithm1_resolved"
OPTIONS = {"n_neighbors": 5, "seed": 0}


@dataclass(frozen=True)
class Place:
    region: Region
    region_ids: dict


def is_line_of_all(row):
    about = (row["documentation"], row["matching"], row["subset"], row["breakdown"])
    return about == ("hidden", "strict", "all", "all")


def population():
    made = Population(seed=8)
    base = made.base()
    for child in made.fan(base, size=3):
        made.snake(child, length=2)
        made.int8(child)
    return made


def renamed(region, start):
    return replace(region, model_ids=tuple(model_id.replace("org/", start) for model_id in region.model_ids))


def test_rows_fit_the_contract_and_have_keys_of_their_own():
    made = population()
    region = made.region(known_parents={1: ((0, "finetune"),)})
    rows = compare(region, dict.fromkeys(region.model_ids, "here"), made.truth, is_given=True, **OPTIONS)
    contract = contract_of("edges.scores")
    pa.Table.from_pylist(rows, contract.arrow_schema).validate(full=True)
    assert set(rows[0]) == {column.name for column in contract.columns}
    assert len({tuple(row[name] for name in contract.key) for row in rows}) == len(rows)
    for column in (column for column in contract.columns if column.values):
        assert {row[column.name] for row in rows} <= set(column.values)
    assert {row["method"] for row in rows} == {*methods(**OPTIONS), WEIGHT_CLUSTERS}
    assert {row["documentation"] for row in rows} == {"used", "hidden"}
    assert rows == compare(region, dict.fromkeys(region.model_ids, "here"), made.truth, is_given=True, **OPTIONS)


def test_documented_truth_is_hidden_first_and_says_nothing_of_strangers():
    made = population()
    region = made.region(known_parents={1: ((0, "finetune"),)})
    rows = compare(region, dict.fromkeys(region.model_ids, "here"), made.truth[:1], is_given=False, **OPTIONS)
    assert {(row["documentation"], row["truth"]) for row in rows} == {("hidden", "documented")}
    assert "regions" not in {row["breakdown"] for row in rows}
    assert "known" not in {row["breakdown_value"] for row in rows if row["breakdown"] == "rule"}


def test_a_region_of_two_vector_groups_is_scored_once():
    made = population()
    first, second = renamed(made.region(), "one/"), renamed(made.region(), "two/")
    truth = [
        TrueEdge(
            child_id=edge.child_id.replace("org/", start),
            parent_id=edge.parent_id.replace("org/", start),
            relation=edge.relation,
            pattern=edge.pattern,
        )
        for start in ("one/", "two/")
        for edge in made.truth
    ]
    across = TrueEdge(child_id="two/m000", parent_id="one/m000", relation="finetune", pattern="resized")
    places = [Place(region, dict.fromkeys(region.model_ids, "here")) for region in (first, second)]
    found = compare_places(places, [*truth, across], is_given=True, only=[RESOLVED], **OPTIONS)
    (line,) = [row for row in found.rows if is_headline(row)]
    assert line["n_models"] == len(truth) + 1
    assert line["n_edges"] == len(truth)
    # The model that was made across groups is missed by whoever charts groups apart.
    (missed,) = [r for r in found.rows if r["breakdown_value"] == "resized" and r["documentation"] == "hidden"
                 and (r["matching"], r["subset"]) == ("strict", "all")]  # fmt: skip
    assert missed["accuracy"] == 0.0
    (clusters,) = [row for row in found.rows if row["breakdown"] == "regions"]
    assert clusters["precision"] == 1.0
    assert clusters["recall"] < 0.5


def test_models_that_stand_alone_are_not_scored():
    made = population()
    region = made.region()
    region_ids = {**dict.fromkeys(region.model_ids, "here"), region.model_ids[-1]: "alone"}
    rows = compare(region, region_ids, made.truth, is_given=True, **OPTIONS)
    assert {row["region_id"] for row in rows} == {"here"}


def test_what_cannot_be_charted_is_left_out_and_said():
    made = population()
    small, large = renamed(made.region(), "one/"), renamed(made.region(), "two/")
    n = large.n_models
    near = {"near_index": np.full((n, 1), -1), "near_squared": np.full((n, 1), np.inf)}
    places = [
        Place(small, dict.fromkeys(small.model_ids, "small")),
        Place(replace(large, squared_distances=None, **near), dict.fromkeys(large.model_ids, "large")),
    ]
    found = compare_places(places, made.truth, is_given=False, only=["nearest_earlier"], **OPTIONS)
    assert {row["region_id"] for row in found.rows} == {"small"}
    assert "no distance matrix" in found.skipped["nearest_earlier"]


def test_the_summary_pools_regions_and_tells_seconds():
    made = population()
    one, two = renamed(made.region(), "one/"), renamed(made.region(), "two/")
    # Of the second region nothing is known: its models are sources, and no accuracy is pooled.
    truth = [
        replace(e, child_id=e.child_id.replace("org", "one"), parent_id=e.parent_id.replace("org", "one"))
        for e in made.truth
    ]
    places = [Place(one, dict.fromkeys(one.model_ids, "a")), Place(two, dict.fromkeys(two.model_ids, "b"))]
    found = compare_places(places, truth, is_given=True, **OPTIONS)
    summary = found.summary()
    (row,) = [row for row in found.rows if is_headline(row) and row["method"] == RESOLVED]
    assert summary[f"accuracy.{RESOLVED}"] == pytest.approx(row["accuracy"])
    assert summary[f"accuracy.{RESOLVED}"] > summary["accuracy.random_root"]
    assert {name for name in summary if name.startswith("seconds.")} == {
        f"seconds.{name}" for name in methods(**OPTIONS)
    }
    assert all(value >= 0 for value in summary.values())
    assert 0 < summary[f"calibration_error.{RESOLVED}"] < 1
    assert sum(each.n_edges for each in found.bins(RESOLVED)) == sum(
        row["n_edges"] for row in found.rows if row["method"] == RESOLVED and is_line_of_all(row)
    )
    assert found.picture().startswith(b"\x89PNG")
    assert compare_places([], truth, is_given=True, **OPTIONS).rows == []


def test_truth_that_cannot_be_read_is_named(tmp_path):
    file = tmp_path / "truth.csv"
    with pytest.raises(TruthError, match="no such file"):
        given_truth(str(file))
    file.write_text("child_id,other\na,b\n", encoding="utf-8")
    with pytest.raises(TruthError, match="cannot be read"):
        given_truth(str(file))
    file.write_text("child_id,parent_id,relation\na,b,finetune\n", encoding="utf-8")
    assert given_truth(str(file)) == [TrueEdge(child_id="a", parent_id="b", relation="finetune", pattern="finetune")]
