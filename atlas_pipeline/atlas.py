"""Atlas: the tables of one home together with the settings that they are made under.

Belongs here: which partitions an input stands for, what a partition was made from, whether it is current.
Does not belong here: what tables hold (stages), how they are stored (``storage``), when they are made (orchestration).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa

from atlas_pipeline.schema import Input, TableContract, contract_of
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage import Attachment, Receipt, TableNotMaterialized, TableStore, code_digest

LOCATIONS = ("hub_stats", "weights", "annotations", "cards", "evaluations", "truth")


FILES_OF_SNAPSHOTS = {"hub_stats": ("{}/models.parquet",), "cards": ("{}.parquet", "{}/cards.parquet")}
"""Files in a location that belong to one snapshot alone: another one's does not make it out of date."""


class Atlas:
    """All tables under one home.

    Attributes:
        settings: the settings.
        progress: called as progress(done, total, name) where making one partition takes long.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.progress: Callable[[int, int, str], None] = lambda done, total, name: None
        self._begun: dict[tuple[str, str | None], dict[str, str]] = {}

    @cached_property
    def store(self) -> TableStore:
        """The tables."""
        return TableStore(self.settings.home)

    def region_partitions(self) -> list[str]:
        """Partitions in which the latest snapshot's regions are charted, sorted.

        Raises:
            TableNotMaterialized: there are no regions yet.
        """
        snapshots = self.store.partitions("components.regions")
        if not snapshots:
            raise TableNotMaterialized("components.regions")
        with self.store.connect({"components.regions": [snapshots[-1]]}) as connection:
            rows = connection.execute("select distinct region_partition from components.regions order by 1").fetchall()
        return [str(row[0]) for row in rows]

    def read_partitions(self, table: str, partition: str | None) -> dict[str, list[str] | None]:
        """For each input of a table, the partitions that one of its partitions reads; None for an unpartitioned one."""
        contract = contract_of(table)
        return {given.table: self._partitions(given, partition) for given in contract.inputs}

    def begin(self, table: str, partition: str | None) -> None:
        """Note what a partition is about to be made from; ``write`` puts it on the receipt.

        An input that changes while the partition is made is thus never claimed to have been read: the receipt names
        the older one, and the partition is made again. ``connect`` does this; call it before reading anything else.
        """
        self._begun[table, partition] = self.provenance(table, partition)

    def connect(self, table: str, partition: str | None, *, also: Sequence[str] = ()) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection that sees exactly the inputs of a table's partition.

        It gives rows in no order but the one that a query asks for, and uses all cores for that.

        Args:
            table: the table that is to be made.
            partition: its partition.
            also: further tables, with all their partitions, among them the table itself.

        Raises:
            TableNotMaterialized: an input is missing.
        """
        self.begin(table, partition)
        views = self.read_partitions(table, partition)
        views.update(dict.fromkeys(also))
        return self.store.connect(
            views, threads=self.settings.threads, memory_limit=self.settings.memory_limit, keeps_order=False
        )

    def write(
        self,
        table: str,
        rows: pa.Table | pa.RecordBatchReader,
        partition: str | None = None,
        *,
        attachment: Attachment | None = None,
    ) -> Receipt:
        """Write a partition, its receipt saying what it was made from: what there was when it was begun, or is now."""
        inputs = self._begun.pop((table, partition), None) or self.provenance(table, partition)
        return self.store.write(table, rows, partition=partition, inputs=inputs, attachment=attachment)

    def before(self, table: str) -> pa.Table:
        """An unpartitioned table as it was made last; without rows where there is none under the present contract."""
        if self._receipt(table, None) is None:
            return contract_of(table).arrow_schema.empty_table()
        return self.store.read(table)

    def provenance(
        self, table: str, partition: str | None, *, stamps: MutableMapping[str, str] | None = None
    ) -> dict[str, str]:
        """Digest of everything that a partition is made from: inputs' contents, settings, outside files, code.

        Args:
            table: the table.
            partition: its partition.
            stamps: stamps by location that are known already; new ones are added.
        """
        contract = contract_of(table)
        known: MutableMapping[str, str] = {} if stamps is None else stamps
        digests = {name: self._setting(contract, name, partition, known) for name in contract.settings}
        digests["code"] = code_digest(contract.stage)
        for name, partitions in self.read_partitions(table, partition).items():
            for each in [None] if partitions is None else partitions:
                receipt = self.store.receipt(name, each)
                digests[f"{name}/{each or ''}"] = receipt.digest if receipt else "missing"
        return digests

    def is_current(self, table: str, partition: str | None, *, stamps: MutableMapping[str, str] | None = None) -> bool:
        """Whether a partition is there, under the present contract, and made from what is there now.

        Args:
            table: the table.
            partition: its partition.
            stamps: as for ``provenance``; one mapping for many partitions looks at a folder once, not once for each.
        """
        receipt = self._receipt(table, partition)
        return receipt is not None and receipt.inputs == self.provenance(table, partition, stamps=stamps)

    def _receipt(self, table: str, partition: str | None) -> Receipt | None:
        """The receipt of a whole partition that was written under the present contract; None otherwise."""
        receipt = self.store.receipt(table, partition)
        is_present = receipt is not None and receipt.contract == contract_of(table).fingerprint
        return receipt if is_present else None

    def _partitions(self, given: Input, partition: str | None) -> list[str] | None:
        if contract_of(given.table).partitioned_by is None:
            return None
        if given.scope == "same":
            return [partition] if partition is not None else []
        there = self.store.partitions(given.table)
        if given.scope == "up_to":
            # The own one always: without it the table must not be made from the earlier ones alone.
            return [] if partition is None else sorted({partition, *(p for p in there if p < partition)})
        return there[-1:] if given.scope == "latest" else there

    def _setting(
        self, contract: TableContract, name: str, partition: str | None, stamps: MutableMapping[str, str]
    ) -> str:
        if name not in LOCATIONS:
            return str(getattr(self.settings, name))
        location = self.settings.location(name)
        if contract.partitioned_by == "snapshot":
            own = (Path(location) / file.format(partition) for file in FILES_OF_SNAPSHOTS.get(name, ()))
            location = next((str(path) for path in own if path.is_file()), location)
        if location not in stamps:
            stamps[location] = stamp(location)
        return stamps[location]


def stamp(location: str) -> str:
    """A text that changes when the files at a location do: names, sizes and times, not contents.

    A file that vanishes meanwhile is left out.

    Args:
        location: a file, a folder, or something else, which is its own stamp.
    """
    path = Path(location)
    if not location or not path.exists():
        return location
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        with suppress(FileNotFoundError):
            status = file.stat()
            digest.update(os.fsencode(file.relative_to(path)) + b"\0%d\0%d\n" % (status.st_size, status.st_mtime_ns))
    return digest.hexdigest()[:32]
