from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.quality import invariants
from atlas_pipeline.quality.invariants import CheckFileError, all_checks, checks_of, run_check
from atlas_pipeline.quality.results import SAMPLE_CHARACTERS, SAMPLE_ROWS, Check
from atlas_pipeline.schema import TABLES
from atlas_pipeline.storage import project_file
from atlas_pipeline_tests.attributes.imputation.test_imputation_checks import BREAKAGES as BROKEN_IMPUTATIONS
from atlas_pipeline_tests.attributes.reported.test_evaluation_assets import BROKEN as BROKEN_RESULTS
from atlas_pipeline_tests.components.cards.test_parsing import BREAKAGES as BROKEN_CARDS
from atlas_pipeline_tests.quality.breakages import BREAKAGES, Breakage
from atlas_pipeline_tests.quality.broken_arrivals import BROKEN_ARRIVALS
from atlas_pipeline_tests.quality.broken_audits import BROKEN_AUDITS
from atlas_pipeline_tests.quality.broken_changes import BROKEN_CHANGES
from atlas_pipeline_tests.quality.broken_features import BROKEN_FEATURES
from atlas_pipeline_tests.quality.broken_positions import BROKEN_POSITIONS
from atlas_pipeline_tests.quality.broken_scores import BROKEN_SCORES
from atlas_pipeline_tests.quality.sound_tables import BORN, ORPHAN, SNAPSHOTS, connect, row, sound_rows
from atlas_pipeline_tests.trends.test_checks import BROKEN as BROKEN_TRENDS

CHECKS = {f"{check.table}/{check.name}": check for check in all_checks()}
WARNINGS = {
    "attributes.results/a_benchmark_metric_has_one_unit",
    "attributes.scores/ours_is_no_worse",
    "components.cards/front_matter_that_cannot_be_parsed",
    "raw.cards/cards_that_cannot_be_read",
    "components.models/children_are_not_older",
    "components.models/dates_are_in_order",
    "edges.charted/parents_are_earlier",
    "raw.hub_stats/rows_are_usable",
}


@pytest.fixture(scope="module")
def sound():
    with connect(sound_rows()) as connection:
        yield connection


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_sound_rows_pass(sound, check):
    result = run_check(sound, check)
    assert (result.n_failing, result.sample) == (0, ())
    assert result.is_passed


def test_no_check_crashes_on_no_rows():
    with connect({}) as connection:
        assert [r.sample for check in all_checks() if not (r := run_check(connection, check)).is_passed] == []


@pytest.mark.parametrize(
    "breakage",
    (
        *BREAKAGES,
        *BROKEN_FEATURES,
        *BROKEN_ARRIVALS,
        *BROKEN_AUDITS,
        *BROKEN_SCORES,
        *BROKEN_CHANGES,
        *BROKEN_POSITIONS,
    ),
    ids=str,
)
def test_broken_rows_are_found_counted_and_shown(breakage: Breakage):
    rows = sound_rows()
    breakage.break_rows(rows)
    with connect(rows) as connection:
        result = run_check(connection, CHECKS[breakage.check])
    assert result.n_failing == breakage.n_failing
    assert len(result.sample) == breakage.n_failing
    for text in breakage.shows:
        assert text in " ".join(result.sample)


def test_every_sql_check_can_fail_and_belongs_to_a_table():
    written = {f"{path.parent.name}/{path.stem}" for path in project_file("sql/checks").glob("*/*.sql")}
    assert written == {name for name, check in CHECKS.items() if check.query}
    broken = {
        breakage.check
        for breakage in (
            *BREAKAGES,
            *BROKEN_FEATURES,
            *BROKEN_ARRIVALS,
            *BROKEN_AUDITS,
            *BROKEN_SCORES,
            *BROKEN_CHANGES,
            *BROKEN_POSITIONS,
        )
    }
    beside = {f"trends.{table}/{check}" for table, check, *_ in BROKEN_TRENDS}
    beside |= {f"{table}/{check}" for table, check in BROKEN_IMPUTATIONS}
    beside |= {name for name in written if name.split("/")[1] in {*BROKEN_CARDS, *(c for c, _ in BROKEN_RESULTS)}}
    assert broken | beside == written


def test_only_what_may_be_real_is_a_warning():
    assert {name for name, check in CHECKS.items() if check.severity == "warning"} == WARNINGS


def test_documented_child_before_its_parent_is_not_charting_against_time():
    rows = sound_rows()
    for model in rows["components.models"]:
        if model["model_id"] == ORPHAN:
            model["created_at"] = BORN.replace(year=2020)
    with connect(rows) as connection:
        assert run_check(connection, CHECKS["edges.charted/parents_are_earlier"]).is_passed


def test_documented_edges_are_asked_for_only_in_the_partition_that_is_checked():
    rows = sound_rows()
    rows["edges.charted"] = [edge for edge in rows["edges.charted"] if edge["region_id"] == "lab--base"]
    check = CHECKS["edges.charted/documented_edges_are_all_there"]
    with connect(rows) as connection:
        connection.execute("set variable partition = 'bucket-00'")
        assert run_check(connection, check).is_passed
        connection.execute("set variable partition = null")
        assert run_check(connection, check).n_failing == 1


def test_count_is_exact_and_sample_small_short_and_always_the_same():
    rows = sound_rows()
    for number in range(3_000, 0, -1):
        name = f"m{number:05}/\x1b[31m{'x' * 600}"
        rows["edges.charted"].append(row("edges.charted", child_id=name, parent_id=name))
    with connect(rows) as connection:
        first, second = (run_check(connection, CHECKS["edges.charted/no_self_loops"]) for _ in range(2))
    assert first.n_failing == 3_000
    assert len(first.sample) == SAMPLE_ROWS
    assert first == second
    assert first.sample[0].startswith('{"child_id": "m00001/')
    assert all(len(text) <= SAMPLE_CHARACTERS and text.isprintable() for text in first.sample)


def test_check_that_cannot_run_is_red():
    check = Check(
        "edges.charted", "typo", "A query with a mistake.", "warning", query="select no_such from edges.charted"
    )
    with connect({}) as connection:
        result = run_check(connection, check)
    assert result.n_failing == 1
    assert "not run" in result.sample[0]
    assert "no_such" in result.sample[0]


# -- acyclicity ------------------------------------------------------------------------------------------------------


def _parents(pairs, snapshot=SNAPSHOTS[0], is_kept=True):
    reason = None if is_kept else "cycle"
    return [
        row(
            "components.parents",
            snapshot=snapshot,
            child_id=child,
            parent_id=parent,
            is_kept=is_kept,
            drop_reason=reason,
        )
        for parent, child in pairs
    ]


def _acyclic(table, rows):
    with connect({table: rows}) as connection:
        return run_check(connection, CHECKS[f"{table}/edges_are_acyclic"])


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14))
@settings(max_examples=25, deadline=None)
def test_edges_on_a_cycle_are_counted_as_networkx_does(numbers):
    pairs = [(f"m/{parent}", f"m/{child}") for parent, child in sorted(numbers)]
    components = list(nx.strongly_connected_components(nx.DiGraph(pairs)))
    expected = sum(any({parent, child} <= component for component in components) for parent, child in pairs)
    result = _acyclic("components.parents", _parents(pairs))
    assert result.n_failing == expected
    assert len(result.sample) == (expected > 0)


def test_cycle_is_named_by_its_models_and_snapshot():
    result = _acyclic("components.parents", _parents([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")], SNAPSHOTS[1]))
    assert result.n_failing == 3
    assert result.sample == ('{"snapshot": "2026-02-01", "n_models": 3, "cycle": ["a", "b", "c", "a"]}',)


def test_dropped_edges_and_edges_of_another_snapshot_close_no_cycle():
    forth, back = [("a", "b")], [("b", "a")]
    assert _acyclic("components.parents", _parents(forth) + _parents(back, is_kept=False)).is_passed
    assert _acyclic("components.parents", _parents(forth) + _parents(back, SNAPSHOTS[1])).is_passed
    assert _acyclic("components.parents", _parents(forth) + _parents(back)).n_failing == 2


def test_charted_atlas_is_one_graph_whatever_its_partitions():
    rows = [
        row("edges.charted", child_id="a", parent_id="b", region_id="one"),
        row("edges.charted", child_id="b", parent_id="a", region_id="two"),
    ]
    assert _acyclic("edges.charted", rows).n_failing == 2
    assert _acyclic("edges.charted", rows[:1]).is_passed


def test_nulls_among_the_ends_do_not_hide_a_cycle():
    rows = _parents([("a", "b"), ("b", "a"), (None, "c"), ("c", None)], None)
    assert _acyclic("components.parents", rows).n_failing == 2


def test_sample_of_a_long_cycle_is_cut():
    n = 5_000
    result = _acyclic(
        "edges.charted",
        [row("edges.charted", child_id=f"org/model-{i}", parent_id=f"org/model-{(i + 1) % n}") for i in range(n)],
    )
    assert result.n_failing == n
    assert f'"n_models": {n}' in result.sample[0]
    assert len(result.sample[0]) == SAMPLE_CHARACTERS


# -- files of checks -------------------------------------------------------------------------------------------------


@pytest.fixture
def check_file(tmp_path, monkeypatch):
    folder = tmp_path / "edges.charted"
    folder.mkdir()
    monkeypatch.setattr(invariants, "project_file", lambda _: tmp_path)
    checks_of.cache_clear()
    yield folder / "named.sql"
    checks_of.cache_clear()


def test_header_is_read_and_comments_in_the_query_are_none_of_it(check_file):
    check_file.write_text(
        "-- What it\n-- means.\n-- severity: warning\n-- reads: raw.hub_stats, components.models\n"
        "select 1\n-- severity: error\nwhere false"
    )
    check = next(check for check in checks_of("edges.charted") if check.name == "named")
    assert (check.description, check.severity) == ("What it means.", "warning")
    assert check.reads == ("raw.hub_stats", "components.models")


@pytest.mark.parametrize("text", ["select 1", "-- severity: error\nselect 1", "-- Text.\n-- severity: fatal\nselect 1"])
def test_file_without_description_or_with_a_strange_severity_is_refused(check_file, text):
    check_file.write_text(text)
    with pytest.raises(CheckFileError, match=r"edges\.charted/named\.sql"):
        checks_of("edges.charted")


def test_every_table_has_checks_in_the_order_of_the_stages():
    assert list(dict.fromkeys(check.table for check in all_checks())) == list(TABLES)
