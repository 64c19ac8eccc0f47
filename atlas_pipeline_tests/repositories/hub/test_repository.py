"""Reading a hub that behaves: bytes, commits, budgets, the cache, and what may not be read."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from atlas_pipeline.repositories import (
    BudgetSpent,
    FileEntry,
    FileNotInModel,
    FolderRepository,
    HubRepository,
    InvalidModelId,
    ModelDisabled,
    ModelGated,
    ModelNotFound,
    Repository,
    RepositoryError,
    ShortRead,
    open_repository,
)
from atlas_pipeline.weights import open_weights
from atlas_pipeline_tests.repositories.hub.conftest import MODEL, TOKEN, WEIGHTS
from atlas_pipeline_tests.repositories.hub.local_hub import Fault, LocalHub


def test_files_and_commit_are_those_of_the_hub(hub: LocalHub, repository: HubRepository) -> None:
    folder = hub.root / MODEL
    assert repository.files(MODEL) == [
        FileEntry("config.json", 22),
        FileEntry(WEIGHTS, 100_000, hub.sha256(folder / WEIGHTS)),
        FileEntry("nested/part 1.gguf", 100_000, hub.sha256(folder / "nested" / "part 1.gguf")),
    ]
    assert repository.revision(MODEL) == hub.revision(MODEL)
    assert repository.sha256(MODEL, WEIGHTS) == FolderRepository(hub.root).sha256(MODEL, WEIGHTS)
    assert repository.sha256(MODEL, "config.json") is None
    assert len(hub.requests) == 1
    with pytest.raises(RepositoryError, match="millions"):
        repository.models()


def test_the_bytes_are_those_of_the_folder(hub: LocalHub, repository: HubRepository, content: bytes) -> None:
    assert repository.read(MODEL, WEIGHTS, 10, 20) == content[10:20]
    assert repository.read(MODEL, "nested/part 1.gguf", 0, 100_000) == content[::-1]
    assert repository.read(MODEL, "config.json", 0, 22) == b'{"model_type": "tree"}'
    assert repository.read(MODEL, WEIGHTS, 5, 5) == b""
    assert repository.read_ranges(MODEL, WEIGHTS, []) == []


def test_rows_of_weights_are_those_of_the_folder(hub: LocalHub, repository: HubRepository) -> None:
    matrix = np.random.default_rng(0).standard_normal((4000, 512)).astype(np.float32)
    (hub.root / "birch" / "seed").mkdir()
    save_file({"w.weight": matrix}, hub.root / "birch" / "seed" / WEIGHTS)
    rows = [3999, 7, 8, 2000]
    remote = open_weights(repository, "birch/seed")
    assert np.array_equal(remote.rows("w.weight", rows), matrix[rows])
    assert np.array_equal(open_weights(FolderRepository(hub.root), "birch/seed").rows("w.weight", rows), matrix[rows])
    assert repository.traffic.n_bytes < 300_000, "of 8 MB: header, rows, and what lies between near rows"


def test_a_file_is_resolved_once_and_the_store_never_sees_the_token(
    hub: LocalHub, repository: HubRepository, content: bytes
) -> None:
    ranges = [(start, start + 100) for start in range(0, 90_000, 3000)]
    for _ in range(2):
        assert repository.read_ranges(MODEL, WEIGHTS, ranges) == [content[start:stop] for start, stop in ranges]
    assert [request.path for request in hub.of_kind("resolve")] == [f"/{MODEL}/resolve/{hub.revision(MODEL)}/{WEIGHTS}"]
    assert len(hub.of_kind("data")) == 60
    assert not any(request.has_authorization for request in hub.of_kind("data"))
    assert all(request.token == TOKEN for request in hub.requests if request.kind != "data")
    assert all(request.user_agent.startswith("atlas_pipeline/") for request in hub.requests)
    assert all(request.method == "GET" for request in hub.requests)


@given(
    ranges=st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 100_000)).map(sorted).map(tuple), max_size=8),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_ranges_are_slices_of_the_file(
    repository: HubRepository, content: bytes, ranges: list[tuple[int, int]]
) -> None:
    assert repository.read_ranges(MODEL, WEIGHTS, ranges) == [content[start:stop] for start, stop in ranges]


def test_an_endpoint_that_sends_the_bytes_itself(hub: LocalHub, repository: HubRepository) -> None:
    repository.read_ranges(MODEL, "config.json", [(0, 4), (4, 9), (9, 22)])
    assert (hub.of_kind("resolve")[0].range, hub.requests[1].token) == ("bytes=0-3", TOKEN)
    assert {request.range for request in hub.of_kind("resolve")} == {"bytes=0-3", "bytes=4-8", "bytes=9-21"}
    assert not hub.of_kind("data")
    assert repository.traffic.resolve.n_bytes == 22


def test_a_redirect_to_the_endpoint_itself_keeps_the_token(
    hub: LocalHub, repository: HubRepository, content: bytes
) -> None:
    hub.is_relative = True
    hub.private.add(MODEL)
    assert repository.read_ranges(MODEL, WEIGHTS, [(0, 3), (7, 9)]) == [content[0:3], content[7:9]]
    paths = [request.path.split("?")[0] for request in hub.of_kind("resolve")]
    assert [path.startswith("/resolve-cache") for path in paths] == [False, True, True]
    assert all(request.token == TOKEN for request in hub.requests)


@pytest.mark.parametrize(
    ("start", "stop", "error"),
    [(0, 100_001, ShortRead), (-1, 4, RepositoryError), (5, 4, RepositoryError), (0, 1 << 40, RepositoryError)],
)
def test_what_is_no_range_is_refused_without_a_request(
    hub: LocalHub, repository: HubRepository, start: int, stop: int, error: type[RepositoryError]
) -> None:
    with pytest.raises(error, match=MODEL):
        repository.read_ranges(MODEL, WEIGHTS, [(0, 1), (start, stop)])
    assert {request.kind for request in hub.requests} == {"api"}


@pytest.mark.parametrize(
    "path", ["../leaf/config.json", "/etc/passwd", "", "nested//part 1.gguf", "nope", ".gitattributes"]
)
def test_files_that_the_listing_lacks(hub: LocalHub, repository: HubRepository, path: str) -> None:
    for ask in (lambda: repository.read(MODEL, path, 0, 1), lambda: repository.sha256(MODEL, path)):
        with pytest.raises(FileNotInModel):
            ask()
    assert len(hub.requests) == 1


@pytest.mark.parametrize("model_id", ["..", "a/b/c", "birch/le\naf", "", "birch/../leaf"])
def test_ids_that_are_none_are_not_asked_for(hub: LocalHub, repository: HubRepository, model_id: str) -> None:
    with pytest.raises(InvalidModelId):
        repository.files(model_id)
    assert not hub.requests


def test_ids_cannot_change_the_address(hub: LocalHub, repository: HubRepository) -> None:
    for model_id in ("birch/leaf?x=1", "birch/leaf#x", "birch/leaf%2e", "birch/a b"):
        with pytest.raises(ModelNotFound):
            repository.files(model_id)
    assert hub.requests[0].path == "/api/models/birch/leaf%3Fx%3D1?blobs=true"


@pytest.mark.parametrize("gives_error_codes", [True, False])
def test_models_that_may_not_be_read(hub: LocalHub, gives_error_codes: bool) -> None:
    hub.gives_error_codes = gives_error_codes
    with HubRepository(endpoint=hub.endpoint, token=False) as repository:
        hub.private.add(MODEL)
        for model_id in ("birch/missing", "missing", MODEL):
            for _ in range(2):
                with pytest.raises(ModelNotFound, match=f"{model_id} is not on the Hub, or is private"):
                    repository.files(model_id)
        assert len(hub.requests) == 3, "what is missing is asked for once in a run"
    hub.private.clear()
    with HubRepository(endpoint=hub.endpoint, token=False) as repository:
        repository.files(MODEL)
        (hub.root / MODEL / "config.json").unlink()
        with pytest.raises(FileNotInModel, match=r"leaf has no file 'config\.json'"):
            repository.read(MODEL, "config.json", 0, 2)


def test_gated_models_are_listed_and_not_read(hub: LocalHub, repository: HubRepository, content: bytes) -> None:
    hub.gated.add(MODEL)
    with HubRepository(endpoint=hub.endpoint, token=False) as stranger:
        assert len(stranger.files(MODEL)) == 3
        with pytest.raises(ModelGated, match=f"{MODEL} is gated"):
            stranger.read(MODEL, WEIGHTS, 0, 2)
    assert repository.read(MODEL, WEIGHTS, 0, 2) == content[:2]
    hub.faults = [Fault("api", status=403, headers={"X-Error-Code": "GatedRepo"}, body=b"")]
    with pytest.raises(ModelGated):
        repository.files("other/model")


def test_disabled_models(hub: LocalHub, repository: HubRepository) -> None:
    repository.files(MODEL)
    hub.disabled.add(MODEL)
    with pytest.raises(ModelDisabled, match=f"{MODEL} is disabled"):
        repository.read(MODEL, WEIGHTS, 0, 2)
    with HubRepository(endpoint=hub.endpoint, token=False) as other, pytest.raises(ModelDisabled):
        other.files(MODEL)
    hub.disabled.clear()
    body = json.dumps(hub.listing(MODEL) | {"disabled": True}).encode()
    hub.faults = [Fault("api", body=body)]
    with HubRepository(endpoint=hub.endpoint, token=False) as other, pytest.raises(ModelDisabled):
        other.files(MODEL)


def test_a_token_that_the_hub_does_not_know(hub: LocalHub, repository: HubRepository) -> None:
    message = "Invalid credentials in Authorization header"
    hub.faults = [Fault(status=401, headers={"X-Error-Message": message}, body=b"")]
    with pytest.raises(RepositoryError, match=r"does not know the token \(HTTP 401\)") as caught:
        repository.files(MODEL)
    assert type(caught.value) is RepositoryError


def test_a_model_that_was_renamed(hub: LocalHub, repository: HubRepository, content: bytes) -> None:
    hub.renamed["alder/old"] = MODEL
    assert repository.files("alder/old") == repository.files(MODEL)
    assert repository.read("alder/old", WEIGHTS, 3, 6) == content[3:6]
    assert hub.of_kind("resolve")[0].path.startswith(f"/{MODEL}/resolve/"), (
        "the new name saves a redirect for each file"
    )


def test_a_commit_that_went_away(hub: LocalHub, tmp_path: Path) -> None:
    cache = tmp_path / "cache.sqlite"
    with HubRepository(endpoint=hub.endpoint, token=False, cache=cache) as repository:
        before = repository.revision(MODEL)
        hub.commits[MODEL] = "force-pushed"
        for _ in range(2):
            with pytest.raises(RepositoryError, match=f"{MODEL} has changed: the commit"):
                repository.read(MODEL, WEIGHTS, 0, 2)
        assert repository.revision(MODEL) == before, "pinned"
    with HubRepository(endpoint=hub.endpoint, token=False, cache=cache) as repository:
        assert repository.revision(MODEL) != before, "the next run asks anew, though the listing is young"
        repository.read(MODEL, WEIGHTS, 0, 2)


def test_a_budget_is_never_exceeded(hub: LocalHub) -> None:
    with HubRepository(endpoint=hub.endpoint, token=False, budget_bytes=10_000) as repository:
        repository.read_ranges(MODEL, WEIGHTS, [(start, start + 100) for start in range(0, 5000, 200)])
        spent, n_requests = repository.traffic.n_bytes, len(hub.requests)
        left = 10_000 - spent
        assert spent == sum(hub.n_bytes.values())
        with pytest.raises(BudgetSpent, match="10000 bytes"):
            repository.read_ranges(MODEL, WEIGHTS, [(0, left // 2), (50_000, 50_000 + left // 2 + 2)])
        assert len(hub.requests) == n_requests, "refused before anything is asked for"
        repository.read(MODEL, WEIGHTS, 0, left)
        assert repository.traffic.n_bytes == 10_000
        for ask in (lambda: repository.read(MODEL, WEIGHTS, 0, 1), lambda: repository.files("birch/other")):
            with pytest.raises(BudgetSpent):
                ask()


def test_many_threads_share_the_budget(hub: LocalHub) -> None:
    with HubRepository(endpoint=hub.endpoint, token=False, budget_bytes=20_000) as repository:

        def read(start: int) -> int:
            try:
                return len(repository.read(MODEL, WEIGHTS, start, start + 1000))
            except BudgetSpent:
                return 0

        with ThreadPoolExecutor(16) as threads:
            read_bytes = sum(threads.map(read, range(0, 64_000, 1000)))
        assert repository.traffic.n_bytes <= 20_000
        assert read_bytes in range(18_000, 20_000)


def test_traffic_counts_what_the_hub_sent(hub: LocalHub, repository: HubRepository) -> None:
    repository.read_ranges(MODEL, WEIGHTS, [(0, 10), (20, 40)])
    repository.read(MODEL, "config.json", 0, 5)
    traffic = repository.traffic
    # The hub counts what it has sent, which the client may have before that.
    deadline = time.monotonic() + 10
    while sum(hub.n_bytes.values()) < traffic.n_bytes and time.monotonic() < deadline:
        time.sleep(0.01)
    for kind in ("api", "resolve", "data"):
        count = getattr(traffic, kind)
        assert (count.n_requests, count.n_bytes) == (len(hub.of_kind(kind)), hub.n_bytes[kind])
    assert (traffic.n_requests, traffic.data.n_bytes) == (5, 30)


def test_no_more_requests_at_once_than_connections(hub: LocalHub, content: bytes) -> None:
    hub.latency_s = 0.005
    ranges = [(start, start + 10) for start in range(0, 3000, 100)]
    with (
        HubRepository(endpoint=hub.endpoint, token=False, max_connections=6) as repository,
        ThreadPoolExecutor(12) as threads,
    ):
        paths = [WEIGHTS, "nested/part 1.gguf"] * 6
        results = list(threads.map(lambda path: repository.read_ranges(MODEL, path, ranges), paths))
    assert results[0] == [content[start:stop] for start, stop in ranges]
    assert len({tuple(result) for result in results}) == 2
    assert hub.max_in_flight == 6
    assert (len(hub.of_kind("api")), len(hub.of_kind("resolve"))) == (1, 2), "threads wait for each other"
    with pytest.raises(ValueError, match="max_connections"):
        HubRepository(max_connections=0)


def test_a_second_run_fetches_nothing(hub: LocalHub, tmp_path: Path, content: bytes) -> None:
    cache, ranges = tmp_path / "deep" / "cache.sqlite", [(0, 10), (50, 99), (0, 10)]
    for _ in range(2):
        with HubRepository(endpoint=hub.endpoint, token=False, cache=cache) as repository:
            assert repository.read_ranges(MODEL, WEIGHTS, ranges) == [content[start:stop] for start, stop in ranges]
            assert len(repository.files(MODEL)) == 3
    assert repository.traffic.n_requests == 0
    assert len(hub.requests) == 4
    with HubRepository(endpoint=hub.endpoint, token=False, cache=cache, listing_age_s=0) as repository:
        repository.read_ranges(MODEL, WEIGHTS, ranges)
        assert (repository.traffic.api.n_requests, repository.traffic.data.n_requests) == (1, 0)
        hub.commits[MODEL] = "next"
    with HubRepository(endpoint=hub.endpoint, token=False, cache=cache, listing_age_s=0) as repository:
        repository.read_ranges(MODEL, WEIGHTS, ranges)
        assert repository.traffic.data.n_requests == 2, "another commit, other bytes"


def test_what_was_read_before_a_failure_is_kept(hub: LocalHub, tmp_path: Path) -> None:
    cache, ranges = tmp_path / "cache.sqlite", [(start, start + 10) for start in range(0, 800, 100)]
    hub.faults = lambda sent: Fault(status=404) if (sent.kind, sent.range) == ("data", "bytes=700-709") else None
    with (
        HubRepository(endpoint=hub.endpoint, token=False, cache=cache, max_connections=1) as repository,
        pytest.raises(RepositoryError, match=f"'{WEIGHTS}' of model {MODEL} .* HTTP 404"),
    ):
        repository.read_ranges(MODEL, WEIGHTS, ranges)
    hub.faults = []
    n_before = len(hub.of_kind("data"))
    with HubRepository(endpoint=hub.endpoint, token=False, cache=cache) as repository:
        repository.read_ranges(MODEL, WEIGHTS, ranges)
    assert len(hub.of_kind("data")) == n_before + 1


def test_refusals_are_not_kept_for_the_next_run(hub: LocalHub, tmp_path: Path) -> None:
    hub.private.add(MODEL)
    for _ in range(2):
        with (
            HubRepository(endpoint=hub.endpoint, token=False, cache=tmp_path / "cache.sqlite") as repository,
            pytest.raises(ModelNotFound),
        ):
            repository.files(MODEL)
    assert len(hub.requests) == 2


def test_offline(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    cache = tmp_path / "cache.sqlite"
    with HubRepository(endpoint=hub.endpoint, token=False, cache=cache) as repository:
        repository.read(MODEL, WEIGHTS, 0, 9)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    n_requests = len(hub.requests)
    with HubRepository(endpoint=hub.endpoint, token=False, cache=cache, listing_age_s=0) as repository:
        assert repository.read(MODEL, WEIGHTS, 0, 9) == content[:9]
        for ask in (lambda: repository.read(MODEL, WEIGHTS, 0, 10), lambda: repository.files("birch/other")):
            with pytest.raises(RepositoryError, match="HF_HUB_OFFLINE"):
                ask()
    assert len(hub.requests) == n_requests


def test_memory_for_models_is_bounded_and_commits_stay_pinned(
    hub: LocalHub, repository: HubRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atlas_pipeline.repositories.hub.repository.MAX_MODELS_IN_MEMORY", 1)
    (hub.root / "birch" / "bark").mkdir()
    pinned = repository.revision(MODEL)
    repository.files("birch/bark")
    assert repository.revision(MODEL) == pinned
    assert hub.requests[-1].path == f"/api/models/{MODEL}/revision/{pinned}?blobs=true"
    repository.files("birch/bark")
    hub.commits[MODEL] = "next"
    with pytest.raises(RepositoryError, match="has changed"):
        repository.files(MODEL)


def test_an_interrupted_call_leaves_nothing_behind(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.faults = [Fault("data", skip=1, status=503, headers={"Retry-After": "600"})]

    def interrupted(*_: object, **__: object) -> None:
        assert waiting.wait(5)
        raise KeyboardInterrupt

    waiting = threading.Event()
    repository = HubRepository(endpoint=hub.endpoint, token=False, max_connections=2)
    repository.read(MODEL, WEIGHTS, 0, 2)
    before = repository._requests._waiting.after_failure
    monkeypatch.setattr(
        repository._requests._waiting, "after_failure", lambda *a, **b: (waiting.set(), before(*a, **b))[1]
    )
    monkeypatch.setattr("atlas_pipeline.repositories.hub.repository.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        repository.read(MODEL, WEIGHTS, 4, 8)
    repository.close()  # would take ten minutes if the thread went on waiting


def test_opening_by_location(tmp_path: Path) -> None:
    repository = open_repository("hub", cache=tmp_path / "cache.sqlite", budget_bytes=5)
    assert isinstance(repository, HubRepository)
    assert repository._requests.endpoint == constants.ENDPOINT
    as_interface: Repository = repository
    assert (as_interface.gap_bytes, as_interface.n_parallel) == (65_536, 16)
    repository.close()
    with pytest.raises(RepositoryError, match="'hub'"):
        open_repository("https://hub.example/models")


@pytest.mark.parametrize(
    "endpoint", ["ftp://x", "hub.example", "https://a:b@hub.example", "https://hub.example/?a=b", "https://"]
)
def test_endpoints_that_are_none(endpoint: str) -> None:
    with pytest.raises(RepositoryError, match="HF_ENDPOINT") as caught:
        HubRepository(endpoint=endpoint)
    assert "a:b" not in str(caught.value)


def test_a_token_that_is_demanded_and_missing(hub: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with (
        HubRepository(endpoint=hub.endpoint, token=True) as repository,
        pytest.raises(RepositoryError, match="HF_TOKEN"),
    ):
        repository.files(MODEL)
    assert not hub.requests
