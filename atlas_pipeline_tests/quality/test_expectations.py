from __future__ import annotations

from datetime import datetime

import pytest

from atlas_pipeline.quality.expectations import SUITES, check_plausibility
from atlas_pipeline.schema import contract_of
from atlas_pipeline_tests.quality.sound_tables import SNAPSHOTS, connect, row, sound_rows

LATEST = SNAPSHOTS[1]


def every(table, **values):
    """Every row of the latest snapshot, or of the table, gets other values."""

    def break_rows(rows):
        for r in rows[table]:
            if r.get("snapshot", LATEST) == LATEST:
                r.update(values)

    return break_rows


def more(table, number, **values):
    """A number of further rows."""

    def break_rows(rows):
        for i in range(number):
            key = contract_of(table).key
            unique = {name: f"more/{i}" for name in key if name.endswith("_id")}
            snapshot = {"snapshot": LATEST} if contract_of(table).partitioned_by == "snapshot" else {}
            rows[table].append(row(table, **unique | snapshot | values))

    return break_rows


BROKEN = {
    ("components.models", "n_models"): (
        lambda rows: rows["components.models"].clear(),
        "n_models = 0, expected at least 1",
    ),
    ("components.models", "share_with_bad_id"): (
        more("components.models", 1, model_id="a/b/c"),
        f"{LATEST} share_with_bad_id = 0.125, expected 0 to 0",
    ),
    ("components.models", "share_removed"): (
        more("components.models", 9, presence="removed"),
        f"{LATEST} share_removed = 0.625, expected 0 to 0.5",
    ),
    ("components.models", "first_year"): (
        every("components.models", created_at=datetime.fromisoformat("1970-01-01T00:00:00+00:00")),
        f"{LATEST} first_year = 1970, expected 2015 to 2100",
    ),
    ("components.parents", "share_kept"): (
        more("components.parents", 4, is_kept=False, sources=["tag"]),
        f"{LATEST} share_kept = 0.5, expected 0.8 to 1",
    ),
    ("components.parents", "share_child_older"): (
        every("components.parents", child_is_older=True),
        f"{LATEST} share_child_older = 1, expected 0 to 0.1",
    ),
    ("components.parents", "share_without_source"): (
        more("components.parents", 1, is_kept=True),
        f"{LATEST} share_without_source = 0.2, expected 0 to 0",
    ),
    ("components.regions", "share_source"): (
        every("components.regions", is_source=False),
        f"{LATEST} share_source = 0, expected 0.001 to 1",
    ),
    ("components.impact", "deepest"): (
        every("components.impact", depth=61),
        f"{LATEST} deepest = 61, expected 0 to 60",
    ),
    ("components.impact", "share_leaf"): (
        every("components.impact", is_leaf=False),
        f"{LATEST} share_leaf = 0, expected 0.3 to 1",
    ),
    ("features.models", "share_of_bytes_read"): (
        every("features.models", bytes_read=201, bytes_total=100),
        "share_of_bytes_read = 2.01, expected 0 to 2",
    ),
    ("features.tensors", "neurons_of_a_matrix"): (
        every("features.tensors", n_neurons=1001),
        "neurons_of_a_matrix = 1001, expected 1 to 1000",
    ),
    ("features.tensors", "share_hidden_quantization"): (
        every("features.tensors", hidden_quantization="4-bit values in floats"),
        "share_hidden_quantization = 1, expected 0 to 0.5",
    ),
    ("distances.neighbors", "greatest_rank"): (
        every("distances.neighbors", rank=101),
        "greatest_rank = 101, expected 0 to 100",
    ),
    ("edges.charted", "parents_of_a_child"): (
        lambda rows: [
            more("edges.charted", 3, child_id=e["child_id"], confidence=0.5)(rows) for e in list(rows["edges.charted"])
        ],
        "parents_of_a_child = 4, expected 0 to 3",
    ),
    ("edges.charted", "mean_confidence"): (
        every("edges.charted", confidence=0.25),
        "mean_confidence = 0.25, expected 0.3 to 1",
    ),
    ("edges.audit", "share_contradicting"): (
        every("edges.audit", verdict="contradicts", confidence=0.9),
        "share_contradicting = 1, expected 0 to 0.3",
    ),
    ("edges.audit", "confidence_of_contradictions"): (
        every("edges.audit", confidence=0.25),
        "confidence_of_contradictions = 0.25, expected 0.5 to 1",
    ),
    ("components.claims", "share_usable"): (
        every("components.claims", drop_reason="local_path"),
        f"{LATEST} share_usable = 0, expected 0.7 to 1",
    ),
    ("components.claims", "share_unlisted"): (
        every("components.claims", resolution="unlisted"),
        f"{LATEST} share_unlisted = 1, expected 0 to 0.5",
    ),
    ("attributes.evaluations", "share_contradicting"): (
        every("attributes.evaluations", least=0.1, greatest=0.9),
        f"{LATEST} share_contradicting = 1, expected 0 to 0.2",
    ),
    ("attributes.evaluations", "share_of_shares_beyond_one"): (
        every("attributes.evaluations", value=1.5),
        f"{LATEST} share_of_shares_beyond_one = 1, expected 0 to 0.05",
    ),
    ("attributes.imputed_evaluations", "mean_error_of_shares"): (
        more("attributes.imputed_evaluations", 1, unit="share", expected_error=0.5),
        f"{LATEST} mean_error_of_shares = 0.5, expected 0 to 0.2",
    ),
    ("attributes.license_lineage", "share_with_unknown_license"): (
        every("attributes.license_lineage", has_unknown_license=True),
        f"{LATEST} share_with_unknown_license = 1, expected 0 to 0.9",
    ),
    ("trends.statistics", "greatest_share"): (
        every("trends.statistics", unit="share", value=1.5),
        f"{LATEST} greatest_share = 1.5, expected 0 to 1",
    ),
    ("attributes.imputed", "mean_confidence"): (
        every("attributes.imputed", confidence=0.25),
        f"{LATEST} mean_confidence = 0.25, expected 0.5 to 1",
    ),
}


def test_every_figure_can_fail():
    assert set(BROKEN) == {(table, figure.name) for table, suite in SUITES.items() for figure in suite}


def test_sound_tables_are_plausible_and_every_suite_is_judged():
    with connect(sound_rows()) as connection:
        results = check_plausibility(connection, tuple(SUITES))
    assert [(r.check.table, r.sample, r.check.severity) for r in results] == [(t, (), "warning") for t in SUITES]


@pytest.mark.parametrize(("table", "figure"), BROKEN)
def test_figure_outside_its_band_is_named_with_its_snapshot_and_value(table, figure):
    rows = sound_rows()
    break_rows, expected = BROKEN[table, figure]
    break_rows(rows)
    with connect(rows) as connection:
        (result,) = check_plausibility(connection, (table,))
    assert expected in result.sample
    assert result.n_failing == len(result.sample) == 1


def test_no_rows_are_implausible_only_where_there_must_be_some():
    with connect({}) as connection:
        results = check_plausibility(connection, tuple(SUITES))
    assert [(r.check.table, r.sample) for r in results if not r.is_passed] == [
        ("components.models", ("n_models = 0, expected at least 1",))
    ]


def test_one_bad_snapshot_does_not_hide_behind_many_good_ones():
    good = [row("components.parents", snapshot=f"2025-01-{d:02}", is_kept=True, sources=["tag"]) for d in range(1, 31)]
    bad = [row("components.parents", snapshot=LATEST, is_kept=False, drop_reason="cycle", sources=["tag"])]
    with connect({"components.parents": good + bad}) as connection:
        (result,) = check_plausibility(connection, ("components.parents",))
    assert result.sample == (f"{LATEST} share_kept = 0, expected 0.8 to 1",)


def test_figure_that_cannot_be_taken_is_red():
    with connect({}) as connection:
        connection.execute("create or replace view edges.charted as select 1 as child_id")
        (result,) = check_plausibility(connection, ("edges.charted",))
    assert result.n_failing == 1
    assert "not run" in result.sample[0]
