"""Assets of the trends stage."""

import dagster as dg

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.orchestration import materialized, table_asset
from atlas_pipeline.trends.figures import stacked_shares
from atlas_pipeline.trends.metrics import trend


@table_asset("trends.depth_by_modality", kinds={"duckdb"})
def depth_by_modality(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per modality and depth."""
    with atlas.connect("trends.depth_by_modality", context.partition_key) as connection:
        rows = trend(connection, "depth_by_modality", context.partition_key)
    picture = stacked_shares(rows, group="modality", part="depth", title="Depth by modality")
    return materialized(context, atlas, rows, picture=picture)


@table_asset("trends.relations_by_month", kinds={"duckdb"})
def relations_by_month(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per month and relation."""
    with atlas.connect("trends.relations_by_month", context.partition_key) as connection:
        rows = trend(connection, "relations_by_month", context.partition_key)
    picture = stacked_shares(rows, group="month_at", part="relation", title="Relations by month")
    return materialized(context, atlas, rows, picture=picture)
