"""Assets of the raw stage."""

from datetime import timedelta
from typing import Final

import dagster as dg

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.orchestration import materialized, table_asset
from atlas_pipeline.raw.cards import read_cards
from atlas_pipeline.raw.snapshots import read_snapshot
from atlas_pipeline.raw.sources import find_snapshots

FRESH: Final = dg.FreshnessPolicy.time_window(warn_window=timedelta(days=8), fail_window=timedelta(days=15))
"""A snapshot a week, and one missed, before the UI calls the raw rows stale."""


@table_asset("raw.hub_stats", freshness_policy=FRESH)
def hub_stats(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per row of the source."""
    atlas.begin("raw.hub_stats", context.partition_key)
    raw = read_snapshot(atlas.settings, context.partition_key)
    return materialized(context, atlas, raw.rows, notes=raw.notes)


@table_asset("raw.cards", kinds={"duckdb"})
def cards(context: dg.AssetExecutionContext, atlas: dg.ResourceParam[Atlas]) -> dg.MaterializeResult:
    """One row per card."""
    atlas.begin("raw.cards", context.partition_key)
    return materialized(context, atlas, read_cards(atlas.settings, context.partition_key))


@dg.schedule(
    job_name="snapshots",
    cron_schedule="0 6 * * 1",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every Monday: reads the snapshots that ATLAS_HUB_STATS has and the atlas has not.",
)
def weekly_snapshot(
    context: dg.ScheduleEvaluationContext, atlas: dg.ResourceParam[Atlas]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Ask for a run of each new snapshot."""
    there = set(atlas.store.partitions("raw.hub_stats"))
    new = sorted({source.snapshot for source in find_snapshots(atlas.settings)} - there)
    if not new:
        return dg.SkipReason("no new snapshot")
    context.instance.add_dynamic_partitions("snapshot", new)
    return [dg.RunRequest(run_key=snapshot, partition_key=snapshot) for snapshot in new]
