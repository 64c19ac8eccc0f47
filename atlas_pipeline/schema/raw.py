"""Contract of the raw stage: hub-stats snapshots as the source gave them."""

import pyarrow as pa

from atlas_pipeline.schema.contract import FLAG, INSTANT, INTEGER, REAL, TEXT, TEXTS, Column, TableContract, struct

BASE_MODELS = struct(
    relation=TEXT,
    models=pa.list_(pa.field("element", struct(_id=TEXT, id=TEXT))),
)
SAFETENSORS = struct(parameters=pa.map_(pa.string(), pa.int64()), total=INTEGER)

SNAPSHOT = Column("snapshot", TEXT, "Date of the hub-stats snapshot, YYYY-MM-DD.", nullable=False)

HUB_STATS = TableContract(
    name="raw.hub_stats",
    grain="one row of the source, in its order",
    description=(
        "A hub-stats snapshot in one fixed superset of the columns that the source has had over time. Column names "
        "are the source's own, JSON text is untouched. A row that cannot be used stays, with the reason."
    ),
    partitioned_by="snapshot",
    key=("row_number",),
    settings=("hub_stats",),
    columns=(
        SNAPSHOT,
        Column("row_number", INTEGER, "Position in the source, from 1.", nullable=False, minimum=1),
        Column("source_revision", TEXT, "Commit or sha256 of the file that was read.", nullable=False),
        Column("_id", TEXT, "The Hub's immutable id of the repository."),
        Column("id", TEXT, "Model id, org/name."),
        Column("author", TEXT, "User or organisation."),
        Column("sha", TEXT, "Commit of the repository."),
        Column("createdAt", INSTANT, "Creation of the repository; 2022-03-02 23:29:04/05 is a floor."),
        Column("lastModified", INSTANT, "Last commit."),
        Column("downloads", INTEGER, "Downloads of the last 30 days.", unit="downloads"),
        Column("downloadsAllTime", INTEGER, "Downloads since creation.", unit="downloads"),
        Column("likes", INTEGER, "Likes.", unit="likes"),
        Column("trendingScore", REAL, "The Hub's trending score."),
        Column("private", FLAG, "Whether the repository is private."),
        Column("gated", TEXT, "Whether access is gated: false, auto or manual."),
        Column("disabled", FLAG, "Whether the Hub disabled the repository."),
        Column("tags", TEXTS, "The Hub's tags, declared parents among them."),
        Column("pipeline_tag", TEXT, "Task."),
        Column("library_name", TEXT, "Library."),
        Column("siblings", TEXTS, "Names of the repository's files."),
        Column("safetensors", SAFETENSORS, "Parameter counts by dtype, and in total.", unit="parameters"),
        Column("gguf", TEXT, "GGUF metadata, JSON text."),
        Column("config", TEXT, "Excerpt of config.json, JSON text."),
        Column("cardData", TEXT, "Front matter of the model card, JSON text."),
        Column("baseModels", BASE_MODELS, "Parents as the Hub resolved them."),
        Column("is_rejected", FLAG, "Whether the row cannot be used at all.", nullable=False),
        Column("problem", TEXT, "Why the row is rejected, or which of its fields could not be read."),
    ),
)

CARDS = TableContract(
    name="raw.cards",
    grain="model card",
    description=(
        "Texts of model cards (README.md), from ATLAS_CARDS or, without it, from the folders of ATLAS_WEIGHTS. The "
        "text is untouched but for its length; a card that cannot be read stays, with the problem and no text."
    ),
    partitioned_by="snapshot",
    key=("model_id",),
    settings=("cards", "weights"),
    row_group_rows=5_000,
    columns=(
        SNAPSHOT,
        Column("model_id", TEXT, "Hub id of the model, org/name.", nullable=False),
        Column("source_revision", TEXT, "sha256 of the file that the card stands in.", nullable=False),
        Column("card", TEXT, "Text of the card, front matter included."),
        Column("n_bytes", INTEGER, "Length of the whole card in UTF-8.", "bytes", nullable=False, minimum=0),
        Column("is_truncated", FLAG, "Whether the text was cut to its first part.", nullable=False),
        Column("problem", TEXT, "Why there is no text, or that others stand under the same id."),
    ),
)

TABLES = (HUB_STATS, CARDS)
