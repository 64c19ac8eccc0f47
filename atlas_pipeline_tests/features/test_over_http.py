"""The demo hub's models read from a hub by the real client: the same neurons as from the folder, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import huggingface_hub
import pytest

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.definitions import build_defs
from atlas_pipeline.features.reading import ModelToSample, SampledModel
from atlas_pipeline.features.sampling import Sampled, sample_models
from atlas_pipeline.repositories import FolderRepository, HubRepository, Repository
from atlas_pipeline.repositories.demo import DemoHub
from atlas_pipeline_tests.repositories.hub.local_hub import LocalHub


@pytest.fixture(scope="module")
def models(demo_hub: DemoHub) -> Path:
    return demo_hub.root / "models"


@pytest.fixture
def hub(models: Path) -> Iterator[LocalHub]:
    with LocalHub(models) as served:
        yield served


def sampled(repository: Repository, folder: Path, *ids: str) -> Sampled:
    folder.mkdir(exist_ok=True)
    return sample_models(repository, [ModelToSample(model_id) for model_id in ids], folder)


def without_place(row: SampledModel) -> SampledModel:
    """What does not depend on where a model lies: a hub has commits and digests, and is read more greedily."""
    return replace(row, revision=None, content_sha256=None, bytes_read=0)


def test_every_model_gives_the_neurons_that_it_gives_from_the_folder(
    models: Path, hub: LocalHub, tmp_path: Path
) -> None:
    folder = FolderRepository(models)
    ids = folder.models()
    near = sampled(folder, tmp_path / "near", *ids)
    with HubRepository(endpoint=hub.endpoint) as repository:
        far = sampled(repository, tmp_path / "far", *ids)
    assert {row.status for row in far.rows} == {"ok"}
    assert {row.format for row in far.rows} == {"safetensors", "gguf", "adapter"}
    assert list(map(without_place, far.rows)) == list(map(without_place, near.rows))
    assert near.groups.keys() == far.groups.keys()
    for name, group in near.groups.items():
        assert group.model_ids == far.groups[name].model_ids
        assert group.vectors.tobytes() == far.groups[name].vectors.tobytes()
    assert all(row.revision and row.content_sha256 for row in far.rows)
    proven = {row.model_id: row.content_sha256 for row in near.rows if row.content_sha256}
    assert proven
    assert {row.model_id: row.content_sha256 for row in far.rows if row.model_id in proven} == proven


def test_a_run_that_ends_early_goes_on_where_it_stopped(models: Path, hub: LocalHub, tmp_path: Path) -> None:
    ids = FolderRepository(models).models()[:12]
    cache = tmp_path / "cache.sqlite"
    with HubRepository(endpoint=hub.endpoint) as repository:
        whole = sampled(repository, tmp_path / "whole", *ids)
        needed = repository.traffic.n_bytes
    with HubRepository(endpoint=hub.endpoint, cache=cache, budget_bytes=needed // 2) as repository:
        first = sampled(repository, tmp_path / "first", *ids)
        assert repository.traffic.n_bytes <= needed // 2
    assert {row.status for row in first.rows} == {"ok", "over_budget"}
    with HubRepository(endpoint=hub.endpoint, cache=cache) as repository:
        second = sampled(repository, tmp_path / "second", *ids)
        assert repository.traffic.n_bytes < needed
    n_requests = len(hub.requests)
    with HubRepository(endpoint=hub.endpoint, cache=cache) as repository:
        third = sampled(repository, tmp_path / "third", *ids)
    assert len(hub.requests) == n_requests, "nothing is asked for twice"
    assert whole.rows == second.rows == third.rows


def test_the_asset_reads_the_hub_and_models_that_cannot_be_read_are_rows(
    finished, hub: LocalHub, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = finished.atlas.store.partitions("features.models")[0]
    before = finished.atlas.store.read("features.models", partition).to_pylist()
    gated, missing = [row["model_id"] for row in before if row["format"] == "safetensors"][:2]
    hub.gated, hub.private = {gated}, {missing}
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.endpoint)
    settings = replace(finished.atlas.settings, home=str(tmp_path / "home"), weights="hub")
    atlas = Atlas(settings)
    for table in ("components.models", "components.parents", "components.regions"):
        snapshot = finished.atlas.store.partitions(table)[-1]
        atlas.write(table, finished.atlas.store.read(table, snapshot), snapshot)
    instance.add_dynamic_partitions("region", [partition])
    result = dg.materialize(
        [build_defs(settings).get_assets_def(dg.AssetKey(["features", "models"]))],
        instance=instance,
        partition_key=partition,
        resources={"atlas": atlas},
    )
    assert result.success
    rows = {row["model_id"]: row for row in atlas.store.read("features.models", partition).to_pylist()}
    assert rows[gated]["status"] == "gated"
    assert rows[missing]["status"] == "not_found"
    assert all(name in rows[name]["error"] for name in (gated, missing))
    for row in before:
        found = rows[row["model_id"]]
        if found["status"] == "ok" and found["base_id"] is None:
            assert found["sampled_sha256"] == row["sampled_sha256"]
    assert sum(row["status"] == "ok" for row in rows.values()) >= len(before) - 6
    assert settings.hub_cache.exists()
