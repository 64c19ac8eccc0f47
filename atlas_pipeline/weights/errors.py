"""Why a model's weights could not be used: one status for tables, one sentence for people."""

from __future__ import annotations

from typing import Literal, get_args

Status = Literal[
    "no_weights",
    "not_found",
    "gated",
    "disabled",
    "over_budget",
    "unsupported_format",
    "unreadable",
    "invalid_header",
    "truncated",
    "missing_base",
    "unsupported_adapter",
    "not_finite",
]

STATUSES: tuple[Status, ...] = get_args(Status)
"""All reasons. no_weights: no weight file. not_found: no such model, or a private one. gated: its author has to let one
in. disabled: closed by its host. over_budget: it would take more bytes than it may. unsupported_format: real weights of
a kind that is not read. unreadable: the repository failed. invalid_header: the file contradicts its format. truncated:
the file ends too early. missing_base: an adapter that cannot be read without its base, which cannot be used.
unsupported_adapter: an adapter of a kind that is not read. not_finite: NaN or infinity."""


class WeightsError(Exception):
    """The weights of a model cannot be used.

    Attributes:
        status: One of STATUSES.
        message: A sentence that names the model or file.
    """

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status: Status = status
        self.message = message
