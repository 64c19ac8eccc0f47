"""Contracts of the attributes stage: reported scores, attributes filled in from the atlas, licenses along lineage."""

from atlas_pipeline.schema.components import MODEL_ID
from atlas_pipeline.schema.contract import FLAG, INTEGER, REAL, TEXT, TEXTS, Column, Input, TableContract
from atlas_pipeline.schema.raw import SNAPSHOT

ATTRIBUTES = ("pipeline_tag", "library_name", "model_type", "license", "relation")

BENCHMARK = Column("benchmark", TEXT, "Benchmark or data set, under one name for all sources.", nullable=False)
METRIC = Column("metric", TEXT, "Metric, under one name for all sources.", nullable=False)
EVALUATION_SOURCES = ("leaderboard", "model_index", "card_table", "llm")
"""Where a result stands, the most trusted first: measured by others alike for all, then what authors say."""

PROTOCOLS = ("leave_one_out", "without_copies", "by_time")

_VOTERS = (
    Input("components.models"),
    Input("components.parents"),
    Input("components.impact"),
    Input("components.regions"),
)

RESULTS = TableContract(
    name="attributes.results",
    grain="reported result",
    description=(
        "Every evaluation result as its source reports it, with the names and the unit that it is understood under. "
        "Nothing is merged or left out: what cannot be understood stays, with the problem."
    ),
    partitioned_by="snapshot",
    key=("model_id", "source", "leaderboard", "position"),
    inputs=(Input("raw.hub_stats"), Input("components.cards"), Input("raw.cards"), Input("components.models")),
    settings=("evaluations", "llm_endpoint", "llm_model"),
    columns=(
        SNAPSHOT,
        MODEL_ID,
        Column("source", TEXT, "Where it stands.", nullable=False, values=EVALUATION_SOURCES),
        Column("leaderboard", TEXT, "The leaderboard's name; empty for other sources.", nullable=False),
        Column("position", INTEGER, "Place within the source, from 1.", nullable=False, minimum=1),
        Column("reported_benchmark", TEXT, "Benchmark as the source writes it."),
        Column("reported_metric", TEXT, "Metric as the source writes it."),
        Column("reported_value", TEXT, "Value as the source writes it.", nullable=False),
        Column("benchmark", TEXT, "Benchmark, under one name for all sources; null where none is named."),
        Column("metric", TEXT, "Metric, under one name for all sources; null where none is named."),
        Column("value", REAL, "Value in the unit; null where it is no finite number."),
        Column("unit", TEXT, "share (0 to 1), points (as reported), or null.", values=("share", "points")),
        Column("is_self_reported", FLAG, "Whether the model's author reports it.", nullable=False),
        Column("source_url", TEXT, "Page that the source gives for the result."),
        Column("problem", TEXT, "Why the result is not used."),
    ),
)

EVALUATIONS = TableContract(
    name="attributes.evaluations",
    grain="(model, benchmark, metric)",
    description=(
        "Evaluation results, one for each model, benchmark and metric: the value of the most trusted source, with what "
        "the others say beside it. Nothing is imputed."
    ),
    partitioned_by="snapshot",
    key=("model_id", "benchmark", "metric"),
    inputs=(Input("attributes.results"),),
    columns=(
        SNAPSHOT,
        MODEL_ID,
        BENCHMARK,
        METRIC,
        Column("value", REAL, "The value, in the unit.", nullable=False),
        Column("unit", TEXT, "share (0 to 1) or points (as reported).", nullable=False, values=("share", "points")),
        Column("source", TEXT, "Where the value stands.", nullable=False, values=EVALUATION_SOURCES),
        Column("leaderboard", TEXT, "The leaderboard's name; empty for other sources.", nullable=False),
        Column("source_url", TEXT, "Page that the source gives for the result."),
        Column("sources", TEXTS, "All sources that report it, by name.", nullable=False),
        Column("n_results", INTEGER, "Reported results behind it.", "results", nullable=False, minimum=1),
        Column("least", REAL, "Least reported value.", nullable=False),
        Column("greatest", REAL, "Greatest reported value.", nullable=False),
    ),
)

IMPUTED = TableContract(
    name="attributes.imputed",
    grain="(model, attribute) for models with an edge",
    description=(
        "Attributes as the atlas tells them: voted by parents, children, siblings and the author's other models of the "
        "lineage, the model itself left out. A reported value stands beside it and is never replaced."
    ),
    partitioned_by="snapshot",
    key=("model_id", "attribute"),
    inputs=_VOTERS,
    settings=("seed",),
    columns=(
        SNAPSHOT,
        MODEL_ID,
        Column("attribute", TEXT, "The attribute.", nullable=False, values=ATTRIBUTES),
        Column("value", TEXT, "The imputed value.", nullable=False),
        Column("method", TEXT, "How it was imputed.", nullable=False, values=("lineage_vote",)),
        Column("decided_by", TEXT, "The group whose vote weighed most, as hub or parent.", nullable=False),
        Column("n_votes", INTEGER, "Labelled models that voted in it.", "models", nullable=False, minimum=1),
        Column(
            "confidence",
            REAL,
            "How often such a vote is right, measured on labels left out.",
            nullable=False,
            minimum=0,
            maximum=1,
        ),
        Column("reported_value", TEXT, "The value that the model itself reports, if any."),
    ),
)

IMPUTED_EVALUATIONS = TableContract(
    name="attributes.imputed_evaluations",
    grain="(model, benchmark, metric) for models near an evaluated one",
    description=(
        "Results as near models of the lineage suggest them (paper, section 3.2), for benchmarks that enough models "
        "report. A reported value stands beside it and is never replaced."
    ),
    partitioned_by="snapshot",
    key=("model_id", "benchmark", "metric"),
    inputs=(
        Input("attributes.evaluations"),
        Input("components.models"),
        Input("components.parents"),
        Input("components.regions"),
    ),
    settings=("seed",),
    columns=(
        SNAPSHOT,
        MODEL_ID,
        BENCHMARK,
        METRIC,
        Column("value", REAL, "The imputed value, in the unit.", nullable=False),
        Column("unit", TEXT, "share (0 to 1) or points (as reported).", nullable=False, values=("share", "points")),
        Column("method", TEXT, "How it was imputed.", nullable=False, values=("lineage_kernel",)),
        Column("n_votes", INTEGER, "Evaluated models that it rests on.", "models", nullable=False, minimum=1),
        Column("nearest", INTEGER, "Edges to the nearest of them.", "edges", nullable=False, minimum=1),
        Column(
            "expected_error",
            REAL,
            "Mean absolute error of such values, measured on results left out.",
            nullable=False,
            minimum=0,
        ),
        Column("reported_value", REAL, "The value that is reported for the model itself, if any."),
    ),
)

SCORES = TableContract(
    name="attributes.scores",
    grain="(attribute, protocol, method)",
    description=(
        "How well a method predicts what was left out (Tables 1a and 1b of the paper). All methods are scored on the "
        "same models. leave_one_out leaves out the model's own label; without_copies also those of its copies "
        "(quantised and re-uploaded versions); by_time lets only earlier models vote. What is learned comes from other "
        "regions throughout. Of more than 150,000 children so many are drawn for labels, siblings together."
    ),
    partitioned_by="snapshot",
    key=("attribute", "protocol", "method"),
    inputs=(*_VOTERS, Input("attributes.evaluations")),
    settings=("seed",),
    columns=(
        SNAPSHOT,
        Column("attribute", TEXT, "The attribute, or benchmark and metric of an evaluation.", nullable=False),
        Column("protocol", TEXT, "What was left out.", nullable=False, values=PROTOCOLS),
        Column(
            "method",
            TEXT,
            "graph_majority, region_majority, hub_majority, lineage_vote; for evaluations mean, nearest_1, nearest_2, "
            "nearest_3, nearest_5, lineage_kernel.",
            nullable=False,
        ),
        Column("n_models", INTEGER, "Labelled models scored.", "models", nullable=False, minimum=0),
        Column("n_correct", INTEGER, "Labels predicted right.", "models", minimum=0),
        Column("accuracy", REAL, "Share predicted right.", minimum=0, maximum=1),
        Column("mse", REAL, "Mean squared error, evaluations in percentage points where the unit is share.", minimum=0),
        Column("mae", REAL, "Mean absolute error, likewise.", minimum=0),
        Column(
            "correlation", REAL, "Pearson's, of predicted and reported; null for a constant.", minimum=-1, maximum=1
        ),
        Column(
            "calibration_error",
            REAL,
            "Mean distance between confidence and accuracy, over ten bins of confidence.",
            minimum=0,
            maximum=1,
        ),
    ),
)

LICENSE_LINEAGE = TableContract(
    name="attributes.license_lineage",
    grain="model with an edge",
    description=(
        "Licenses along the lineage: what a model reports, what its ancestors report, and the first edge at which "
        "terms of an ancestor's license are missing from the license that the child reports. A pointer for a "
        "reader, no legal advice."
    ),
    partitioned_by="snapshot",
    key=("model_id",),
    inputs=(Input("components.models"), Input("components.parents"), Input("components.impact")),
    columns=(
        SNAPSHOT,
        MODEL_ID,
        Column("license", TEXT, "License as reported."),
        Column("spdx_id", TEXT, "SPDX id of the license, where it has one."),
        Column("ancestor_licenses", TEXTS, "Distinct licenses of all ancestors, by name.", nullable=False),
        Column("n_unlicensed_ancestors", INTEGER, "Ancestors that report none.", "models", nullable=False, minimum=0),
        Column("inherited_terms", TEXTS, "Terms that ancestors' licenses pass on, by name.", nullable=False),
        Column("lost_terms", TEXTS, "Terms lost somewhere on the way to this model, by name.", nullable=False),
        Column("lost_at_child_id", TEXT, "Child of the first edge where terms were lost, nearest to the source."),
        Column("lost_at_parent_id", TEXT, "Parent of that edge."),
        Column("has_unknown_license", FLAG, "Whether a license of the lineage has no rule here.", nullable=False),
    ),
)

TABLES = (RESULTS, EVALUATIONS, IMPUTED, IMPUTED_EVALUATIONS, SCORES, LICENSE_LINEAGE)
