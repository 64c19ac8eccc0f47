"""Files of leaderboards of any quality."""

from __future__ import annotations

import pyarrow as pa
import pytest

from atlas_pipeline.attributes.reported.leaderboards import EvaluationsError
from atlas_pipeline_tests.attributes.reported.cards_and_boards import Made, board


def test_the_greatest_value_counts_as_a_number_and_across_files(tmp_path):
    """'9' comes after '10' as text only."""
    board(tmp_path, "a", value=["9", "10", "n/a"])
    (tmp_path / "b.csv").write_text(
        "benchmark,value,model_id,leaderboard,comment\n"
        "mmlu,11,org/0,v1,x\nmmlu,12,org/0,v2,x\nmmlu,99,org/stranger,v1,x\nmmlu,7,org/gone,v1,x\n"
        "mmlu,N/A,org/1,v1,\nmmlu,1e999,org/1,v1,\nmmlu,,org/1,v1,\n,5,org/1,v1,\nmmlu,5,org/1,,\nmmlu,inf,org/1,v1,\n"
    )
    made = Made(None, None, folder=tmp_path)
    assert made.values() == pytest.approx({("org/0", "mmlu", "accuracy"): 0.12, ("org/gone", "mmlu", "accuracy"): 0.07})
    row = made.evaluations[0]
    assert (row["source"], row["leaderboard"], row["n_results"]) == ("leaderboard", "v2", 4)
    assert (row["least"], row["greatest"]) == pytest.approx((0.09, 0.12))
    assert sorted(problem for problem in made.problems() if problem) == [
        "no benchmark is named",
        "no leaderboard is named",
        "no number",
        "no number",
        "no value",
        "not finite",
        "not finite",
    ]
    assert made.notes == (
        f"1 models of the leaderboards in {tmp_path} are not in this snapshot: their results are left out",
    )
    assert not any(row["is_self_reported"] for row in made.results)


def test_percent_or_share_is_one_for_a_benchmark_of_a_board(tmp_path):
    ids = [f"org/{i}" for i in range(40)]
    board(tmp_path, "percent", model_id=ids, benchmark=["GSM8K"], value=[0.5, 0.0, *range(2, 40)])
    board(tmp_path, "share", model_id=ids, benchmark=["BBH"], leaderboard=["v2"], value=[55.0] + [0.5] * 39)
    made = Made(*[None] * 40, folder=tmp_path)
    values = made.values()
    assert [values[f"org/{i}", "gsm8k", "accuracy"] for i in (0, 1, 39)] == pytest.approx([0.005, 0, 0.39])
    assert values["org/1", "bbh", "accuracy"] == 0.5
    assert ("org/0", "bbh", "accuracy") not in values, "one slip does not turn the board over"
    assert made.problems().count("out of the bounds of the metric") == 1


def test_a_leaderboards_metric_is_the_benchmarks_usual_one(tmp_path):
    names = ["ARC", "MATH Level 5", "IFEval", "MT-Bench", "River Quiz"]
    board(tmp_path, "a", benchmark=names, value=[0.5, 0.4, 0.3, 8.5, 77.5])
    made = Made(None, folder=tmp_path)
    assert {(row["benchmark"], row["metric"], row["unit"]): row["value"] for row in made.evaluations} == {
        ("arc_challenge", "accuracy", "share"): 0.5,
        ("math_level_5", "exact_match", "share"): 0.4,
        ("ifeval", "strict_accuracy", "share"): 0.3,
        ("mt_bench", "score", "points"): 8.5,
        ("river_quiz", "score", "points"): 77.5,
    }


def test_columns_of_other_types_are_read_for_what_they_say(tmp_path):
    board(tmp_path, "integers", benchmark=[7], value=[3])
    board(tmp_path, "decimals", leaderboard=pa.array(["v2"]).dictionary_encode(), value=pa.array(["0.5"]))
    made = Made(None, folder=tmp_path)
    assert set(made.of("leaderboard", "benchmark", "value")) == {("v1", "7", 3.0), ("v2", "mmlu", 0.5)}


BROKEN = {
    "missing column": {"value": None},
    "no number": {"value": ["high"]},
    "values of another shape": {"value": [[1.0]]},
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_file_that_gives_no_values_is_refused_by_name(tmp_path, fault):
    board(tmp_path, "board", **BROKEN[fault])
    with pytest.raises(EvaluationsError, match=r"board\.parquet: "):
        Made(None, folder=tmp_path)


@pytest.mark.parametrize("name", ["board.parquet", "board.csv"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"\x00\xff\xfe" * 40, b"a,b\n1,2\n"])
def test_a_file_that_is_no_table_is_refused_by_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EvaluationsError, match=name.replace(".", r"\.")):
        Made(None, folder=tmp_path)


def test_files_of_no_rows_say_nothing_and_other_files_are_not_read(tmp_path):
    board(
        tmp_path, "none", **dict.fromkeys(("model_id", "leaderboard", "benchmark", "value"), pa.array([], pa.string()))
    )
    (tmp_path / "header.csv").write_text("model_id,leaderboard,benchmark,value\n")
    (tmp_path / "notes.txt").write_text("no table")
    (tmp_path / "folder.parquet").mkdir()
    assert Made(None, folder=tmp_path).results == []


@pytest.mark.parametrize("folder", ["a*b", "a[1]", "it's", "model_id=7"])
def test_a_path_is_no_pattern(tmp_path, folder):
    for name in ("axb", folder):
        (tmp_path / name).mkdir()
        board(tmp_path / name, "board", benchmark=[name])
    assert Made(None, folder=tmp_path / folder).of("reported_benchmark") == [(folder,)]


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(EvaluationsError, match="no such folder"):
        Made(None, folder=tmp_path / "missing")
