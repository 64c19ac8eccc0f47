"""Assets of the components stage."""

import os

import dagster as dg

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.components import documented
from atlas_pipeline.components.cards import parsed_cards
from atlas_pipeline.components.hand_made import load_hand_made
from atlas_pipeline.orchestration import materialized, register_region_partitions, table_asset


@table_asset("components.cards", kinds={"python"})
def cards(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per card, parsed."""
    with atlas.connect("components.cards", context.partition_key) as connection:
        processes = atlas.settings.threads or os.cpu_count() or 1
        return materialized(context, atlas, parsed_cards(connection, context.partition_key, processes=processes))


@table_asset("components.claims", kinds={"duckdb"})
def claims(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per statement that a model was made from another one."""
    hand_made = load_hand_made(atlas.settings.annotations)
    with atlas.connect("components.claims", context.partition_key) as connection:
        rows = documented.claims(connection, context.partition_key, hand_made)
    return materialized(context, atlas, rows, notes=hand_made.notes)


@table_asset("components.parents", kinds={"duckdb"})
def parents(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per documented (child, parent)."""
    with atlas.connect("components.parents", context.partition_key) as connection:
        rows = documented.documented_parents(connection, context.partition_key)
    return materialized(context, atlas, rows)


@table_asset("components.models", kinds={"duckdb"})
def models(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per model."""
    with atlas.connect("components.models", context.partition_key) as connection:
        rows = documented.cleaned_models(connection, context.partition_key)
    return materialized(context, atlas, rows)


@table_asset("components.regions", kinds={"duckdb", "numpy"})
def regions(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per model, with its region."""
    with atlas.connect("components.regions", context.partition_key) as connection:
        rows = documented.regions(
            connection, context.partition_key, large_region_models=atlas.settings.large_region_models
        )
    result = materialized(context, atlas, rows)
    register_region_partitions(context, atlas)
    return result


@table_asset("components.impact", kinds={"duckdb", "numpy"})
def impact(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per model, with its place and impact."""
    with atlas.connect("components.impact", context.partition_key) as connection:
        rows = documented.impact(connection, context.partition_key)
    return materialized(context, atlas, rows)
