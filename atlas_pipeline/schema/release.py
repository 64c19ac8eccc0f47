"""Contracts of the release stage: what changed, what was checked, what was released, and where it went."""

import pyarrow as pa

from atlas_pipeline.schema.components import CHILD_ID, MODEL_ID, PARENT_ID
from atlas_pipeline.schema.contract import (
    FLAG,
    INTEGER,
    REAL,
    STAGES,
    TEXT,
    TEXTS,
    Column,
    Input,
    TableContract,
    struct,
)

SEVERITIES = ("error", "warning")
TEXTS_OF_OTHERS = ("components.cards",)
"""Tables past the raw stage that hold whole texts of authors."""

CHANGES = ("new", "gone", "changed")
DIFFERENCES = pa.list_(pa.field("element", struct(attribute=TEXT, before=TEXT, after=TEXT)))

TOMBSTONES = TableContract(
    name="release.tombstones",
    grain="model that is gone",
    description=(
        "Models that an earlier snapshot listed and the latest does not, under that name: deleted, made private, or "
        "renamed. What no snapshot ever listed is not here, though children may name it (presence = removed)."
    ),
    partitioned_by=None,
    key=("model_id",),
    inputs=(Input("raw.hub_stats", "all"), Input("components.models", "all"), Input("edges.charted", "all")),
    columns=(
        MODEL_ID,
        Column("last_snapshot", TEXT, "The last snapshot that listed it, YYYY-MM-DD.", nullable=False),
        Column("gone_by_snapshot", TEXT, "The first snapshot after that, in which it was missing.", nullable=False),
        Column("repository_id", TEXT, "The Hub's immutable id of the repository."),
        Column("renamed_to", TEXT, "The model of the latest snapshot that is the same repository."),
        Column("license", TEXT, "License when it was last listed."),
        Column("downloads_30d", INTEGER, "Downloads of the 30 days before it was last listed.", "downloads", minimum=0),
        Column(
            "n_broken_references", INTEGER, "Edges that still name it as parent.", "edges", nullable=False, minimum=0
        ),
    ),
)

ALIASES = TableContract(
    name="release.aliases",
    grain="name that means another model",
    description=(
        "Names under which models of the latest snapshot are known besides their own: former names, and names that "
        "children use. To look a name up, look here first."
    ),
    partitioned_by=None,
    key=("alias",),
    inputs=(Input("components.claims", "latest"), Input("release.tombstones", "all")),
    columns=(
        Column("alias", TEXT, "The other name.", nullable=False),
        MODEL_ID,
        Column(
            "source",
            TEXT,
            "renamed: the same repository had it in an earlier snapshot; hand_made: annotated; letter_case: written so "
            "by a child.",
            nullable=False,
            values=("renamed", "hand_made", "letter_case"),
        ),
    ),
)

EDITIONS = TableContract(
    name="release.editions",
    grain="version, model and parent",
    description=(
        "What the release that is being made says of each model (its parent_id is empty) and of each edge, and what "
        "the last release of another version made in this home said. It is what changes are found by, and not released."
    ),
    partitioned_by=None,
    key=("version", "model_id", "parent_id"),
    inputs=(Input("components.models", "latest"), Input("edges.charted", "all")),
    settings=("release_fix",),
    columns=(
        Column("version", TEXT, "Version of the release.", nullable=False),
        Column("is_latest", FLAG, "Whether that is the release being made.", nullable=False),
        MODEL_ID,
        Column("parent_id", TEXT, "The parent of an edge; empty for what is said of the model.", nullable=False),
        Column("presence", TEXT, "As in components.models."),
        Column("license", TEXT, "As in components.models."),
        Column("pipeline_tag", TEXT, "As in components.models."),
        Column("relation", TEXT, "As in edges.charted."),
        Column("origin", TEXT, "As in edges.charted."),
        Column("rule", TEXT, "As in edges.charted."),
        Column("confidence", REAL, "As in edges.charted.", minimum=0, maximum=1),
    ),
)

MODEL_CHANGES = TableContract(
    name="release.model_changes",
    grain="model that changed",
    description=(
        "Models that are new, gone or described otherwise (presence, license, task) since the last release. Empty in "
        "a first release."
    ),
    partitioned_by=None,
    key=("model_id",),
    inputs=(Input("release.editions", "all"),),
    columns=(
        MODEL_ID,
        Column("change", TEXT, "What happened to it.", nullable=False, values=CHANGES),
        Column("differences", DIFFERENCES, "Attributes with their values then and now.", nullable=False),
    ),
)

EDGE_CHANGES = TableContract(
    name="release.edge_changes",
    grain="edge that changed",
    description=(
        "Edges that are new, gone or described otherwise since the last release: another relation, origin or rule, or "
        "a confidence that differs by a tenth or more. Empty in a first release."
    ),
    partitioned_by=None,
    key=("child_id", "parent_id"),
    inputs=(Input("release.editions", "all"),),
    columns=(
        CHILD_ID,
        PARENT_ID,
        Column("change", TEXT, "What happened to it.", nullable=False, values=CHANGES),
        Column("origin", TEXT, "documented or charted, now or, of an edge that is gone, then.", nullable=False),
        Column("differences", DIFFERENCES, "Attributes with their values then and now.", nullable=False),
    ),
)

POSITIONS = TableContract(
    name="release.positions",
    grain="model of the latest snapshot",
    description=(
        "A map of the atlas: trees unfolded, components apart, models without any edge on a grid around them. A unit "
        "is the radius of one model. What was on the last map stays about where it was, as far as there is room. The "
        "map is for looking at: distances on it measure nothing."
    ),
    partitioned_by=None,
    key=("model_id",),
    inputs=(Input("components.models", "latest"), Input("edges.charted", "all")),
    columns=(
        MODEL_ID,
        Column("x", REAL, "To the right.", "model radii", nullable=False),
        Column("y", REAL, "Upwards.", "model radii", nullable=False),
        Column(
            "component_id",
            TEXT,
            "First model of all that hang together by documented and charted edges; the model itself without any.",
            nullable=False,
        ),
        Column("component_size", INTEGER, "Models in the component.", "models", nullable=False, minimum=1),
    ),
)

FIGURES = TableContract(
    name="release.figures",
    grain="figure",
    description="The paper's figures, drawn from this atlas; where one cannot be drawn, the reason.",
    partitioned_by=None,
    key=("figure",),
    inputs=(
        Input("components.models", "latest"),
        Input("edges.charted", "all"),
        Input("edges.audit", "all"),
        Input("release.positions", "all"),
        Input("trends.depth_by_modality", "latest"),
        Input("trends.documentation_items", "latest"),
        Input("trends.documentation_levels", "latest"),
        Input("trends.relation_types", "latest"),
    ),
    columns=(
        Column("figure", TEXT, "Name of the figure and of its files in figures/.", nullable=False),
        Column("paper_figure", TEXT, "Number of the figure in the paper.", nullable=False),
        Column("title", TEXT, "What it shows.", nullable=False),
        Column("n_shown", INTEGER, "Models or edges that it shows.", "models or edges", nullable=False, minimum=0),
        Column("reason", TEXT, "Why it is not drawn; null where it is."),
        Column("svg", TEXT, "The figure as SVG."),
        Column("png", TEXT, "The figure as PNG, in base64."),
    ),
)

DESCRIBED = (TOMBSTONES, ALIASES, EDITIONS, MODEL_CHANGES, EDGE_CHANGES, POSITIONS, FIGURES)
"""Tables of this stage that are made before everything is checked; all but EDITIONS are released."""


def contracts(released: tuple[str, ...]) -> tuple[TableContract, ...]:
    """The release stage's contracts, given the names of the tables that a release holds."""
    everything = tuple(Input(name, "all") for name in released)
    checks = TableContract(
        name="release.checks",
        grain="check",
        description="Every check of every table, run anew on what lies in the store before anything is released.",
        partitioned_by=None,
        key=("table", "check"),
        inputs=everything,
        columns=(
            Column("table", TEXT, "The table.", nullable=False),
            Column("check", TEXT, "The property that must hold.", nullable=False),
            Column("severity", TEXT, "error stops a release, warning does not.", nullable=False, values=SEVERITIES),
            Column("is_passed", FLAG, "Whether it holds.", nullable=False),
            Column("n_failing", INTEGER, "Rows for which it does not.", "rows", nullable=False, minimum=0),
            Column("sample", TEXTS, "Up to ten of those rows.", nullable=False),
            Column("description", TEXT, "What the check means.", nullable=False),
        ),
    )
    files = TableContract(
        name="release.files",
        grain="file of the release",
        description="The files of the released data set, with size and checksum.",
        partitioned_by=None,
        key=("path",),
        inputs=(Input("release.checks", "all"), *everything),
        settings=(
            "release_repo",
            "release_fix",
            "seed",
            "n_neurons",
            "leaves_per_node",
            "n_neighbors",
            "large_region_models",
        ),
        columns=(
            Column("path", TEXT, "Path within the release.", nullable=False),
            Column("table", TEXT, "The table that the file holds a partition of; null for other files."),
            Column(
                "bytes", INTEGER, "Size; null for the files that are built anew from the others.", "bytes", minimum=0
            ),
            Column("sha256", TEXT, "Checksum; null for the files that are built anew from the others.", nullable=True),
            Column("rows", INTEGER, "Rows, for a table's file.", "rows", minimum=0),
        ),
    )
    published = TableContract(
        name="release.published",
        grain="release",
        description="Where the release went. Without ATLAS_RELEASE_REPO nothing is uploaded: a dry run.",
        partitioned_by=None,
        key=("version",),
        inputs=(Input("release.files", "all"),),
        settings=("release_repo", "release_fix"),
        columns=(
            Column("version", TEXT, "Version of the release: the date of its last snapshot.", nullable=False),
            Column("repo_id", TEXT, "Hub data set; null for a dry run."),
            Column("revision", TEXT, "Commit on the Hub; null for a dry run."),
            Column("is_dry_run", FLAG, "Whether nothing was uploaded.", nullable=False),
            Column("n_files", INTEGER, "Files.", "files", nullable=False, minimum=0),
            Column("bytes", INTEGER, "Size of all files whose size is fixed.", "bytes", nullable=False, minimum=0),
        ),
    )
    return (checks, files, published)


def is_released(table: str) -> bool:
    """Whether a table goes into the release: all do but the texts of others, which are not ours to publish."""
    return table.split(".", maxsplit=1)[0] in STAGES[1:] and table not in (*TEXTS_OF_OTHERS, EDITIONS.name)
