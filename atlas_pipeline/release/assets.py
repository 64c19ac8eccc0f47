"""Assets of the release stage."""

import dagster as dg

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.orchestration import materialized, table_asset
from atlas_pipeline.release.bundle import make_bundle, version_of
from atlas_pipeline.release.gate import check_tables, refuse_unless_sound, result_rows
from atlas_pipeline.release.positions import drawn_map, last_positions, positioned
from atlas_pipeline.release.publish import publish


@table_asset("release.positions", kinds={"duckdb", "numpy"})
def positions(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per model, with its place on the map; those that were on the last map stay where they can."""
    last = last_positions(atlas.store)
    with atlas.connect("release.positions", None) as connection:
        rows = positioned(connection, last)
        picture = drawn_map(connection, rows)
    return materialized(context, atlas, rows, picture=picture)


@table_asset("release.checks", kinds={"duckdb", "greatexpectations"})
def checks(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per check of everything that would be released."""
    atlas.begin("release.checks", None)
    results = check_tables(atlas.store, progress=context.log.info)
    return materialized(context, atlas, result_rows(results))


@table_asset("release.files", kinds={"duckdb"})
def files(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per file of the release; refuses where a check fails now, whatever an earlier run found."""
    atlas.begin("release.files", None)
    sound = refuse_unless_sound(atlas.store)
    return materialized(context, atlas, make_bundle(atlas.store, atlas.settings, sound))


@table_asset("release.published")
def published(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row: where the release went."""
    atlas.begin("release.published", None)
    released = atlas.store.read("release.files")
    rows = publish(atlas.store, released, version=version_of(atlas.store), repo_id=atlas.settings.release_repo)
    return materialized(context, atlas, rows)
