from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from atlas_pipeline.quality.expectations import SUITES
from atlas_pipeline.quality.invariants import checks_of
from atlas_pipeline.release.gate import ReleaseRefused, check_tables, refuse_unless_sound, result_rows
from atlas_pipeline.schema import RELEASED, contract_of
from atlas_pipeline_tests.quality.breakages import BREAKAGES
from atlas_pipeline_tests.quality.sound_tables import SNAPSHOTS, loose_table, partition_of, row, sound_rows

OLD, LATEST = SNAPSHOTS
SEVERITY = {f"{check.table}/{check.name}": check.severity for table in RELEASED for check in checks_of(table)}

ONE_EACH = list({b.check: b for b in BREAKAGES if b.check in SEVERITY}.values())


def path_of(home, table, partition):
    return home / "tables" / table.replace(".", "/") / f"{partition}.parquet"


def tamper(home, table, partition, change):
    """Rewrite a file behind the store's back."""
    path = path_of(home, table, partition)
    pq.write_table(change(pq.read_table(path)), path)


def red(store):
    return {(r.check.table, r.check.name): r for r in check_tables(store) if not r.is_passed}


def test_sound_tables_pass_with_every_check_run_once(store):
    rows = refuse_unless_sound(store)
    assert rows.schema.equals(contract_of("release.checks").arrow_schema)
    run = [(r["table"], r["check"]) for r in rows.to_pylist()]
    expected = [(t, c.name) for t in RELEASED for c in checks_of(t)] + [(t, "partitions_are_whole") for t in RELEASED]
    expected += [(table, "figures_are_plausible") for table in SUITES]
    assert sorted(run) == sorted(expected)
    assert all(rows["is_passed"].to_pylist())


def test_every_check_is_run_on_what_lies_on_disk(home, store, without_plausibility):
    rows, sound = sound_rows(), sound_rows()
    for breakage in ONE_EACH:
        breakage.break_rows(rows)
    for table in (table for table in RELEASED if rows[table] != sound[table]):
        for partition in store.partitions(table):
            own = [r for r in rows[table] if partition_of(table, r) == partition]
            tamper(home, table, partition, lambda _, own=own, table=table: loose_table(table, own))
    broken = {tuple(breakage.check.split("/")) for breakage in ONE_EACH}
    found = red(store)
    assert broken <= set(found)
    with pytest.raises(ReleaseRefused) as refused:
        refuse_unless_sound(store)
    for (table, name), result in found.items():
        is_named = f"{table} {name} ({result.n_failing} rows" in str(refused.value)
        assert is_named == (result.check.severity == "error"), name


def test_warnings_alone_are_released_with(home, store, without_plausibility):
    def older(table):
        flags = pc.equal(table["child_id"], "lab/tuned")
        return table.set_column(table.schema.get_field_index("child_is_older"), "child_is_older", flags)

    tamper(home, "components.parents", LATEST, older)
    failed = [r for r in refuse_unless_sound(store).to_pylist() if not r["is_passed"]]
    assert [(r["check"], r["severity"], r["n_failing"]) for r in failed] == [("children_are_not_older", "warning", 1)]
    assert failed[0]["sample"] == ['{"snapshot": "2026-02-01", "child_id": "lab/tuned", "parent_id": "lab/base"}']


def repeat_a_row(table):
    return pa.concat_tables([table, table.slice(0, 1)])


def put_a_null(table):
    nulled = pa.array([None, *table["relation"].to_pylist()[1:]], pa.string())
    return table.set_column(table.schema.get_field_index("relation"), pa.field("relation", pa.string()), nulled)


def put_no_number(table):
    """DuckDB's filters trust the statistics in Parquet files, which leave NaN out: a check must not."""
    values = pa.array([float("nan")] + [0.5] * (table.num_rows - 1))
    return table.set_column(table.schema.get_field_index("coefficient"), "coefficient", values)


def close_a_cycle(table):
    edge = row(
        "edges.charted", child_id="lab/base", parent_id="lab/grandchild", region_id="lab--base", origin="charted"
    )
    return pa.concat_tables(
        [pa.Table.from_batches(table.to_batches()), loose_table("edges.charted", [edge])], promote_options="permissive"
    )


@pytest.mark.parametrize(
    ("change", "name", "shows"),
    [
        (repeat_a_row, "contract_is_kept", "key (child_id, parent_id) repeated: 1 rows"),
        (put_a_null, "contract_is_kept", "relation is null: 1 rows"),
        (put_no_number, "contract_is_kept", "coefficient is not finite: 1 rows, as {"),
        (close_a_cycle, "edges_are_acyclic", '"n_models": 3'),
        (lambda t: t.drop_columns(["rule"]), "partitions_are_whole", "bucket-00.parquet has other columns"),
        (lambda t: t.slice(0, 0), "documented_edges_are_all_there", "lab/"),
    ],
)
def test_file_changed_after_the_run_refuses_the_release(home, store, without_plausibility, *, change, name, shows):
    tamper(home, "edges.charted", "bucket-00", change)
    assert shows in " ".join(red(store)["edges.charted", name].sample)
    with pytest.raises(ReleaseRefused) as refused:
        refuse_unless_sound(store)
    assert f"edges.charted {name}" in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"PAR1" + b"\0" * 64 + b"PAR1"], ids=["empty", "zeros"])
def test_damaged_file_fails_all_that_reads_it_and_nothing_crashes(home, store, content):
    path_of(home, "components.models", OLD).write_bytes(content)
    found = red(store)
    assert {table for table, _ in found} == {
        t for t in RELEASED if any("components.models" in (t, *c.reads) for c in checks_of(t))
    }
    assert "cannot be read as Parquet" in found["components.models", "partitions_are_whole"].sample[0]
    assert found["components.regions", "every_model_has_a_region"].sample == (
        "not run: files of components.models are damaged",
    )
    with pytest.raises(ReleaseRefused, match=r"components/models/2026-01-01\.parquet"):
        refuse_unless_sound(store)


def test_missing_table_refuses_the_release(store, without_plausibility):
    for partition in store.partitions("edges.scores"):
        store.delete("edges.scores", partition)
    with pytest.raises(ReleaseRefused, match=r"edges\.scores is not there: materialise it first"):
        refuse_unless_sound(store)


def test_nothing_at_all_refuses_the_release(tmp_path, without_plausibility):
    from atlas_pipeline.storage import TableStore

    assert {table for table, _ in red(TableStore(str(tmp_path)))} == set(RELEASED)


def test_findings_are_the_same_bytes_each_time(home, store, without_plausibility):
    tamper(home, "edges.charted", "bucket-00", repeat_a_row)
    assert result_rows(check_tables(store)).equals(result_rows(check_tables(store)))
