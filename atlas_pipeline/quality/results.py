"""What a check is and what it finds. Pure: no orchestrator, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["error", "warning"]

SAMPLE_ROWS: Final = 10
"""Failing rows that a result shows; the count is always exact."""


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
        n_failing: rows for which the property does not hold.
        sample: some of them, as text.
    """

    check: Check
    n_failing: int
    sample: tuple[str, ...] = ()

    @property
    def is_passed(self) -> bool:
        """Whether the property holds throughout."""
        return self.n_failing == 0
