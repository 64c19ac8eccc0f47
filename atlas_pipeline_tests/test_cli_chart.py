"""``atlas chart``: a folder of models that nobody described, from files to lineages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from atlas_pipeline_tests.conftest import run_atlas

BASE = "lanternfish-lab/strip-former-73k"
MODELS = (
    BASE,
    "mirror-depot/strip-former-73k",
    "gearbox-quants/strip-former-73k-GGUF",
    "lanternfish-lab/strip-former-73k-negative",
    "pebble-press/negative-fp16",
    "hollow-oak/independent-former",
)
"""Oldest first: a base, its re-upload and its quantisation, a fine-tune and its cast, a stranger."""


@dataclass(frozen=True)
class Charted:
    """A folder, where its chart lies, and what the command said."""

    folder: Path
    base: Path
    done: subprocess.CompletedProcess[str]

    @property
    def home(self) -> Path:
        (home,) = (self.base / "charts").iterdir()
        return home


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.rglob("*"))}


def make_folder(folder: Path, models: Path, names: tuple[str, ...]) -> Path:
    """Copies without cards, made days apart."""
    for number, name in enumerate(names):
        shutil.copytree(models / name, folder / name, ignore=shutil.ignore_patterns("README.md"))
        for file in (folder / name).iterdir():
            os.utime(file, (1_735_732_800 + number * 86_400,) * 2)
    return folder


def phases_up_to_date(text: str) -> int:
    return text.count("up to date")


@pytest.fixture(scope="session")
def charted(shared_folder, demo_hub) -> Charted:
    """One chart of a small folder; tests read it and never change it."""
    place = shared_folder / "charted"
    folder, base, log = place / "checkpoints", place / "home", place / "log.json"
    with FileLock(shared_folder / "charted.lock"):
        if not log.exists():
            make_folder(folder, demo_hub.weights, MODELS)
            cut = folder / "broken" / "cut" / "model.safetensors"
            cut.parent.mkdir(parents=True)
            cut.write_bytes((folder / BASE / "model.safetensors").read_bytes()[:5000])
            os.utime(cut, (1_735_732_800,) * 2)
            shutil.copytree(folder / BASE, folder / "my models" / "base")
            before = state_of(folder)
            done = run_atlas(base, "chart", str(folder))
            assert state_of(folder) == before, "nothing is written to the folder"
            log.write_text(json.dumps([done.stdout, done.stderr]))
    stdout, stderr = json.loads(log.read_text())
    return Charted(folder, base, subprocess.CompletedProcess([], 0, stdout, stderr))


def test_the_chart_says_what_came_from_what(charted):
    lines = charted.done.stdout.splitlines()
    assert lines[0] == BASE
    text = charted.done.stdout
    assert "mirror-depot/strip-former-73k  duplicate, duplicate, " in text
    for child in MODELS[2:5]:
        assert f"── {child}  " in text
    assert "Without relatives (1)\n  hollow-oak/independent-former\n" in text
    assert "8 models: 1 lineage with 4 edges (0 documented" in text
    assert "No model has a date" not in text


def test_what_could_not_be_read_is_named_with_the_reason(charted):
    text = charted.done.stdout
    assert "Not read (2)\n" in text
    assert "  my models/base: id is no model id: my models/base\n" in text
    (reason,) = [line for line in text.splitlines() if line.startswith("  broken/cut: ")]
    assert len(reason) > len("  broken/cut: unreadable")


def test_a_gguf_file_meets_the_model_that_it_was_made_from(charted):
    query = "select parent_id from edges.charted where child_id = 'gearbox-quants/strip-former-73k-GGUF'"
    rows = run_atlas(charted.home, "sql", "--json", query).stdout.splitlines()
    assert [json.loads(row)["parent_id"] for row in rows] == [BASE]


def test_every_model_has_the_date_of_its_files(charted):
    query = "select model_id, created_at::date::varchar as day from components.models order by day, model_id"
    rows = [json.loads(row) for row in run_atlas(charted.home, "sql", "--json", query).stdout.splitlines()]
    assert rows[0] == {"model_id": "broken/cut", "day": "2025-01-01"}
    assert rows[-1] == {"model_id": MODELS[-1], "day": "2025-01-06"}


def test_the_chart_lies_apart_and_says_where(charted):
    assert [path.name for path in charted.base.iterdir()] == ["charts"]
    assert charted.home.name.startswith("checkpoints-")
    assert f"ATLAS_HOME={charted.home} atlas sql" in charted.done.stderr
    made = {path.parent.relative_to(charted.home / "tables").as_posix() for path in charted.home.rglob("*.parquet")}
    assert {"raw/hub_stats", "features/models", "edges/charted"} <= made
    assert not any(name.startswith(("trends/", "release/", "edges/scores")) for name in made)


def test_a_second_chart_reads_nothing_again_and_gives_edges_as_json(charted):
    done = run_atlas(charted.base, "chart", str(charted.folder), "--json")
    assert phases_up_to_date(done.stderr) == 3
    edges = [json.loads(line) for line in done.stdout.splitlines()]
    assert {edge["child_id"] for edge in edges} == set(MODELS[1:5])
    assert {"rule", "confidence", "is_ambiguous", "evidence", "coefficient"} <= set(edges[0])
    assert "Not read (2)" in done.stderr


def test_a_chart_shows_the_folder_as_it_is_and_not_as_it_was(charted, tmp_path):
    """A newest model that is gone leaves an older snapshot, and no history that would bring it back."""
    home, folder, kept = tmp_path / "home", tmp_path / "folder", (BASE, "lanternfish-lab/strip-former-73k-negative")
    shutil.copytree(charted.home, home)
    for name in kept:
        shutil.copytree(charted.folder / name, folder / name)
    done = run_atlas(tmp_path / "unused", "chart", str(folder), "--home", str(home))
    assert "2 models: 1 lineage with 1 edge" in done.stdout
    assert not any(name in done.stdout for name in {*MODELS, "broken/cut"} - {*kept})
    assert [path.stem for path in sorted((home / "tables/raw/hub_stats").glob("*.parquet"))] == ["2025-01-04"]
    assert not (tmp_path / "unused").exists()


def test_a_home_that_holds_another_atlas_is_left_alone(charted, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(charted.home / "tables", home / "tables")
    before = state_of(home / "tables")
    done = run_atlas(tmp_path / "unused", "chart", str(charted.folder), "--home", str(home), check=False)
    assert done.returncode == 2
    assert f"{home} holds an atlas already" in done.stderr
    assert state_of(home / "tables") == before


REFUSED: Mapping[str, tuple[str, str]] = {
    "empty": ("", "there is no model in it"),
    "flat": ("run1/model.safetensors", "ln -s ../run1 mine/run1"),
    "single files": ("base.gguf", "ln -s ../../base.gguf mine/base/"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_without_models_is_one_sentence_that_says_what_to_do(tmp_path, name):
    path, sentence = REFUSED[name]
    (tmp_path / "folder").mkdir()
    if path:
        (tmp_path / "folder" / path).parent.mkdir(exist_ok=True)
        (tmp_path / "folder" / path).write_bytes(b"x")
    done = run_atlas(tmp_path / "home", "chart", str(tmp_path / "folder"), check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_not_there_is_exit_code_1_and_none_is_2(tmp_path):
    done = run_atlas(tmp_path / "home", "chart", str(tmp_path / "missing"), check=False)
    assert done.returncode == 1
    assert "missing" in done.stderr and "cannot be opened" in done.stderr
    assert run_atlas(tmp_path / "home", "chart", check=False).returncode == 2
