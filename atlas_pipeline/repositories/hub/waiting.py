"""When a failed request is sent again, and how long all requests wait when a hub asks for it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from huggingface_hub.utils import parse_ratelimit_headers

from atlas_pipeline.repositories.interface import RepositoryError

TOO_MANY_REQUESTS: Final = 429

_LONGEST_HEADER: Final = 200
_LONGEST_NUMBER: Final = 9


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a request is repeated.

    Attributes:
        attempts: Times that a request is sent at most.
        first_wait_s: Upper end of the first wait; it doubles from attempt to attempt, and the wait is drawn evenly from
            zero to it ("full jitter"), so that threads that failed together do not come back together.
        longest_wait_s: Where doubling ends.
        total_wait_s: Seconds that one request may wait in all, also for pauses that the hub asks for. Rates are limited
            by windows of five minutes, so a request can sit out two of them.
    """

    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 30.0
    total_wait_s: float = 900.0


class Abandoned(Exception):
    """The call that a request belongs to has failed already; never leaves this package."""


class Call:
    """What the requests of one call have in common: when one fails for good, the others need not go on."""

    def __init__(self) -> None:
        self._abandoned = threading.Event()

    def abandon(self) -> None:
        """Wakes and ends all requests of the call."""
        self._abandoned.set()

    def check(self) -> None:
        """Raises Abandoned if the call was abandoned."""
        if self._abandoned.is_set():
            raise Abandoned

    def sleep(self, seconds: float) -> None:
        """Waits, but no longer than until the call is abandoned."""
        self._abandoned.wait(seconds)


class Waiting:
    """Waits of all requests to one hub; threads share one.

    When a hub says that there are too many requests, all of them wait: each that is sent sooner only adds to them.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        seed: int = 0,
        sleep: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts without a pause.

        Args:
            policy: How often and how long.
            seed: Seed of the jitter.
            sleep: Waits so many seconds; None for a wait that ends early when the call is abandoned.
            clock: Seconds since any moment.
        """
        self.policy = policy
        self.clock = clock
        self._sleep = sleep
        self._random = random.Random(seed)  # noqa: S311  spreads waits; no secret hangs on it
        self._lock = threading.Lock()
        self._resume_at = -float("inf")

    def before_request(self, call: Call, *, waited: float, what: str) -> float:
        """Waits until no pause is on.

        Args:
            call: What the request belongs to.
            waited: Seconds that it has waited before.
            what: What is read, for the error.

        Returns:
            Seconds that it has waited in all.

        Raises:
            RepositoryError: If pauses follow each other for longer than it may wait.
        """
        call.check()
        while (left := self._resume_at - self.clock()) > 0:
            self._check(waited + left, what)
            # A second of jitter: not all threads start at the same moment.
            left += self._random.random()
            self._wait(left, call)
            waited += left
        return waited

    def after_failure(
        self, attempt: int, *, call: Call, asked_s: float | None, is_pause: bool, waited: float, what: str
    ) -> float:
        """Waits before a request is sent again, or has all requests wait.

        Args:
            attempt: How often it was sent.
            call: What it belongs to.
            asked_s: Seconds that the hub asks to wait, if it does.
            is_pause: Whether all requests have to wait; they then do so before they are sent, and so does this one.
            waited: Seconds that the request has waited before.
            what: What is read, for the error.

        Returns:
            Seconds that it has waited in all.

        Raises:
            RepositoryError: If the request would wait longer than it may.
        """
        if asked_s is None:
            longest = min(self.policy.longest_wait_s, self.policy.first_wait_s * 2 ** (attempt - 1))
            wait = self._random.uniform(0, longest)
        else:
            # Hubs count whole seconds.
            wait = asked_s + 1
        self._check(waited + wait, what)
        if is_pause:
            with self._lock:
                self._resume_at = max(self._resume_at, self.clock() + wait)
            return waited
        self._wait(wait, call)
        return waited + wait

    def _check(self, wait: float, what: str) -> None:
        if wait > self.policy.total_wait_s:
            raise RepositoryError(
                f"{what} cannot be read: the Hub is busy, and wants more patience than {self.policy.total_wait_s:.0f} "
                "seconds."
            )

    def _wait(self, seconds: float, call: Call) -> None:
        (self._sleep or call.sleep)(seconds)
        call.check()


def asked_wait_s(status: int, headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait: what its RateLimit header says, else Retry-After; None if neither does.

    RateLimit is that of draft-ietf-httpapi-ratelimit-headers-09; Retry-After holds seconds or a date (RFC 9110).
    """
    limit = headers.get("ratelimit", "")[:_LONGEST_HEADER]
    if status == TOO_MANY_REQUESTS and limit.isascii():
        info = parse_ratelimit_headers({"ratelimit": limit})
        if info is not None and info.remaining == 0:
            return float(info.reset_in_seconds)
    value = headers.get("retry-after", "")[:_LONGEST_HEADER].strip()
    if value.isascii() and value.isdigit():
        # A longer number is no less clear: longer than anybody waits.
        return float(value) if len(value) <= _LONGEST_NUMBER else float("inf")
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
