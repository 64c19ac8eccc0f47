"""What a check is and what it finds. Pure: no orchestrator, no clock."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Severity = Literal["error", "warning"]

SAMPLE_ROWS: Final = 10
"""Failing rows that a result shows; the count is always exact."""

SAMPLE_CHARACTERS: Final = 500
"""Length of a row shown: cells hold text of the outside world, of any length."""


@dataclass(frozen=True)
class Check:
    """A property that a table must have.

    Attributes:
        table: the table.
        name: the property as a noun clause, ``edges_are_acyclic``.
        description: what a red result means and what to do.
        severity: an error stops what is made from the table, a warning is shown.
        reads: further tables that the check looks at.
        query: SQL that returns the failing rows; empty for a check in Python.
    """

    table: str
    name: str
    description: str
    severity: Severity = "error"
    reads: tuple[str, ...] = ()
    query: str = ""


@dataclass(frozen=True)
class CheckResult:
    """What a check found.

    Attributes:
        check: the check.
        n_failing: rows (columns, files, figures) for which the property does not hold; 1 for a check that cannot run.
        sample: some of them, as text; the same ones for the same data.
    """

    check: Check
    n_failing: int
    sample: tuple[str, ...] = ()

    @property
    def is_passed(self) -> bool:
        """Whether the property holds throughout."""
        return self.n_failing == 0


def not_run(check: Check, reason: str) -> CheckResult:
    """The red result of a check that could not be run; what is not checked is not sound."""
    return CheckResult(check, 1, (f"not run: {reason}"[:SAMPLE_CHARACTERS],))


def as_text(row: Mapping[str, Any]) -> str:
    """A row as one line of ASCII JSON, cut to length, so that no cell can pass for markup of a terminal."""
    return json.dumps(row, default=str)[:SAMPLE_CHARACTERS]
