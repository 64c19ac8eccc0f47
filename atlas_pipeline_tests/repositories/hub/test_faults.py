"""Reading a hub on which things go wrong; whatever does, no token and no signed address is shown or logged."""

import logging
import os
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from huggingface_hub.utils import close_session, get_session, httpx

from atlas_pipeline.repositories import (
    FileNotInModel,
    HubRepository,
    ModelNotFound,
    RepositoryError,
    RetryPolicy,
)
from atlas_pipeline.repositories.hub.addresses import CLIENT_LOGGERS
from atlas_pipeline_tests.repositories.hub.conftest import MODEL, TOKEN, WEIGHTS, FakeTime
from atlas_pipeline_tests.repositories.hub.local_hub import Fault, LocalHub, Request

RANGES = [(start, start + 50) for start in range(0, 2000, 200)]


@pytest.fixture(autouse=True)
def nothing_secret_is_logged(hub: LocalHub, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    for name in CLIENT_LOGGERS:
        logging.getLogger(name).filters.clear()
    first = hub.signature
    yield
    # What was logged before the test's end is in the records of its own phase.
    text = "\n".join(record.getMessage() for record in caplog.get_records("call"))
    assert "send_request_headers" in text
    assert not {secret for secret in (TOKEN, first, hub.signature, "signature=") if secret in text}


def failure(repository: HubRepository, path: str = WEIGHTS, start: int = 0, stop: int = 50) -> RepositoryError:
    """The error that reading a range ends with, which shows nothing secret."""
    with pytest.raises(RepositoryError) as caught:
        repository.read(MODEL, path, start, stop)
    shown = "".join(traceback.format_exception(caught.value))
    assert not {secret for secret in (TOKEN, "signature=", "127.0.0.1") if secret in shown}
    assert MODEL in str(caught.value)
    return caught.value


def read_all(repository: HubRepository, content: bytes) -> bool:
    return repository.read_ranges(MODEL, WEIGHTS, RANGES) == [content[start:stop] for start, stop in RANGES]


# -- what passes -----------------------------------------------------------------------------------------------------

PASSING = {
    "too many requests, as the Hub says it": Fault(status=429, headers={"RateLimit": '"resolvers";r=0;t=7'}),
    "too many requests, as others say it": Fault(status=429, headers={"Retry-After": "7"}),
    "too many requests, without more": Fault(status=429),
    "unavailable for seven seconds": Fault(status=503, headers={"Retry-After": "7"}),
    "a date to wait for": Fault(status=503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    "waits that are none": Fault(status=503, headers={"Retry-After": "soon", "RateLimit": '"api";r=0;t=99999999999'}),
    "internal error": Fault(status=500),
    "bad gateway": Fault(status=502),
    "timeout": Fault(status=408),
    "early": Fault(status=425),
    "reset in mid-body": Fault(cut_after=20, is_reset=True),
    "reset before the body": Fault(cut_after=0, is_reset=True),
    "end in mid-body": Fault(cut_after=20),
    "announces more than it sends": Fault(headers={"Content-Length": "51"}),
    "announces less than was asked": Fault(headers={"Content-Length": "49"}),
    "announces nothing and sends less": Fault(headers={"Content-Length": None}, cut_after=49),
    "announces nothing and sends more": Fault(headers={"Content-Length": None, "Connection": "close"}, body=b"x" * 400),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_waited_for(
    hub: LocalHub, repository: HubRepository, fake_time: FakeTime, content: bytes, name: str
) -> None:
    hub.faults = [replace(PASSING[name], kind="data", skip=1, times=2)]
    assert read_all(repository, content)
    assert fake_time.slept
    assert len(hub.of_kind("data")) == 2 + len(RANGES)
    asks_for_seven = any("7" in (text or "")[-1:] for text in PASSING[name].headers.values())
    assert max(fake_time.slept) >= (8 if asks_for_seven else 0)


@pytest.mark.parametrize("name", [name for name, fault in PASSING.items() if fault.status])
def test_the_endpoint_is_waited_for_too(
    hub: LocalHub, repository: HubRepository, fake_time: FakeTime, content: bytes, name: str
) -> None:
    hub.faults = [replace(PASSING[name], kind=kind, times=2) for kind in ("api", "resolve")]
    assert read_all(repository, content)
    assert len(fake_time.slept) == 4
    assert (len(hub.of_kind("api")), len(hub.of_kind("resolve"))) == (3, 3)


def test_a_listing_that_breaks_off(hub: LocalHub, repository: HubRepository, fake_time: FakeTime) -> None:
    hub.faults = [Fault("api", cut_after=20, times=1), Fault("api", cut_after=20, is_reset=True, times=1)]
    assert len(repository.files(MODEL)) == 3
    assert len(fake_time.slept) == 2


def test_the_body_of_a_redirect_does_not_matter(
    hub: LocalHub, repository: HubRepository, fake_time: FakeTime, content: bytes
) -> None:
    hub.faults = [Fault("resolve", cut_after=2)]
    assert read_all(repository, content)
    assert not fake_time.slept


def test_a_server_that_never_recovers(hub: LocalHub, repository: HubRepository, fake_time: FakeTime) -> None:
    hub.faults = [Fault("data", status=500)]
    error = failure(repository)
    assert str(error) == f"The file '{WEIGHTS}' of model {MODEL} cannot be read: HTTP 500, 4 times."
    assert len(hub.of_kind("data")) == 4
    assert len(fake_time.slept) == 3
    for slept, longest in zip(fake_time.slept, (1, 2, 4), strict=True):
        assert 0 <= slept <= longest, "full jitter below a doubling bound"
    hub.faults = [Fault("api", status=503)]
    with pytest.raises(RepositoryError, match="The listing of model alder/cone cannot be read: HTTP 503, 4 times"):
        repository.files("alder/cone")


def test_waits_are_those_of_the_seed(hub: LocalHub) -> None:
    waits = []
    for seed in (1, 1, 2):
        time_ = FakeTime()
        with HubRepository(
            endpoint=hub.endpoint, token=False, seed=seed, sleep=time_.sleep, clock=time_.clock
        ) as repository:
            hub.faults = [Fault(status=500, times=3)]
            repository.files(MODEL)
        waits.append(time_.slept)
    assert waits[0] == waits[1] != waits[2]
    assert len(waits[0]) == 3


@pytest.mark.parametrize("asked", ["3600", "9" * 50])
def test_nobody_waits_for_hours(hub: LocalHub, repository: HubRepository, fake_time: FakeTime, asked: str) -> None:
    hub.faults = [Fault("data", status=429, headers={"Retry-After": asked})]
    assert "more patience than 900 seconds" in str(failure(repository))
    assert not fake_time.slept
    hub.faults = [Fault("data", status=429, headers={"Retry-After": "400"})]
    assert "more patience than 900 seconds" in str(failure(repository))
    assert 800 <= sum(fake_time.slept) <= 900


def test_one_refusal_makes_all_threads_wait(hub: LocalHub, content: bytes) -> None:
    arrived: list[float] = []
    lock = threading.Lock()

    def refuse_once(request: Request) -> Fault | None:
        with lock:
            arrived.append(time.monotonic())
            return Fault(status=429, headers={"Retry-After": "0"}) if len(arrived) == 10 else None

    hub.latency_s = 0.01
    with HubRepository(endpoint=hub.endpoint, token=False, max_connections=4) as repository:
        repository.files(MODEL)
        hub.faults = refuse_once
        assert repository.read_ranges(MODEL, WEIGHTS, [(i, i + 9) for i in range(60)])[59] == content[59:68]
    # Retry-After 0 is a wait of one second, as it counts whole ones. What was on its way may still arrive.
    pause = [moment for moment in arrived if 0.1 < moment - arrived[9] < 0.95]
    assert len(arrived) == 62
    assert not pause


def test_a_client_that_others_closed(
    hub: LocalHub, repository: HubRepository, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As huggingface_hub does itself, when some connection of its own cannot be made."""
    assert read_all(repository, content)
    close_session()
    assert read_all(repository, content)
    with httpx.Client() as closed:
        pass
    clients = [closed, closed]
    monkeypatch.setattr(
        "atlas_pipeline.repositories.hub.requests.get_session", lambda: clients.pop() if clients else get_session()
    )
    assert read_all(repository, content)
    assert not clients


def test_no_server_at_all(repository: HubRepository, hub: LocalHub, fake_time: FakeTime) -> None:
    repository.files(MODEL)
    hub.close()
    assert str(failure(repository)).endswith("the connection failed (ConnectError), 4 times.")
    assert len(fake_time.slept) == 3


# -- what was not asked for ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("bytes 1-50/100000", "other bytes than"),
        ("bytes 0-48/100000", "other bytes than"),
        ("bytes 0-49/*", "other bytes than"),
        ("bytes 0-49/" + "9" * 99, "other bytes than"),
        ("items 0-49/100000", "other bytes than"),
        (None, "other bytes than"),
        ("bytes 0-49/99999", "changed between requests"),
    ],
)
def test_other_bytes_than_were_asked_for(
    hub: LocalHub, repository: HubRepository, header: str | None, words: str
) -> None:
    hub.faults = [Fault("data", headers={"Content-Range": header})]
    assert words in str(failure(repository))
    assert len(hub.of_kind("data")) == 1, "asking again would not help"


def test_a_server_without_ranges_is_not_downloaded_from(hub: LocalHub, repository: HubRepository) -> None:
    path = hub.root / MODEL / "large.bin"
    with path.open("wb") as file:
        file.truncate(40_000_000_000)
    hub.faults = [Fault("data", ignores_range=True)]
    assert "does not support ranges" in str(failure(repository, "large.bin"))
    assert repository.traffic.data.n_bytes == 0
    # Only what fits into the buffers of the connection is on its way.
    deadline = time.monotonic() + 5
    while hub.n_bytes["data"] == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert 0 < hub.n_bytes["data"] < 20_000_000


def test_a_small_file_is_read_whole_where_there_are_no_ranges(
    hub: LocalHub, repository: HubRepository, content: bytes
) -> None:
    hub.faults = [Fault("data", ignores_range=True)]
    assert read_all(repository, content)
    assert len(hub.of_kind("data")) == 1, "one answer has all ranges"
    large = os.urandom((1 << 20) + 1)
    (hub.root / MODEL / "large.bin").write_bytes(large)
    with HubRepository(endpoint=hub.endpoint, token=TOKEN) as other:
        assert other.read(MODEL, "large.bin", 0, len(large)) == large
        with pytest.raises(RepositoryError, match="does not support ranges"):
            other.read(MODEL, "large.bin", 1, len(large))


def test_the_budget_holds_where_there_are_no_ranges(hub: LocalHub) -> None:
    hub.faults = [Fault("data", ignores_range=True)]
    with (
        HubRepository(endpoint=hub.endpoint, token=TOKEN, budget_bytes=50_000) as repository,
        pytest.raises(RepositoryError, match="50000 bytes"),
    ):
        repository.read(MODEL, WEIGHTS, 0, 10)
    assert repository.traffic.data.n_bytes == 0


@pytest.mark.parametrize("kind", ["api", "data"])
def test_compressed_answers_are_refused(hub: LocalHub, repository: HubRepository, kind: str) -> None:
    hub.faults = [Fault(kind, headers={"Content-Encoding": "gzip"})]
    assert "compressed" in str(failure(repository))
    hub.faults = [Fault(kind, headers={"Content-Encoding": "identity"})]
    repository.read(MODEL, WEIGHTS, 0, 50)


def test_a_file_that_changes_between_requests(hub: LocalHub, repository: HubRepository, content: bytes) -> None:
    assert repository.read(MODEL, WEIGHTS, 0, 50) == content[:50]
    path = hub.root / MODEL / WEIGHTS
    path.write_bytes(content[::-1])
    assert "has changed between requests: its content is another" in str(failure(repository, start=50, stop=90))
    path.write_bytes(content[:90_000])
    assert "changed" in str(failure(repository, start=50, stop=90))
    assert "it ends earlier" in str(failure(repository, start=95_000, stop=95_010))


@pytest.mark.parametrize(
    "headers",
    [{"X-Repo-Commit": "0" * 40}, {"X-Linked-Size": "99"}, {"X-Linked-Etag": '"' + "0" * 64 + '"'}],
)
def test_a_redirect_that_tells_of_another_file(
    hub: LocalHub, repository: HubRepository, headers: dict[str, str | None]
) -> None:
    hub.faults = [Fault("resolve", headers=headers)]
    assert "has changed between requests" in str(failure(repository))
    assert not hub.of_kind("data")


def test_a_whole_file_of_another_size(hub: LocalHub, repository: HubRepository) -> None:
    hub.faults = [Fault("resolve", "config.json", ignores_range=True, body=b"{}")]
    assert "its size is another" in str(failure(repository, "config.json", 0, 22))


# -- redirects -------------------------------------------------------------------------------------------------------


def test_signed_addresses_that_expired_are_renewed_once(
    hub: LocalHub, repository: HubRepository, content: bytes
) -> None:
    assert read_all(repository, content)
    hub.expire()
    hub.latency_s = 0.02
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda _: read_all(repository, content), range(8)))
    assert len(hub.of_kind("resolve")) == 2, "one thread asks, the others wait for it"
    assert not any(request.has_authorization for request in hub.of_kind("data"))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_store_that_refuses(hub: LocalHub, repository: HubRepository, status: int) -> None:
    hub.faults = [Fault("data", status=status)]
    assert f"its store answers with HTTP {status}" in str(failure(repository))
    assert (len(hub.of_kind("resolve")), len(hub.of_kind("data"))) == (2, 2)
    hub.faults = [Fault("data", status=status, times=1)]
    repository.read(MODEL, WEIGHTS, 0, 50)


def test_redirects_without_end(hub: LocalHub, repository: HubRepository) -> None:
    hub.faults = [Fault("resolve", status=302, headers={"Location": "/around/and/resolve/x/around"})]
    assert "redirects without end" in str(failure(repository))
    assert len(hub.of_kind("resolve")) == 6


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://user:word@127.0.0.1/x", "data:,x", "", None],
)
def test_redirects_to_what_is_no_web_address(hub: LocalHub, repository: HubRepository, location: str | None) -> None:
    hub.faults = [Fault("resolve", status=302, headers={"Location": location})]
    assert "redirects to what is no web address" in str(failure(repository))
    assert len(hub.of_kind("resolve")) == 1


# -- refusals, and worse -------------------------------------------------------------------------------------------


def test_refusals_without_a_known_meaning(hub: LocalHub, repository: HubRepository) -> None:
    hub.faults = [Fault("resolve", status=418, headers={"X-Error-Message": "caf\xe9 " + TOKEN})]
    assert str(failure(repository)).endswith("the Hub answers with HTTP 418.")
    hub.faults = [Fault("resolve", status=403)]
    assert str(failure(repository)).endswith("the Hub answers with HTTP 403.")
    hub.faults = [Fault("resolve", status=204)]
    assert str(failure(repository)).endswith("the Hub answers with HTTP 204.")
    hub.faults = [Fault("resolve", status=404)]
    assert isinstance(failure(repository), FileNotInModel)
    hub.faults = [Fault("resolve", status=401)]
    assert isinstance(failure(repository), ModelNotFound)


def test_a_body_that_drips(hub: LocalHub, fake_time: FakeTime) -> None:
    """Each byte comes in time, all of them would take hours."""
    (hub.root / MODEL / WEIGHTS).write_bytes(bytes(3_000_000))
    ticks = iter(range(10**9))
    with (
        HubRepository(
            endpoint=hub.endpoint,
            token=TOKEN,
            retries=RetryPolicy(attempts=2),
            sleep=fake_time.sleep,
            clock=lambda: next(ticks) * 40.0,
        ) as repository,
        pytest.raises(RepositoryError, match="too slowly, 2 times"),
    ):
        repository.read(MODEL, WEIGHTS, 0, 3_000_000)


def test_garbage_in_place_of_http(fake_time: FakeTime, repository: HubRepository) -> None:
    def serve(server: socket.socket) -> None:
        for _ in range(2):
            connection, _ = server.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"\x00\xff not HTTP\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        with (
            HubRepository(
                endpoint=f"http://127.0.0.1:{server.getsockname()[1]}",
                token=TOKEN,
                retries=RetryPolicy(attempts=2),
                sleep=fake_time.sleep,
            ) as other,
            pytest.raises(RepositoryError, match="RemoteProtocolError"),
        ):
            other.files(MODEL)
        thread.join()
