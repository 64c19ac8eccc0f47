from __future__ import annotations

import subprocess
import sys

import duckdb
import pytest

from atlas_pipeline.release.warehouse import VIEWS, build_warehouse
from atlas_pipeline.schema import RELEASED, contract_of
from atlas_pipeline.storage import TableStore, load_query, project_file
from atlas_pipeline_tests.quality.sound_tables import (
    BASE,
    DOCUMENTED,
    GONE,
    GRANDCHILD,
    ORPHAN,
    SIBLING,
    SILENT,
    SNAPSHOTS,
    TUNED,
    find,
    loose_table,
    sound_rows,
)

NAME = "release/atlas.duckdb"
OLD, LATEST = SNAPSHOTS
EXAMPLES = sorted(path.stem for path in project_file("sql/examples").glob("*.sql"))


@pytest.fixture(scope="module")
def warehouse(sound_home, tmp_path_factory):
    store = TableStore(str(sound_home))
    name = f"{tmp_path_factory.mktemp('built').name}.duckdb"
    build_warehouse(store, name)
    return sound_home / name


@pytest.fixture
def connection(warehouse):
    with duckdb.connect(str(warehouse), read_only=True) as opened:
        yield opened


def rewrite(store, table, rows, partition):
    own = [r for r in rows[table] if r["snapshot"] == partition]
    store.write(table, loose_table(table, own), partition=partition)


def test_tables_are_those_of_the_store_and_no_others(connection, sound_home):
    store = TableStore(str(sound_home))
    connection.execute("set TimeZone = 'UTC'")
    names = connection.execute("select schema_name || '.' || table_name from duckdb_tables()").fetchall()
    assert {name for (name,) in names} == set(RELEASED)
    for table in RELEASED:
        found = connection.sql(f"from {table}").to_arrow_table().cast(contract_of(table).arrow_schema)
        assert found.equals(store.read(table)), table


def test_every_table_column_and_view_has_its_comment(connection):
    tables = dict(
        connection.execute("select schema_name || '.' || table_name, comment from duckdb_tables()").fetchall()
    )
    for table in RELEASED:
        contract = contract_of(table)
        assert tables[table] == f"One row per {contract.grain}. {contract.description}"
        rows = connection.execute(
            "select column_name, comment from duckdb_columns() where schema_name = ? and table_name = ?",
            [contract.stage, contract.table],
        ).fetchall()
        said = dict(rows)
        for column in contract.columns:
            assert said[column.name].startswith(column.description)
            assert column.unit is None or said[column.name].endswith(f"[{column.unit}]")
    views = dict(connection.execute("select view_name, comment from duckdb_views() where not internal").fetchall())
    assert set(views) == set(VIEWS)
    assert views["atlas_edges"].startswith("Every edge of the atlas, documented and charted")


def test_file_is_in_the_format_of_duckdb_1_2(connection):
    tags = connection.execute("select tags from duckdb_databases() where not internal and path is not null").fetchall()
    assert [tag["storage_version"] for (tag,) in tags] == ["v1.2.0+"]


def test_views_hold_the_latest_snapshot_once(connection):
    models = connection.execute("select model_id, region_id, depth, sub_tree_downloads from atlas_models").fetchall()
    assert len(models) == 7
    assert (GRANDCHILD, "lab--base", 2, 40) in models
    edges = connection.execute("select child_id, parent_id, origin, parent_license from atlas_edges").fetchall()
    expected = {(child, parent, "documented", None if parent == GONE else "mit") for child, parent in DOCUMENTED}
    assert len(edges) == 5
    assert set(edges) == expected | {(SILENT, ORPHAN, "charted", "mit")}


def test_views_work_where_the_file_is_attached_under_another_name(warehouse):
    with duckdb.connect() as connection:
        connection.execute(f"attach '{warehouse}' as elsewhere (read_only)")
        assert connection.execute("select count(*) from elsewhere.atlas_edges").fetchall() == [(5,)]


def test_model_of_an_old_snapshot_only_is_no_model_of_the_view(store, home):
    rows = sound_rows()
    for table in ("components.models", "components.regions", "components.impact"):
        rows[table].remove(find(rows, table, snapshot=LATEST, model_id=SILENT))
        rows[table].remove(find(rows, table, snapshot=OLD, model_id=TUNED))
        for snapshot in SNAPSHOTS:
            rewrite(store, table, rows, snapshot)
    build_warehouse(store, NAME)
    with duckdb.connect(str(home / NAME), read_only=True) as connection:
        models = {model for (model,) in connection.execute("select model_id from atlas_models").fetchall()}
        edge = connection.execute("select child_created_at from atlas_edges where child_id = ?", [SILENT]).fetchall()
    assert models == {BASE, TUNED, SIBLING, GRANDCHILD, GONE, ORPHAN}
    assert edge == [(None,)]


def test_model_without_region_or_impact_stays_in_the_view(store, home):
    for table in ("components.regions", "components.impact"):
        store.delete(table, LATEST)
    build_warehouse(store, NAME)
    with duckdb.connect(str(home / NAME), read_only=True) as connection:
        rows = connection.execute("select region_id, depth, count(*) from atlas_models group by all").fetchall()
    assert rows == [(None, None, 7)]


EXPECTED = {
    "descendants": [(SIBLING, 1, 1.0), (TUNED, 1, 1.0), (GRANDCHILD, 2, 1.0)],
    "top_impact": [
        (BASE, 10, 100, 3, "mit"),
        (TUNED, 20, 60, 1, "mit"),
        (SILENT, 60, 60, 0, None),
        (GONE, None, 50, 1, None),
        (ORPHAN, 50, 50, 0, "mit"),
        (GRANDCHILD, 40, 40, 0, "mit"),
        (SIBLING, 30, 30, 0, "mit"),
    ],
    "undocumented": [(SILENT, ORPHAN, "finetune", "nearest", 0.7, True)],
    "how_well_charted": [("nearest", "hidden", "all", 6, 4 / 6, 0.5)],
    "calibration": [],
    "arrivals": [(BASE, SILENT, "finetune", "snake", 0.6, False, None)],
    "audit": [(SIBLING, 30, BASE, "finetune", "sibling_declared", [TUNED], "finetune", 0.9)],
    "contested_parents": [(SIBLING, BASE, "finetune", ["tag"], ["card_text"], True, None)],
    "lost_license_terms": [(TUNED, "mit", ["non_commercial"], BASE, TUNED)],
    "sampled_models": [
        ("ok", "gguf", None, 6, 100, 60, 10.0, BASE),
        ("no_weights", None, None, 1, 0, 10, 10.0, GONE),
    ],
    "matrices_in_common": [(BASE, TUNED, 1, 1)],
    "from_removed_models": [(GONE, ORPHAN, 1, 1.0, "mit"), (GONE, SILENT, 2, 0.7, None)],
    "what_changed": [],
    "section_3": [("edges", 4.0, 400000.0, 4, None, "Kept documented edges.")],
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_runs_on_the_file_and_gives_what_it_says(connection, example):
    rows = connection.execute(load_query(f"examples/{example}")).fetchall()
    assert rows == EXPECTED[example]


def test_what_changed_names_models_and_parents_that_came_went_or_are_another(store, home):
    rows = sound_rows()
    for table in ("components.models", "components.parents"):
        rows[table] = [
            r for r in rows[table] if (r["snapshot"], r.get("model_id", r.get("child_id"))) != (OLD, SIBLING)
        ]
    find(rows, "components.models", snapshot=OLD, model_id=GONE)["presence"] = "present"
    find(rows, "components.models", snapshot=OLD, model_id=BASE)["license"] = None
    find(rows, "components.parents", snapshot=OLD, child_id=TUNED)["relation"] = "merge"
    for table in ("components.models", "components.parents"):
        for snapshot in SNAPSHOTS:
            rewrite(store, table, rows, snapshot)
    build_warehouse(store, NAME)
    with duckdb.connect(str(home / NAME), read_only=True) as connection:
        assert connection.execute(load_query("examples/what_changed")).fetchall() == [
            ("model is removed", GONE, None),
            ("new model", SIBLING, None),
            ("new parent", SIBLING, f"{BASE} (finetune)"),
            ("other license", BASE, "none to mit"),
            ("other relation", TUNED, f"{BASE} (finetune)"),
        ]


NUMBERS = "import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).execute(sys.argv[2]).fetchall()[0][0])"


def asked_elsewhere(path, query):
    """The answer that another process gets, which knows nothing of connections of this one."""
    command = [sys.executable, "-c", NUMBERS, str(path), query]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_reader_keeps_the_old_file_while_a_new_one_reads_the_new(store, home):
    count = "select count(*) from atlas_edges"
    build_warehouse(store, NAME)
    with duckdb.connect(str(home / NAME), read_only=True) as reader:
        assert reader.execute(count).fetchall() == [(5,)]
        empty = contract_of("edges.charted").arrow_schema.empty_table()
        store.write("edges.charted", empty, partition="bucket-01")
        build_warehouse(store, NAME)
        assert reader.execute(count).fetchall() == [(5,)]
        assert reader.execute("select count(*) from components.models").fetchall() == [(14,)]
        assert asked_elsewhere(home / NAME, count) == 3
    assert [path.name for path in (home / "release").iterdir()] == ["atlas.duckdb"]


def test_failure_leaves_the_old_file(store, home, monkeypatch):
    from atlas_pipeline.release import warehouse as module

    build_warehouse(store, NAME)
    before = (home / NAME).read_bytes()
    monkeypatch.setattr(module, "VIEWS", ("no_such_view",))
    with pytest.raises(FileNotFoundError):
        build_warehouse(store, NAME)
    assert (home / NAME).read_bytes() == before
