"""Results of the model-index of cards of any shape, each in its unit."""

from __future__ import annotations

import json

import pytest

from atlas_pipeline.attributes.reported import evaluations
from atlas_pipeline_tests.attributes.reported.cards_and_boards import V1, V2, Made, index, metric, result, shares


def test_every_result_stays_and_the_first_counts():
    accuracy = {"type": "acc", "name": "Accuracy", "value": 0.5}
    made = Made(
        index(
            result("b", accuracy, {**accuracy, "value": 0.9}, {"type": "f1", "value": "0.25"}),
            result("b", {**accuracy, "value": 0.7}),
            result(None, {"type": "acc", "value": 1}),
        )
    )
    assert made.of("position", "reported_benchmark", "reported_metric", "reported_value", "metric") == [
        (1, "b", "Accuracy", "0.5", "accuracy"),
        (2, "b", "Accuracy", "0.9", "accuracy"),
        (3, "b", "f1", "0.25", "f1"),
        (4, "b", "Accuracy", "0.7", "accuracy"),
        (5, "t", "acc", "1", "accuracy"),
    ]
    assert made.values() == {("org/0", "b", "accuracy"): 0.5, ("org/0", "b", "f1"): 0.25, ("org/0", "t", "accuracy"): 1}
    row = made.evaluations[0]
    assert (row["n_results"], row["least"], row["greatest"], row["sources"]) == (3, 0.5, 0.9, ["model_index"])
    assert {(row["source"], row["leaderboard"], row["unit"]) for row in made.evaluations} == {
        ("model_index", "", "share")
    }


NO_VALUES = {
    "NaN": "not finite",
    "Infinity": "not finite",
    "-Infinity": "not finite",
    '"nan"': "not finite",
    '"-inf"': "not finite",
    '"85 percent"': "no number",
    '"0,85"': "no number",
    '"1e400"': "not finite",
    "null": "no value",
    "[1]": "no number",
    '{"value": 1}': "no number",
    "true": "true or false is no number",
    "1e400": "not finite",
    '""': "no number",
    "123": "out of the bounds of the metric",
    "-0.5": "out of the bounds of the metric",
}


def test_a_value_that_cannot_be_used_stays_with_the_problem_and_the_next_counts():
    card = '{"model-index": [{"results": [{"dataset": {"name": "b"}, "metrics": [{"type": "acc", "value": %s}%s]}]}]}'
    alone = [card % (text, "") for text in NO_VALUES]
    followed = [card % (text, ', {"type": "acc", "value": 0.25}') for text in NO_VALUES]
    made = Made(*followed, *alone)
    assert made.values() == {(f"org/{i}", "b", "accuracy"): 0.25 for i in range(len(followed))}
    by_model = {row["model_id"]: row for row in made.results if row["problem"]}
    assert len(made.results) == 3 * len(NO_VALUES) and len(by_model) == 2 * len(NO_VALUES)
    for i, (text, problem) in enumerate(NO_VALUES.items()):
        for number in (i, i + len(NO_VALUES)):
            row = by_model[f"org/{number}"]
            assert (row["problem"], row["value"], row["unit"]) == (problem, None, None), text


def test_a_model_index_of_another_shape_gives_no_evaluation():
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
    made = Made(*cards)
    assert made.evaluations == []
    assert set(made.problems()) == {"no value", "no benchmark is named", "no metric is named"}
    assert len(Made(*cards, index(good)).evaluations) == 1, "one broken card does not silence the others"


def test_rejected_rows_report_nothing():
    card = index(result("b", {"type": "acc", "value": 1}))
    assert list(Made(card, card, rejected=(0,)).values()) == [("org/1", "b", "accuracy")]


def test_a_cards_own_front_matter_counts_where_hub_stats_has_no_model_index():
    def own(value: float) -> str:
        return index(result("b", metric("acc", value)))

    empty = json.dumps({"model-index": [], "license": "mit"})
    made = Made(own(0.1), '{"license": "mit"}', None, empty, metadata={f"org/{i}": own(0.9) for i in range(4)})
    assert [made.values()[f"org/{i}", "b", "accuracy"] for i in range(4)] == [0.1, 0.9, 0.9, 0.9]
    assert Made(None, metadata={"org/0": None, "org/stranger": own(0.5)}).results == []


def test_a_model_index_without_end_is_read_to_its_first_results(monkeypatch):
    monkeypatch.setattr(evaluations, "MOST_RESULTS", 10)
    made = Made(index(result("b", *[metric("acc", 0.5)] * 50)))
    assert made.problems() == [None] * 10 + ["more results than are read of one card"]


def test_configurations_of_a_data_set_stay_apart():
    def of(config: object, value: float, key: str = "config") -> dict:
        return {"dataset": {"name": "glue", key: config}, "metrics": [metric("accuracy", value)]}

    made = Made(
        index(of("mrpc", 0.5), of("sst2", 0.6, "args"), of({"language": "tr"}, 0.7, "args"), of("default", 0.8))
    )
    assert {key[1]: value for key, value in made.values().items()} == {
        "glue_mrpc": 0.5,
        "glue_sst2": 0.6,
        "glue_tr": 0.7,
        "glue": 0.8,
    }


def test_who_measured_is_told_and_comes_first():
    by_author = result("b", metric("acc", 0.9), source={"name": "us", "url": "https://example.org"})
    on_space = result("b", metric("acc", 0.5), source={"url": V1})
    verified = result("c", {**metric("acc", 0.4), "verified": True})
    forged = result("d", metric("acc", 0.3), source={"url": "https://example.org/spaces/x/leaderboard"})
    made = Made(index(by_author, on_space, verified, forged))
    assert [row["is_self_reported"] for row in made.results] == [True, False, False, True]
    assert made.results[1]["source_url"] == V1
    assert made.values()["org/0", "b", "accuracy"] == 0.5


UNITS: list[tuple[dict[str, object], dict[str, float]]] = [
    ({"acc": 85, "f1": 0.9}, {"accuracy": 0.85, "f1": 0.9}),
    ({"acc": 85, "f1": 90, "precision": 0.5}, {"accuracy": 0.85, "f1": 0.9, "precision": 0.005}),
    ({"acc": 0.85, "f1": 0.9, "precision": 50}, {"accuracy": 0.85, "f1": 0.9, "precision": 0.5}),
    ({"acc": "85%"}, {"accuracy": 0.85}),
    ({"acc": "0.5 %", "f1": 0.9}, {"accuracy": 0.005, "f1": 0.9}),
    ({"acc": "0.712 ± 0.01", "f1": "0.5 +/- 0.1"}, {"accuracy": 0.712, "f1": 0.5}),
    ({"acc": 0.9, "wer": 1.0213}, {"accuracy": 0.9, "wer": 1.0213}),
    ({"acc": 90, "f1": 80, "wer": 1.0213}, {"accuracy": 0.9, "f1": 0.8, "wer": 0.010213}),
    ({"acc": 0.9, "wer": 23.5}, {"accuracy": 0.9, "wer": 0.235}),
    ({"wer": 1.0213, "cer": 0.46}, {"wer": 1.0213, "cer": 0.46}),
    ({"wer": 1.9, "test_clean_wer": 3.9}, {"wer": 0.019, "clean_wer": 0.039}),
    ({"wer": 1.9}, {}),
    ({"wer": 1.0}, {"wer": 1.0}),
    ({"wer": 0.2, "cer": 0.1, "dev_wer": 31}, {"wer": 0.2, "cer": 0.1, "validation_wer": 0.31}),
    ({"loss": 85, "bleu": 0.3, "acc": 0.5}, {"loss": 85, "bleu": 0.3, "accuracy": 0.5}),
    ({"rouge1": 44.5, "rouge2": 21.5}, {"rouge1": 0.445, "rouge2": 0.215}),
    ({"spearmanr": -0.2, "acc": 0.5}, {"spearman": -0.2, "accuracy": 0.5}),
    ({"spearmanr": -20, "pearsonr": 81}, {"spearman": -0.2, "pearson": 0.81}),
    ({"acc": 0, "f1": 0.0}, {"accuracy": 0, "f1": 0}),
    ({"mean_reward": "257.1 +/- 17.4"}, {"mean_reward": 257.1}),
]


def test_shares_lie_between_0_and_1_and_the_rest_is_as_reported():
    values = Made(*(shares(**given_values) for given_values, _ in UNITS)).values()
    for i, (given_values, expected) in enumerate(UNITS):
        found = {name: value for (model_id, _, name), value in values.items() if model_id == f"org/{i}"}
        assert found == pytest.approx(expected), given_values


def test_an_error_rate_that_may_be_either_is_not_guessed():
    assert Made(shares(wer=1.9)).problems() == ["share or percent: nothing tells which"]


def test_what_a_leaderboard_wrote_into_a_card_is_scaled_apart_from_the_authors():
    made = Made(
        index(
            result("b", metric("acc", 0.9)),
            result("c", metric("acc", 0.8)),
            result("GSM8k (5-shot)", metric("acc", 0.5), source={"url": V1}),
            result("MMLU (5-Shot)", metric("acc", 60.5), source={"url": V1}),
            result("HellaSwag (10-Shot)", metric("acc_norm", 80), source={"url": V1}),
        )
    )
    assert {key[1]: value for key, value in made.values().items()} == pytest.approx(
        {"b": 0.9, "c": 0.8, "gsm8k": 0.005, "mmlu": 0.605, "hellaswag": 0.8}
    )


def test_scores_above_chance_are_no_accuracy():
    def of(name: str, kind: str, value: float, url: str = V2) -> dict:
        return result(name, {"type": kind, "value": value}, source={"name": "Open LLM Leaderboard", "url": url})

    details = "https://huggingface.co/datasets/open-llm-leaderboard/org__0-details"
    made = Made(
        index(
            of("BBH (3-Shot)", "acc_norm", 30),
            of("MMLU-PRO (5-shot)", "acc", 25),
            of("IFEval (0-Shot)", "averaged accuracy", 50),
        ),
        index(of("GPQA (0-shot)", "acc_norm", 5, details), of("MMLU (5-Shot)", "acc", 60, V1)),
        index(result("GPQA", metric("acc", 0.3))),
    )
    assert {key[1:]: value for key, value in made.values().items() if key[0] != "org/2"} == pytest.approx(
        {
            ("bbh", "accuracy_above_chance"): 0.3,
            ("mmlu_pro", "accuracy_above_chance"): 0.25,
            ("ifeval", "strict_accuracy"): 0.5,
            ("gpqa", "accuracy_above_chance"): 0.05,
            ("mmlu", "accuracy"): 0.6,
        }
    )
    assert made.values()["org/2", "gpqa", "accuracy"] == 0.3


def test_normalised_accuracy_is_accuracy_and_the_other_is_told_apart():
    def of(**values: float) -> str:
        return index(result("HellaSwag", *(metric(name, value) for name, value in values.items())))

    made = Made(of(acc=0.5, acc_norm=0.7), of(acc_norm=0.6), of(acc=0.4))
    assert made.values() == {
        ("org/0", "hellaswag", "accuracy"): 0.7,
        ("org/0", "hellaswag", "accuracy_unnormalized"): 0.5,
        ("org/1", "hellaswag", "accuracy"): 0.6,
        ("org/2", "hellaswag", "accuracy"): 0.4,
    }
