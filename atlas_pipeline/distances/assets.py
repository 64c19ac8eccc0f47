"""Asset of the distances stage."""

import dagster as dg

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.distances.partitions import neighbor_table
from atlas_pipeline.orchestration import materialized, table_asset


@table_asset("distances.neighbors", kinds={"numpy"})
def neighbors(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per model and near model."""
    with atlas.connect("distances.neighbors", context.partition_key) as connection:
        arrays, metadata = atlas.store.read_attachment("features.models", context.partition_key)
        rows, matrices = neighbor_table(connection, arrays, metadata, n_neighbors=atlas.settings.n_neighbors)
    return materialized(context, atlas, rows, attachment=matrices)
