"""Assets of the edges stage."""

import dagster as dg

from atlas_pipeline.atlas import Atlas
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
    return materialized(context, atlas, rows)


@table_asset("edges.scores", kinds={"numpy"})
def scores(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per region, method and breakdown."""
    settings = atlas.settings
    with atlas.connect("edges.scores", context.partition_key) as connection:
        measured = _measured(atlas, context.partition_key)
        rows = scored_methods(
            connection,
            context.partition_key,
            measured,
            truth=settings.location("truth"),
            n_neighbors=settings.n_neighbors,
            seed=settings.seed,
        )
    return materialized(context, atlas, rows)


def _measured(atlas: Atlas, partition: str) -> Measured:
    return Measured.from_attachments(
        atlas.store.read_attachment("features.models", partition),
        atlas.store.read_attachment("distances.neighbors", partition),
    )
