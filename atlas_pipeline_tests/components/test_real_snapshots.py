"""Three real snapshots of the Hub, whose columns and types differ as they did over time: figures that must hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import networkx as nx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from atlas_pipeline.components import documented
from atlas_pipeline.raw.hub_stats import read_hub_stats
from atlas_pipeline.raw.sources import find_snapshots
from atlas_pipeline.schema import contract_of
from atlas_pipeline.settings import Settings
from atlas_pipeline_tests.components.listings import Atlas, by_hand, connected, table_of

DATA = Path(__file__).resolve().parents[3] / "shared/data/hub_stats"
ROWS = {"2022-02-21": 28_358, "2025-06-16": 29_848, "2026-05-20": 2_638}

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real snapshots are not in {DATA}")


@pytest.fixture(scope="module")
def raw() -> dict[str, pa.Table]:
    contract = contract_of("raw.hub_stats").arrow_schema
    found = {}
    for source in find_snapshots(Settings(home="/nowhere", hub_stats=str(DATA))):
        read = read_hub_stats(source.path, snapshot=source.snapshot, source_revision="test")
        assert read.notes == (), "every column of every age is known"
        found[source.snapshot] = read.rows.read_all().select(contract.names).cast(contract)
    return found


@pytest.fixture(scope="module")
def atlases(raw) -> dict[str, Atlas]:
    found = {}
    for snapshot in raw:
        read = {
            "raw.hub_stats": pa.concat_tables([rows for name, rows in raw.items() if name <= snapshot]),
            "components.cards": table_of("components.cards", []),
        }
        with connected(read) as connection:
            made = {}
            for name, make in (
                ("claims", lambda c, s: documented.claims(c, s, by_hand())),
                ("parents", documented.documented_parents),
                ("models", documented.cleaned_models),
                ("regions", lambda c, s: documented.regions(c, s, large_region_models=1000)),
                ("impact", documented.impact),
            ):
                schema = contract_of(f"components.{name}").arrow_schema
                made[name] = make(connection, snapshot).select(schema.names).cast(schema)
                connection.execute("drop table if exists listing")
                connection.register("given", made[name])
                connection.execute(f"create table components.{name} as from given")
        found[snapshot] = Atlas(**made)
    return found


def test_every_row_is_read_and_usable(raw):
    assert {name: rows.num_rows for name, rows in raw.items()} == ROWS
    for snapshot, rows in raw.items():
        assert not pc.any(rows["is_rejected"]).as_py()
        assert rows["problem"].null_count == rows.num_rows
        source = pq.read_table(DATA / snapshot / "models.parquet")
        for column in set(source.column_names) & set(rows.column_names) - {"siblings", "safetensors", "baseModels"}:
            # Nothing that the source knows is lost, and nothing that it does not know is made up.
            assert rows[column].null_count == source[column].null_count, (snapshot, column)
        assert rows["id"].to_pylist() == source["id"].to_pylist()


def test_the_documented_graph_is_acyclic_and_complete(atlases):
    for snapshot, atlas in atlases.items():
        graph = nx.DiGraph((parent, child) for child, parent in atlas.kept())
        ids = atlas.models["model_id"].to_pylist()
        assert nx.is_directed_acyclic_graph(graph) and set(graph) <= set(ids) and len(set(ids)) == len(ids)
        presences = Counter(atlas.models["presence"].to_pylist())
        assert len(ids) - presences["removed"] == ROWS[snapshot]
        assert atlas.regions["model_id"].to_pylist() == atlas.impact["model_id"].to_pylist() == ids
        # Distinct descendants never outnumber the models, however many paths there are.
        assert max(atlas.impact["n_descendants"].to_pylist()) < len(ids)


def test_parents_by_relation_are_as_many_as_the_tags_say(atlases):
    assert atlases["2022-02-21"].parents.num_rows == 0, "the Hub knew no base_model then"
    of_2025 = Counter((row["relation"], row["drop_reason"]) for row in atlases["2025-06-16"].parents.to_pylist())
    assert of_2025 == {
        ("adapter", None): 294,
        ("finetune", None): 13_729,
        ("finetune", "self_loop"): 37,
        ("merge", None): 4_575,
        ("merge", "self_loop"): 2,
        ("quantized", None): 11_743,
        ("quantized", "self_loop"): 3,
    }
    latest = [row for row in atlases["2026-05-20"].parents.to_pylist() if row["stated_in"] == "2026-05-20"]
    relations = Counter(row["relation"] for row in latest if row["is_kept"])
    assert relations["merge"] > relations["finetune"] > relations["unknown"] > relations["quantized"] > 0
    assert 2_900 < relations.total() < 3_100
    assert {row["drop_reason"] for row in latest} <= {None, "self_loop", "not_a_model_id"}
    assert sum(row["drop_reason"] == "not_a_model_id" for row in latest) < 20


def test_what_is_gone_comes_back_from_the_snapshot_that_had_it(atlases):
    restored = Counter(
        row["restored_from"] for row in atlases["2026-05-20"].models.to_pylist() if row["presence"] == "removed"
    )
    assert restored["2025-06-16"] > 300 and 300 < restored[None] < 500


def test_unknown_downloads_stay_unknown(raw, atlases):
    for snapshot, atlas in atlases.items():
        present = atlas.models.filter(pc.not_equal(atlas.models["presence"], "removed"))
        assert present["downloads_30d"].null_count == raw[snapshot]["downloads"].null_count
        assert pc.sum(present["downloads_30d"]).as_py() == pc.sum(raw[snapshot]["downloads"]).as_py()


def test_what_is_known_of_most_models_is(atlases):
    shares = {
        snapshot: {
            column: 1 - atlas.models[column].null_count / atlas.models.num_rows
            for column in ("model_type", "modality", "license", "n_parameters")
        }
        for snapshot, atlas in atlases.items()
    }
    assert shares["2022-02-21"]["model_type"] > 0.65 and shares["2022-02-21"]["n_parameters"] == 0
    assert shares["2025-06-16"]["model_type"] > 0.7 and shares["2025-06-16"]["modality"] > 0.9
    assert shares["2026-05-20"]["license"] > 0.55 and shares["2026-05-20"]["n_parameters"] > 0.65
