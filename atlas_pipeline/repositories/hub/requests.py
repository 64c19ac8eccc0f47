"""One request to a hub: sent with the client of huggingface_hub, repeated, redirected by hand, and read with a limit.

Here belongs what holds for every request. What an answer has to look like belongs to those who ask. No error or log
line carries an address, a header or a message of the client, because addresses of stores are signed and count as
passwords.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from huggingface_hub import constants
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.utils import build_hf_headers, get_session, httpx

from atlas_pipeline.repositories.hub.addresses import joined, keep_addresses_out_of_logs, origin_of, redirect_flaw
from atlas_pipeline.repositories.hub.traffic import Kind, TrafficMeter
from atlas_pipeline.repositories.hub.waiting import TOO_MANY_REQUESTS, Call, Waiting, asked_wait_s
from atlas_pipeline.repositories.interface import RepositoryError

MAX_REDIRECTS: Final = 5

TIMEOUT: Final = httpx.Timeout(connect=10.0, read=30.0, write=30.0, pool=60.0)

SLOWEST_BYTES_PER_S: Final = 20_000
"""A body that comes more slowly, after a minute's grace, is given up: one byte at a time never times out either."""

_GRACE_S: Final = 60.0
_SPARE_BODY_BYTES: Final = 1 << 16
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BUSY: Final = frozenset({408, 425, TOO_MANY_REQUESTS})


class Body(NamedTuple):
    """How much of an answer's body is read.

    Attributes:
        most: Bytes that are read at most.
        is_exact: Whether it must be so many; otherwise more are an error and fewer are fine.
    """

    most: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request has led to.

    Attributes:
        url: Where the answer came from, after redirects. May be signed: it must not be shown.
        status: HTTP status.
        headers: Case does not matter in their names.
        body: Empty where it was not to be read.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


Expect = Callable[[str, int, Mapping[str, str]], Body | None]
"""Looks at an answer's address, status and headers before its body is read, and says how much of it to read; None for
nothing. May raise RepositoryError."""


class _Passing(Exception):
    """A failure that may pass."""

    def __init__(self, reason: str, *, status: int = 0, asked_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.status, self.asked_s = reason, status, asked_s


class HubRequests:
    """Sends requests for all threads of a repository."""

    def __init__(self, endpoint: str, *, token: str | bool | None, meter: TrafficMeter, waiting: Waiting) -> None:
        """Sends nothing yet.

        Args:
            endpoint: Address of the hub.
            token: As in huggingface_hub.
            meter: Counts what is sent and received.
            waiting: When failed requests are sent again.

        Raises:
            RepositoryError: If the endpoint is no web address.
        """
        origin = origin_of(endpoint)
        if origin is None or "?" in endpoint or "#" in endpoint:
            raise RepositoryError("The Hub's endpoint (HF_ENDPOINT) is no web address.")
        self.endpoint = endpoint.rstrip("/")
        self._origin = origin
        self._meter = meter
        self._waiting = waiting
        self._token = token
        self._lock = threading.Lock()
        self._with_token: dict[str, str] = {}
        keep_addresses_out_of_logs()

    def is_own(self, url: str) -> bool:
        """Whether an address is on the endpoint's origin (scheme, host and port): only there the token is sent."""
        return origin_of(url) == self._origin

    def get(
        self,
        url: str,
        *,
        kind: Kind,
        what: str,
        expect: Expect,
        call: Call,
        byte_range: tuple[int, int] | None = None,
    ) -> Answer:
        """Asks for an address, and for those that it redirects to.

        Args:
            url: The address.
            kind: What it is counted as; `resolve` becomes `data` where a redirect leads away from the endpoint.
            what: What is read, as the beginning of a sentence.
            expect: Judges every answer that is not to be asked for again, redirects too.
            call: What the request belongs to.
            byte_range: Bytes [start, stop) to ask for.

        Returns:
            The first answer that is no redirect; its status may be an error's.

        Raises:
            RepositoryError: If there is no such answer; BudgetSpent if it would cost too much.
        """
        for _ in range(MAX_REDIRECTS + 1):
            its_kind: Kind = "data" if kind == "resolve" and not self.is_own(url) else kind
            answer = self._get_one(url, kind=its_kind, what=what, expect=expect, call=call, byte_range=byte_range)
            if answer.status not in _REDIRECTS:
                return answer
            target = joined(url, answer.headers.get("location", ""))
            if flaw := redirect_flaw(url, target, endpoint=self._origin):
                raise RepositoryError(f"{what} is not read: the Hub redirects {flaw}.")
            url = target
        raise RepositoryError(f"{what} cannot be read: the Hub redirects without end.")

    def _get_one(
        self, url: str, *, kind: Kind, what: str, expect: Expect, call: Call, byte_range: tuple[int, int] | None
    ) -> Answer:
        policy, waited = self._waiting.policy, 0.0
        for attempt in range(1, policy.attempts + 1):
            waited = self._waiting.before_request(call, waited=waited, what=what)
            try:
                return self._send(url, kind=kind, what=what, expect=expect, call=call, byte_range=byte_range)
            except _Passing as failure:
                reason = failure.reason
                if attempt < policy.attempts:
                    waited = self._waiting.after_failure(
                        attempt,
                        call=call,
                        asked_s=failure.asked_s,
                        is_pause=failure.status == TOO_MANY_REQUESTS,
                        waited=waited,
                        what=what,
                    )
        raise RepositoryError(f"{what} cannot be read: {reason}, {policy.attempts} times.")

    def _send(
        self, url: str, *, kind: Kind, what: str, expect: Expect, call: Call, byte_range: tuple[int, int] | None
    ) -> Answer:
        if constants.is_offline_mode():
            raise _offline(what)
        headers = self._headers(url, byte_range)
        clock = self._waiting.clock
        reading = _Reading(self._meter, what, call, deadline=clock() + _GRACE_S, clock=clock)
        # How long a listing is shows only when it comes; it is counted then.
        reading.set_aside(1 if byte_range is None else byte_range[1] - byte_range[0])
        client = get_session()
        try:
            with client.stream("GET", url, headers=headers, follow_redirects=False, timeout=TIMEOUT) as response:
                return reading.answer(response, url, expect)
        except OfflineModeIsEnabled:
            raise _offline(what) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError) as error:
            raise RepositoryError(f"{what} cannot be asked for: {type(error).__name__}.") from None
        except httpx.TransportError as error:
            raise _Passing(f"the connection failed ({type(error).__name__})") from None
        except (RuntimeError, OSError, ValueError):
            # Others in this process share the client and may close it.
            if not client.is_closed:
                raise
            raise _Passing("the connection was closed") from None
        finally:
            self._meter.count(kind, n_bytes=reading.n_received, set_aside=reading.n_set_aside)

    def _headers(self, url: str, byte_range: tuple[int, int] | None) -> dict[str, str]:
        with self._lock:
            if not self._with_token:
                try:
                    headers = build_hf_headers(
                        token=self._token, library_name="atlas_pipeline", library_version=_version()
                    )
                except OSError:
                    raise RepositoryError("The Hub's token is demanded, and there is none (HF_TOKEN).") from None
                # Compressed bodies would hide how much arrives, and ranges of them mean nothing.
                self._with_token = headers | {"accept-encoding": "identity"}
        headers = dict(self._with_token)
        if not self.is_own(url):
            headers.pop("authorization", None)
        if byte_range is not None:
            headers["range"] = f"bytes={byte_range[0]}-{byte_range[1] - 1}"
        return headers


class _Reading:
    """Reads one answer, with everything that it costs."""

    def __init__(
        self, meter: TrafficMeter, what: str, call: Call, *, deadline: float, clock: Callable[[], float]
    ) -> None:
        self.n_received = 0
        self.n_set_aside = 0
        self._meter, self._what, self._call = meter, what, call
        self._deadline, self._clock = deadline, clock

    def set_aside(self, n_bytes: int) -> None:
        self._meter.set_aside(n_bytes)
        self.n_set_aside += n_bytes

    def answer(self, response: httpx.Response, url: str, expect: Expect) -> Answer:
        status, headers = response.status_code, response.headers
        if status in _BUSY or status >= 500:
            self._spare(response)
            raise _Passing(f"HTTP {status}", status=status, asked_s=asked_wait_s(status, headers))
        body = expect(url, status, headers)
        if body is None:
            self._spare(response)
            return Answer(url, status, headers, b"")
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise RepositoryError(f"{self._what} cannot be read: the Hub sends it compressed, though asked not to.")
        if body.is_exact and body.most > self.n_set_aside:
            self.set_aside(body.most - self.n_set_aside)
        return Answer(url, status, headers, self._body(response, body))

    def _body(self, response: httpx.Response, body: Body) -> bytes:
        announced = _number(response.headers.get("content-length"))
        if announced is not None and (announced > body.most or (body.is_exact and announced != body.most)):
            if body.is_exact:
                raise _Passing(f"{announced} bytes were announced instead of {body.most}")
            raise RepositoryError(f"{self._what} has {announced} bytes; at most {body.most} are read.")
        parts = []
        n_read = 0
        for part in response.iter_raw():
            n_read += len(part)
            self.n_received += len(part)
            self._call.check()
            if n_read > body.most:
                if body.is_exact:
                    raise _Passing(f"more than {body.most} bytes arrived")
                raise RepositoryError(f"{self._what} has more than the {body.most} bytes that are read.")
            if self._clock() > self._deadline + n_read / SLOWEST_BYTES_PER_S:
                raise _Passing("the bytes arrived too slowly")
            parts.append(part)
        if body.is_exact and n_read < body.most:
            raise _Passing(f"{n_read} bytes arrived instead of {body.most}")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _spare(self, response: httpx.Response) -> None:
        """Reads a small body that nobody needs, so that its connection can be used again; it may break off."""
        announced = _number(response.headers.get("content-length"))
        if announced is not None and announced <= _SPARE_BODY_BYTES:
            with contextlib.suppress(httpx.TransportError):
                for part in response.iter_raw():
                    self.n_received += len(part)


def _version() -> str | None:
    try:
        return importlib.metadata.version("atlas-pipeline")
    except importlib.metadata.PackageNotFoundError:
        return None


def _offline(what: str) -> RepositoryError:
    return RepositoryError(f"{what} cannot be read: huggingface_hub is offline (HF_HUB_OFFLINE), and it is not cached.")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 18 else None
