"""Both assets once, with all four sources, and their checks: green on what is made, red on rows that are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.attributes import assets
from atlas_pipeline.quality.invariants import checks_of, run_check
from atlas_pipeline.settings import Settings
from atlas_pipeline_tests.attributes.reported.test_llm_results import KEY, answer, service  # noqa: F401
from atlas_pipeline_tests.attributes.reported.test_llm_results import result as said
from atlas_pipeline_tests.components.listings import SNAPSHOT, connected, table_of

TABLES = ("attributes.results", "attributes.evaluations")
INDEX = {
    "model-index": [{"results": [{"dataset": {"name": "MMLU"}, "metrics": [{"type": "acc", "value": 0.61}]}]}],
}
Row = dict[str, Any]


def home(folder, **settings: str) -> Atlas:
    """An atlas of three models: one on a leaderboard, one with a table in its card, one with prose alone."""
    (folder / "boards").mkdir(parents=True)
    (folder / "boards/a.csv").write_text("model_id,leaderboard,benchmark,value\norg/a,v1,MMLU,60\norg/x,v1,MMLU,61\n")
    atlas = Atlas(Settings(home=str(folder / "home"), evaluations=str(folder / "boards"), **settings))
    cards = {"org/b": "|Metric|Value|\n|--|--|\n|MMLU|64.1|\n", "org/c": "It has 62.5 % on (MMLU, 5-shot)."}
    tables = {
        "raw.hub_stats": [{"row_number": 1, "id": "org/a", "cardData": json.dumps(INDEX)}],
        "raw.cards": [{"model_id": model_id, "card": card} for model_id, card in cards.items()],
        "components.cards": [],
        "components.models": [{"model_id": model_id} for model_id in ("org/a", "org/b", "org/c")],
    }
    for name, rows in tables.items():
        atlas.store.write(name, table_of(name, rows), partition=SNAPSHOT)
    return atlas


def materialize(atlas: Atlas) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("snapshot", [SNAPSHOT])
        return dg.materialize(
            [assets.results, assets.evaluations],
            partition_key=SNAPSHOT,
            resources={"atlas": atlas},
            instance=instance,
            raise_on_error=False,
        )


def test_the_assets_write_what_all_sources_report(tmp_path, service, capfd):  # noqa: F811
    service.reply = lambda _: answer(said("MMLU", "62.5"))
    digests = []
    for name in ("first", "second"):
        atlas = home(tmp_path / name, llm_endpoint=service.url, llm_model="reader")
        run = materialize(atlas)
        assert run.success
        digests.append([atlas.store.receipt(table, SNAPSHOT).sha256 for table in TABLES])
    assert digests[0] == digests[1], "the same input gives the same bytes"
    rows = atlas.store.read("attributes.evaluations", SNAPSHOT).to_pylist()
    assert {row["model_id"]: (row["source"], row["value"]) for row in rows} == {
        "org/a": ("leaderboard", 0.6),
        "org/b": ("card_table", pytest.approx(0.641)),
        "org/c": ("llm", 0.625),
    }
    (event,) = run.asset_materializations_for_node("attributes__results")
    assert "1 models of the leaderboards" in event.metadata["notes"].value
    everywhere = "".join(capfd.readouterr()) + str(event) + str(atlas.store.receipt(TABLES[0], SNAPSHOT))
    assert KEY not in everywhere and "cards read by reader" in everywhere


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"llm_endpoint": "http://127.0.0.1:9/v1", "llm_model": "reader"}, "ATLAS_LLM_ENDPOINT=http://127.0.0.1:9/v1"),
        ({"llm_model": "reader"}, "ATLAS_LLM_ENDPOINT and ATLAS_LLM_MODEL"),
    ],
)
def test_a_service_that_cannot_be_used_fails_the_table_with_one_sentence(tmp_path, monkeypatch, settings, message):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda _: None)
    atlas = home(tmp_path, **settings)
    run = materialize(atlas)
    (failure,) = run.filter_events(lambda event: event.is_step_failure)
    error = failure.step_failure_data.error
    assert message in (error.cause or error).message
    assert atlas.store.receipt("attributes.results", SNAPSHOT) is None


RESULT: Row = {
    "model_id": "org/a",
    "source": "model_index",
    "position": 1,
    "reported_value": "50",
    "benchmark": "mmlu",
    "metric": "accuracy",
    "value": 0.5,
    "unit": "share",
}
EVALUATION: Row = {
    name: RESULT[name] for name in ("model_id", "source", "benchmark", "metric", "value", "unit")
} | {"sources": ["model_index"], "n_results": 1, "least": 0.5, "greatest": 0.5}  # fmt: skip


def failing(check_name: str, results: list[Row], evaluations: list[Row]) -> int:
    rows = {
        "components.models": [{"model_id": "org/a"}],
        "attributes.results": results,
        "attributes.evaluations": evaluations,
    }
    (check,) = [check for table in TABLES for check in checks_of(table) if check.name == check_name]
    with connected({name: table_of(name, listed) for name, listed in rows.items()}) as connection:
        return run_check(connection, check).n_failing


def changed(**values: Any) -> Callable[[], tuple[list[Row], list[Row]]]:
    return lambda: ([RESULT | values], [EVALUATION])


def evaluation(**values: Any) -> Callable[[], tuple[list[Row], list[Row]]]:
    return lambda: ([RESULT], [EVALUATION | values])


BROKEN = [
    ("results_are_of_models", changed(model_id="org/stranger")),
    ("results_are_of_models", changed(leaderboard="v1")),
    ("results_are_of_models", changed(source="leaderboard")),
    ("usable_results_are_whole", changed(benchmark=None)),
    ("usable_results_are_whole", changed(metric="")),
    ("usable_results_are_whole", changed(unit=None)),
    ("usable_results_are_whole", changed(value=None)),
    ("usable_results_are_whole", changed(value=float("nan"))),
    ("usable_results_are_whole", changed(value=float("inf"))),
    ("shares_are_not_in_percent", changed(value=50.0)),
    ("a_benchmark_metric_has_one_unit", lambda: ([RESULT, RESULT | {"position": 2, "unit": "points"}], [EVALUATION])),
    ("values_are_reported", evaluation(value=0.6)),
    ("values_are_reported", evaluation(source="llm")),
    ("values_are_reported", changed(problem="no number")),
    ("the_most_trusted_source_wins", lambda: ([RESULT], [])),
    ("the_most_trusted_source_wins", evaluation(source="card_table")),
    ("values_lie_among_the_reported", evaluation(least=0.55)),
    ("values_lie_among_the_reported", evaluation(greatest=0.45)),
    ("values_lie_among_the_reported", evaluation(sources=["llm"])),
    ("values_lie_among_the_reported", evaluation(sources=["llm", "model_index"])),
]


@pytest.mark.parametrize(("check", "rows"), BROKEN)
def test_a_check_is_red_where_rows_are_wrong_and_green_where_not(check, rows):
    assert failing(check, *rows()) == 1
    assert failing(check, [RESULT], [EVALUATION]) == 0


def test_every_check_is_broken_by_something():
    own = {check.name for table in TABLES for check in checks_of(table)} - {"contract_is_kept"}
    assert own == {check for check, _ in BROKEN}
