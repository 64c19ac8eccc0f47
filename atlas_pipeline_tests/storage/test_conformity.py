"""A contract is kept by name and type: what a cast would parse, cut off, drop or invent is refused."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.schema import contract_of
from atlas_pipeline.storage import ContractError, conformity
from atlas_pipeline.storage.conformity import write_parquet
from atlas_pipeline_tests.storage.contract_rows import some_rows

EDGES, MODELS, RAW = "edges.charted", "components.models", "raw.hub_stats"


def stored(table: str, rows: pa.Table) -> pa.Table:
    stream = io.BytesIO()
    assert write_parquet(contract_of(table), rows, stream) == rows.num_rows
    return pq.read_table(io.BytesIO(stream.getvalue()))


def with_column(table: str, name: str, values: pa.Array) -> pa.Table:
    rows = some_rows(table, n_rows=len(values))
    return rows.set_column(rows.column_names.index(name), name, values)


EVIDENCE = contract_of(EDGES).arrow_schema.field("evidence").type
REFUSED = [
    (MODELS, "likes", pa.array(["12"]), "string does not become int64"),
    (MODELS, "likes", pa.array([1.5]), "truncated"),
    (MODELS, "likes", pa.array([float("nan")]), "truncated"),
    (MODELS, "likes", pa.array([2**63], pa.uint64()), "not in range"),
    (MODELS, "likes", pa.array([True]), "bool does not become int64"),
    (MODELS, "is_quantized", pa.array([2]), "int64 does not become bool"),
    (MODELS, "is_quantized", pa.array(["true"]), "string does not become bool"),
    (MODELS, "is_quantized", pa.array([None], pa.bool_()), "1 nulls where none may be"),
    (MODELS, "is_quantized", pa.nulls(1), "1 nulls where none may be"),
    (MODELS, "created_at", pa.array([1_700_000_000]), "int64 does not become timestamp"),
    (MODELS, "created_at", pa.array(["2025-01-01"]), "string does not become timestamp"),
    (MODELS, "created_at", pa.array([1], pa.timestamp("ns", "UTC")), "lose data"),
    (MODELS, "license", pa.array([7]), "int64 does not become string"),
    (MODELS, "license", pa.array([b"\xff"]), "binary does not become string"),
    (MODELS, "license", pa.array([["mit"]]), "does not become string"),
    (EDGES, "confidence", pa.array([2**60 + 1]), "not in range"),
    (EDGES, "evidence", pa.array([{"spread": 1.0}]), "does not become struct"),
    (EDGES, "evidence", pa.array([{**dict.fromkeys(f.name for f in EVIDENCE), "more": 1}]), "does not become struct"),
    (EDGES, "evidence", pa.array(["spread"]), "string does not become struct"),
    (RAW, "tags", pa.array([[1]]), "does not become list"),
    (RAW, "tags", pa.array(["a,b"]), "string does not become list"),
    (RAW, "safetensors", pa.array([{"parameters": [("F32", "7")], "total": 7}]), "does not become struct"),
]


@pytest.mark.parametrize(("table", "name", "values", "problem"), REFUSED)
def test_what_would_lose_its_meaning_is_refused(table: str, name: str, values: pa.Array, problem: str) -> None:
    with pytest.raises(ContractError, match=rf"^{table}\.{name}: .*{problem}"):
        stored(table, with_column(table, name, values))


def test_keys_are_held_to_the_contract_before_they_are_sorted_by() -> None:
    for values in (pa.array([{"a": 1}, {"a": 2}]), pa.array([2, 10])):
        with pytest.raises(ContractError, match=r"^components\.models\.model_id: "):
            stored(MODELS, with_column(MODELS, "model_id", values))


NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
BERLIN = NOON.astimezone(timezone(timedelta(hours=2)))
ACCEPTED = [
    (MODELS, "likes", pa.array([7], pa.uint8()), 7),
    (MODELS, "likes", pa.array([Decimal(7)], pa.decimal128(38, 0)), 7),
    (MODELS, "likes", pa.array([7.0]), 7),
    (MODELS, "likes", pa.nulls(1), None),
    (MODELS, "license", pa.array(["mit"], pa.large_string()), "mit"),
    (MODELS, "license", pa.array(["mit"], pa.string_view()), "mit"),
    (MODELS, "license", pa.array(["mit"]).dictionary_encode(), "mit"),
    (MODELS, "created_at", pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ms")), NOON),
    (MODELS, "created_at", pa.array([BERLIN], pa.timestamp("ns", "Europe/Berlin")), NOON),
    (EDGES, "confidence", pa.array([0.5], pa.float32()), 0.5),
    (RAW, "tags", pa.array([["a", None]], pa.large_list(pa.large_string())), ["a", None]),
]


@pytest.mark.parametrize(("table", "name", "values", "expected"), ACCEPTED)
def test_what_keeps_its_meaning_is_accepted(table: str, name: str, values: pa.Array, expected: object) -> None:
    found = stored(table, with_column(table, name, values))
    assert found.schema.equals(contract_of(table).arrow_schema)
    assert found[name].to_pylist() == [expected]


def test_fields_of_a_struct_are_matched_by_name_and_elements_take_the_contracts_name() -> None:
    value = {"candidates": ["b"], "sources": ["a"], "days_apart": 3.0, "neighbor_rank": 1}
    value |= {field.name: 0.25 for field in reversed(EVIDENCE) if field.name not in value}
    values = pa.array([value])
    assert values.type.field("sources").type.value_field.name != "element"
    found = stored(EDGES, with_column(EDGES, "evidence", values))
    assert found.schema.field("evidence").type.equals(EVIDENCE)
    assert found["evidence"].to_pylist() == [value]


def test_columns_are_matched_by_name() -> None:
    rows = some_rows(MODELS)
    backwards = rows.select(rows.column_names[::-1])
    assert stored(MODELS, backwards).equals(rows)
    assert stored(MODELS, backwards.replace_schema_metadata({"pandas": "{}"})).schema.metadata is None
    with pytest.raises(ContractError, match="missing columns author, likes"):
        stored(MODELS, rows.drop_columns(["likes", "author"]))
    with pytest.raises(ContractError, match="does not know: stars"):
        stored(MODELS, rows.append_column("stars", rows["likes"]))
    with pytest.raises(ContractError, match="stands twice"):
        stored(MODELS, rows.append_column("likes", rows["likes"]))


def test_rows_are_sorted_as_the_contract_says_with_nulls_last() -> None:
    neighbors = some_rows("distances.neighbors", n_rows=3, model_id=["b", "a", "a"], neighbor_id=["x", "y", "z"])
    neighbors = neighbors.set_column(3, "rank", pa.array([1, 2, 1]))
    assert stored("distances.neighbors", neighbors)["neighbor_id"].to_pylist() == ["z", "y", "x"]
    months = with_column(
        "trends.relations_by_month", "month_at", pa.array([None, NOON, None], pa.timestamp("us", "UTC"))
    )
    assert stored("trends.relations_by_month", months)["month_at"].to_pylist() == [NOON, None, None]


def test_rows_that_are_reordered_with_wide_offsets_are_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow takes rows out of at most 2 GiB of text; the way around it is tried on a small table."""
    rows = some_rows(RAW, n_rows=5).take([3, 1, 4, 0, 2])
    narrow = io.BytesIO()
    write_parquet(contract_of(RAW), rows, narrow)
    taken = []
    monkeypatch.setattr(conformity, "WIDE_BYTES", 0)
    monkeypatch.setattr(conformity, "_wide", lambda kind, wide=conformity._wide: taken.append(wide(kind)) or taken[-1])
    wide = io.BytesIO()
    write_parquet(contract_of(RAW), rows, wide)
    assert wide.getvalue() == narrow.getvalue()
    assert {pa.large_string(), pa.large_list(pa.field("element", pa.large_string())), pa.int64()} < set(taken)
    assert not {pa.string(), contract_of(RAW).arrow_schema.field("tags").type} & set(taken)


def test_a_reader_is_taken_a_row_group_at_a_time() -> None:
    """Rows that come as a stream are never all in memory."""
    taken: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(5):
            taken.append(number)
            yield pa.record_batch({"x": np.zeros(70_000)})

    reader = pa.RecordBatchReader.from_batches(pa.schema({"x": pa.float64()}), batches())
    groups = [(group.num_rows, len(taken)) for group in conformity._in_row_groups(reader, 100_000)]
    assert groups == [(100_000, 2), (100_000, 3), (100_000, 5), (50_000, 5)]


def test_null_counts_are_those_of_the_whole_column() -> None:
    rows = pa.concat_tables([some_rows(MODELS, "a"), some_rows(MODELS, "b")])
    holes = rows.set_column(1, "model_id", pa.chunked_array([["a", None], [None, "b"]]))
    assert pc.sum(pc.is_null(holes["model_id"])).as_py() == 2
    with pytest.raises(ContractError, match="2 nulls"):
        stored(MODELS, holes)


@given(st.lists(st.tuples(st.none() | st.text("ab", max_size=2), st.none() | st.integers(0, 2)), max_size=6))
def test_rows_count_as_ordered_exactly_when_a_sort_would_leave_them(rows: list[tuple[str | None, int | None]]) -> None:
    keys = pa.table(
        {"text": pa.array([r[0] for r in rows], pa.string()), "n": pa.array([r[1] for r in rows], pa.int64())}
    )
    ordered = keys.sort_by([("text", "ascending"), ("n", "ascending")])
    assert conformity._stands_in_order(keys) == keys.equals(ordered)
    assert conformity._stands_in_order(ordered)


def test_a_reader_whose_rows_stand_in_another_order_is_refused() -> None:
    contract = dataclasses.replace(contract_of("raw.hub_stats"), row_group_rows=2)
    rows = some_rows("raw.hub_stats", n_rows=4, row_number=[1, 2, 3, 4])
    write_parquet(contract, rows.to_reader(), io.BytesIO())
    for order in ([1, 0, 2, 3], [0, 2, 1, 3]):
        with pytest.raises(ContractError, match=r"raw\.hub_stats: rows do not come in the order of row_number"):
            write_parquet(contract, rows.take(order).to_reader(), io.BytesIO())
