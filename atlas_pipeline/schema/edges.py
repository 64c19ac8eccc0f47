"""Contracts of the edges stage: the charted atlas and how well charting does."""

from atlas_pipeline.schema.components import CHILD_ID, PARENT_ID, REGION_ID, RELATION
from atlas_pipeline.schema.contract import FLAG, INTEGER, REAL, TEXT, TEXTS, Column, Input, TableContract, struct

RULES = ("known", "duplicate", "cast", "pruned", "quantized", "adapter", "merge", "ties", "nearest", "snake", "fan")
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
    probability=REAL,
    own_share=REAL,
    equal_share=REAL,
    fit_share=REAL,
    residual=REAL,
)

CHARTED = TableContract(
    name="edges.charted",
    grain="(child, parent)",
    description=(
        "The atlas: documented edges as they are, and charted parents for models that document none. rule says which "
        "rule made the edge, evidence what it rests on. Confidence is how often such edges are right on trained "
        "networks with known lineage."
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

ARRIVALS = TableContract(
    name="edges.arrivals",
    grain="(child, parent)",
    description=(
        "Models sampled since edges.charted was made, charted against its edges, which stay. Together the two are the "
        "atlas. Empty where edges.charted has seen every model; to chart arrivals alone, make this table and not that."
    ),
    partitioned_by="region",
    key=CHARTED.key,
    inputs=(Input("edges.charted"), *CHARTED.inputs),
    columns=CHARTED.columns,
)

SCORES = TableContract(
    name="edges.scores",
    grain="(region, method, documentation, matching, subset, breakdown)",
    description=(
        "Charting methods against known truth: the demo hub's, or documented edges that were hidden first. "
        "accuracy is the share of models whose set of parents is exactly right, source models left out. Expected "
        "calibration errors of small regions are too large by chance; the bins of the breakdown confidence add up over "
        "regions. How long methods took is no property of the truth and stands in the run's record."
    ),
    partitioned_by="region",
    key=("region_id", "method", "documentation", "matching", "subset", "breakdown", "breakdown_value"),
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
        Column("method", TEXT, "Charting method; weight_clusters for the breakdown regions.", nullable=False),
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
        Column(
            "matching",
            TEXT,
            "Whether a duplicate, cast or quantisation of the true parent, or what it is one of, is right too.",
            nullable=False,
            values=("strict", "twins"),
        ),
        Column("subset", TEXT, "Which models count.", nullable=False, values=("all", "undocumented")),
        Column(
            "breakdown",
            TEXT,
            "What the row is broken down by; regions is about weight clusters against true regions.",
            nullable=False,
            values=("all", "rule", "pattern", "relation", "parents", "confidence", "regions"),
        ),
        Column(
            "breakdown_value",
            TEXT,
            "The rule, the true pattern or relation, several parents, or the bin of confidence; empty for all.",
            nullable=False,
        ),
        Column("n_models", INTEGER, "Models scored.", "models", nullable=False, minimum=0),
        Column(
            "n_edges", INTEGER, "Edges predicted; pairs in one cluster for regions.", "edges", nullable=False, minimum=0
        ),
        Column("accuracy", REAL, "Share of models with exactly the right parents.", minimum=0, maximum=1),
        Column(
            "precision",
            REAL,
            "Share of predicted edges that are true; for parents, of models with several; for regions, of pairs.",
            minimum=0,
            maximum=1,
        ),
        Column(
            "recall",
            REAL,
            "Share of true edges that were predicted; for parents, of models with several; for regions, of pairs.",
            minimum=0,
            maximum=1,
        ),
        Column("f1", REAL, "Harmonic mean of precision and recall.", minimum=0, maximum=1),
        Column(
            "candidates_recall",
            REAL,
            "Share of true edges whose parent was predicted or listed as a candidate in the evidence.",
            minimum=0,
            maximum=1,
        ),
        Column("mean_candidates", REAL, "Different models predicted or listed, per model.", "models", minimum=0),
        Column("mean_confidence", REAL, "Mean confidence of charted edges.", minimum=0, maximum=1),
        Column(
            "brier_score",
            REAL,
            "Mean squared difference of confidence and outcome over charted edges.",
            minimum=0,
            maximum=1,
        ),
        Column(
            "expected_calibration_error",
            REAL,
            "Mean gap between confidence and share right over charted edges, in ten bins of equal width.",
            minimum=0,
            maximum=1,
        ),
        Column(
            "adjusted_rand_index",
            REAL,
            "Agreement of weight clusters with true regions; 1 is perfect, 0 is chance.",
            minimum=-1,
            maximum=1,
        ),
    ),
)

FINDINGS = (
    "parent_confirmed",
    "ancestor_not_parent",
    "sibling_declared",
    "descendant_declared",
    "quantization_of_other",
    "other_parent",
    "unrelated_weights",
    "wrong_relation",
    "missing_merge_parents",
    "child_older_than_parent",
    "not_comparable",
    "ambiguous",
)
"""What an audit can find: the parent is right; another one, of this kind, is; nothing can be said, for this reason."""

AUDIT = TableContract(
    name="edges.audit",
    grain="(child, declared parent)",
    description=(
        "Declared against measured: every kept documented edge beside what charting finds when all documentation is "
        "hidden. contradicts comes with a text for the author. Undecided is no suspicion: the weights cannot tell."
    ),
    partitioned_by="region",
    key=("child_id", "parent_id"),
    inputs=(
        Input("distances.neighbors"),
        Input("features.models"),
        Input("features.tensors"),
        Input("components.models", "latest"),
        Input("components.claims", "latest"),
        Input("components.parents", "latest"),
        Input("components.regions", "latest"),
    ),
    settings=("n_neighbors", "seed"),
    columns=(
        CHILD_ID,
        Column("parent_id", TEXT, "The declared parent.", nullable=False),
        REGION_ID,
        Column(
            "declared_relation",
            TEXT,
            "How the child was made from it, as documented.",
            nullable=False,
            values=RELATION.values,
        ),
        Column("declared_sources", TEXTS, "Who declares it, by name.", nullable=False),
        Column(
            "verdict",
            TEXT,
            "Whether the weights agree with the documentation.",
            nullable=False,
            values=("agrees", "contradicts", "undecided"),
        ),
        Column(
            "finding",
            TEXT,
            "Why. descendant_declared: parent and child are swapped. quantization_of_other: the weights are another "
            "model's in fewer bits. unrelated_weights: child and parent share nothing. not_comparable: weights of one "
            "are missing, or of other shapes, or an adapter's. ambiguous: several parents explain the child.",
            nullable=False,
            values=FINDINGS,
        ),
        Column("confidence", REAL, "How sure the verdict is; null where undecided.", minimum=0, maximum=1),
        Column("measured_parent_ids", TEXTS, "Parents that the weights show, documentation hidden.", nullable=False),
        Column("measured_relation", TEXT, "Relation that the weights or the files show.", values=RELATION.values),
        Column("declared_squared_distance", REAL, "Squared distance of child and declared parent.", minimum=0),
        Column(
            "declared_relative_distance",
            REAL,
            "That over the sum of their squared lengths: 0 for equal models, near 1 for unrelated ones.",
            minimum=0,
            maximum=2,
        ),
        Column("measured_squared_distance", REAL, "Squared distance of child and nearest measured parent.", minimum=0),
        Column("measured_relative_distance", REAL, "That, relative.", minimum=0, maximum=2),
        Column("explanation", TEXT, "The finding in one sentence, with its numbers.", nullable=False),
        Column(
            "message",
            TEXT,
            "Markdown that could be sent to the child's author; null unless the verdict is contradicts.",
        ),
    ),
)

TABLES = (CHARTED, ARRIVALS, AUDIT, SCORES)
