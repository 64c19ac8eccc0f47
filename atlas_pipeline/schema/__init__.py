"""Every table's contract: columns, types, units, keys, grain. The one source of truth.

The Parquet schemas, the schema checks, the assets' dependencies and the data dictionary all come from here.
"""

from atlas_pipeline.schema import attributes, components, distances, edges, features, raw, release, trends
from atlas_pipeline.schema.contract import STAGES, Column, Input, TableContract

_MADE = (
    *raw.TABLES,
    *components.TABLES,
    *features.TABLES,
    *distances.TABLES,
    *edges.TABLES,
    *attributes.TABLES,
    *trends.TABLES,
    *release.DESCRIBED,
)
RELEASED: tuple[str, ...] = tuple(contract.name for contract in _MADE if release.is_released(contract.name))
"""Names of the tables that a release holds, in the order of the stages."""

TABLES: dict[str, TableContract] = {contract.name: contract for contract in (*_MADE, *release.contracts(RELEASED))}
"""All contracts by table name, in the order of the stages."""


def round_of(table: str) -> int:
    """The round over all snapshots in which a table by snapshot is made, from 0.

    What reads other snapshots' partitions comes a round after what it reads, so that they are all there.
    """
    rounds = (
        round_of(given.table) + (given.scope != "same")
        for given in contract_of(table).inputs
        if contract_of(given.table).partitioned_by == "snapshot"
    )
    return max(rounds, default=0)


def contract_of(table: str) -> TableContract:
    """The contract of a table.

    Raises:
        KeyError: no such table; the message lists those there are.
    """
    try:
        return TABLES[table]
    except KeyError:
        raise KeyError(f"there is no table {table!r}; the tables are {', '.join(TABLES)}") from None


__all__ = ["RELEASED", "STAGES", "TABLES", "Column", "Input", "TableContract", "contract_of", "round_of"]
