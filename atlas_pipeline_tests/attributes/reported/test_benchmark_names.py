"""Names of benchmarks and metrics: spellings meet, different things stay apart, the data files hold together."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.attributes.reported import benchmark_names
from atlas_pipeline.attributes.reported.benchmark_names import GREATEST_NAME, fold, fold_benchmark, load_names

FOLDER = Path(benchmark_names.__file__).parent
NAMES = load_names()


@pytest.mark.parametrize(
    ("name", "config", "expected"),
    [
        ("HellaSwag (10-Shot)", None, "hellaswag"),
        ("Hellaswag", "default", "hellaswag"),
        ("AI2 Reasoning Challenge (25-Shot)", "ARC-Challenge", "arc_challenge"),
        ("ARC", None, "arc_challenge"),
        ("ai2_arc", "ARC-Easy", "arc_easy"),
        ("arc_easy", None, "arc_easy"),
        ("MMLU (5-Shot)", "all", "mmlu"),
        ("MMLU-PRO (5-shot)", "main", "mmlu_pro"),
        ("TIGER-Lab/MMLU-Pro", None, "mmlu_pro"),
        ("MMLU", "abstract_algebra", "mmlu_abstract_algebra"),
        ("Winogrande (5-shot)", "winogrande_xl", "winogrande"),
        ("Winogrande XL (xl)", "xl", "winogrande"),
        ("TruthfulQA (0-shot)", "multiple_choice", "truthfulqa"),
        ("MATH Lvl 5 (4-Shot)", None, "math_level_5"),
        ("MATH Level 5", None, "math_level_5"),
        ("MUSR", None, "musr"),
        ("GSM8k (5-shot)", "main", "gsm8k"),
        ("glue", "cola", "glue_cola"),
        ("GLUE COLA", "cola", "glue_cola"),
        ("CoLA", None, "glue_cola"),
        ("MNLI-m", None, "glue_mnli"),
        ("MNLI-mm", None, "glue_mnli_mismatched"),
        ("Common Voice tr", "tr", "common_voice_tr"),
        ("common_voice", "tr", "common_voice_tr"),
        ("Common Voice 8", "sv-SE", "common_voice_8_0_sv_se"),
        ("mozilla-foundation/common_voice_8_0", "sv-SE", "common_voice_8_0_sv_se"),
        ("COMMON VOICE 7.0 - TR", None, "common_voice_7_0_tr"),
        ("StoryCloze (2016)", "2016", "storycloze_2016"),
        ("XNLI (ar)", "ar", "xnli_ar"),
        ("MTEB EcomRetrieval", "default", "mteb_ecomretrieval"),
        ("MTEB EcomRetrieval (default)", "default", "mteb_ecomretrieval"),
        ("conll2003", "conll2003", "conll2003"),
        ("cnn_dailymail", "3.0.0", "cnn_dailymail"),
        ("5-shot", None, "5_shot"),
        ("Ein Maßstab für Übersetzer", None, "ein_massstab_für_übersetzer"),
        ("知识 问答", None, "知识_问答"),
        ("", None, None),
        (" - ", "x", None),
        (None, "x", None),
    ],
)
def test_a_benchmark_has_one_name(name, config, expected):
    assert NAMES.benchmark(name, config) == expected


@pytest.mark.parametrize(
    ("name", "kind", "expected", "unit"),
    [
        ("Accuracy", "accuracy", "accuracy", "share"),
        (None, "acc", "accuracy", "share"),
        ("normalized accuracy", "acc_norm", "accuracy_normalized", "share"),
        ("acc_norm", None, "accuracy_normalized", "share"),
        ("strict accuracy", "inst_level_strict_acc and prompt_level_strict_acc", "strict_accuracy", "share"),
        (None, "mc2", "mc2", "share"),
        ("EM", None, "exact_match", "share"),
        ("exact_match strict-match", None, "exact_match_strict", "share"),
        ("exact_match flexible-extract", None, "exact_match_flexible", "share"),
        ("pass@1", "pass@1", "pass_at_1", "share"),
        ("F1-score", None, "f1", "share"),
        ("Macro F1", None, "f1_macro", "share"),
        ("Test WER", "wer", "wer", "share"),
        ("Test WER (+LM)", "wer", "wer_lm", "share"),
        ("Dev CER", "cer", "validation_cer", "share"),
        ("NER Precision", "precision", "ner_precision", "share"),
        ("ndcg_at_10", None, "ndcg_at_10", "share"),
        ("cos_sim_spearman", None, "cos_sim_spearman", "share"),
        ("nauc_map_at_1_std", None, "nauc_map_at_1_std", "share"),
        ("ROUGE-L", None, "rougel", "share"),
        ("BLEU", None, "bleu", "points"),
        ("Validation Loss", None, "loss", "points"),
        ("manhattan_f1_threshold", None, "manhattan_f1_threshold", "points"),
        ("quality of life", "wer", "quality_of_life", "share"),
        ("quality of life", "a thing of its own", "quality_of_life", "points"),
        ("epoch", None, "epoch", None),
        ("eval_samples_per_second", None, "samples_per_second", None),
        ("accuracy_stderr", None, "accuracy_stderr", None),
    ],
)
def test_a_metric_has_one_name_and_a_unit(name, kind, expected, unit):
    found = NAMES.metric(name, kind)
    assert (found.name, found.unit) == (expected, unit)


def test_a_metric_that_nobody_names_is_none():
    assert NAMES.metric(None) is None and NAMES.metric(" ", "--") is None
    assert NAMES.metric(" ", "acc").name == "accuracy"


@given(st.text(max_size=400), st.none() | st.text(max_size=200))
def test_any_text_gets_a_bounded_name(name, other):
    for found in (NAMES.benchmark(name, other), fold(name)):
        assert found is None or (len(found) <= GREATEST_NAME and found == found.strip("_"))
    metric = NAMES.metric(name, other)
    assert metric is None or 0 < len(metric.name) <= GREATEST_NAME + len("validation_")
    assert fold(fold(name)) == fold(name)


@given(st.sampled_from(sorted(NAMES.benchmarks)), st.sampled_from(["{}", "{} (5-shot)", "{}, 25-Shot", "zero-shot {}"]))
def test_shots_case_and_gaps_do_not_matter(spelling, form):
    assert NAMES.benchmark(form.format(spelling.upper().replace("_", "-"))) == NAMES.benchmarks[spelling]


def rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(("file", "column"), [("benchmark_names.csv", "benchmark"), ("metric_names.csv", "metric")])
def test_a_spelling_stands_for_one_thing_and_is_folded(file, column):
    spellings = [name for row in rows(file) for name in (row[column], *row["names"].split())]
    assert len(spellings) == len(set(spellings)), sorted({s for s in spellings if spellings.count(s) > 1})
    folding = fold_benchmark if column == "benchmark" else fold
    assert [s for s in spellings if folding(s) != s] == []


def test_the_data_files_name_what_there_is():
    metrics, benchmarks = set(NAMES.metrics), set(NAMES.benchmarks.values())
    assert set(NAMES.usual.values()) <= {metric.name for metric in NAMES.metrics.values()}
    for row in rows("benchmark_metrics.csv"):
        assert row["benchmark"] in benchmarks and row["metric"] and row["means"] in metrics, row
        assert NAMES.metric(row["means"]).unit == "share"
    for row in [*rows("metric_names.csv"), *rows("metric_patterns.csv")]:
        assert row["unit"] in ("share", "points", "")
        assert not row["least"] or not row["greatest"] or float(row["least"]) < float(row["greatest"])


def test_tables_of_names_have_one_row_for_each_given():
    benchmarks = NAMES.benchmark_table([("ARC", None), (None, None), ("ARC", "x")]).to_pylist()
    assert [row["benchmark"] for row in benchmarks] == ["arc_challenge", None, "arc_challenge_x"]
    assert [row["usual_metric"] for row in benchmarks] == ["accuracy", None, None]
    metrics = NAMES.metric_table([("Accuracy", None), (None, None), ("epoch", None)]).to_pylist()
    assert [(row["metric"], row["unit"]) for row in metrics] == [
        ("accuracy", "share"),
        (None, None),
        ("epoch", "points"),
    ]
