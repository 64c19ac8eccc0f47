from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from atlas_pipeline.repositories.demo import building, ensure_demo_hub
from atlas_pipeline.repositories.demo.recipe import plan_models


def _digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def short_recipe(monkeypatch):
    """Three models instead of a hundred, hardly trained."""
    root, *children = plan_models()[:3]
    plans = (replace(root, making=replace(root.making, n_steps=5)), *children)
    monkeypatch.setattr(building, "plan_models", lambda: plans)


def test_two_processes_make_the_same_bytes(twin_roots):
    here, there = twin_roots
    first = _digests(here.root)
    assert len(first) > 250
    assert first == _digests(there)
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in here.weights.rglob("*") if path.is_file())


def test_a_hub_that_is_there_is_returned_at_once(twin_roots):
    here, _ = twin_roots
    before = {path: path.stat().st_mtime_ns for path in here.root.rglob("*")}
    began = time.perf_counter()
    assert ensure_demo_hub(here.root, progress=lambda *_: pytest.fail("built again")) == here
    assert time.perf_counter() - began < 0.1
    assert before == {path: path.stat().st_mtime_ns for path in here.root.rglob("*")}


def test_progress_counts_every_model(tmp_path, short_recipe):
    calls = []
    ensure_demo_hub(tmp_path / "demo", progress=lambda *call: calls.append(call))
    assert calls == [(n, 3, plan.model_id) for n, plan in enumerate(plan_models()[:3], start=1)]


def test_another_seed_makes_another_hub_in_the_same_place(tmp_path, short_recipe):
    zero = _digests(ensure_demo_hub(tmp_path / "demo").root)
    one = _digests(ensure_demo_hub(tmp_path / "demo", seed=1).root)
    assert json.loads((tmp_path / "demo" / "demo_hub.json").read_text())["seed"] == 1
    weights = [path for path in zero if path.endswith(".safetensors")]
    assert len(weights) == 3
    assert all(zero[path] != one[path] for path in weights)
    assert zero == _digests(ensure_demo_hub(tmp_path / "demo", seed=0).root)
    assert {path.name for path in tmp_path.iterdir()} <= {"demo", ".demo.lock"}


def test_a_build_that_dies_leaves_no_hub_and_the_next_one_cleans_up(tmp_path, short_recipe):
    def die(done, _total, _model_id):
        if done == 2:
            raise KeyboardInterrupt

    root = tmp_path / "demo"
    with pytest.raises(KeyboardInterrupt):
        ensure_demo_hub(root, progress=die)
    assert not root.exists()
    assert {path.name for path in tmp_path.iterdir()} >= {".demo.growing"}
    # As if it had died between the two renames, too.
    (tmp_path / ".demo.discarded" / "models").mkdir(parents=True)
    assert ensure_demo_hub(root).truth.is_file()
    assert {path.name for path in tmp_path.iterdir()} <= {"demo", ".demo.lock"}


def test_a_failed_rebuild_keeps_the_old_hub(tmp_path, short_recipe):
    root = ensure_demo_hub(tmp_path / "demo").root
    before = _digests(root)

    def die(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_demo_hub(root, seed=1, progress=die)
    assert _digests(root) == before


def test_a_hub_of_another_recipe_is_built_over(tmp_path, short_recipe):
    root = tmp_path / "demo"
    root.mkdir()
    (root / "demo_hub.json").write_text('{"recipe_version": -1, "seed": 0}')
    (root / "old").touch()
    assert ensure_demo_hub(root).weights.is_dir()
    assert json.loads((root / "demo_hub.json").read_text())["recipe_version"] > 0
    assert not (root / "old").exists()


@pytest.mark.parametrize("content", [b"", b"[1", b"{}", b"\xff\xfe", b"[" * 4096])
def test_a_marker_that_no_build_wrote_protects_the_folder(tmp_path, content):
    (tmp_path / "demo_hub.json").write_bytes(content)
    with pytest.raises(FileExistsError, match="not a demo hub"):
        ensure_demo_hub(tmp_path)
    assert (tmp_path / "demo_hub.json").read_bytes() == content


def test_a_folder_of_something_else_is_refused(tmp_path):
    keepsake = tmp_path / "home" / "thesis.tex"
    keepsake.parent.mkdir()
    keepsake.write_text("years of work")
    with pytest.raises(FileExistsError, match="not a demo hub"):
        ensure_demo_hub(keepsake.parent)
    with pytest.raises(FileExistsError, match="not a demo hub"):
        ensure_demo_hub(keepsake)
    assert keepsake.read_text() == "years of work"


def test_an_empty_folder_is_used(tmp_path, short_recipe):
    (tmp_path / "demo").mkdir()
    assert ensure_demo_hub(tmp_path / "demo").truth.is_file()
