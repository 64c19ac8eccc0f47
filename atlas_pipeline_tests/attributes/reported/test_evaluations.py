"""All sources together: which data set, whose result, which source wins, and nothing lost."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.attributes.reported.llm_results import LlmError
from atlas_pipeline_tests.attributes.reported.cards_and_boards import V1, V2, Made, board, index, metric, result
from atlas_pipeline_tests.attributes.reported.test_llm_results import answer, service  # noqa: F401
from atlas_pipeline_tests.attributes.reported.test_llm_results import result as said

LIST = """A fine-tuned version of x on the glue dataset.
It achieves the following results on the evaluation set:
- Accuracy: 0.8125
"""
TABLE = "|Metric|Value|\n|--|--|\n|MMLU|64.1|\n|HellaSwag|82|\n"


def test_a_list_is_of_the_data_set_of_the_model_index_beside_it():
    own = index({"dataset": {"name": "glue", "args": "mrpc"}, "metrics": [metric("f1", 0.9)]})
    made = Made(own, None, cards={"org/0": LIST, "org/1": LIST, "org/stranger": LIST})
    assert made.values() == {
        ("org/0", "glue_mrpc", "accuracy"): 0.8125,
        ("org/0", "glue_mrpc", "f1"): 0.9,
        ("org/1", "glue", "accuracy"): 0.8125,
    }
    named = "A fine-tuned version of x on an unknown dataset." + LIST.split("\n", 1)[1]
    made = Made(None, None, cards={"org/0": named, "org/1": named}, metadata={
        "org/0": '{"datasets": ["river_talk"]}', "org/1": '{"datasets": ["a", "b"]}',
    })  # fmt: skip
    assert made.of("benchmark", "problem") == [("river_talk", None), (None, "no benchmark is named")]


def test_a_table_below_a_leaderboards_link_is_that_boards():
    text = f"# [Results]({V2.split('?')[0]})\n\n" + TABLE.replace("HellaSwag", "BBH (3-Shot)")
    made = Made(None, cards={"org/0": text})
    assert made.values() == pytest.approx(
        {("org/0", "mmlu", "accuracy"): 0.641, ("org/0", "bbh", "accuracy_above_chance"): 0.82}
    )
    assert {row["is_self_reported"] for row in made.results} == {False}


def test_the_most_trusted_source_wins_and_the_others_are_counted(tmp_path):
    board(tmp_path, "a", benchmark=["MMLU"], value=[0.61])
    own = index(result("MMLU", metric("acc", 0.63)), result("HellaSwag", metric("acc_norm", 0.81)))
    made = Made(own, folder=tmp_path, cards={"org/0": TABLE + "\n" + TABLE})
    rows = {row["benchmark"]: row for row in made.evaluations}
    assert (rows["mmlu"]["value"], rows["mmlu"]["source"], rows["mmlu"]["leaderboard"]) == (0.61, "leaderboard", "v1")
    assert rows["mmlu"]["sources"] == ["card_table", "leaderboard", "model_index"]
    assert (rows["mmlu"]["n_results"], rows["mmlu"]["least"], rows["mmlu"]["greatest"]) == (
        4,
        0.61,
        pytest.approx(0.641),
    )
    assert (rows["hellaswag"]["value"], rows["hellaswag"]["source"]) == (0.81, "model_index")


def test_the_language_model_is_asked_of_what_no_other_source_tells(service):  # noqa: F811
    service.reply = lambda _: answer(said("MMLU", "64.1", "accuracy"), said("MMLU", "99"))
    prose = "It reaches 64.1 percent (MMLU, 5-shot)."
    own = index(result("b", metric("acc", 0.5)))
    cards = {"org/0": prose, "org/1": prose, "org/2": "Nothing of note.", "org/3": TABLE, "org/stranger": prose}
    made = Made(None, own, None, None, cards=cards, service=service.model())
    assert [request["messages"][1]["content"] for request in service.asked] == [prose]
    assert made.values()["org/0", "mmlu", "accuracy"] == pytest.approx(0.641)
    assert [row["problem"] for row in made.results if row["source"] == "llm"] == [None, "the number is not in the card"]


def test_a_service_that_is_down_stops_with_its_name(service):  # noqa: F811
    service.reply = lambda _: 500
    with pytest.raises(LlmError, match="ATLAS_LLM_ENDPOINT"):
        Made(None, cards={"org/0": "MMLU 5"}, service=service.model(retries=0))


NUMBER = st.one_of(
    st.floats(min_value=-5, max_value=120).map(lambda value: round(value, 4)),
    st.sampled_from(["85%", "NA", None, True, "1e30", "0.5 ± 0.1", float("nan"), 0]),
)
RESULT = st.tuples(
    st.sampled_from(["MMLU", "HellaSwag (10-Shot)", "b", "", "x" * 300]),
    st.sampled_from(["acc", "acc_norm", "Test WER", "loss", "", "quality", "spearmanr"]),
    NUMBER,
    st.sampled_from([None, V1, V2]),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(RESULT, max_size=6), min_size=1, max_size=4))
def test_every_result_is_kept_once_and_the_tables_hold_together(models):
    """Contracts and checks of both tables are green whatever is reported; ``Made`` runs them."""
    made = Made(*(index(*(result(b, metric(m, v), source={"url": u}) for b, m, v, u in listed)) for listed in models))
    assert len(made.results) == sum(len(listed) for listed in models)
    usable = [row for row in made.results if row["problem"] is None]
    assert sum(row["n_results"] for row in made.evaluations) <= len(usable)
    assert {(row["model_id"], row["benchmark"], row["metric"]) for row in usable} == set(made.values())
    assert all(math.isfinite(value) for value in made.values().values())
