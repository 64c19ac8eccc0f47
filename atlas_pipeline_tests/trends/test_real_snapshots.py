"""The trends of two real snapshots, their edges read from the Hub's tags alone: figures that must hold."""

from __future__ import annotations

from pathlib import Path

import duckdb
import networkx as nx
import pytest

from atlas_pipeline.schema import TABLES
from atlas_pipeline_tests.trends.graphs import hub, measured

DATA = Path(__file__).resolve().parents[3] / "shared/data/hub_stats"
SNAPSHOTS = ("2025-06-16", "2026-05-20")
NAMES = [table.split(".")[1] for table in TABLES if table.startswith("trends.")]

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real snapshots are not in {DATA}")

EDGES = """
select distinct on (child, parent) id as child, substr(rest, strpos(rest, ':') + 1) as parent, split_part(rest, ':', 1)
from (select id, substr(unnest(tags), 12) as rest, unnest(tags) as tag from listed)
where starts_with(tag, 'base_model:') and regexp_matches(rest, '^(finetune|adapter|quantized|merge):.')
order by all
"""


@pytest.fixture(scope="module")
def snapshots() -> dict[str, dict]:
    found = {}
    for snapshot in SNAPSHOTS:
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            connection.read_parquet(str(DATA / snapshot / "models.parquet")).create_view("listed")
            edges = [edge for edge in connection.execute(EDGES).fetchall() if edge[0] != edge[1]]
            listed = connection.execute("select id, createdAt, downloads, pipeline_tag from listed").fetchall()
        quantised = {child for child, _, relation in edges if relation == "quantized"}
        models = {parent: {"presence": "removed"} for _, parent, _ in edges}
        for model_id, created_at, downloads, tag in listed:
            models[model_id] = {
                "created_at": created_at,
                "downloads_30d": downloads,
                "pipeline_tag": tag,
                "modality": "nlp" if tag == "text-generation" else None,
                "is_quantized": model_id in quantised,
            }
        assert nx.is_directed_acyclic_graph(nx.DiGraph((p, c) for c, p, _ in edges))
        found[snapshot] = hub(models, edges, snapshot=snapshot)
    return found


@pytest.fixture(scope="module")
def trends(snapshots) -> dict[tuple[str, str], list[dict]]:
    """All trends of the latest, and some of the one before, each of which passes its checks."""
    before, now = (snapshots[snapshot] for snapshot in SNAPSHOTS)
    some = ("statistics", "merge_influence", "growth")
    made = {(SNAPSHOTS[0], name): measured(name, before, snapshot=SNAPSHOTS[0]) for name in some}
    for name in NAMES:
        inputs = (before, now) if name == "growth" else (now,)
        made[SNAPSHOTS[1], name] = measured(name, *inputs, snapshot=SNAPSHOTS[1])
    return made


def test_the_priors_are_those_of_the_real_hub(trends):
    values = {row["statistic"]: row["value"] for row in trends["2025-06-16", "statistics"]}
    assert values["edges"] == 30_341
    assert 0.97 < values["quantized_leaves"] < 0.99, "a statement about nodes, near the paper's"
    assert values["quantized_parents_of_finetunes"] > 0.15, "and what the edges say"
    assert 0.69 < values["hub_members"] < 0.72
    assert 0.97 < values["time_forward_edges"] < 0.99
    assert 0.2 < values["largest_region_members"] < 0.33
    assert values["documentation_no_card"] is None
    assert values["quantized_vision"] is None


def test_counting_paths_overstates_impact_by_magnitudes(trends):
    values = {row["statistic"]: row["value"] for row in trends["2026-05-20", "statistics"]}
    assert values["impact_inflated"] > 0.2
    assert values["impact_largest_inflation"] > 1e4
    for row in trends["2026-05-20", "top_impact"]:
        assert row["path_counted_downloads"] >= row["sub_tree_downloads"]


def test_merged_models_of_these_samples_have_less_influence_than_their_siblings(trends):
    for snapshot in SNAPSHOTS:
        (row,) = [
            row
            for row in trends[snapshot, "merge_influence"]
            if (row["modality"], row["measure"]) == ("nlp", "descendant_downloads")
        ]
        (stated,) = [row for row in trends[snapshot, "statistics"] if row["statistic"] == "merge_influence_nlp"]
        assert row["ratio"] == stated["value"] < 1
        assert (row["n_merged"], row["n_siblings"]) == (stated["n_cases"], stated["n_total"])


def test_growth_is_that_of_two_samples(trends):
    found = {(row["thing"], row["change"]): row["n"] for row in trends["2026-05-20", "growth"]}
    assert sum(n for (thing, change), n in found.items() if thing == "models" and change != "new") == 29_848
    assert sum(n for (thing, change), n in found.items() if thing == "models" and change != "gone") == 2_638
    assert trends["2025-06-16", "growth"] == []
