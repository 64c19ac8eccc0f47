"""What is to be done: which partitions of which tables are missing or made from something that has changed.

Pure: knows the tables and what they are made from, not how they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.schema import STAGES, TABLES, TableContract, round_of

ROUNDS: Final = ("raw", "documented atlas", "across snapshots")
"""Rounds over all snapshots: what is read, what it makes with earlier snapshots at hand, what compares those."""


class SelectionError(ValueError):
    """A selection that names no stage and no table; the message lists both."""


@dataclass(frozen=True)
class Step:
    """Tables of one partition that are made in one run.

    Attributes:
        partition: the partition; None for tables that have none.
        tables: their names, in the order in which they are made.
    """

    partition: str | None
    tables: tuple[str, ...]


@dataclass(frozen=True)
class Phase:
    """Tables with the same partitions that can be made one partition after the other.

    Attributes:
        name: what is done.
        tables: their names, in order.
        partitions: finds the partitions, once the phases before are done.
    """

    name: str
    tables: tuple[str, ...]
    partitions: Callable[[], Sequence[str | None]]


def select_tables(names: Sequence[str]) -> tuple[str, ...]:
    """Tables that a selection of stages and tables means; all where nothing is selected.

    Raises:
        SelectionError: a name is neither.
    """
    chosen: set[str] = set()
    for name in (part.strip().replace("/", ".") for item in names for part in item.split(",")):
        found = [t.name for t in TABLES.values() if name in (t.stage, t.name)]
        if not found:
            raise SelectionError(
                f"{name!r} is no stage and no table: stages {', '.join(STAGES)}; tables {', '.join(TABLES)}"
            )
        chosen.update(found)
    return tuple(table for table in TABLES if not names or table in chosen)


def phases(atlas: Atlas, snapshots: Sequence[str], tables: Sequence[str]) -> list[Phase]:
    """The phases of a whole run, in order.

    All snapshots are read before the first is cleaned, because a later one restores what it misses from earlier ones.

    Args:
        atlas: the tables.
        snapshots: the snapshots to work on.
        tables: the tables to work on.
    """

    def chosen(condition: Callable[[TableContract], bool]) -> tuple[str, ...]:
        return tuple(name for name in tables if condition(TABLES[name]))

    def by_snapshot(number: int) -> tuple[str, ...]:
        return chosen(lambda c: c.partitioned_by == "snapshot" and round_of(c.name) == number)

    made = [
        *(Phase(name, by_snapshot(number), lambda: snapshots) for number, name in enumerate(ROUNDS)),
        Phase("charting", chosen(lambda c: c.partitioned_by == "region"), atlas.region_partitions),
        Phase("release", chosen(lambda c: c.partitioned_by is None), lambda: [None]),
    ]
    return [phase for phase in made if phase.tables]


def steps(atlas: Atlas, phase: Phase, *, force: bool = False, leave_out: Sequence[str] = ()) -> list[Step]:
    """What is left to do of a phase.

    A table is made again when it is missing, when its contract, settings or inputs have changed, or when one of its
    inputs is made again in the same step.

    Args:
        atlas: the tables.
        phase: the phase.
        force: whether to make everything again.
        leave_out: tables that are not to be made now.
    """
    found = []
    stamps: dict[str, str] = {}
    for partition in phase.partitions():
        stale: list[str] = []
        for table in (name for name in phase.tables if name not in leave_out):
            is_fed = any(given.table in stale for given in TABLES[table].inputs)
            if force or is_fed or not atlas.is_current(table, partition, stamps=stamps):
                stale.append(table)
        if stale:
            found.append(Step(partition, tuple(stale)))
    return found
