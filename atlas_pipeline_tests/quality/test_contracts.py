from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.quality.contracts import check_contract
from atlas_pipeline.schema import STAGES, TABLES, contract_of
from atlas_pipeline_tests.quality.sound_tables import SNAPSHOTS, loose_table, row

OLD, LATEST = SNAPSHOTS
NAN, INFINITY = float("nan"), float("inf")


CONNECTION = duckdb.connect()
for _stage in STAGES:
    CONNECTION.execute(f"create schema {_stage}")


def check(table, given_rows, partition=None):
    given_table = given_rows if isinstance(given_rows, pa.Table) else loose_table(table, given_rows)
    CONNECTION.register("given_table", given_table)
    CONNECTION.execute(f"create or replace view {table} as from given_table")
    CONNECTION.execute("set variable partition = ?", [partition])
    return check_contract(CONNECTION, table)


def breaches(column):
    """Values that a column must not take, each with what must be said of it."""
    if not column.nullable:
        yield None, "is null"
    if column.values:
        yield "no such value", "outside its values"
    if column.minimum is not None:
        yield type(column.minimum)(column.minimum - 1), f"below {column.minimum}"
    if column.maximum is not None:
        yield type(column.maximum)(column.maximum + 1), f"above {column.maximum}"
    if column.type == pa.float64():
        yield from ((value, "is not finite") for value in (NAN, INFINITY))


@pytest.mark.parametrize("table", TABLES)
def test_least_row_passes_and_every_breach_of_a_column_is_seen(table):
    assert check(table, []).sample == ()
    assert check(table, [row(table)]).sample == ()
    seen = [
        (column.name, text, any(line.startswith(f"{column.name} {text}: 1 rows, as {{") for line in result.sample))
        for column in contract_of(table).columns
        for value, text in breaches(column)
        for result in [check(table, [row(table, **{column.name: value})])]
    ]
    assert seen
    assert [case for case in seen if not case[2]] == []


def test_row_counts_once_for_each_rule_that_it_breaks_and_the_first_such_row_is_named():
    rows = [row("edges.charted", child_id=f"c/{i}", parent_id="p") for i in range(9)]
    for broken in rows[3:6]:
        broken["confidence"] = 1.5
    rows[8].update(confidence=-1.0, rule="guess")
    result = check("edges.charted", rows)
    assert result.n_failing == 5
    assert [line.split(" rows")[0] for line in result.sample] == [
        "rule outside its values: 1",
        "confidence below 0: 1",
        "confidence above 1: 3",
    ]
    assert result.sample[2].endswith('as {"child_id": "c/3", "parent_id": "p"}')


def test_number_within_a_struct_must_be_finite_too():
    result = check("edges.charted", [row("edges.charted", evidence={"squared_distance": NAN})])
    assert result.n_failing == 1
    assert result.sample[0].startswith("evidence.squared_distance is not finite: 1 rows")


NAMES = st.text(st.sampled_from("ab,'\"\\ /"), max_size=3) | st.none()


@given(st.lists(st.tuples(NAMES, NAMES), max_size=12))
@settings(max_examples=40, deadline=None)
def test_repeated_keys_are_rows_less_distinct_keys_nulls_and_odd_characters_included(pairs):
    result = check("edges.charted", [row("edges.charted", child_id=c, parent_id=p) for c, p in pairs])
    n_nulls = sum(end is None for pair in pairs for end in pair)
    n_repeated = len(pairs) - len(set(pairs))
    assert result.n_failing == n_repeated + n_nulls
    assert any(line.startswith("key (child_id, parent_id) repeated") for line in result.sample) == (n_repeated > 0)


def test_null_in_a_key_of_one_column_is_no_repetition():
    assert check("features.models", [row("features.models", model_id=None)]).n_failing == 1


def test_key_repeats_within_a_snapshot_not_among_them_and_among_all_regions():
    assert contract_of("components.models").full_key == ("snapshot", "model_id")
    twice = [row("components.models", snapshot=OLD), row("components.models", snapshot=LATEST)]
    assert check("components.models", twice).is_passed
    assert check("components.models", [*twice, twice[0]]).sample == (
        'key (snapshot, model_id) repeated: 1 rows, as {"snapshot": "2026-01-01", "model_id": "text"}',
    )
    apart = [row("features.models", region_id=region) for region in ("one", "two")]
    assert check("features.models", apart).n_failing == 1


def test_rows_of_another_snapshot_than_the_partition_are_seen_where_one_is_checked():
    rows = [row("components.models", snapshot=OLD)]
    assert check("components.models", rows, partition=OLD).is_passed
    assert "snapshot is not the partition's: 1 rows" in check("components.models", rows, partition=LATEST).sample[0]


def test_columns_must_be_those_of_the_contract_by_name_and_type():
    sound = loose_table("distances.neighbors", [row("distances.neighbors")])
    wrong = sound.drop_columns(["region_id"]).append_column("note", pa.array(["x"]))
    wrong = wrong.set_column(2, "rank", wrong["rank"].cast(pa.int32()))
    result = check("distances.neighbors", wrong)
    assert result.n_failing == 3
    assert set(result.sample) == {
        "column region_id is missing",
        "column note is not in the contract",
        "column rank is INTEGER, not BIGINT",
    }
    assert check("distances.neighbors", sound.select(sound.column_names[::-1])).is_passed


def test_type_of_a_struct_is_the_type_of_all_its_fields():
    sound = loose_table("edges.charted", [row("edges.charted")])
    struct = pa.array([{"sources": []}], pa.struct([("sources", pa.list_(pa.string()))]))
    result = check("edges.charted", sound.set_column(sound.schema.get_field_index("evidence"), "evidence", struct))
    assert result.n_failing == 1
    assert result.sample[0].startswith("column evidence is STRUCT")
