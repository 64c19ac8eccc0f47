"""Small hubs: rows of any table with the columns that matter, and the documented atlas that comes of listings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from atlas_pipeline.components import documented
from atlas_pipeline.components.hand_made import ALIAS_SCHEMA, PARENT_SCHEMA, HandMade
from atlas_pipeline.schema import contract_of

SNAPSHOT = "2025-01-01"
_DEFAULTS = {pa.string(): "", pa.int64(): 0, pa.float64(): 0.0, pa.bool_(): False}


def day(number: int) -> datetime:
    """A day of the year 2024, by its number."""
    return datetime.fromordinal(datetime(2024, 1, 1, tzinfo=UTC).toordinal() + number - 1).replace(tzinfo=UTC)


def table_of(name: str, rows: Iterable[Mapping[str, Any]], *, snapshot: str = SNAPSHOT) -> pa.Table:
    """Rows under a table's contract; what a row leaves out is null, or empty where null is not allowed."""
    contract = contract_of(name)
    blank = {c.name: None if c.nullable else _DEFAULTS.get(c.type) for c in contract.columns} | {"snapshot": snapshot}
    rows = list(rows)
    assert not {key for row in rows for key in row} - set(blank), "a column that the contract does not know"
    return pa.Table.from_pylist([{**blank, **row} for row in rows], contract.arrow_schema)


def connected(tables: Mapping[str, pa.Table]) -> duckdb.DuckDBPyConnection:
    """A connection that sees the tables by their names."""
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'; set threads = 1")
    for name, rows in tables.items():
        connection.execute(f"create schema if not exists {name.split('.')[0]}")
        connection.register("given", rows)
        connection.execute(f"create table {name} as from given")
    return connection


def by_hand(parents: Iterable[tuple[str, str, str | None]] = (), aliases: Mapping[str, str] | None = None) -> HandMade:
    """Hand-made parents (child, declared parent, relation) and aliases."""
    edges = [dict(zip(PARENT_SCHEMA.names, edge, strict=True)) for edge in parents]
    names = [{"alias": alias, "model_id": model_id} for alias, model_id in (aliases or {}).items()]
    return HandMade(pa.Table.from_pylist(edges, PARENT_SCHEMA), pa.Table.from_pylist(names, ALIAS_SCHEMA), ())


@dataclass(frozen=True)
class Atlas:
    """The tables of the components stage, with columns and order as they are stored."""

    claims: pa.Table
    parents: pa.Table
    models: pa.Table
    regions: pa.Table
    impact: pa.Table

    def edges(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Rows of parents by (child, parent)."""
        return {(row["child_id"], row["parent_id"]): row for row in self.parents.to_pylist()}

    def claimed(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        """Rows of claims by (child, source, declared parent)."""
        return {(row["child_id"], row["source"], row["declared_parent"]): row for row in self.claims.to_pylist()}

    def kept(self) -> set[tuple[str, str]]:
        """Kept (child, parent)."""
        return {ends for ends, row in self.edges().items() if row["is_kept"]}

    def dropped(self) -> dict[tuple[str, str], str]:
        """Reasons by (child, parent)."""
        return {ends: row["drop_reason"] for ends, row in self.edges().items() if not row["is_kept"]}

    def model(self, model_id: str) -> dict[str, Any]:
        """One row each of models, regions and impact as one."""
        found: dict[str, Any] = {}
        for table in (self.models, self.regions, self.impact):
            (row,) = [row for row in table.to_pylist() if row["model_id"] == model_id]
            found.update(row)
        return found


def document(
    listings: Mapping[str, Iterable[Mapping[str, Any]]] | Iterable[Mapping[str, Any]],
    *,
    hand_made: HandMade | None = None,
    cards: Iterable[Mapping[str, Any]] = (),
    large_region_models: int = 1000,
) -> Atlas:
    """The documented atlas of the last of the listings (by snapshot), or of one listing alone.

    Args:
        listings: rows of raw.hub_stats, by snapshot.
        hand_made: annotations and aliases.
        cards: rows of components.cards, of the last snapshot where they name none.
        large_region_models: as the setting.
    """
    by_snapshot = listings if isinstance(listings, Mapping) else {SNAPSHOT: listings}
    snapshot = max(by_snapshot)
    raw = [
        table_of("raw.hub_stats", [{"row_number": i + 1, **row} for i, row in enumerate(rows)], snapshot=name)
        for name, rows in by_snapshot.items()
    ]
    parsed = table_of("components.cards", [{"statements": [], **card} for card in cards], snapshot=snapshot)
    with connected({"raw.hub_stats": pa.concat_tables(raw), "components.cards": parsed}) as connection:

        def stored(name: str, rows: pa.Table) -> pa.Table:
            contract = contract_of(name)
            assert sorted(rows.column_names) == sorted(contract.arrow_schema.names)
            rows = rows.select(contract.arrow_schema.names).cast(contract.arrow_schema)
            connection.register("given", rows)
            connection.execute(f"create table {name} as from given")
            return rows

        claims = stored("components.claims", documented.claims(connection, snapshot, hand_made or by_hand()))
        connection.execute("drop table listing")
        parents = stored("components.parents", documented.documented_parents(connection, snapshot))
        models = stored("components.models", documented.cleaned_models(connection, snapshot))
        named = documented.regions(connection, snapshot, large_region_models=large_region_models)
        regions = stored("components.regions", named)
        impact = stored("components.impact", documented.impact(connection, snapshot))
    return Atlas(claims, parents, models, regions, impact)
