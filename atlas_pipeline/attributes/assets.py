"""Assets of the attributes stage."""

import dagster as dg

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.attributes.imputation import imputing, scoring
from atlas_pipeline.attributes.licenses import license_lineage as licenses_along_lineage
from atlas_pipeline.attributes.reported.evaluations import reconciled_results, reported_results
from atlas_pipeline.attributes.reported.llm_results import language_model
from atlas_pipeline.orchestration import materialized, table_asset


@table_asset("attributes.results", kinds={"duckdb"})
def results(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per reported result."""
    settings = atlas.settings
    service = language_model(settings.llm_endpoint, settings.llm_model)
    with atlas.connect("attributes.results", context.partition_key) as connection:
        found = reported_results(
            connection,
            context.partition_key,
            folder=settings.evaluations,
            service=service,
            progress=lambda done, total: context.log.info(f"{done} of {total} cards read by {settings.llm_model}"),
        )
    return materialized(context, atlas, found.rows, notes=found.notes)


@table_asset("attributes.evaluations", kinds={"duckdb"})
def evaluations(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per model, benchmark and metric."""
    with atlas.connect("attributes.evaluations", context.partition_key) as connection:
        rows = reconciled_results(connection, context.partition_key)
    return materialized(context, atlas, rows)


@table_asset("attributes.imputed", kinds={"duckdb"})
def imputed(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per model with an edge and attribute that its lineage tells."""
    with atlas.connect("attributes.imputed", context.partition_key) as connection:
        rows = imputing.imputed(connection, context.partition_key, seed=atlas.settings.seed)
    return materialized(context, atlas, rows)


@table_asset("attributes.imputed_evaluations", kinds={"duckdb"})
def imputed_evaluations(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per benchmark, metric and model near an evaluated one."""
    with atlas.connect("attributes.imputed_evaluations", context.partition_key) as connection:
        rows = imputing.imputed_evaluations(connection, context.partition_key, seed=atlas.settings.seed)
    return materialized(context, atlas, rows)


@table_asset("attributes.scores", kinds={"duckdb"})
def scores(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per attribute, protocol and method."""
    with atlas.connect("attributes.scores", context.partition_key) as connection:
        rows = scoring.scores(connection, context.partition_key, seed=atlas.settings.seed)
    return materialized(context, atlas, rows)


@table_asset("attributes.license_lineage", kinds={"duckdb", "numpy"})
def license_lineage(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per model with an edge."""
    with atlas.connect("attributes.license_lineage", context.partition_key) as connection:
        rows = licenses_along_lineage(connection, context.partition_key)
    return materialized(context, atlas, rows)
