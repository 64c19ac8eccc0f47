"""Assets of the edges stage."""

import dagster as dg

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.edges.arrival_partitions import arrived_edges, list_of_models
from atlas_pipeline.edges.audit_partitions import audited_edges
from atlas_pipeline.edges.partitions import Measured, charted_edges, scored_methods
from atlas_pipeline.orchestration import materialized, table_asset


@table_asset("edges.charted", kinds={"numpy"})
def charted(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per edge."""
    settings = atlas.settings
    with atlas.connect("edges.charted", context.partition_key) as connection:
        measured = _measured(atlas, context.partition_key)
        rows = charted_edges(
            connection, context.partition_key, measured, n_neighbors=settings.n_neighbors, seed=settings.seed
        )
    return materialized(context, atlas, rows, attachment=list_of_models(measured))


@table_asset("edges.arrivals", kinds={"numpy"})
def arrivals(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per edge of a model that came after its partition was charted."""
    partition = context.partition_key
    with atlas.connect("edges.arrivals", partition) as connection:
        beside = atlas.store.read_attachment("edges.charted", partition)
        rows = arrived_edges(connection, partition, beside, lambda: _measured(atlas, partition))
    return materialized(context, atlas, rows)


@table_asset("edges.audit", kinds={"duckdb", "numpy"})
def audit(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per declared edge."""
    settings = atlas.settings
    with atlas.connect("edges.audit", context.partition_key) as connection:
        measured = _measured(atlas, context.partition_key)
        rows = audited_edges(
            connection, context.partition_key, measured, n_neighbors=settings.n_neighbors, seed=settings.seed
        )
    return materialized(context, atlas, rows)


@table_asset("edges.scores", kinds={"numpy"})
def scores(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per region, method and breakdown."""
    settings = atlas.settings
    with atlas.connect("edges.scores", context.partition_key) as connection:
        measured = _measured(atlas, context.partition_key)
        rows, found = scored_methods(
            connection,
            context.partition_key,
            measured,
            truth=settings.location("truth"),
            n_neighbors=settings.n_neighbors,
            seed=settings.seed,
        )
    notes = tuple(f"{method}: {reason}" for method, reason in sorted(found.skipped.items()))
    return materialized(context, atlas, rows, picture=found.picture(), notes=notes, figures=found.summary())


def _measured(atlas: Atlas, partition: str) -> Measured:
    return Measured.from_attachments(
        atlas.store.read_attachment("features.models", partition),
        atlas.store.read_attachment("distances.neighbors", partition),
    )
