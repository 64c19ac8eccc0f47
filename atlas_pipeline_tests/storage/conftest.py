"""Homes that are hard to live in, each with a neighbour that a pattern would take for the home."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from atlas_pipeline.storage import TableStore

NAMES = {
    "plain": None,
    "with space": None,
    "it's": None,
    'dou"ble': None,
    "star*": "starry",
    "wh?t": "what",
    "br[a]cket": "bracket",
    "[": None,
    "{a,b}": "a",
    "key=7": None,
    "per%20cent#hash": None,
    "chain::ed": None,
    "back\\slash": None,
    "new\nline": None,
    "ünïcode": None,
    "~tilde": None,
}
"""Name of the home, and a folder beside it that it matches as a pattern."""

NOT_IN_A_URL = ("chain::ed", "back\\slash")
HOMES = [*NAMES, *(f"memory://{name}" for name in NAMES if name not in NOT_IN_A_URL)]


@pytest.fixture(params=HOMES, ids=ascii)
def hard_home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[TableStore, TableStore | None]]:
    """A store in a home with a difficult name, and one beside it that a pattern would match."""
    name = request.param.removeprefix("memory://")
    is_memory = name != request.param
    above = f"memory://{uuid.uuid4().hex}" if is_memory else str(tmp_path)
    beside = NAMES[name]
    yield TableStore(f"{above}/{name}"), TableStore(f"{above}/{beside}") if beside else None
    if is_memory:
        fsspec.filesystem("memory").rm(above.removeprefix("memory:/"), recursive=True)


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test survives a power cut without its files; one test sees to it that they are synchronised."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    """A store in a folder."""
    return TableStore(str(tmp_path / "home"))


@pytest.fixture
def remote() -> Iterator[TableStore]:
    """A store in an object store."""
    name = uuid.uuid4().hex
    yield TableStore(f"memory://{name}")
    filesystem = fsspec.filesystem("memory")
    if filesystem.exists(f"/{name}"):
        filesystem.rm(f"/{name}", recursive=True)
