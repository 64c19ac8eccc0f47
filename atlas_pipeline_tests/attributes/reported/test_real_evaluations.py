"""Real results of three sources for the same models: where names and units are right, they agree."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from atlas_pipeline.attributes.reported.evaluations import reconciled_results, reported_results
from atlas_pipeline.schema import contract_of
from atlas_pipeline_tests.components.listings import connected, table_of

DATA = Path(__file__).resolve().parents[4] / "shared/data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real data is not in {DATA}")


def front_matter(card: str) -> str | None:
    """A card's front matter as JSON, where it has a model-index."""
    head = card.lstrip().removeprefix("---").partition("\n---")[0]
    if "model-index" not in head:
        return None
    try:
        return json.dumps(yaml.load(head, yaml.CSafeLoader), default=str)
    except yaml.YAMLError:
        return None


def atlas_of(snapshot: str) -> duckdb.DuckDBPyConnection:
    """Both tables of a snapshot, under their contracts."""
    listing = pq.ParquetFile(DATA / f"hub_stats/{snapshot}/models.parquet")
    columns = {"id", "cardData"} & set(listing.schema_arrow.names)
    models = [
        {"row_number": number, **row} for number, row in enumerate(listing.read(columns=list(columns)).to_pylist(), 1)
    ]
    file = DATA / f"cards/{snapshot}.parquet"
    cards = pq.read_table(file, columns=["id", "card"]).to_pylist() if file.exists() else []
    read = [{"model_id": row["id"], "metadata": front_matter(row["card"]), "statements": []} for row in cards]
    given = {
        "raw.hub_stats": models,
        "raw.cards": [{"model_id": row["id"], "card": row["card"]} for row in cards],
        "components.cards": read,
        "components.models": [{"model_id": row["id"]} for row in models],
    }
    connection = connected({name: table_of(name, rows, snapshot=snapshot) for name, rows in given.items()})
    connection.execute("create schema attributes")
    made = reported_results(connection, snapshot, folder=str(DATA / "evaluations"))
    _store(connection, "attributes.results", made.rows)
    _store(connection, "attributes.evaluations", reconciled_results(connection, snapshot))
    return connection


def _store(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    schema = contract_of(name).arrow_schema
    connection.register("given", rows.select(schema.names).cast(schema))
    connection.execute(f"create table {name} as from given")


@pytest.fixture(scope="module")
def latest():
    with atlas_of("2026-05-20") as connection:
        yield connection


@pytest.fixture(scope="module")
def early():
    with atlas_of("2022-02-21") as connection:
        yield connection


def agreement(connection: duckdb.DuckDBPyConnection, first: str, second: str) -> dict[str, tuple[int, float, float]]:
    """By benchmark: models with both sources, share of equal values, median difference."""
    rows = connection.execute(
        """
        with values as (
            select model_id, benchmark, metric, source, arg_min(value, position) as value
            from attributes.results where problem is null group by all
        )
        select benchmark, count(*), avg((abs(a.value - b.value) < 2e-4)::int), median(a.value - b.value)
        from values as a join values as b using (model_id, benchmark, metric)
        where a.source = ? and b.source = ?
        group by benchmark
        """,
        [first, second],
    ).fetchall()
    return {benchmark: (n, equal, difference) for benchmark, n, equal, difference in rows}


def test_the_leaderboard_and_what_it_wrote_into_cards_agree(latest):
    found = agreement(latest, "leaderboard", "model_index")
    for benchmark in ("arc_challenge", "hellaswag", "mmlu", "winogrande", "gsm8k"):
        n, equal, difference = found[benchmark]
        assert n > 65 and equal > 0.8 and difference == pytest.approx(0, abs=1e-9), (benchmark, found[benchmark])
    n, equal, difference = found["ifeval"]
    assert n > 550 and equal > 0.9 and difference == pytest.approx(0, abs=1e-9)
    # The board scored this one anew after it had written into the cards.
    n, equal, difference = found["math_level_5"]
    assert n > 550 and 0 < difference < 0.03
    # Scores above chance stand under a name of their own.
    assert not {"bbh", "gpqa", "musr", "mmlu_pro"} & set(found)


@pytest.mark.parametrize(("benchmark", "chance"), [("gpqa", 1 / 4), ("mmlu_pro", 1 / 10)])
def test_accuracy_above_chance_is_what_its_name_says(latest, benchmark, chance):
    n, equal = latest.execute(
        """
        select count(*), avg((abs(a.value - greatest(0, (b.value - $chance) / (1 - $chance))) < 1e-3)::int)
        from attributes.results as a join attributes.results as b using (model_id, benchmark)
        where benchmark = $benchmark and a.source = 'model_index' and a.metric = 'accuracy_above_chance'
            and b.source = 'leaderboard' and b.metric = 'accuracy'
        """,
        {"benchmark": benchmark, "chance": chance},
    ).fetchone()
    assert n > 550 and equal > 0.9


def test_what_cards_say_in_text_agrees_with_their_model_index(early):
    found = agreement(early, "card_table", "model_index")
    n = sum(count for count, _, _ in found.values())
    assert n > 200 and sum(count * equal for count, equal, _ in found.values()) / n > 0.85


def test_most_results_are_usable_and_each_has_one_place(latest, early):
    for connection, least in ((latest, {"leaderboard": 1.0, "model_index": 0.98}), (early, {"card_table": 0.7})):
        for source, share in least.items():
            n, usable = connection.execute(
                "select count(*), avg((problem is null)::int) from attributes.results where source = ?", [source]
            ).fetchone()
            assert n > 1_000 and usable >= share, source
        (twice,) = connection.execute(
            "select count(*) - count(distinct (model_id, benchmark, metric)) from attributes.evaluations"
        ).fetchone()
        assert twice == 0


def test_the_papers_benchmarks_are_there(latest):
    found = dict(
        latest.execute(
            "select benchmark || ' ' || metric, count(*) from attributes.evaluations group by all"
        ).fetchall()
    )
    assert found["truthfulqa mc2"] > 80 and found["hellaswag accuracy"] > 400
