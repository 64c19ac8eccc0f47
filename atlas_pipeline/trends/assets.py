"""Assets of the trends stage: one query and one picture each. What a picture shows stands in one table, PICTURES."""

from collections.abc import Callable
from functools import partial
from typing import Final

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.orchestration import materialized, table_asset
from atlas_pipeline.trends.figures import bars, lines_over_time, stacked_shares
from atlas_pipeline.trends.metrics import trend

SHOWN: Final = 20
"""Models in a picture of the greatest ones."""

FEWEST: Final = 10
"""Models in a quarter that is drawn; shares of fewer jump from one to none."""


def stated_in_the_paper(rows: pa.Table) -> pa.Table:
    """The shares of which the paper states one too."""
    return rows.filter((pc.field("unit") == "share") & pc.field("paper_value").is_valid()).rename_columns(
        {"value": "atlas", "paper_value": "paper"}
    )


PICTURES: Final[dict[str, Callable[[pa.Table], bytes]]] = {
    "statistics": lambda rows: bars(
        stated_in_the_paper(rows),
        label=["statistic"],
        values=["atlas", "paper"],
        title="Shares that the paper states, and the same here",
    ),
    "depth_by_modality": partial(stacked_shares, group="modality", part="depth", title="Depth by modality", most=7),
    "documentation_items": lambda rows: bars(
        rows.filter(pc.field("modality") == "all"),
        label=["item"],
        values=["share"],
        title="Models that say so about themselves",
    ),
    "documentation_levels": partial(
        stacked_shares, group="modality", part="n_items", title="Documented items by modality"
    ),
    "relation_types": partial(stacked_shares, group="modality", part="relation", title="Relations by modality"),
    "relations_by_month": partial(stacked_shares, group="month_at", part="relation", title="Relations by month"),
    "technique_rates": lambda rows: lines_over_time(
        rows.filter((pc.field("grouping") == "all") & (pc.field("n_models") >= FEWEST)),
        at="quarter_at",
        line="technique",
        value="share",
        title=f"How models with a parent were made, in quarters of {FEWEST} or more",
    ),
    "merge_influence": lambda rows: bars(
        rows.filter(pc.field("measure") == "descendant_downloads"),
        label=["modality"],
        values=["mean_merged", "mean_siblings"],
        title="Downloads of descendants: merged models and their siblings",
        is_log=True,
    ),
    "top_impact": lambda rows: bars(
        rows.slice(0, SHOWN),
        label=["rank", "model_id"],
        values=["sub_tree_downloads", "downloads_30d"],
        title="Models that most downloads rest on",
        is_log=True,
    ),
    "growth": partial(bars, label=["thing", "change"], values=["n"], title="Since the snapshot before"),
    "removed_models": lambda rows: bars(
        rows.slice(0, SHOWN),
        label=["model_id"],
        values=["n_broken_references"],
        title="Removed models and the references that broke",
    ),
}
"""How the rows of each table are drawn."""


def drawn(context: dg.AssetExecutionContext, atlas: Atlas) -> dg.MaterializeResult:
    """Measure the running asset's trend, draw it, and write it."""
    name = context.asset_key.path[-1]
    with atlas.connect(f"trends.{name}", context.partition_key) as connection:
        rows = trend(connection, name, context.partition_key)
    return materialized(context, atlas, rows, picture=PICTURES[name](rows))


@table_asset("trends.statistics", kinds={"duckdb"})
def statistics(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per number that the paper states in words."""
    return drawn(context, atlas)


@table_asset("trends.depth_by_modality", kinds={"duckdb"})
def depth_by_modality(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per modality and depth."""
    return drawn(context, atlas)


@table_asset("trends.documentation_items", kinds={"duckdb"})
def documentation_items(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per modality and item."""
    return drawn(context, atlas)


@table_asset("trends.documentation_levels", kinds={"duckdb"})
def documentation_levels(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per modality and number of items."""
    return drawn(context, atlas)


@table_asset("trends.relation_types", kinds={"duckdb"})
def relation_types(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per modality and relation."""
    return drawn(context, atlas)


@table_asset("trends.relations_by_month", kinds={"duckdb"})
def relations_by_month(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per month and relation."""
    return drawn(context, atlas)


@table_asset("trends.technique_rates", kinds={"duckdb"})
def technique_rates(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per group, quarter and technique."""
    return drawn(context, atlas)


@table_asset("trends.merge_influence", kinds={"duckdb"})
def merge_influence(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per modality and measure."""
    return drawn(context, atlas)


@table_asset("trends.top_impact", kinds={"duckdb"})
def top_impact(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per rank."""
    return drawn(context, atlas)


@table_asset("trends.growth", kinds={"duckdb"})
def growth(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per thing and change."""
    return drawn(context, atlas)


@table_asset("trends.removed_models", kinds={"duckdb"})
def removed_models(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per removed model."""
    return drawn(context, atlas)
