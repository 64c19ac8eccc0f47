"""The zoo: its plans, what its formats hold, and a small population made for real."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.schema.components import RELATIONS
from atlas_pipeline.weights import comparable_matrices, open_adapter, open_weights
from benchmarks.zoo import population, recipes
from benchmarks.zoo.plans import FAMILIES, SHARES, Copy, Family, PlannedModel, Quantization
from benchmarks.zoo.population import MOST_DEPTH, plan_population, region_specs
from benchmarks.zoo.words import FIRST_WORDS, SECOND_WORDS

PATTERNS = {*SHARES, "root", "control"} - {"merge"} | {f"merge_{kind}" for kind in ("linear", "slerp", "task", "ties")}


@given(seed=st.integers(0, 2**31), n_models=st.integers(190, 700))
@settings(max_examples=15, deadline=None)
def test_plans_are_trees_with_merges_and_dates(seed: int, n_models: int) -> None:
    models = plan_population(region_specs(n_models), seed=seed)
    assert len(models) == len({model.model_id for model in models}) == n_models
    seen: dict[str, PlannedModel] = {}
    for model in models:
        parents = [seen[parent] for parent in model.parents]
        # Parents come first, so there is no cycle.
        assert len(parents) == len(set(model.parents)) == len(model.coefficients)
        assert {parent.region for parent in parents} <= {model.region}
        assert model.depth == 1 + max((parent.depth for parent in parents), default=-1)
        assert model.depth <= MOST_DEPTH
        late = [parent for parent in parents if parent.created_at >= model.created_at]
        assert bool(late) == model.is_inverted
        assert model.pattern in PATTERNS
        assert not model.created_at.microsecond
        assert model.relation in RELATIONS
        assert bool(parents) == (model.pattern not in ("root", "control"))
        if any(parent.pattern == "head_swap" for parent in parents):
            assert model.pattern in ("quantized", "cast", "duplicate")
        seen[model.model_id] = model


@given(seed=st.integers(0, 2**31))
@settings(max_examples=5, deadline=None)
def test_shares_are_those_that_were_asked_for(seed: int) -> None:
    models = plan_population(region_specs(640), seed=seed)
    made = Counter(model.pattern.partition("merge_")[1].rstrip("_") or model.pattern for model in models)
    for kind, share in SHARES.items():
        assert abs(made[kind] / len(models) - share) < 0.02, kind
    children = [model for model in models if model.parents]
    assert abs(sum(bool(model.documentation) for model in children) / len(children) - 0.25) < 0.06
    assert 5 <= sum(bool(model.misdeclared) for model in models) <= 10
    assert max(model.depth for model in models) >= 5
    # Popular models have many children.
    assert max(Counter(parent for model in models for parent in model.parents).values()) >= 15


@given(seed=st.integers(0, 2**31))
@settings(max_examples=5, deadline=None)
def test_what_is_gone_and_what_is_declared(seed: int) -> None:
    models = plan_population(region_specs(400), seed=seed)
    by_id = {model.model_id: model for model in models}
    gone = {model.model_id for model in models if model.is_removed}
    assert gone
    assert all(by_id[model_id].parents for model_id in gone)
    for model in models:
        organisation, _, name = model.model_id.partition("/")
        first, _, second = name.partition("-")
        assert first in FIRST_WORDS
        assert second in SECOND_WORDS
        assert organisation.isalpha()
        if gone & set(model.parents):
            assert not model.documentation
            assert model.layout != "adapter"
        if model.misdeclared == "wrong_relation":
            assert model.declared == model.parents
            assert model.declared_relation != model.relation
        elif model.misdeclared:
            (declared,) = model.declared
            assert declared not in (*model.parents, model.model_id)
            assert (by_id[declared].family == model.family) == (model.misdeclared != "other_family")
        elif model.documentation:
            assert model.declared == model.parents


def test_a_seed_gives_one_plan() -> None:
    specs = region_specs(200)
    assert plan_population(specs, seed=3) == plan_population(specs, seed=3)
    assert plan_population(specs, seed=3) != plan_population(specs, seed=4)
    with pytest.raises(ValueError, match="too few"):
        region_specs(100)


def _weights(family: Family) -> dict[str, np.ndarray]:
    networks = pytest.importorskip("benchmarks.zoo.networks", exc_type=ImportError)
    return networks.fresh_weights(networks.network_of(family), np.random.default_rng(0))


def _plan(family: Family, **changes: Any) -> PlannedModel:
    plain = {"making": Copy(), "pattern": "duplicate", "region": "r", "created_at": datetime(2025, 1, 1)}  # noqa: DTZ001
    return PlannedModel(model_id="birch/leaf", family=family, **(plain | changes))


def _read(root: Path) -> dict[str, np.ndarray]:
    weights = open_weights(FolderRepository(root), "birch/leaf")
    found = {}
    for name, matrix in comparable_matrices(weights).items():
        rows = weights.rows(matrix.tensor, np.arange(matrix.n_rows) + matrix.first_row)
        found[name] = rows.reshape(matrix.n_rows, -1)
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["bnb-int8", "bnb-nf4", "gguf-q8_0", "gguf-q5_0", "gguf-q4_0", "fp8", "gptq-4bit"])
def test_quantised_files_hold_what_children_start_from(tmp_path: Path, family: Family, kind: Any) -> None:
    weights = _weights(family)
    from benchmarks.zoo.quantizing import quantised
    from benchmarks.zoo.storing import store

    stored, values = quantised(weights, kind)
    store(tmp_path / "birch/leaf", _plan(family, making=Quantization(kind=kind), dtype="F16"), stored)
    found = _read(tmp_path)
    assert len(found) >= 14
    for canonical, rows in found.items():
        (name,) = (name for name in values if name.endswith(canonical))
        np.testing.assert_array_equal(rows, values[name].reshape(rows.shape), err_msg=name)
        error = np.linalg.norm(rows - weights[name].reshape(rows.shape)) / np.linalg.norm(rows)
        assert 1e-4 < error < 0.15, name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", ["single", "sharded", "torch", "prefixed", "gguf"])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_layouts_hold_the_same_numbers(tmp_path: Path, family: Family, layout: Any, dtype: Any) -> None:
    if layout == "gguf" and dtype == "BF16":
        pytest.skip("copies in GGUF are those of 32 bits, casts those of F16")
    weights = _weights(family)
    from benchmarks.zoo.storing import FLOATS, rounded, store

    held = weights if layout == "gguf" else {name: tensor.astype(FLOATS[dtype]) for name, tensor in weights.items()}
    store(tmp_path / "birch/leaf", _plan(family, layout=layout, dtype=dtype), held)
    expected = rounded(weights, dtype)
    found = _read(tmp_path)
    for canonical, rows in found.items():
        (name,) = (name for name in expected if name.endswith(canonical))
        np.testing.assert_array_equal(rows, expected[name].reshape(rows.shape), err_msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_is_the_change_that_was_trained(tmp_path: Path, family: Family) -> None:
    weights = _weights(family)
    from benchmarks.zoo.plans import LoraTuning
    from benchmarks.zoo.storing import store, store_adapter
    from benchmarks.zoo.tasks import PRETRAINING, tasks_of
    from benchmarks.zoo.training import relative_change, tune_low_rank

    task = tasks_of(family, PRETRAINING[family][0])[0]
    making = LoraTuning(
        task=task,
        rank=4,
        alpha=8.0,
        targets="all_linear",
        n_steps=3,
        batch_size=4,
        target_change=0.01,
        run="",
        order="",
    )
    run = tune_low_rank(family, weights, making, seed=[1])
    assert 0.005 <= relative_change(family, run.weights, weights) <= 0.02
    changed = [name for name in weights if not np.array_equal(weights[name], run.weights[name])]
    assert len(changed) == len(run.factors) >= 14
    for name in changed:
        assert np.linalg.matrix_rank(run.weights[name].astype(float) - weights[name], tol=1e-4) <= making.rank
    store(tmp_path / "birch/leaf", _plan(family), weights)
    store_adapter(tmp_path / "birch/twig", making, run, "birch/leaf")
    adapted = open_adapter(FolderRepository(tmp_path), "birch/twig", base_ids=[])
    assert not adapted.is_delta
    for canonical, matrix in comparable_matrices(adapted).items():
        (name,) = (name for name in weights if name.endswith(canonical))
        np.testing.assert_allclose(
            adapted.rows(matrix.tensor, np.arange(matrix.n_rows)), run.weights[name], rtol=0, atol=1e-6
        )


def test_a_training_that_diverges_is_repeated_at_a_lower_rate() -> None:
    weights = _weights("vit-64")
    from benchmarks.zoo.plans import FineTuning
    from benchmarks.zoo.training import fine_tune

    making = FineTuning(
        task="fog/first",
        optimizer="sgd",
        weight_decay=0.0,
        schedule="constant",
        n_steps=12,
        batch_size=4,
        target_change=0.01,
        run="",
        order="",
    )
    run = fine_tune("vit-64", weights, making, seed=[1], rate=1e3)
    assert all(np.isfinite(tensor).all() for tensor in run.weights.values())
    assert run.rate < 1e3
    aimed = fine_tune("vit-64", weights, making, seed=[1])
    assert fine_tune("vit-64", weights, making, seed=[1], rate=aimed.rate).losses == aimed.losses


def test_merges_keep_their_words() -> None:
    _weights("vit-64")
    from benchmarks.zoo.merging import STRAIGHT, merged, slerp, ties
    from benchmarks.zoo.plans import Merge

    rng = np.random.default_rng(0)
    base, first, second = ({"w": rng.standard_normal((8, 4)).astype(np.float32)} for _ in range(3))
    task = merged(Merge(kind="task", weights=(0.5, 0.4)), [first, second, base])
    linear = merged(Merge(kind="linear", weights=(0.5, 0.4, 0.1)), [first, second, base])
    np.testing.assert_allclose(task["w"], linear["w"], atol=1e-6)
    halfway = slerp(first["w"], second["w"], 0.5)
    lengths = np.linalg.norm(first["w"]), np.linalg.norm(second["w"])
    assert np.linalg.norm(halfway) > np.linalg.norm(first["w"] + second["w"]) / 2
    assert min(lengths) * 0.9 < np.linalg.norm(halfway) < max(lengths) * 1.1
    near = first["w"] * (1 + 1e-3)
    assert np.sum(near * first["w"]) / np.linalg.norm(near) / lengths[0] > STRAIGHT
    np.testing.assert_array_equal(slerp(first["w"], near, 0.25), 0.75 * first["w"] + 0.25 * near)
    changes = np.array([[3.0, -2.0, 0.1, 1.0], [-1.0, -4.0, 0.2, -1.5]])
    # Half of each is kept; the second model's last entry is trimmed for the first two, and signs never cancel.
    np.testing.assert_allclose(ties(changes, np.ones(2), 0.5), [3.0, -3.0, 0.0, -1.5])


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    pytest.importorskip("torch")
    out = tmp_path_factory.mktemp("zoo") / "population"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(population, "ROOT_STEPS", 60)
        patch.setattr(population, "CONTROL_STEPS", 40)
        patch.setattr(recipes, "MOST_STEPS", 30)
        _make(out)
        yield out


def _make(out: Path, seed: int = 5) -> None:
    from benchmarks.zoo.building import make_population

    make_population(out, seed=seed, workers=1, n_models=25, families=("vit-64",), n_regions=1, n_controls=1)


def test_a_small_population(zoo: Path) -> None:
    members = {row["model_id"]: row for row in pq.read_table(zoo / "members.parquet").to_pylist()}
    truth = pq.read_table(zoo / "truth.parquet").to_pylist()
    listed = {row["id"]: row for row in pq.read_table(zoo / "stats/models.parquet").to_pylist()}
    repository = FolderRepository(zoo / "models")
    assert members.keys() == listed.keys() == set(repository.models())
    assert Counter(row["child_id"] for row in truth) == {
        i: row["n_parents"] for i, row in members.items() if row["n_parents"]
    }
    assert {row["pattern"] for row in members.values()} >= {"root", "control", "fan", "snake", "single", "quantized"}
    for model_id, row in members.items():
        assert sorted(entry.path for entry in repository.files(model_id)) == [
            f["rfilename"] for f in listed[model_id]["siblings"]
        ]
        if row["optimizer"] and row["made_as"] != "head_swap":
            assert 3e-4 < row["relative_change"] < 0.1, row
    text = json.dumps(
        pq.read_table(zoo / "stats/models.parquet").drop_columns(["createdAt", "lastModified"]).to_pylist()
    )
    for row in truth:
        if not row["is_documented"]:
            assert row["parent_id"] not in {
                m["id"] for m in (listed[row["child_id"]]["baseModels"] or {"models": []})["models"]
            }
    assert "vit-64-1/" not in text


def test_a_finished_region_is_not_trained_again_and_an_unfinished_one_is_the_same(zoo: Path) -> None:
    def files() -> dict[str, tuple[bytes, int]]:
        found = (path for path in sorted((zoo / "models").rglob("*")) if path.is_file())
        return {str(path.relative_to(zoo)): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}

    before, told = files(), (zoo / "truth.parquet").read_bytes()
    (control,) = (zoo / "regions").glob("control-*.json")
    record = control.read_bytes()
    control.unlink()
    _make(zoo)
    after = files()
    assert {name: content for name, (content, _) in before.items()} == {
        name: content for name, (content, _) in after.items()
    }
    assert 0 < sum(before[name][1] != after[name][1] for name in before) <= 3
    assert control.read_bytes() == record
    assert (zoo / "truth.parquet").read_bytes() == told
    with FileLock(zoo / ".lock"), pytest.raises(RuntimeError, match="another process"):
        _make(zoo)
    with pytest.raises(FileExistsError, match="another population"):
        _make(zoo, seed=6)
