"""Assets of the release stage."""

import base64

import dagster as dg

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.orchestration import materialized, table_asset
from atlas_pipeline.release.bundle import make_bundle
from atlas_pipeline.release.figures import TABLES as FIGURE_TABLES
from atlas_pipeline.release.figures import figures as drawn_figures
from atlas_pipeline.release.gate import check_tables, refuse_unless_sound, result_rows
from atlas_pipeline.release.positions import drawn_map, positioned
from atlas_pipeline.release.publish import publish
from atlas_pipeline.release.versions import version_of
from atlas_pipeline.storage import run_query


def queried(context: dg.AssetExecutionContext, atlas: Atlas) -> dg.MaterializeResult:
    """Write the running asset's table as its query says."""
    stage, table = context.asset_key.path
    with atlas.connect(f"{stage}.{table}", None) as connection:
        return materialized(context, atlas, run_query(connection, f"release/{table}"))


@table_asset("release.tombstones", kinds={"duckdb"})
def tombstones(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per model that is gone."""
    return queried(context, atlas)


@table_asset("release.aliases", kinds={"duckdb"})
def aliases(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per name that means another model."""
    return queried(context, atlas)


@table_asset("release.editions", kinds={"duckdb"})
def editions(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """What this release and the last one say; the last one's rows are those that lie there."""
    with atlas.connect("release.editions", None) as connection:
        connection.register("before", atlas.before("release.editions"))
        version = version_of(atlas.store, atlas.settings)
        return materialized(context, atlas, run_query(connection, "release/editions", version=version))


@table_asset("release.model_changes", kinds={"duckdb"})
def model_changes(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per model that is new, gone or described otherwise."""
    return queried(context, atlas)


@table_asset("release.edge_changes", kinds={"duckdb"})
def edge_changes(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per edge that is new, gone or described otherwise."""
    return queried(context, atlas)


@table_asset("release.positions", kinds={"duckdb", "numpy"})
def positions(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per model, with its place on the map; those that were on the last map stay where they can."""
    with atlas.connect("release.positions", None) as connection:
        rows = positioned(connection, atlas.before("release.positions"))
        picture = drawn_map(connection, rows)
    return materialized(context, atlas, rows, picture=picture)


@table_asset("release.figures", kinds={"duckdb", "matplotlib"})
def figures(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per figure of the paper, drawn from the tables."""
    atlas.begin("release.figures", None)
    with atlas.store.connect(dict.fromkeys(FIGURE_TABLES), optional=FIGURE_TABLES) as connection:
        rows = drawn_figures(connection)
    pictures = {row["figure"]: base64.b64decode(row["png"]) for row in rows.to_pylist() if row["png"]}
    return materialized(context, atlas, rows, pictures=pictures)


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
    rows = publish(
        atlas.store, released, version=version_of(atlas.store, atlas.settings), repo_id=atlas.settings.release_repo
    )
    return materialized(context, atlas, rows)
