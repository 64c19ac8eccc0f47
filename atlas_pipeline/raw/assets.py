"""Assets of the raw stage."""

import dagster as dg

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.orchestration import materialized, table_asset
from atlas_pipeline.raw.cards import read_cards
from atlas_pipeline.raw.snapshots import read_snapshot


@table_asset("raw.hub_stats")
def hub_stats(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per row of the source."""
    atlas.begin("raw.hub_stats", context.partition_key)
    raw = read_snapshot(atlas.settings, context.partition_key)
    return materialized(context, atlas, raw.rows, notes=raw.notes)


@table_asset("raw.cards", kinds={"duckdb"})
def cards(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per card."""
    atlas.begin("raw.cards", context.partition_key)
    return materialized(context, atlas, read_cards(atlas.settings, context.partition_key))
