"""Contracts of the trends stage: one table for one figure or claim of the paper's section 3."""

from atlas_pipeline.schema.components import MODEL_ID, RELATION, RELATIONS
from atlas_pipeline.schema.contract import INSTANT, INTEGER, REAL, TEXT, Column, Input, TableContract
from atlas_pipeline.schema.raw import SNAPSHOT

MODELS, PARENTS = Input("components.models"), Input("components.parents")
IMPACT, REGIONS = Input("components.impact"), Input("components.regions")
EVALUATIONS = Input("attributes.evaluations")

ALL = "all"
"""The group of everything, in tables that break figures down by modality."""

MODALITY = Column("modality", TEXT, "Modality; unknown where the task is not reported.", nullable=False)
MODALITY_OR_ALL = Column("modality", TEXT, "Modality, unknown where the task is not reported, or all.", nullable=False)
SHARE = Column("share", REAL, "Share of the group.", nullable=False, minimum=0, maximum=1)

DEPTH_BY_MODALITY = TableContract(
    name="trends.depth_by_modality",
    grain="(modality, depth)",
    description="Distance from the source by modality (Fig. 3 left). Models without any edge are left out.",
    partitioned_by="snapshot",
    key=("modality", "depth"),
    inputs=(MODELS, IMPACT),
    columns=(
        SNAPSHOT,
        MODALITY,
        Column("depth", INTEGER, "Edges on the longest path from a source.", "edges", nullable=False, minimum=0),
        Column("n_models", INTEGER, "Models at that depth.", "models", nullable=False, minimum=1),
        SHARE,
    ),
)

DOCUMENTATION_ITEMS = TableContract(
    name="trends.documentation_items",
    grain="(modality, item)",
    description=(
        "Share of models that say each thing about themselves (Fig. 3 right). Models of which the snapshot cannot tell "
        "are not counted: a source that holds an item of nobody does not hold it. Removed models are left out."
    ),
    partitioned_by="snapshot",
    key=("modality", "item"),
    inputs=(MODELS, PARENTS, EVALUATIONS),
    columns=(
        SNAPSHOT,
        MODALITY_OR_ALL,
        Column(
            "item",
            TEXT,
            "What is said.",
            nullable=False,
            values=("card", "parents", "license", "pipeline_tag", "library_name", "model_type", "evaluation"),
        ),
        Column("n_models", INTEGER, "Models of which the snapshot can tell.", "models", nullable=False, minimum=0),
        Column("n_documented", INTEGER, "Those that say it.", "models", nullable=False, minimum=0),
        Column("share", REAL, "Share that says it; null of no models.", minimum=0, maximum=1),
    ),
)

DOCUMENTATION_LEVELS = TableContract(
    name="trends.documentation_levels",
    grain="(modality, number of items that are documented)",
    description="How many of the items of trends.documentation_items a model says (Fig. 9).",
    partitioned_by="snapshot",
    key=("modality", "n_items"),
    inputs=(MODELS, PARENTS, EVALUATIONS),
    columns=(
        SNAPSHOT,
        MODALITY_OR_ALL,
        Column("n_items", INTEGER, "Items that are documented.", "items", nullable=False, minimum=0),
        Column("n_models", INTEGER, "Models.", "models", nullable=False, minimum=1),
        SHARE,
    ),
)

RELATION_TYPES = TableContract(
    name="trends.relation_types",
    grain="(modality of the child, relation)",
    description="Kept documented edges by relation (Fig. 8), per edge and per child.",
    partitioned_by="snapshot",
    key=("modality", "relation"),
    inputs=(MODELS, PARENTS),
    columns=(
        SNAPSHOT,
        MODALITY_OR_ALL,
        RELATION,
        Column("n_edges", INTEGER, "Edges.", "edges", nullable=False, minimum=1),
        Column("n_children", INTEGER, "Children with such an edge.", "models", nullable=False, minimum=1),
        Column("share", REAL, "Share of the group's edges.", nullable=False, minimum=0, maximum=1),
    ),
)

RELATIONS_BY_MONTH = TableContract(
    name="trends.relations_by_month",
    grain="(month of the child's creation, relation)",
    description="Kept documented edges by month and relation (Fig. 8 over time). A month is null without a date.",
    partitioned_by="snapshot",
    key=("month_at", "relation"),
    inputs=(MODELS, PARENTS),
    columns=(
        SNAPSHOT,
        Column("month_at", INSTANT, "First instant of the month; null where the child's date is unknown or a floor."),
        RELATION,
        Column("n_edges", INTEGER, "Edges.", "edges", nullable=False, minimum=1),
        Column("share", REAL, "Share of the month's edges.", nullable=False, minimum=0, maximum=1),
    ),
)

TECHNIQUE_RATES = TableContract(
    name="trends.technique_rates",
    grain="(grouping, group, quarter of creation, technique)",
    description=(
        "Quantisation, adapters, merging and full fine-tuning among models with a documented parent, by modality and "
        "by family (largest regions, named after their source), over time (section 3.1)."
    ),
    partitioned_by="snapshot",
    key=("grouping", "group", "quarter_at", "technique"),
    inputs=(MODELS, PARENTS, REGIONS),
    columns=(
        SNAPSHOT,
        Column("grouping", TEXT, "What the group is.", nullable=False, values=("all", "modality", "family")),
        Column("group", TEXT, "Modality, region name, or all.", nullable=False),
        Column("quarter_at", INSTANT, "First instant of the quarter; null where the date is unknown or a floor."),
        Column(
            "technique",
            TEXT,
            "How the model was made.",
            nullable=False,
            values=tuple(relation for relation in RELATIONS if relation != "unknown"),
        ),
        Column("n_models", INTEGER, "Models with a documented parent.", "models", nullable=False, minimum=1),
        Column("n_using", INTEGER, "Those made so.", "models", nullable=False, minimum=0),
        SHARE,
    ),
)

MERGE_INFLUENCE = TableContract(
    name="trends.merge_influence",
    grain="(modality, measure)",
    description=(
        "Influence of merged models against the siblings that were not merged (section 3.1): means over both, and the "
        "ratio of the two. A sibling has a parent in common with a merged model."
    ),
    partitioned_by="snapshot",
    key=("modality", "measure"),
    inputs=(MODELS, PARENTS, IMPACT),
    columns=(
        SNAPSHOT,
        MODALITY_OR_ALL,
        Column(
            "measure",
            TEXT,
            "What is compared, a column of components.impact or the model's own downloads.",
            nullable=False,
            values=("downloads", "descendant_downloads", "sub_tree_downloads", "path_counted_downloads"),
        ),
        Column("n_merged", INTEGER, "Merged models.", "models", nullable=False, minimum=0),
        Column("n_siblings", INTEGER, "Siblings of them that are no merges.", "models", nullable=False, minimum=0),
        Column("mean_merged", REAL, "Mean of the merged models.", minimum=0),
        Column("mean_siblings", REAL, "Mean of the siblings.", minimum=0),
        Column("ratio", REAL, "The first over the second; null where that is none.", minimum=0),
        Column(
            "share_of_groups_ahead",
            REAL,
            "Share of parents whose merged children have the greater mean than their others.",
            minimum=0,
            maximum=1,
        ),
    ),
)

STATISTICS = TableContract(
    name="trends.statistics",
    grain="statistic",
    description=(
        "Every number that section 3 states in words, beside the paper's own: priors per node and per edge, hubs, "
        "impact, restored models, documentation, depth, quantisation and merging."
    ),
    partitioned_by="snapshot",
    key=("statistic",),
    inputs=(MODELS, PARENTS, IMPACT, REGIONS, EVALUATIONS),
    columns=(
        SNAPSHOT,
        Column("statistic", TEXT, "Its name.", nullable=False),
        Column("description", TEXT, "What it is of what.", nullable=False),
        Column("unit", TEXT, "What the value is.", nullable=False, values=("share", "ratio", "count")),
        Column("n_cases", INTEGER, "Cases that fulfil it; of a ratio, what the description says.", "cases", minimum=0),
        Column("n_total", INTEGER, "Cases that could; null where a count is no part of anything.", "cases", minimum=0),
        Column("value", REAL, "The statistic; null where there is nothing to take it of."),
        Column("paper_value", REAL, "What the paper states; null where it states none."),
    ),
)

TOP_IMPACT = TableContract(
    name="trends.top_impact",
    grain="rank",
    description=(
        "The hundred models that most downloads rest on (section 3.2), beside their rank by own downloads and what "
        "counting paths would have made of them."
    ),
    partitioned_by="snapshot",
    key=("rank",),
    inputs=(MODELS, IMPACT),
    columns=(
        SNAPSHOT,
        Column("rank", INTEGER, "Rank by sub_tree_downloads, then by id.", nullable=False, minimum=1),
        MODEL_ID,
        Column("sub_tree_downloads", INTEGER, "Own downloads and those of distinct descendants.", "downloads"),
        Column("downloads_30d", INTEGER, "Own downloads.", "downloads"),
        Column("rank_by_downloads", INTEGER, "Rank by own downloads.", nullable=False, minimum=1),
        Column("n_descendants", INTEGER, "Distinct descendants.", "models", nullable=False, minimum=0),
        Column("merge_share_downloads", REAL, "Downloads where a merge credits each parent with a share.", "downloads"),
        Column("path_counted_downloads", REAL, "Downloads counted once for each path.", "downloads"),
    ),
)

GROWTH = TableContract(
    name="trends.growth",
    grain="(thing, change)",
    description=(
        "What changed since the snapshot before: models and kept edges that are new, gone, or stayed, and edges whose "
        "relation changed. Restored models count as gone. Empty for the first snapshot."
    ),
    partitioned_by="snapshot",
    key=("thing", "change"),
    inputs=(Input("components.models", "up_to"), Input("components.parents", "up_to")),
    columns=(
        SNAPSHOT,
        Column("previous_snapshot", TEXT, "The snapshot before.", nullable=False),
        Column("thing", TEXT, "What is counted.", nullable=False, values=("models", "edges")),
        Column("change", TEXT, "What became of it.", nullable=False, values=("new", "gone", "stayed", "changed")),
        Column("n", INTEGER, "How many.", "records", nullable=False, minimum=0),
        Column(
            "n_previous",
            INTEGER,
            "How many there were in the snapshot before.",
            "records",
            nullable=False,
            minimum=0,
        ),
        Column("n_current", INTEGER, "How many there are.", "records", nullable=False, minimum=0),
    ),
)

REMOVED_MODELS = TableContract(
    name="trends.removed_models",
    grain="removed model",
    description=(
        "Models that are gone but still named as parents (section 3.2), with the references that their removal broke."
    ),
    partitioned_by="snapshot",
    key=("model_id",),
    inputs=(MODELS, PARENTS, IMPACT),
    columns=(
        SNAPSHOT,
        MODEL_ID,
        Column("restored_from", TEXT, "Snapshot whose metadata it carries; null for a bare id."),
        Column("n_broken_references", INTEGER, "Kept edges from it.", "edges", nullable=False, minimum=0),
        Column("n_descendants", INTEGER, "Distinct descendants.", "models", nullable=False, minimum=0),
        Column("descendant_downloads", INTEGER, "Their downloads.", "downloads", nullable=False, minimum=0),
    ),
)

TABLES = (
    STATISTICS,
    DEPTH_BY_MODALITY,
    DOCUMENTATION_ITEMS,
    DOCUMENTATION_LEVELS,
    RELATION_TYPES,
    RELATIONS_BY_MONTH,
    TECHNIQUE_RATES,
    MERGE_INFLUENCE,
    TOP_IMPACT,
    GROWTH,
    REMOVED_MODELS,
)
