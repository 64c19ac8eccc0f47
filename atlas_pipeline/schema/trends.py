"""Contracts of the trends stage: one table for one figure of the paper."""

from atlas_pipeline.schema.components import RELATION
from atlas_pipeline.schema.contract import INSTANT, INTEGER, REAL, TEXT, Column, Input, TableContract
from atlas_pipeline.schema.raw import SNAPSHOT

DEPTH_BY_MODALITY = TableContract(
    name="trends.depth_by_modality",
    grain="(modality, depth)",
    description="Distance from the source by modality (Fig. 3 left). Models without any edge are left out.",
    partitioned_by="snapshot",
    key=("modality", "depth"),
    inputs=(Input("components.models"), Input("components.impact")),
    columns=(
        SNAPSHOT,
        Column("modality", TEXT, "Modality; unknown where the task is not reported.", nullable=False),
        Column("depth", INTEGER, "Edges on the longest path from a source.", "edges", nullable=False, minimum=0),
        Column("n_models", INTEGER, "Models at that depth.", "models", nullable=False, minimum=1),
        Column("share", REAL, "Share of the modality's models.", nullable=False, minimum=0, maximum=1),
    ),
)

RELATIONS_BY_MONTH = TableContract(
    name="trends.relations_by_month",
    grain="(month of the child's creation, relation)",
    description="Kept documented edges by month and relation (Fig. 8 over time). A month is null without a date.",
    partitioned_by="snapshot",
    key=("month_at", "relation"),
    inputs=(Input("components.models"), Input("components.parents")),
    columns=(
        SNAPSHOT,
        Column("month_at", INSTANT, "First instant of the month; null where the child's date is unknown or a floor."),
        RELATION,
        Column("n_edges", INTEGER, "Edges.", "edges", nullable=False, minimum=1),
        Column("share", REAL, "Share of the month's edges.", nullable=False, minimum=0, maximum=1),
    ),
)

TABLES = (DEPTH_BY_MODALITY, RELATIONS_BY_MONTH)
