"""Reports of a small hub: front matter, cards and leaderboard files, and the two tables that are made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from atlas_pipeline.attributes.reported.evaluations import reconciled_results, reported_results
from atlas_pipeline.quality.invariants import checks_of, run_check
from atlas_pipeline.schema import contract_of
from atlas_pipeline_tests.components.listings import SNAPSHOT, connected, table_of

SPACE = "https://huggingface.co/spaces/"
V1 = SPACE + "HuggingFaceH4/open_llm_leaderboard?query=org/0"
V2 = SPACE + "open-llm-leaderboard/open_llm_leaderboard?query=org/0"

Rows = list[dict[str, Any]]


class Made:
    """Both tables, under their contracts and with all checks green."""

    def __init__(
        self,
        *indexes: str | None,
        cards: dict[str, str] | None = None,
        metadata: dict[str, str | None] | None = None,
        folder: Path | str = "",
        rejected: tuple[int, ...] = (),
        **options: Any,
    ) -> None:
        ids = [f"org/{i}" for i in range(max(len(indexes), 1))]
        raw = [
            {"row_number": i + 1, "id": f"org/{i}", "cardData": index, "is_rejected": i in rejected}
            for i, index in enumerate(indexes)
        ]
        texts = [{"model_id": model_id, "card": text} for model_id, text in (cards or {}).items()]
        read = [{"model_id": model_id, "metadata": text} for model_id, text in (metadata or {}).items()]
        models = [{"model_id": model_id} for model_id in ids] + [{"model_id": "org/gone", "presence": "removed"}]
        given_tables = {"raw.hub_stats": raw, "raw.cards": texts, "components.cards": read, "components.models": models}
        with connected({name: _table(name, rows) for name, rows in given_tables.items()}) as connection:
            made = reported_results(connection, SNAPSHOT, folder=str(folder), **options)
            self.notes = made.notes
            self.results = _stored(connection, "attributes.results", made.rows)
            self.evaluations = _stored(connection, "attributes.evaluations", reconciled_results(connection, SNAPSHOT))
            for table in ("attributes.results", "attributes.evaluations"):
                for check in checks_of(table):
                    outcome = run_check(connection, check)
                    assert outcome.n_failing == 0, (check.name, outcome)

    def values(self) -> dict[tuple[str, str, str], float]:
        return {(row["model_id"], row["benchmark"], row["metric"]): row["value"] for row in self.evaluations}

    def of(self, *columns: str) -> list[tuple]:
        return [tuple(row[column] for column in columns) for row in self.results]

    def problems(self) -> list[str | None]:
        return [row["problem"] for row in self.results]


def _table(name: str, rows: Rows) -> pa.Table:
    if name == "components.cards":
        rows = [{"statements": [], **row} for row in rows]
    return table_of(name, rows)


def _stored(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> Rows:
    contract = contract_of(name)
    assert sorted(rows.column_names) == sorted(contract.arrow_schema.names)
    rows = rows.select(contract.arrow_schema.names).cast(contract.arrow_schema)
    listed = rows.to_pylist()
    keys = [tuple(row[column] for column in contract.key) for row in listed]
    assert len(set(keys)) == len(keys) and keys == sorted(keys)
    connection.execute("create schema if not exists attributes")
    connection.register("given", rows)
    connection.execute(f"create table {name} as from given")
    return listed


def index(*results: object) -> str:
    return json.dumps({"model-index": [{"name": "m", "results": list(results)}]})


def result(benchmark: object, *metrics: object, **more: object) -> dict:
    return {"task": {"type": "x"}, "dataset": {"name": benchmark, "type": "t"}, "metrics": list(metrics)} | more


def metric(name: str, value: object) -> dict:
    return {"type": name, "value": value}


def shares(**values: object) -> str:
    """A model-index with one result for each metric of the benchmark b."""
    return index(result("b", *(metric(name, value) for name, value in values.items())))


def board(folder: Path, name: str, **columns: Any) -> None:
    given_columns = {"model_id": ["org/0"], "leaderboard": ["v1"], "benchmark": ["mmlu"], "value": [0.5], **columns}
    n_rows = max(len(values) for values in given_columns.values() if values is not None)
    table = {k: list(v) * n_rows if len(v) == 1 < n_rows else v for k, v in given_columns.items() if v is not None}
    pq.write_table(pa.table(table), folder / f"{name}.parquet")
