"""Assets of the attributes stage."""

import dagster as dg

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.attributes import imputation
from atlas_pipeline.attributes.evaluations import evaluations as reported_evaluations
from atlas_pipeline.orchestration import materialized, table_asset


@table_asset("attributes.evaluations", kinds={"duckdb"})
def evaluations(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per reported result."""
    with atlas.connect("attributes.evaluations", context.partition_key) as connection:
        rows = reported_evaluations(connection, context.partition_key, atlas.settings.evaluations)
    return materialized(context, atlas, rows)


@table_asset("attributes.imputed", kinds={"duckdb"})
def imputed(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per model and attribute that its siblings tell."""
    with atlas.connect("attributes.imputed", context.partition_key) as connection:
        rows = imputation.imputed(connection, context.partition_key)
    return materialized(context, atlas, rows)


@table_asset("attributes.scores", kinds={"duckdb"})
def scores(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per attribute and method."""
    with atlas.connect("attributes.scores", context.partition_key) as connection:
        rows = imputation.scores(connection, context.partition_key)
    return materialized(context, atlas, rows)
