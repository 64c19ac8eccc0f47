"""Requests to a local hub, and what goes wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """One request as it arrived. `kind` is api, resolve or data (at the store)."""

    kind: str
    method: str
    path: str
    range: str | None
    has_authorization: bool
    token: str | None
    user_agent: str


@dataclass
class Fault:
    """What goes wrong with requests of a kind (all if empty) whose path contains a text.

    Attributes:
        skip: So many matching requests go well first.
        times: Then so many go wrong; None for all.
        status: Answered in place of the right status; alone, with an empty body.
        headers: Added to the answer, or put in place of its own; None removes one.
        body: Sent in place of the file or listing.
        cut_after: The connection ends after so many bytes of the body; with `is_reset` by a reset.
        ignores_range: The whole file is sent with status 200.
        delay_s: Waited before the answer.
    """

    kind: str = ""
    path: str = ""
    skip: int = 0
    times: int | None = None
    status: int | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    body: bytes | None = None
    cut_after: int | None = None
    is_reset: bool = False
    ignores_range: bool = False
    delay_s: float = 0.0
    n_matched: int = 0

    def applies(self, request: Request) -> bool:
        """Whether it hits this request; counts those that match."""
        if self.kind not in ("", request.kind) or self.path not in request.path:
            return False
        self.n_matched += 1
        return self.n_matched > self.skip and (self.times is None or self.n_matched <= self.skip + self.times)


Faults = Sequence[Fault] | Callable[[Request], Fault | None]
