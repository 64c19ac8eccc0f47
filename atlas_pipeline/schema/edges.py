"""Contracts of the edges stage: the charted atlas and how well charting does."""

from atlas_pipeline.schema.components import CHILD_ID, PARENT_ID, REGION_ID, RELATION
from atlas_pipeline.schema.contract import FLAG, INTEGER, REAL, TEXT, TEXTS, Column, Input, TableContract, struct

RULES = ("known", "duplicate", "quantized", "nearest", "snake", "fan")
EVIDENCE = struct(
    sources=TEXTS,
    squared_distance=REAL,
    scaled_distance=REAL,
    relative_distance=REAL,
    correlation=REAL,
    spread=REAL,
    neighbor_rank=INTEGER,
    days_apart=REAL,
    candidates=TEXTS,
)

CHARTED = TableContract(
    name="edges.charted",
    grain="(child, parent)",
    description=(
        "The atlas: documented edges as they are, and charted parents for models that document none. rule says which "
        "rule made the edge, evidence what it rests on. Confidence of charted edges is a margin, not yet calibrated."
    ),
    partitioned_by="region",
    key=("child_id", "parent_id"),
    inputs=(
        Input("distances.neighbors"),
        Input("features.models"),
        Input("components.models", "latest"),
        Input("components.parents", "latest"),
        Input("components.regions", "latest"),
    ),
    settings=("n_neighbors", "seed"),
    columns=(
        CHILD_ID,
        PARENT_ID,
        REGION_ID,
        RELATION,
        Column("origin", TEXT, "Who says so.", nullable=False, values=("documented", "charted")),
        Column("rule", TEXT, "The rule that made the edge.", nullable=False, values=RULES),
        Column("confidence", REAL, "How sure, 0 to 1.", nullable=False, minimum=0, maximum=1),
        Column("coefficient", REAL, "Weight of the parent in a merge, where measured."),
        Column("is_ambiguous", FLAG, "Whether other candidates explain the child as well.", nullable=False),
        Column(
            "evidence", EVIDENCE, "What the edge rests on; fields that a rule does not use are null.", nullable=False
        ),
    ),
)

SCORES = TableContract(
    name="edges.scores",
    grain="(region, method, subset, breakdown)",
    description=(
        "Charting methods against known truth: the demo hub's, or documented edges that were hidden first. "
        "accuracy is the share of models whose set of parents is exactly right, source models left out."
    ),
    partitioned_by="region",
    key=("region_id", "method", "documentation", "subset", "breakdown", "breakdown_value"),
    inputs=(
        Input("distances.neighbors"),
        Input("features.models"),
        Input("components.models", "latest"),
        Input("components.parents", "latest"),
        Input("components.regions", "latest"),
    ),
    settings=("truth", "n_neighbors", "seed"),
    columns=(
        REGION_ID,
        Column("method", TEXT, "Charting method.", nullable=False),
        Column(
            "truth",
            TEXT,
            "What it was scored against: given, or the documented edges.",
            nullable=False,
            values=("given", "documented"),
        ),
        Column(
            "documentation",
            TEXT,
            "Whether the method was given the documented edges.",
            nullable=False,
            values=("used", "hidden"),
        ),
        Column("subset", TEXT, "Which models count.", nullable=False, values=("all", "undocumented")),
        Column("breakdown", TEXT, "What the row is broken down by.", nullable=False, values=("all", "rule", "pattern")),
        Column("breakdown_value", TEXT, "The rule or pattern; empty for all.", nullable=False),
        Column("n_models", INTEGER, "Models scored.", "models", nullable=False, minimum=0),
        Column("n_edges", INTEGER, "Edges predicted.", "edges", nullable=False, minimum=0),
        Column("accuracy", REAL, "Share of models with exactly the right parents.", minimum=0, maximum=1),
        Column("precision", REAL, "Share of predicted edges that are true.", minimum=0, maximum=1),
        Column("recall", REAL, "Share of true edges that were predicted.", minimum=0, maximum=1),
        Column("f1", REAL, "Harmonic mean of precision and recall.", minimum=0, maximum=1),
    ),
)

TABLES = (CHARTED, SCORES)
