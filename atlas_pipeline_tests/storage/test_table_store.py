"""What the store promises: whole partitions, true receipts, homes of any name, clear sentences."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlas_pipeline.schema import TABLES, contract_of
from atlas_pipeline.storage import (
    Attachment,
    ContractError,
    StorageError,
    TableNotMaterialized,
    TableStore,
    parquet_scan,
)
from atlas_pipeline.storage.table_store import duckdb_type
from atlas_pipeline_tests.storage.contract_rows import rows_of, some_rows

EDGES, IMPACT, FILES = "edges.charted", "components.impact", "release.files"
PARTITION = {"snapshot": "2025-06-01", "region": "bucket-00", None: None}


def file_of(store: TableStore, table: str, partition: str | None, suffix: str = ".parquet") -> Path:
    return Path(store.files.path(store.file_name(table, partition))).with_suffix(suffix)


def visible_state(store: TableStore) -> dict[str, bytes]:
    root = Path(store.files.root)
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


# -- round trips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_rows_come_back_as_they_were(store: TableStore, table: str, data: st.DataObject) -> None:
    contract = contract_of(table)
    rows = data.draw(rows_of(contract))
    receipt = store.write(table, rows, partition=PARTITION[contract.partitioned_by])
    read = store.read(table, receipt.partition)
    assert read.schema.equals(contract.arrow_schema)
    assert read.equals(rows.sort_by([(name, "ascending") for name in contract.order_by or contract.key]))
    assert receipt.rows == rows.num_rows
    assert store.receipt(table, receipt.partition) == receipt
    path = file_of(store, table, receipt.partition)
    assert (receipt.bytes, receipt.sha256) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("table", TABLES)
def test_duckdb_sees_the_same_types_in_full_empty_and_absent_tables(store: TableStore, table: str) -> None:
    contract = contract_of(table)
    described = []
    for n_rows in (None, 0, 2):
        if n_rows is not None:
            store.write(table, some_rows(table, n_rows=n_rows), partition=PARTITION[contract.partitioned_by])
        with store.connect({table: None}, optional=[table]) as connection:
            described.append([row[:2] for row in connection.execute(f"describe {table}").fetchall()])
            wanted = [
                (c.name, connection.execute(f"select typeof(null::{duckdb_type(c.type)})").fetchall()[0][0])
                for c in contract.columns
            ]
        assert described[-1] == wanted
    assert described[0] == described[1] == described[2]


@pytest.mark.parametrize("kind", [pa.int32(), pa.binary(), pa.timestamp("us"), pa.timestamp("ns", "UTC"), pa.date32()])
def test_a_type_that_contracts_do_not_use_has_no_duckdb_name(kind: pa.DataType) -> None:
    with pytest.raises(KeyError):
        duckdb_type(kind)


def test_a_home_may_have_any_name(hard_home: tuple[TableStore, TableStore | None]) -> None:
    store, beside = hard_home
    if beside is not None:
        beside.write(EDGES, some_rows(EDGES, "decoy"), partition="bucket-00")
    arrays = Attachment({"x": np.arange(3.0)}, {})
    receipt = store.write(EDGES, some_rows(EDGES, "own"), partition="bucket-00", attachment=arrays)
    store.write(EDGES, some_rows(EDGES, "also own"), partition="type-bert")
    assert TableStore(store.files.url("")).partitions(EDGES) == ["bucket-00", "type-bert"]
    assert store.receipt(EDGES, "bucket-00") == receipt
    assert store.read(EDGES)["child_id"].to_pylist() == ["own-0", "own-1", "also own-0", "also own-1"]
    assert store.read(EDGES).column_names == [c.name for c in contract_of(EDGES).columns]
    assert store.read_attachment(EDGES, "bucket-00")[0]["x"].tolist() == [0, 1, 2]
    store.delete(EDGES, "bucket-00")
    assert store.partitions(EDGES) == ["type-bert"]
    assert store.receipt(EDGES, "bucket-00") is None
    assert store.files.list("tables/edges/charted", "") == ["type-bert.json", "type-bert.parquet"]


def test_a_home_that_duckdb_cannot_read_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="backslash"):
        TableStore(str(tmp_path / "a\\b*"))


def test_an_object_store_is_written_whole_and_its_receipts_hold(remote: TableStore) -> None:
    remote.write(EDGES, some_rows(EDGES, "old"), partition="bucket-00")
    with pytest.raises(ContractError):
        remote.write(EDGES, some_rows(EDGES).drop_columns(["rule"]), partition="bucket-00")
    assert remote.receipt(EDGES, "bucket-00") is not None
    receipt = remote.write(EDGES, some_rows(EDGES, "longer than old", 5), partition="bucket-00")
    assert remote.receipt(EDGES, "bucket-00") == receipt
    assert remote.read(EDGES, "bucket-00").num_rows == 5
    remote.files.filesystem.pipe_file(remote.files.path(remote.file_name(EDGES, "bucket-00")), b"PAR1")
    assert remote.receipt(EDGES, "bucket-00") is None


# -- same rows, same bytes -------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_depend_on_neither_order_nor_batches(store: TableStore, data: st.DataObject) -> None:
    contract = contract_of(data.draw(st.sampled_from([EDGES, "raw.hub_stats", "distances.neighbors"])))
    rows = data.draw(rows_of(contract))
    partition = PARTITION[contract.partitioned_by]
    in_order = rows.sort_by([(name, "ascending") for name in contract.order_by or contract.key])
    shuffled = rows.take(data.draw(st.permutations(range(rows.num_rows)))) if rows.num_rows else rows
    columns = shuffled.select(data.draw(st.permutations(shuffled.column_names)))
    cuts = in_order.to_reader(max_chunksize=data.draw(st.integers(1, 4)))
    digests = {store.write(contract.name, each, partition=partition).digest for each in (rows, columns, cuts)}
    assert len(digests) == 1


def test_large_tables_have_row_groups_of_one_size_however_they_came(store: TableStore) -> None:
    table, n_rows = "trends.depth_by_modality", 250_001
    in_order = pa.table(
        {
            "snapshot": pa.array(["2025-06-01"]).take(pa.array(np.zeros(n_rows, np.int64))),
            "modality": pa.array(["nlp"]).take(pa.array(np.zeros(n_rows, np.int64))),
            "depth": np.arange(n_rows),
            "n_models": np.arange(n_rows) % 977,
            "share": np.random.default_rng(0).random(n_rows),
        }
    )
    shuffled = in_order.take(np.random.default_rng(1).permutation(n_rows))
    ways = [in_order, shuffled, pa.concat_tables([shuffled.slice(7), shuffled.slice(0, 7)])]
    ways += [in_order.to_reader(max_chunksize=size) for size in (99_999, 100_001)]
    digests = {store.write(table, way, partition="2025-06-01").sha256 for way in ways}
    assert len(digests) == 1
    stored = pq.ParquetFile(file_of(store, table, "2025-06-01"))
    assert [stored.metadata.row_group(i).num_rows for i in range(stored.num_row_groups)] == [100_000, 100_000, 50_001]
    assert store.read(table)["depth"].to_numpy().tolist() == list(range(n_rows))


# -- failed writes ---------------------------------------------------------------------------------------------------


def test_a_write_that_fails_changes_nothing(store: TableStore) -> None:
    store.write(EDGES, some_rows(EDGES, "old"), partition="bucket-00", attachment=Attachment({"x": np.zeros(2)}, {}))
    before = visible_state(store)

    def broken() -> object:
        yield some_rows(EDGES, "new").to_batches()[0]
        raise RuntimeError("the source broke off")

    schema = contract_of(EDGES).arrow_schema
    nulls = some_rows(EDGES).set_column(0, "child_id", pa.nulls(2, pa.string()))
    attempts = [
        (pa.RecordBatchReader.from_batches(schema, broken()), RuntimeError),
        (some_rows(EDGES).drop_columns(["rule"]), ContractError),
        (nulls, ContractError),
        (nulls.to_reader(), ContractError),
    ]
    for rows, error in attempts:
        with pytest.raises(error):
            store.write(EDGES, rows, partition="bucket-00", attachment=Attachment({"x": np.ones(2)}, {}))
        assert visible_state(store) == before


def test_arrays_of_an_earlier_write_do_not_stay_beside_a_later_one(store: TableStore) -> None:
    store.write(EDGES, some_rows(EDGES), partition="bucket-00", attachment=Attachment({"x": np.zeros(2)}, {}))
    store.write(EDGES, some_rows(EDGES), partition="bucket-00")
    assert not file_of(store, EDGES, "bucket-00", ".safetensors").exists()
    with pytest.raises(TableNotMaterialized, match="bucket-00"):
        store.read_attachment(EDGES, "bucket-00")


# -- receipts --------------------------------------------------------------------------------------------------------


def test_a_receipt_that_is_not_true_of_the_files_is_none(store: TableStore) -> None:
    def fresh() -> None:
        for partition in ("bucket-00", "bucket-01"):
            store.write(EDGES, some_rows(EDGES), partition=partition, attachment=Attachment({"x": np.zeros(2)}, {}))
        assert store.receipt(EDGES, "bucket-00") is not None

    files = {suffix: file_of(store, EDGES, "bucket-00", suffix) for suffix in (".parquet", ".json", ".safetensors")}
    damages = [
        files[".parquet"].unlink,
        files[".safetensors"].unlink,
        files[".json"].unlink,
        lambda: files[".parquet"].write_bytes(files[".parquet"].read_bytes()[:-1]),
        lambda: files[".safetensors"].write_bytes(files[".safetensors"].read_bytes() + b" "),
        lambda: files[".json"].write_bytes(file_of(store, EDGES, "bucket-01", ".json").read_bytes()),
        lambda: files[".json"].write_bytes(files[".json"].read_bytes()[:-3]),
    ]
    for damage in damages:
        fresh()
        damage()
        assert store.receipt(EDGES, "bucket-00") is None


def test_arrays_are_read_only_as_they_were_written(store: TableStore) -> None:
    store.write(EDGES, some_rows(EDGES), partition="bucket-00", attachment=Attachment({"x": np.zeros(2)}, {}))
    path = file_of(store, EDGES, "bucket-00", ".safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(StorageError, match=r"edges\.charted cannot be read: the arrays beside partition bucket-00"):
        store.read_attachment(EDGES, "bucket-00")


# -- names -----------------------------------------------------------------------------------------------------------

BAD_PARTITIONS = ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", "a\0b", "a\n", "-x", ".hidden", "é", "a b", "*"]


@pytest.mark.parametrize("partition", [*BAD_PARTITIONS, "x" * 122, "data"])
def test_a_partition_cannot_leave_its_folder(store: TableStore, partition: str) -> None:
    for call in (
        lambda: store.write(EDGES, some_rows(EDGES), partition=partition, attachment=b""),
        lambda: store.read(EDGES, partition),
        lambda: store.read_attachment(EDGES, partition),
        lambda: store.receipt(EDGES, partition),
        lambda: store.delete(EDGES, partition),
    ):
        with pytest.raises(StorageError, match="is no name of a partition"):
            call()
    with pytest.raises(TableNotMaterialized):
        store.connect({EDGES: [partition]})
    assert not Path(store.files.root).exists()


@pytest.mark.parametrize(("table", "partition"), [(FILES, "2025-06-01"), (EDGES, None), (IMPACT, None)])
def test_a_table_is_addressed_as_it_is_partitioned(store: TableStore, table: str, partition: str | None) -> None:
    with pytest.raises(StorageError, match="partitioned by"):
        store.write(table, some_rows(table), partition=partition)
    if partition is not None:
        with pytest.raises(StorageError, match="partitioned by"):
            store.read(table, partition)


def test_files_that_are_no_partitions_are_passed_over(store: TableStore) -> None:
    store.write(EDGES, some_rows(EDGES), partition="bucket-00")
    store.write(FILES, some_rows(FILES))
    folder = file_of(store, EDGES, "bucket-00").parent
    for name in (".writing-x.parquet", "bucket-00 (copy).parquet", "notes.txt", "data.parquet"):
        (folder / name).write_bytes(b"no table")
    file_of(store, FILES, None).with_name("old.parquet").write_bytes(b"no table")
    assert store.partitions(EDGES) == ["bucket-00"]
    assert store.partitions(FILES) == ["data"]
    assert store.read(EDGES).num_rows == store.read(FILES).num_rows == 2


# -- reading what is not there ---------------------------------------------------------------------------------------


def test_what_is_missing_is_named_with_the_asset_that_makes_it(store: TableStore) -> None:
    with pytest.raises(TableNotMaterialized, match=r"^edges\.charted is not there.*edges/charted.*--select edges\.ch"):
        store.read(EDGES)
    store.write(EDGES, some_rows(EDGES), partition="bucket-00")
    with pytest.raises(TableNotMaterialized, match=r"^edges\.charted, partition bucket-01, is not there") as caught:
        store.connect({EDGES: ["bucket-00", "bucket-01"]})
    assert (caught.value.table, caught.value.partition) == (EDGES, "bucket-01")
    with pytest.raises(TableNotMaterialized):
        store.connect({EDGES: []})
    with pytest.raises(TableNotMaterialized, match=r"^release\.files is not there"):
        store.read(FILES)
    with pytest.raises(KeyError, match=r"there is no table 'edges.none'"):
        store.connect({"edges.none": None})


def test_optional_tables_are_empty_where_they_are_not(store: TableStore) -> None:
    store.write(EDGES, some_rows(EDGES), partition="bucket-00")
    wanted = {EDGES: ["bucket-00", "bucket-01"], IMPACT: None, FILES: None}
    with store.connect(wanted, optional=list(wanted)) as connection:
        counts = [connection.execute(f"select count(*) from {table}").fetchall()[0][0] for table in wanted]
    assert counts == [2, 0, 0]
    with store.connect() as connection:
        views = connection.execute("select schema_name, view_name from duckdb_views() where not internal").fetchall()
    assert views == [("edges", "charted")]


def test_only_the_partitions_that_were_asked_for_are_seen(store: TableStore) -> None:
    for partition in ("bucket-00", "bucket-01", "bucket-02"):
        store.write(EDGES, some_rows(EDGES, partition), partition=partition)
    with store.connect({EDGES: ["bucket-02", "bucket-00"]}) as connection:
        seen = connection.execute("select child_id from edges.charted").fetchall()
    assert seen == [("bucket-00-0",), ("bucket-00-1",), ("bucket-02-0",), ("bucket-02-1",)]


def test_what_cannot_be_read_says_so_in_one_sentence(store: TableStore) -> None:
    store.write(EDGES, some_rows(EDGES), partition="bucket-00")
    path = file_of(store, EDGES, "bucket-00")
    path.write_bytes(b"PAR1" + b"\xff" * 100 + b"PAR1")
    with pytest.raises(StorageError, match=r"^edges\.charted cannot be read: .*--force --select edges\.charted\)$"):
        store.read(EDGES)
    pq.write_table(some_rows(EDGES).drop_columns(["rule"]), path)
    with pytest.raises(StorageError, match=r"^edges\.charted cannot be read: .*rule"):
        store.read(EDGES)


def test_duckdb_keeps_to_the_threads_and_memory_that_it_is_given(store: TableStore) -> None:
    with store.connect({}, threads=1, memory_limit="256MB") as connection:
        found = connection.execute(
            "select current_setting('threads'), current_setting('memory_limit'), current_setting('TimeZone')"
        ).fetchall()
    assert found == [(1, "244.1 MiB", "UTC")]


def test_a_scan_is_of_the_named_file_alone(tmp_path: Path) -> None:
    for name in ("k=1 it's [a]*", "k=1 it's aZ"):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"here": [name]}), tmp_path / name / "x.parquet")
    with TableStore(str(tmp_path)).connect({}) as connection:
        scan = parquet_scan([str(tmp_path / "k=1 it's [a]*" / "x.parquet")])
        found = connection.sql(f"select * from {scan}").to_arrow_table()
    assert found.to_pylist() == [{"here": "k=1 it's [a]*"}]


def test_a_receipt_survives_the_way_to_json_and_back(store: TableStore) -> None:
    receipt = store.write(EDGES, some_rows(EDGES), partition="bucket-00", inputs={"seed": "0", "ü": "'"})
    fields = json.loads(receipt.to_json())
    assert fields == dataclasses.asdict(receipt)
    assert fields["inputs"] == {"seed": "0", "ü": "'"}
