"""Results in the text of cards: what counts as this model's, and what a stranger's Markdown may do."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.attributes.reported.benchmark_names import load_names
from atlas_pipeline.attributes.reported.card_tables import MOST_RESULTS, CardContext, card_results
from atlas_pipeline.attributes.reported.pipe_tables import MOST_COLUMNS, MOST_ROWS, bounded_lines, pipe_tables, plain

NAMES = load_names()
ME = "lab/Otter-7B-v2"


def found(card: str, **context: str) -> list[tuple[str | None, str | None, str]]:
    """Benchmark, metric and value of each result."""
    results = card_results(card, CardContext(ME, **context), NAMES)
    return [(result.benchmark, result.metric, result.value) for result in results]


def test_the_trainers_list_is_read_and_its_training_table_is_not():
    card = """
This model is a fine-tuned version of [lab/otter](https://huggingface.co/lab/otter) on the river_news dataset.
It achieves the following results on the evaluation set:
- Loss: 0.31
- Accuracy: 0.8125
- F1: nan
- Train Loss: 0.2
- Validation Accuracy: 0.75
- Gen Len: 17.2
- Epoch: 3

- Wer: 0.5

### Training results
| Training Loss | Epoch | Step | Validation Loss | Accuracy |
|:-------------:|:-----:|:----:|:---------------:|:--------:|
| 0.5           | 1.0   | 100  | 0.6             | 0.7      |
"""
    values = {"Loss": "0.31", "Accuracy": "0.8125", "F1": "nan"}
    expected = [("river_news", metric, value) for metric, value in (*values.items(), ("Accuracy", "0.75"))]
    assert found(card) == expected
    # The model-index beside it knows which configuration.
    assert found(card, benchmark="river", config="en")[0] == ("river", "Loss", "0.31")
    assert card_results(card, CardContext(ME, benchmark="river", config="en"), NAMES)[0].config == "en"


@pytest.mark.parametrize("named", ["None", "unknown", "custom"])
def test_a_list_that_names_no_data_set_takes_the_only_one_of_the_front_matter(named):
    card = f"A fine-tuned version of x on the {named} dataset.\nIt achieves the following results:\n\n- Wer: 1.02\n"
    assert found(card) == [(None, "Wer", "1.02")]
    assert found(card, dataset="river_talk") == [("river_talk", "Wer", "1.02")]


def test_benchmarks_in_rows_and_one_column_of_values():
    card = "| Metric | Value |\n|---|---|\n| Avg. | 60 |\n| HellaSwag (10-Shot) | 82.5 |\n| **MMLU** | `64.1` |\n"
    assert found(card) == [("HellaSwag (10-Shot)", None, "82.5"), ("MMLU", None, "64.1")]
    other_name = card.replace("Value", "Some-Base-Model")
    assert found(other_name) == found(card)


COMPARISON = """
| Benchmark | Otter-7B | {own} | Badger 13B |
|:--|--:|--:|--:|
| MMLU | 60.1 | 64.2 | 66.6 |
| ARC-C | 50 | 58.5 | - |
"""


@pytest.mark.parametrize(
    "own", ["Otter-7B-v2", "**Otter 7B v2**", "lab/Otter-7B-v2", "[Otter](https://huggingface.co/lab/Otter-7B-v2)",
            "Otter (this model)", "Ours", "Otter-v2 (ours)", "Otter_7B_v2"]
)  # fmt: skip
def test_of_several_models_in_columns_only_this_one_counts(own):
    assert found(COMPARISON.format(own=own)) == [("MMLU", None, "64.2"), ("ARC-C", None, "58.5")]


@pytest.mark.parametrize(
    "own", ["Otter-7B-v20", "Otter-7B-v2-GGUF", "[Otter](https://huggingface.co/lab/Otter-7B-v2.5)", "Weasel", "yours"]
)
def test_where_no_column_is_this_model_nothing_counts(own):
    assert found(COMPARISON.format(own=own)) == []


def test_two_columns_of_this_model_tell_nothing():
    assert found(COMPARISON.format(own="Otter-7B-v2").replace("Otter-7B |", "ours |")) == []


def test_of_several_models_in_rows_only_this_one_counts():
    card = """
| Model | #Params | MMLU | XNLI (acc) | Lambada PPL | Average | Speed |
|---|---|---|---|---|---|---|
| Badger | 13B | 66.6 | 0.70 | 9 | 68 | 10 |
| Otter-7B-v2 | 7.2 | **64.2%** | 0.65 ± 0.01 | 8.5 | 64 | 20 |
"""
    assert found(card) == [("MMLU", None, "64.2%"), ("XNLI", "acc", "0.65 ± 0.01"), ("Lambada", "PPL", "8.5")]
    assert found(card.replace("Otter-7B-v2", "Otter-7B")) == []
    assert found(card.replace("Badger", "Otter-7B-v2 (ours)")) == [], "two rows of this model"


def test_a_row_of_metrics_below_the_header():
    card = (
        "|Model|CoLA|SST-2|STS-B|\n|-|-|-|-|\n|Metric|MCC|(Acc)|P/S|\n|Otter (this)|55|91.5|88.1/87.9|\n|Vole|1|2|3|\n"
    )
    assert found(card) == [("CoLA", "MCC", "55"), ("SST-2", "Acc", "91.5")]


def test_a_row_without_a_name_is_this_models_where_it_is_alone():
    card = "| Task | QQP | SST-2 |\n|:-:|:-:|:-:|\n| | 71.2 | 93.5 |\n"
    assert found(card) == [("QQP", None, "71.2"), ("SST-2", None, "93.5")]
    assert found(card + "| | 72 | 94 |\n") == []


def test_data_sets_in_rows_and_metrics_in_columns():
    card = """
| Dataset | WER | CER | Hours |
|---|---|---|---|
| River talks, [test split](https://example.org/a_(b).csv) | 6.92% | 2.1 | 12 |
| Test | 5 | 1 | 3 |
| Average | 6 | 1.5 | 8 |
"""
    name = "River talks, test split"
    assert [row for row in found(card) if row[0].startswith("River")] != []
    assert {(metric, value) for _, metric, value in found(card)} == {("WER", "6.92%"), ("CER", "2.1")}
    assert found(card.replace("https://example.org/a_(b).csv", "x"))[0][0] == name


def test_metrics_in_rows_and_data_sets_in_columns():
    card = "| | LibriSpeech clean | LibriSpeech other |\n|--|--|--|\n| WER | 6.59% | 17.69% |\n"
    assert found(card) == [("LibriSpeech clean", "WER", "6.59%"), ("LibriSpeech other", "WER", "17.69%")]


def test_metrics_alone_are_of_the_one_data_set_that_is_known():
    card = "| Metric | # Value |\n|---|---|\n| **EM** | **46.8** |\n| F1 | 64.7 |\n| Epochs | 3 |\n"
    assert found(card) == [(None, "EM", "46.8"), (None, "F1", "64.7")]
    assert {row[0] for row in found(card, benchmark="squad_es")} == {"squad_es"}
    assert {row[0] for row in found(card, dataset="squad_v2")} == {"squad_v2"}
    assert {row[0] for row in found(card, dataset="large_corpus_of_rivers")} == {None}, "trained on, not tested on"


def test_a_header_of_metrics_and_one_row_of_numbers():
    assert found("| Precision | Recall |\n|---|---|\n| 0.9 | 0.8 |\n", benchmark="b") == [
        ("b", "Precision", "0.9"),
        ("b", "Recall", "0.8"),
    ]


def test_the_evaluation_harness_says_all_of_it():
    card = """
```
|     Tasks     |Version|     Filter     |n-shot|  Metric   |   |Value |   |Stderr|
|---------------|------:|----------------|-----:|-----------|---|-----:|---|-----:|
|gsm8k          |      3|flexible-extract|     5|exact_match|↑  |0.7128|±  |0.0125|
|               |       |strict-match    |     5|exact_match|↑  |0.6785|±  |0.0129|
|hellaswag      |      1|none            |    10|acc        |   |0.6012|±  |0.0049|
|               |       |none            |    10|acc_norm   |   |0.7989|±  |0.0040|
| - astronomy   |      1|none            |     0|acc        |   |n/a   |   |      |
```
"""
    assert found(card) == [
        ("gsm8k", "exact_match flexible-extract", "0.7128"),
        ("gsm8k", "exact_match strict-match", "0.6785"),
        ("hellaswag", "acc", "0.6012"),
        ("hellaswag", "acc_norm", "0.7989"),
    ]


NO_RESULTS = {
    "sizes": "| Dataset | Size |\n|---|---|\n| MMLU | 14042 |\n| SQuAD | 87599 |\n",
    "mixture": "| Dataset | Sampling |\n|---|---|\n| GSM8K | 12% |\n",
    "parameters": "| Parameter | Value |\n|---|---|\n| learning rate | 0.01 |\n| layers | 12 |\n",
    "classes": "| emotion | precision | recall | support |\n|---|---|---|---|\n| joy | 0.9 | 0.8 | 10 |\n",
    "classes without a count": "| tag | precision |\n|---|---|\n| NOUN | 0.9 |\n| VERB | 0.8 |\n",
    "models with a metric each": "| Dataset | Vole F1 | Stoat F1 |\n|---|---|---|\n| news | 64.5 | 69.4 |\n",
    "transfer": "| Task | MMLU | SQuAD |\n|---|---|---|\n| ARC | 1.5 | 2.5 |\n",
    "two values in a cell": "| Model | SQuAD |\n|---|---|\n| ours | 90.9/84.1 |\n",
    "no delimiter": "| Metric | Value |\n| MMLU | 5 |\n",
    "no rows": "| Metric | Value |\n|---|---|\n",
    "prose": "It scores 64.2 on MMLU - | or so |\n",
}


@pytest.mark.parametrize("kind", NO_RESULTS)
def test_other_tables_give_nothing(kind):
    assert found(NO_RESULTS[kind]) == []


def test_the_leaderboard_above_a_table_is_its_page():
    space = "https://huggingface.co/spaces/open-llm-leaderboard/open_llm_leaderboard"
    table = "|Metric|Value|\n|--|--|\n|BBH (3-Shot)|31.5|\n"
    (result,) = card_results(f"# [Results]({space})\nDetails below.\n\n{table}", CardContext(ME), NAMES)
    assert result.source_url == space
    far = f"[x]({space})\n" + "text\n" * 40 + table
    assert [r.source_url for r in card_results(far, CardContext(ME), NAMES)] == [None]


def test_markup_is_removed_and_escapes_are_kept_in_their_cell():
    assert (
        plain("**[MM\\|LU](http://x/y)**<br/>&lt;i&gt; `a_b` __c__ F<sub>1</sub><sup>2</sup>") == "MM|LU <i> a_b c F1"
    )
    (table,) = pipe_tables(["a \\| b | c", "--- | ---", "1 | 2 | 3", "4", "5 |"])
    assert [[cell.text for cell in row] for row in (table.header, *table.rows)] == [["a | b", "c"], ["1", "2"]]


HOSTILE = {
    "pipes": "|" * 1_000_000,
    "brackets": "[(" * 500_000 + "\n|-|",
    "open tags": "| " + "<" * 300_000 + " |\n|-|\n|1|",
    "underscores": ("| " + "_" * 2_000 + " |\n|-|\n") * 200,
    "many tables": "| MMLU | x |\n|---|---|\n| 1 | 2 |\n\n" * 20_000,
    "many rows": "| Metric | Value |\n|---|---|\n" + "| MMLU | 5.5 |\n" * 50_000,
    "many columns": "|" + " MMLU |" * 30_000 + "\n" + "|-" * 30_000 + "|\n|" + " 5 |" * 30_000,
    "lists": "It achieves the following results:\n" * 20_000 + "- MMLU: 5\n" * 1_000,
    "on the": "on the " * 100_000 + "\nIt achieves the following results:\n- Loss: 1",
    "spaces": ("- " + " " * 7_000 + "\n") * 100 + "It achieves the following results" + " " * 500_000,
    "digits": f"| Metric | Value |\n|---|---|\n| MMLU | {'9' * 500_000} |\n",
    "not text": "\x00\ufeff\u202e| \U0001f9a6 |\n|-|\n|\ud7ff|",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_cards_are_read_in_bounded_time(kind):
    start = time.perf_counter()
    results = card_results(HOSTILE[kind], CardContext(ME, benchmark="b"), NAMES)
    assert time.perf_counter() - start < 3
    assert len(results) <= MOST_RESULTS


def test_the_first_rows_and_columns_of_a_large_table_are_read():
    assert len(found(HOSTILE["many rows"])) == MOST_ROWS
    (table,) = pipe_tables(bounded_lines("|" + "a|" * 500 + "\n|-|\n|1|"))
    assert len(table.header) == MOST_COLUMNS


CELL = st.sampled_from(
    ["MMLU", "Otter-7B-v2", "ours", "Model", "Acc", "64.2", "1e5%", "", "-", "Metric", "Value", "x|y", "F1"]
)


@given(st.lists(st.lists(CELL, min_size=1, max_size=5), min_size=1, max_size=6))
def test_every_value_stands_in_the_table(rows):
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    card = "\n".join([lines[0], "|---|", *lines[1:]])
    for benchmark, metric, value in found(card):
        assert value in ("64.2", "1e5%")
        assert (benchmark or metric) is not None
        assert all(text is None or text in card for text in (benchmark, metric))
