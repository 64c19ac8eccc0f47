"""Asset of the features stage."""

import dagster as dg

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.features.partitions import earlier_sample, failures, models_to_sample, sample_partition
from atlas_pipeline.orchestration import materialized, table_asset


@table_asset("features.models", kinds={"numpy"}, pool="weights")
def models(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per model, sampled or not."""
    with atlas.connect("features.models", context.partition_key) as connection:
        wanted = models_to_sample(connection, context.partition_key)
    stored = atlas.stored("features.models", context.partition_key)
    settings = atlas.settings
    rows, vectors = sample_partition(
        wanted,
        settings.location("weights"),
        n_neurons=settings.n_neurons,
        seed=settings.seed,
        previous=None if stored is None else earlier_sample(*stored),
    )
    return materialized(context, atlas, rows, attachment=vectors, notes=failures(rows))
