"""Each asset of the stage once: the table it writes, and the picture beside it."""

from __future__ import annotations

import base64
import re

import dagster as dg
import pytest

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.schema import TABLES, contract_of
from atlas_pipeline.settings import Settings
from atlas_pipeline.trends import assets
from atlas_pipeline_tests.trends.graphs import hub, measured
from atlas_pipeline_tests.trends.test_figures import sound

SNAPSHOTS = ("2024-06-01", "2025-01-01")
NAMES = [table.split(".")[1] for table in TABLES if table.startswith("trends.")]
MODELS = {
    "lab/base": {"modality": "nlp", "downloads_30d": 9, "license": "mit", "has_card": True},
    "lab/tuned": {"modality": "nlp", "downloads_30d": 2, "has_card": False},
    "lab/mix": {"modality": "vision", "downloads_30d": 3},
    "old/gone": {"presence": "removed"},
}
EDGES = [("lab/tuned", "lab/base", "finetune"), ("lab/mix", "lab/base", "merge"), ("lab/mix", "old/gone", "merge")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp("trends")
    atlas = Atlas(Settings(home=str(home)))
    hubs = {SNAPSHOTS[0]: hub({"lab/base": {}}, snapshot=SNAPSHOTS[0]), SNAPSHOTS[1]: hub(MODELS, EDGES)}
    for snapshot, tables in hubs.items():
        for table, rows in tables.items():
            atlas.store.write(table, rows, partition=snapshot)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("snapshot", list(SNAPSHOTS))
        results = [
            dg.materialize(
                [getattr(assets, name) for name in names],
                partition_key=snapshot,
                resources={"atlas": atlas},
                instance=instance,
            )
            for snapshot, names in zip(SNAPSHOTS, (["growth"], NAMES), strict=True)
        ]
    return atlas, hubs, results


@pytest.mark.parametrize("name", NAMES)
def test_an_asset_writes_what_is_measured_and_draws_it(made, name):
    atlas, hubs, results = made
    contract = contract_of(f"trends.{name}")
    rows = atlas.store.read(contract.name, SNAPSHOTS[1])
    inputs = hubs.values() if name == "growth" else [hubs[SNAPSHOTS[1]]]
    expected = measured(name, *inputs)
    assert rows.num_rows > 0
    assert rows.schema.equals(contract.arrow_schema)
    key = contract.key
    assert rows.to_pylist() == sorted(expected, key=lambda row: [(row[k] is None, row[k]) for k in key])
    (event,) = results[1].asset_materializations_for_node(f"trends__{name}")
    picture = re.fullmatch(
        rf"!\[trends\.{name}\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", event.metadata["picture"].value
    )
    sound(base64.b64decode(picture[1]))


def test_every_table_has_a_picture_and_a_description():
    assert set(assets.PICTURES) == set(NAMES)
    for name in NAMES:
        (spec,) = getattr(assets, name).specs
        assert spec.key.path == ["trends", name]
        assert spec.group_name == "trends"
        assert spec.description == f"One row per {contract_of(f'trends.{name}').grain}. " + (
            contract_of(f"trends.{name}").description
        )


def test_the_first_snapshot_has_no_growth_and_a_picture_all_the_same(made):
    atlas, _, results = made
    assert atlas.store.read("trends.growth", SNAPSHOTS[0]).num_rows == 0
    assert all(result.success for result in results)
