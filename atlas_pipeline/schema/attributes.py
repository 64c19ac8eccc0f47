"""Contracts of the attributes stage: reported scores, and attributes filled in from the atlas."""

from atlas_pipeline.schema.components import MODEL_ID
from atlas_pipeline.schema.contract import INTEGER, REAL, TEXT, Column, Input, TableContract
from atlas_pipeline.schema.raw import SNAPSHOT

ATTRIBUTES = ("pipeline_tag", "library_name", "model_type", "license", "relation")
ATTRIBUTE = Column("attribute", TEXT, "The attribute.", nullable=False, values=ATTRIBUTES)

_VOTERS = (
    Input("components.models"),
    Input("components.parents"),
    Input("components.impact"),
    Input("components.regions"),
)

EVALUATIONS = TableContract(
    name="attributes.evaluations",
    grain="(model, benchmark, metric, source)",
    description="Evaluation results as reported: by the author's model-index, or by a leaderboard. Nothing is imputed.",
    partitioned_by="snapshot",
    key=("model_id", "benchmark", "metric", "source", "leaderboard"),
    inputs=(Input("raw.hub_stats"), Input("components.models")),
    settings=("evaluations",),
    columns=(
        SNAPSHOT,
        MODEL_ID,
        Column("benchmark", TEXT, "Benchmark or data set.", nullable=False),
        Column("metric", TEXT, "Metric.", nullable=False),
        Column("value", REAL, "The value, in the unit that the source reports.", nullable=False),
        Column("source", TEXT, "Where it stands.", nullable=False, values=("model_index", "leaderboard")),
        Column("leaderboard", TEXT, "The leaderboard's name; empty for a model-index.", nullable=False),
    ),
)

IMPUTED = TableContract(
    name="attributes.imputed",
    grain="(model, attribute) for models in a hub",
    description=(
        "The hub's majority value for each attribute: what most labelled sibling leaves report, the model itself left "
        "out. A reported value stands beside it and is never replaced."
    ),
    partitioned_by="snapshot",
    key=("model_id", "attribute"),
    inputs=_VOTERS,
    columns=(
        SNAPSHOT,
        MODEL_ID,
        ATTRIBUTE,
        Column("value", TEXT, "The imputed value.", nullable=False),
        Column("method", TEXT, "How it was imputed.", nullable=False, values=("hub_majority",)),
        Column("n_votes", INTEGER, "Labelled siblings that voted.", "models", nullable=False, minimum=1),
        Column("confidence", REAL, "Share of the votes that the value got.", nullable=False, minimum=0, maximum=1),
        Column("reported_value", TEXT, "The value that the model itself reports, if any."),
    ),
)

SCORES = TableContract(
    name="attributes.scores",
    grain="(attribute, method)",
    description=(
        "How often a method predicts a reported label, the label itself left out (Table 1b of the paper). All methods "
        "are scored on the same models: those with a label that stand in a hub where a sibling has one."
    ),
    partitioned_by="snapshot",
    key=("attribute", "method"),
    inputs=_VOTERS,
    columns=(
        SNAPSHOT,
        ATTRIBUTE,
        Column(
            "method",
            TEXT,
            "Most frequent label of the whole snapshot, of the region, or of the hub.",
            nullable=False,
            values=("graph_majority", "region_majority", "hub_majority"),
        ),
        Column("n_models", INTEGER, "Labelled models scored.", "models", nullable=False, minimum=0),
        Column("n_correct", INTEGER, "Labels predicted right.", "models", nullable=False, minimum=0),
        Column("accuracy", REAL, "Share predicted right.", minimum=0, maximum=1),
    ),
)

TABLES = (EVALUATIONS, IMPUTED, SCORES)
