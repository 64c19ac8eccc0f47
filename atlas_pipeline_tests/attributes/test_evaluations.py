"""Reported results: cards of any shape, leaderboard files of any quality."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atlas_pipeline.attributes.evaluations import EvaluationsError, evaluations, evaluations_digest
from atlas_pipeline.schema import contract_of
from atlas_pipeline_tests.components.listings import SNAPSHOT, connected, table_of


def reported(*cards: str | None, folder: Path | str = "", rejected: tuple[int, ...] = ()) -> list[dict]:
    """Rows of evaluations, given the front matter of org/0, org/1, …"""
    raw = [
        {"row_number": i + 1, "id": f"org/{i}", "cardData": card, "is_rejected": i in rejected}
        for i, card in enumerate(cards)
    ]
    models = [{"model_id": row["id"]} for row in raw] + [{"model_id": "org/gone", "presence": "removed"}]
    tables = {
        "raw.hub_stats": table_of("raw.hub_stats", raw),
        "components.models": table_of("components.models", models),
    }
    contract = contract_of("attributes.evaluations")
    with connected(tables) as connection:
        rows = evaluations(connection, SNAPSHOT, str(folder))
    found = rows.select(contract.arrow_schema.names).cast(contract.arrow_schema).to_pylist()
    keys = [tuple(row[k] for k in contract.key) for row in found]
    assert len(set(keys)) == len(keys)
    assert all(row["benchmark"] and row["metric"] for row in found)
    return found


def index(*results: object) -> str:
    return json.dumps({"model-index": [{"name": "m", "results": list(results)}]})


def result(benchmark: object, *metrics: object) -> dict:
    return {"task": {"type": "x"}, "dataset": {"name": benchmark, "type": "t"}, "metrics": list(metrics)}


def values(rows: list[dict]) -> dict[tuple, float]:
    return {(row["model_id"], row["benchmark"], row["metric"]): row["value"] for row in rows}


def test_the_first_value_of_a_metric_counts():
    accuracy = {"type": "acc", "name": "Accuracy", "value": 0.5}
    rows = reported(
        index(
            result("b", accuracy, {**accuracy, "value": 0.9}, {"type": "f1", "value": "0.25"}),
            result("b", {**accuracy, "value": 0.7}),
            result(None, {"type": "acc", "value": 1}),
        )
    )
    assert values(rows) == {("org/0", "b", "Accuracy"): 0.5, ("org/0", "b", "f1"): 0.25, ("org/0", "t", "acc"): 1.0}
    assert {(row["source"], row["leaderboard"]) for row in rows} == {("model_index", "")}


def test_values_that_are_no_finite_number_are_left_out_and_the_next_counts():
    bad = [
        "NaN",
        "Infinity",
        "-Infinity",
        '"nan"',
        '"inf"',
        '"85 %"',
        "null",
        "[1]",
        '{"value": 1}',
        "true",
        "1e400",
        '""',
    ]
    metrics = ", ".join(f'{{"type": "acc", "value": {text}}}' for text in bad)
    card = '{"model-index": [{"results": [{"dataset": {"name": "b"}, "metrics": [%s%s]}]}]}'
    rows = reported(card % (metrics, ', {"type": "acc", "value": -1e308}'), card % (metrics, ""))
    assert values(rows) == {("org/0", "b", "acc"): -1e308}


def test_a_model_index_of_another_shape_reports_nothing():
    good = result("b", {"type": "acc", "value": 1})
    shapes = [
        {"name": "m", "results": [good]},
        "text",
        None,
        7,
        [],
        [None, 7, "text", []],
        [{"results": None}, {"results": {"b": good}}, {"results": "text"}, {"name": "m"}],
        [{"results": [None, 7, {}, {"dataset": None}, {"dataset": "b", "metrics": [{"type": "a", "value": 1}]}]}],
        [{"results": [{"dataset": {"name": "b"}, "metrics": m}]} for m in (None, {}, "x", [None], [7], [{"value": 1}])],
        [{"results": [{"dataset": {"name": ""}, "metrics": [{"type": "a", "value": 1}]}]}],
        [{"results": [{"dataset": {"name": "b"}, "metrics": [{"type": "", "name": "", "value": 1}]}]}],
    ]
    cards = [json.dumps({"model-index": shape}) for shape in shapes]
    cards += [None, "model-index", '{"model-index": [', '["model-index"]', "[" * 50_000 + '"model-index"']
    assert reported(*cards) == []
    assert len(reported(*cards, index(good))) == 1, "one broken card does not silence the others"


def test_rejected_rows_report_nothing():
    card = index(result("b", {"type": "acc", "value": 1}))
    assert list(values(reported(card, card, rejected=(0,)))) == [("org/1", "b", "acc")]


def board(folder: Path, name: str, **columns) -> None:
    given = {"model_id": ["org/0"], "leaderboard": ["v1"], "benchmark": ["mmlu"], "value": [1.0], **columns}
    pq.write_table(pa.table({k: v for k, v in given.items() if v is not None}), folder / f"{name}.parquet")


def test_the_greatest_value_counts_as_a_number_and_across_files(tmp_path):
    """'9' comes after '10' as text only."""
    board(
        tmp_path,
        "a",
        **{k: [v] * 3 for k, v in (("model_id", "org/0"), ("leaderboard", "v1"), ("benchmark", "mmlu"))},
        value=["9", "10", "n/a"],
    )
    (tmp_path / "b.csv").write_text(
        "benchmark,value,model_id,leaderboard,comment\n"
        "mmlu,11,org/0,v1,x\nmmlu,12,org/0,v2,x\nmmlu,12,org/stranger,v1,x\nmmlu,7,org/gone,v1,x\n"
        "mmlu,N/A,org/1,v1,\nmmlu,1e999,org/1,v1,\nmmlu,,org/1,v1,\n,5,org/1,v1,\nmmlu,5,org/1,,\n"
    )
    rows = reported(None, None, folder=tmp_path)
    assert {(row["model_id"], row["leaderboard"]): row["value"] for row in rows} == {
        ("org/0", "v1"): 11.0,
        ("org/0", "v2"): 12.0,
        ("org/gone", "v1"): 7.0,
    }
    assert {(row["benchmark"], row["metric"], row["source"]) for row in rows} == {("mmlu", "score", "leaderboard")}


def test_columns_of_other_types_are_read_for_what_they_say(tmp_path):
    board(tmp_path, "integers", benchmark=[7], value=[3])
    board(tmp_path, "decimals", leaderboard=pa.array(["v2"]).dictionary_encode(), value=pa.array(["4.5"]))
    rows = reported(None, folder=tmp_path)
    assert {(row["leaderboard"], row["benchmark"], row["value"]) for row in rows} == {
        ("v1", "7", 3.0),
        ("v2", "mmlu", 4.5),
    }


BROKEN = {
    "missing column": {"value": None},
    "no number": {"value": ["high"]},
    "values of another shape": {"value": [[1.0]]},
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_file_that_gives_no_values_is_refused_by_name(tmp_path, fault):
    board(tmp_path, "board", **BROKEN[fault])
    with pytest.raises(EvaluationsError, match=r"board\.parquet: "):
        reported(None, folder=tmp_path)


@pytest.mark.parametrize("name", ["board.parquet", "board.csv"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"\x00\xff\xfe" * 40, b"a,b\n1,2\n"])
def test_a_file_that_is_no_table_is_refused_by_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EvaluationsError, match=name.replace(".", r"\.")):
        reported(None, folder=tmp_path)


def test_files_of_no_rows_say_nothing_and_other_files_are_not_read(tmp_path):
    board(
        tmp_path, "none", **dict.fromkeys(("model_id", "leaderboard", "benchmark", "value"), pa.array([], pa.string()))
    )
    (tmp_path / "header.csv").write_text("model_id,leaderboard,benchmark,value\n")
    (tmp_path / "notes.txt").write_text("no table")
    (tmp_path / "folder.parquet").mkdir()
    assert reported(None, folder=tmp_path) == []


@pytest.mark.parametrize("folder", ["a*b", "a[1]", "it's", "model_id=7"])
def test_a_path_is_no_pattern(tmp_path, folder):
    for name in ("axb", folder):
        (tmp_path / name).mkdir()
        board(tmp_path / name, "board", benchmark=[name])
    assert [row["benchmark"] for row in reported(None, folder=tmp_path / folder)] == [folder]


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(EvaluationsError, match="no such folder"):
        reported(None, folder=tmp_path / "missing")


def test_the_digest_follows_the_files(tmp_path):
    digests = [evaluations_digest(""), evaluations_digest(str(tmp_path))]
    board(tmp_path, "board")
    digests.append(evaluations_digest(str(tmp_path)))
    board(tmp_path, "board", value=[2.0, 3.0], model_id=["a"] * 2, leaderboard=["a"] * 2, benchmark=["a"] * 2)
    digests.append(evaluations_digest(str(tmp_path)))
    assert digests[0] == digests[1] and len(set(digests)) == 3
