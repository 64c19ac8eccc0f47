"""Contract of the distances stage: near models in weight space."""

from atlas_pipeline.schema.components import MODEL_ID, REGION_ID
from atlas_pipeline.schema.contract import FLAG, INTEGER, REAL, TEXT, Column, Input, TableContract

NEIGHBORS = TableContract(
    name="distances.neighbors",
    grain="(model, neighbour)",
    description=(
        "The nearest models of each model by sampled neurons, nearest first. Only models of one weight cluster are "
        "neighbours: a chain of models links them that are far nearer than strangers of the same shapes, at most half "
        "as far apart. Longer lists, thresholds and dense matrices lie beside it."
    ),
    partitioned_by="region",
    key=("model_id", "neighbor_id"),
    order_by=("model_id", "rank"),
    inputs=(Input("features.models"), Input("components.models", "latest")),
    settings=("n_neighbors",),
    columns=(
        MODEL_ID,
        Column("neighbor_id", TEXT, "The near model.", nullable=False),
        REGION_ID,
        Column("rank", INTEGER, "1 for the nearest.", nullable=False, minimum=1),
        Column("squared_distance", REAL, "Squared Euclidean distance of sampled neurons.", nullable=False, minimum=0),
        Column("scaled_distance", REAL, "Distance divided by the cluster's median nearest distance.", minimum=0),
        Column("relative_distance", REAL, "Squared distance over the sum of squared norms.", minimum=0),
        Column("neighbor_is_earlier", FLAG, "Whether the neighbour was created before; null without both dates."),
    ),
)

TABLES = (NEIGHBORS,)
