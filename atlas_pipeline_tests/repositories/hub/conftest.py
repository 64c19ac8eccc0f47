"""A hub on this machine with one model, and time that passes only when somebody waits."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from atlas_pipeline.repositories import HubRepository, RetryPolicy
from atlas_pipeline_tests.repositories.hub.local_hub import LocalHub

MODEL = "birch/leaf"
WEIGHTS = "model.safetensors"
TOKEN = "hf_" + "secret" * 5


class FakeTime:
    """A clock that sleeping sets forward."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds
            self.slept.append(seconds)

    def clock(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would ask the real Hub for a list, to describe its caller."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)


@pytest.fixture
def content() -> bytes:
    return os.urandom(100_000)


@pytest.fixture
def hub(tmp_path: Path, content: bytes) -> Iterator[LocalHub]:
    folder = tmp_path / "models" / MODEL
    (folder / "nested").mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(content)
    (folder / "config.json").write_text('{"model_type": "tree"}')
    (folder / "nested" / "part 1.gguf").write_bytes(content[::-1])
    (folder / ".gitattributes").write_text("hidden")
    with LocalHub(tmp_path / "models", token=TOKEN) as made:
        yield made


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def repository(hub: LocalHub, fake_time: FakeTime) -> Iterator[HubRepository]:
    """Reads the hub with a token, and waits in no time."""
    with HubRepository(
        endpoint=hub.endpoint,
        token=TOKEN,
        retries=RetryPolicy(attempts=4),
        sleep=fake_time.sleep,
        clock=fake_time.clock,
    ) as made:
        yield made
