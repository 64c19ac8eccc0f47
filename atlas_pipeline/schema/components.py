"""Contracts of the components stage: cleaned models, documented parents, regions and impact."""

import pyarrow as pa

from atlas_pipeline.schema.contract import (
    FLAG,
    INSTANT,
    INTEGER,
    REAL,
    TEXT,
    TEXTS,
    Column,
    Input,
    TableContract,
    struct,
)
from atlas_pipeline.schema.raw import SNAPSHOT

MODEL_ID = Column("model_id", TEXT, "Hub id of the model, org/name.", nullable=False)
CHILD_ID = Column("child_id", TEXT, "The model that was made.", nullable=False)
PARENT_ID = Column("parent_id", TEXT, "The model that it was made from.", nullable=False)
REGION_ID = Column(
    "region_id",
    TEXT,
    "Stable id of the region: its oldest source model, / written as -- (as tildes where that is unclear).",
    nullable=False,
)
RELATIONS = ("finetune", "adapter", "quantized", "merge", "duplicate", "unknown")
RELATION = Column(
    "relation", TEXT, "How the child was made from the parent, per edge.", nullable=False, values=RELATIONS
)

SOURCES = (
    "base_models",
    "tag",
    "annotation",
    "card_data",
    "mergekit",
    "adapter_config",
    "card_text",
    "config",
    "gguf",
)
"""Who names a parent, the strongest first."""

WEAK_SOURCES = ("card_text", "config", "gguf")
"""Sources that may name something else than the parent: they count where no stronger one names a parent."""

STATEMENT = struct(source=TEXT, declared_parent=TEXT, relation=TEXT, role=TEXT, quote=TEXT)

CARDS = TableContract(
    name="components.cards",
    grain="model card",
    description=(
        "What a card says, parsed: its front matter as JSON, and each statement about a parent with the words in which "
        "it stands. A card whose front matter cannot be parsed stays, with the problem; its text is read all the same."
    ),
    partitioned_by="snapshot",
    key=("model_id",),
    inputs=(Input("raw.cards"),),
    columns=(
        SNAPSHOT,
        MODEL_ID,
        Column("metadata", TEXT, "Front matter as JSON text; null where there is none, or none that can be parsed."),
        Column("n_words", INTEGER, "Words outside front matter and code.", "words", nullable=False, minimum=0),
        Column("problem", TEXT, "Why the front matter could not be parsed."),
        Column(
            "statements",
            pa.list_(pa.field("element", STATEMENT)),
            "Parents that the card names: source (card_data, mergekit, card_text), the parent as written, relation "
            "where it is said, role (merged, base) in a merge, and the words.",
            nullable=False,
        ),
    ),
)

CLAIMS = TableContract(
    name="components.claims",
    grain="(child, source, declared parent, relation)",
    description=(
        "Every statement that a model was made from another one, as each source makes it, resolved to the model that "
        "it means. Nothing is overwritten: sources that contradict each other stand side by side."
    ),
    partitioned_by="snapshot",
    key=("child_id", "source", "declared_parent", "relation"),
    inputs=(Input("raw.hub_stats", "up_to"), Input("components.cards", "up_to")),
    settings=("annotations",),
    columns=(
        SNAPSHOT,
        CHILD_ID,
        Column("source", TEXT, "Who says so.", nullable=False, values=SOURCES),
        Column("declared_parent", TEXT, "The parent as the source wrote it.", nullable=False),
        RELATION,
        Column("role", TEXT, "Part that the parent plays in a merge.", values=("merged", "base")),
        Column("quote", TEXT, "The words in which a card says it."),
        Column(
            "stated_in",
            TEXT,
            "Snapshot whose row of the child says so: an earlier one where the child itself is gone.",
            nullable=False,
        ),
        Column("parent_id", TEXT, "The parent that is meant, or the text itself where it is no model.", nullable=False),
        Column(
            "resolution",
            TEXT,
            "How the name was understood: as it stands, in another letter case, by a former name, as an address, "
            "as the model whose card a GGUF file copied (one generation nearer), as a mere ancestor, or not listed.",
            nullable=False,
            values=("exact", "letter_case", "alias", "nearer", "ancestor", "unlisted", "not_a_model"),
        ),
        Column(
            "drop_reason",
            TEXT,
            "Why the claim cannot stand by itself.",
            values=("self_loop", "not_a_model_id", "local_path"),
        ),
    ),
)

PARENTS = TableContract(
    name="components.parents",
    grain="(child, parent) as documented, also those that were dropped",
    description=(
        "Every parent that some source names, with all the sources that do. Edges that cannot stand (self-loops, "
        "cycles, ids that name no repository, weak sources that a stronger one contradicts) stay with is_kept = false "
        "and the reason."
    ),
    partitioned_by="snapshot",
    key=("child_id", "parent_id"),
    inputs=(Input("components.claims"), Input("raw.hub_stats", "up_to")),
    columns=(
        SNAPSHOT,
        CHILD_ID,
        Column(
            "parent_id", TEXT, "The declared parent, in the letter case of the model that it names.", nullable=False
        ),
        Column("declared_parent", TEXT, "The parent as the strongest source wrote it.", nullable=False),
        RELATION,
        Column("relations", TEXTS, "All relations that sources claim for this edge, by name.", nullable=False),
        Column("sources", TEXTS, f"Who said so, by name: {', '.join(SOURCES)}.", nullable=False),
        Column(
            "disagreeing_sources",
            TEXTS,
            "Sources that name parents of this child, but not this one, by name.",
            nullable=False,
        ),
        Column(
            "stated_in",
            TEXT,
            "Snapshot whose row of the child says so: an earlier one where the child itself is gone.",
            nullable=False,
        ),
        Column("child_is_older", FLAG, "Whether the child's creation is before the parent's; null without both dates."),
        Column("is_kept", FLAG, "Whether the edge is in the documented atlas.", nullable=False),
        Column(
            "drop_reason",
            TEXT,
            "Why the edge was dropped.",
            values=("self_loop", "cycle", "not_a_model_id", "local_path", "outweighed"),
        ),
    ),
)

MODELS = TableContract(
    name="components.models",
    grain="model, also those restored because another one names them as its parent",
    description=(
        "The cleaned models of a snapshot. A model that is gone but still named as a parent is restored with the "
        "metadata of the last snapshot that had it, or as a bare id; presence says which."
    ),
    partitioned_by="snapshot",
    key=("model_id",),
    inputs=(Input("raw.hub_stats", "up_to"), Input("components.parents")),
    columns=(
        SNAPSHOT,
        MODEL_ID,
        Column("author", TEXT, "User or organisation."),
        Column("created_at", INSTANT, "Creation of the repository (UTC)."),
        Column("created_at_is_floor", FLAG, "Whether created_at is the Hub's floor and not a date.", nullable=False),
        Column("last_modified_at", INSTANT, "Last commit (UTC)."),
        Column("downloads_30d", INTEGER, "Downloads of the 30 days before the snapshot.", "downloads", minimum=0),
        Column("downloads_all_time", INTEGER, "Downloads since creation.", "downloads", minimum=0),
        Column("likes", INTEGER, "Likes.", "likes", minimum=0),
        Column("pipeline_tag", TEXT, "Task, as reported."),
        Column(
            "modality",
            TEXT,
            "Modality of the task.",
            values=("nlp", "vision", "audio", "multimodal", "other"),
        ),
        Column("library_name", TEXT, "Library, as reported."),
        Column("model_type", TEXT, "model_type of config.json, or the architecture of the GGUF file."),
        Column("architecture", TEXT, "First architecture of config.json."),
        Column("license", TEXT, "License, as reported (tag or card)."),
        Column("n_parameters", INTEGER, "Parameters in the safetensors or GGUF files.", "parameters", minimum=0),
        Column("is_quantized", FLAG, "Whether tags, config, dtypes or file names say so.", nullable=False),
        Column("has_card", FLAG, "Whether there is a model card; null where the snapshot cannot tell."),
        Column("has_weights", FLAG, "Whether there are weight files; null where the snapshot cannot tell."),
        Column(
            "presence",
            TEXT,
            "present, without_weights, or removed (restored).",
            nullable=False,
            values=("present", "without_weights", "removed"),
        ),
        Column("restored_from", TEXT, "Snapshot whose metadata a removed model carries; null for a bare id."),
    ),
)

MODELS_MADE_FROM = {
    "model_id": ("id",),
    "author": ("author",),
    "created_at": ("createdAt",),
    "created_at_is_floor": ("createdAt",),
    "last_modified_at": ("lastModified",),
    "downloads_30d": ("downloads",),
    "downloads_all_time": ("downloadsAllTime",),
    "likes": ("likes",),
    "pipeline_tag": ("pipeline_tag",),
    "modality": ("pipeline_tag",),
    "library_name": ("library_name",),
    "model_type": ("config", "gguf", "tags"),
    "architecture": ("config",),
    "license": ("tags", "cardData"),
    "n_parameters": ("safetensors", "gguf"),
    "is_quantized": ("config", "gguf", "baseModels", "tags", "safetensors", "siblings"),
    "has_card": ("siblings", "cardData"),
    "has_weights": ("siblings", "safetensors", "gguf"),
    "presence": ("id", "siblings", "safetensors", "gguf"),
    "restored_from": ("id",),
}
"""Columns of raw.hub_stats that each column of components.models is made from."""

REGIONS = TableContract(
    name="components.regions",
    grain="model",
    description=(
        "Weakly connected components of the kept documented edges. The charting stages run by region_partition, "
        "which puts regions of one model type together, so that an undocumented model meets those it may come from."
    ),
    partitioned_by="snapshot",
    key=("model_id",),
    inputs=(Input("components.models"), Input("components.parents")),
    settings=("large_region_models",),
    columns=(
        SNAPSHOT,
        MODEL_ID,
        REGION_ID,
        Column("region_name", TEXT, "Id of the source model that the region is named after.", nullable=False),
        Column("region_size", INTEGER, "Models in the region.", "models", nullable=False, minimum=1),
        Column("is_source", FLAG, "Whether the model has no kept parent.", nullable=False),
        Column("region_partition", TEXT, "Partition in which the region is charted.", nullable=False),
    ),
)

IMPACT = TableContract(
    name="components.impact",
    grain="model",
    description=(
        "Position and impact in the documented atlas. Every descendant counts once, however many paths lead to it. "
        "Downloads are those of the snapshot's 30 days; a missing count adds nothing."
    ),
    partitioned_by="snapshot",
    key=("model_id",),
    inputs=(Input("components.models"), Input("components.parents")),
    columns=(
        SNAPSHOT,
        MODEL_ID,
        Column("depth", INTEGER, "Edges on the longest path from a source model.", "edges", nullable=False, minimum=0),
        Column(
            "shortest_depth",
            INTEGER,
            "Edges on the shortest path from a source model.",
            "edges",
            nullable=False,
            minimum=0,
        ),
        Column("is_leaf", FLAG, "Whether the model has no kept child.", nullable=False),
        Column("hub_id", TEXT, "Set of sibling leaves that the model is in: its parents' ids; null without siblings."),
        Column("n_children", INTEGER, "Kept children.", "models", nullable=False, minimum=0),
        Column("n_descendants", INTEGER, "Distinct descendants.", "models", nullable=False, minimum=0),
        Column(
            "descendant_downloads",
            INTEGER,
            "Downloads of distinct descendants.",
            "downloads",
            nullable=False,
            minimum=0,
        ),
        Column(
            "sub_tree_downloads",
            INTEGER,
            "Own downloads and those of descendants.",
            "downloads",
            nullable=False,
            minimum=0,
        ),
        Column(
            "merge_share_downloads",
            REAL,
            "As sub_tree_downloads, but a child of several parents credits each with an equal share.",
            "downloads",
            nullable=False,
            minimum=0,
        ),
        Column(
            "path_counted_downloads",
            REAL,
            "Own downloads and those of descendants, a descendant counted once for each path to it. For comparison "
            "only: this is how such sums are published, and it is wrong wherever two paths meet.",
            "downloads",
            nullable=False,
            minimum=0,
        ),
    ),
)

TABLES = (CARDS, CLAIMS, PARENTS, MODELS, REGIONS, IMPACT)
