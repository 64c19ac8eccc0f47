"""Contracts of the release stage: what was checked, what was released, and where it went."""

from atlas_pipeline.schema.components import MODEL_ID
from atlas_pipeline.schema.contract import FLAG, INTEGER, REAL, STAGES, TEXT, TEXTS, Column, Input, TableContract

SEVERITIES = ("error", "warning")
TEXTS_OF_OTHERS = ("components.cards",)
"""Tables past the raw stage that hold whole texts of authors."""

POSITIONS = TableContract(
    name="release.positions",
    grain="model of the latest snapshot",
    description=(
        "A map of the atlas: trees unfolded, components apart, models without any edge on a grid around them. A unit is "
        "the radius of one model. Whatever was on the map before stays about where it was; positions are for looking "
        "at, and distances on the map measure nothing."
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

TABLES = (POSITIONS,)
"""Tables of this stage that are released themselves."""


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
        settings=("release_repo", "seed", "n_neurons", "leaves_per_node", "n_neighbors", "large_region_models"),
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
        settings=("release_repo",),
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
    return table.split(".", maxsplit=1)[0] in STAGES[1:] and table not in TEXTS_OF_OTHERS
