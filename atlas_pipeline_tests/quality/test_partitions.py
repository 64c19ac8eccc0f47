from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atlas_pipeline.quality.partitions import check_partitions, damaged_files
from atlas_pipeline.schema import RELEASED
from atlas_pipeline.storage import TableStore
from atlas_pipeline_tests.quality.sound_tables import SNAPSHOTS

OLD, LATEST = SNAPSHOTS


def problems(home, table):
    store = TableStore(str(home))
    result = check_partitions(store, table, damaged_files(store, table))
    assert result.n_failing == len(result.sample)
    return list(result.sample)


def parquet(home, table, partition):
    return home / "tables" / table.replace(".", "/") / f"{partition}.parquet"


@pytest.mark.parametrize("table", RELEASED)
def test_sound_files_pass(sound_home, table):
    assert problems(sound_home, table) == []


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 200 + b"PAR1"])
def test_file_that_is_no_parquet_is_named(home, content):
    parquet(home, "edges.charted", "bucket-01").write_bytes(content)
    assert [p.split(" (")[0] for p in problems(home, "edges.charted")] == [
        "tables/edges/charted/bucket-01.parquet cannot be read as Parquet"
    ]


def test_other_columns_in_any_one_file_are_seen(home):
    path = parquet(home, "edges.charted", "bucket-01")
    table = pq.read_table(path)
    pq.write_table(table.append_column("note", pa.nulls(table.num_rows, pa.string())), path)
    path = parquet(home, "edges.charted", "bucket-00")
    pq.write_table(table.set_column(6, "confidence", table["confidence"].cast(pa.float32())), path)
    assert problems(home, "edges.charted") == [
        "tables/edges/charted/bucket-00.parquet has other columns than the contract: confidence",
        "tables/edges/charted/bucket-01.parquet has other columns than the contract: note",
    ]


def test_file_of_another_snapshot_is_seen(home):
    old, latest = (parquet(home, "components.impact", s) for s in SNAPSHOTS)
    latest.write_bytes(old.read_bytes())
    assert problems(home, "components.impact") == [
        f"tables/components/impact/{LATEST}.parquet holds rows of the snapshot '{OLD}'"
    ]


def test_missing_and_left_over_partitions_are_named(home):
    parquet(home, "attributes.scores", OLD).unlink()
    charted = parquet(home, "edges.charted", "bucket-00")
    charted.rename(charted.with_stem("bucket-77"))
    assert problems(home, "attributes.scores") == [f"partition {OLD} is missing"]
    assert problems(home, "edges.charted") == ["partition bucket-00 is missing", "partition bucket-77 is left over"]


def test_table_that_was_never_made_is_named(home):
    for path in (home / "tables/edges/charted").iterdir():
        path.unlink()
    assert problems(home, "edges.charted") == ["edges.charted is not there: materialise it first"]
    for path in (home / "tables/components/models").iterdir():
        path.unlink()
    assert problems(home, "components.models") == ["components.models is not there: materialise it first"]
    assert problems(home, "components.impact") == []
