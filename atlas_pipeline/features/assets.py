"""Assets of the features stage."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.features.evidence import tensor_table
from atlas_pipeline.features.partitions import failures, models_to_sample, sample_partition, summary
from atlas_pipeline.orchestration import logged_progress, materialized, table_asset
from atlas_pipeline.repositories import Repository, open_repository
from atlas_pipeline.settings import Settings


@table_asset("features.models", kinds={"numpy"}, pool="weights")
def models(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per model, sampled or not."""
    settings = atlas.settings
    with atlas.connect("features.models", context.partition_key) as connection:
        wanted = models_to_sample(
            connection, context.partition_key, leaves_per_node=settings.leaves_per_node, seed=settings.seed
        )
    with ExitStack() as stack:
        repository = stack.enter_context(_repository(settings))
        rows, vectors = sample_partition(
            wanted,
            repository,
            Path(stack.enter_context(TemporaryDirectory())),
            n_neurons=settings.n_neurons,
            seed=settings.seed,
            limit_bytes=settings.size_bytes("model_read_limit"),
            progress=logged_progress(context, atlas, "models"),
        )
        figures = summary(rows) | dict(repository.costs() if repository else {})
        return materialized(context, atlas, rows, attachment=vectors, notes=failures(rows), figures=figures)


@table_asset("features.tensors", kinds={"numpy"})
def tensors(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per model and sampled matrix."""
    with atlas.connect("features.tensors", context.partition_key) as connection:
        sampled = connection.sql("select model_id, region_id from features.models").to_arrow_table()
    arrays, metadata = atlas.store.read_attachment("features.models", context.partition_key)
    return materialized(context, atlas, tensor_table(sampled, arrays, metadata))


@contextmanager
def _repository(settings: Settings) -> Iterator[Repository | None]:
    """Where the weights are, until it is left; None for metadata only."""
    location = settings.location("weights")
    if not location:
        yield None
        return
    budget = settings.size_bytes("run_read_limit")
    with closing(open_repository(location, cache=settings.hub_cache, budget_bytes=budget)) as repository:
        yield repository
