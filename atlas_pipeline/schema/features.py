"""Contract of the features stage: what was sampled of each model's weights."""

from atlas_pipeline.schema.components import MODEL_ID, REGION_ID
from atlas_pipeline.schema.contract import FLAG, INTEGER, TEXT, Column, Input, TableContract

STATUSES = (
    "ok",
    "metadata_only",
    "no_weights",
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
        "of float32 rows per vector group, with model ids, plan and seed in the file's metadata."
    ),
    partitioned_by="region",
    key=("model_id",),
    inputs=(
        Input("components.models", "latest"),
        Input("components.parents", "latest"),
        Input("components.regions", "latest"),
    ),
    settings=("weights", "n_neurons", "seed"),
    columns=(
        MODEL_ID,
        REGION_ID,
        Column("status", TEXT, "How it went.", nullable=False, values=STATUSES),
        Column("format", TEXT, "File format: safetensors, gguf, adapter (PEFT), or unread."),
        Column("bytes_read", INTEGER, "Bytes read to sample the neurons.", "bytes", nullable=False, minimum=0),
        Column("bytes_total", INTEGER, "Size of the weight files.", "bytes", nullable=False, minimum=0),
        Column("n_neurons", INTEGER, "Neurons (weight rows) sampled.", "neurons", nullable=False, minimum=0),
        Column("is_quantized", FLAG, "Whether the stored weights are quantised; null if not read."),
        Column("quantization", TEXT, "The quantisation found."),
        Column("content_sha256", TEXT, "Digest of the weight files' contents."),
        Column(
            "content_key", TEXT, "Digest of everything that the vector depends on; unchanged ones are not read again."
        ),
        Column("vector_group", TEXT, "Name of the matrix that holds the model's row: its shape signature."),
        Column("error", TEXT, "What went wrong, in one sentence."),
    ),
)

TABLES = (MODELS,)
