"""Contracts of the features stage: what was sampled of each model's weights, and what that proves."""

from atlas_pipeline.schema.components import MODEL_ID, REGION_ID
from atlas_pipeline.schema.contract import FLAG, INTEGER, TEXT, Column, Input, TableContract

STATUSES = (
    "ok",
    "pruned",
    "metadata_only",
    "no_weights",
    "not_found",
    "gated",
    "disabled",
    "over_budget",
    "unsupported_format",
    "unsupported_adapter",
    "missing_base",
    "invalid_header",
    "truncated",
    "unreadable",
    "not_finite",
)

MODELS = TableContract(
    name="features.models",
    grain="model",
    description=(
        "How the sampling of each model went. The sampled neurons lie beside the table as safetensors: one matrix "
        "of float32 rows per vector group, with model ids, plan and seed in the file's metadata. Of a model that "
        "could not give all neurons cheaply only those of two small matrices are there, in a group of their own whose "
        "name ends in -anchors; of an adapter without a base its change alone, in a group whose name ends in -changes."
    ),
    partitioned_by="region",
    key=("model_id",),
    inputs=(
        Input("components.models", "latest"),
        Input("components.parents", "latest"),
        Input("components.regions", "latest"),
    ),
    settings=("weights", "n_neurons", "seed", "leaves_per_node", "model_read_limit", "run_read_limit"),
    columns=(
        MODEL_ID,
        REGION_ID,
        Column(
            "status",
            TEXT,
            "How it went. not_found: deleted, private or never there, which a hub does not tell apart. pruned: left "
            "out as one leaf of too many. over_budget: it would have taken more bytes than it may.",
            nullable=False,
            values=STATUSES,
        ),
        Column("format", TEXT, "File format: safetensors, gguf, pytorch, adapter, or unread."),
        Column("revision", TEXT, "The commit that was read; null where there are no commits."),
        Column("weights_file", TEXT, "The weight file, or the first of several."),
        Column("bytes_read", INTEGER, "Bytes read to sample the neurons.", "bytes", nullable=False, minimum=0),
        Column("bytes_total", INTEGER, "Size of the weight files.", "bytes", nullable=False, minimum=0),
        Column("n_neurons", INTEGER, "Neurons (weight rows) sampled.", "neurons", nullable=False, minimum=0),
        Column("n_tensors", INTEGER, "Weight tensors; of an adapter those of the adapted model.", "tensors", minimum=0),
        Column("n_parameters", INTEGER, "Numbers in them.", "parameters", minimum=0),
        Column("vocabulary_size", INTEGER, "Rows of the token embedding.", "tokens", minimum=0),
        Column("dtypes", TEXT, "Types in which the numbers are stored, the commonest first."),
        Column(
            "is_quantized",
            FLAG,
            "Whether the stored weights are quantised: not in 16 bits or more, nor in the low precision in which the "
            "model was made; null if not read.",
        ),
        Column("quantization", TEXT, "The low precision found, and how it is known."),
        Column("base_id", TEXT, "Of an adapter: the model to which it was applied here."),
        Column("adapter_kind", TEXT, "Of an adapter: its kind, such as LoRA, rsLoRA or DoRA."),
        Column(
            "adapter_rank",
            INTEGER,
            "Of an adapter: the largest rank of its changes; 0 where they have none.",
            minimum=0,
        ),
        Column("is_delta", FLAG, "Of an adapter: whether the sampled rows are its change alone, for want of a base."),
        Column(
            "content_sha256",
            TEXT,
            "Digest of the weight files: of a single one as it is, else of all their digests. Known where the listing "
            "tells it, and where a model looks equal to another and lies on a disk.",
        ),
        Column("shapes_sha256", TEXT, "Digest of the names and shapes of all tensors."),
        Column("sampled_sha256", TEXT, "Digest of the sampled neurons: equal ones in one group are equal numbers."),
        Column("vector_group", TEXT, "Name of the matrix that holds the model's row: its shape signature."),
        Column("error", TEXT, "What went wrong, in one sentence."),
    ),
)

TENSORS = TableContract(
    name="features.tensors",
    grain="model and sampled matrix",
    description=(
        "Exact evidence, without arithmetic: digests of the sampled neurons of every matrix. Two models of one group "
        "whose digests of a matrix are equal have that matrix in common, as far as it was sampled."
    ),
    partitioned_by="region",
    key=("model_id", "tensor"),
    inputs=(Input("features.models"),),
    columns=(
        MODEL_ID,
        REGION_ID,
        Column("tensor", TEXT, "The matrix, under its canonical name.", nullable=False),
        Column("n_rows", INTEGER, "Neurons that it has.", "neurons", nullable=False, minimum=1),
        Column("n_columns", INTEGER, "Numbers in a neuron.", "weights", nullable=False, minimum=1),
        Column("n_neurons", INTEGER, "Neurons sampled of it.", "neurons", nullable=False, minimum=1),
        Column("rows_sha256", TEXT, "Digest of those neurons as float32.", nullable=False),
        Column(
            "min_distinct_values", INTEGER, "Least number of different values in a neuron.", nullable=False, minimum=1
        ),
        Column(
            "max_distinct_values", INTEGER, "Greatest number of different values in one.", nullable=False, minimum=1
        ),
        Column("hidden_quantization", TEXT, "A quantisation that the values show, whatever type they are stored in."),
    ),
)

TABLES = (MODELS, TENSORS)
