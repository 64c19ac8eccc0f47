"""The code location: the only place that assembles assets, checks, jobs and resources.

Belongs here: the list of what there is. Does not belong here: anything that does something.
"""

import dagster as dg

import atlas_pipeline.attributes.assets as attributes
import atlas_pipeline.components.assets as components
import atlas_pipeline.distances.assets as distances
import atlas_pipeline.edges.assets as edges
import atlas_pipeline.features.assets as features
import atlas_pipeline.raw.assets as raw
import atlas_pipeline.release.assets as release
import atlas_pipeline.trends.assets as trends
from atlas_pipeline.atlas import Atlas
from atlas_pipeline.orchestration import asset_key
from atlas_pipeline.quality.checks import all_table_checks
from atlas_pipeline.schema import TABLES, round_of
from atlas_pipeline.settings import Settings

STAGES = (raw, components, features, distances, edges, attributes, trends, release)


def _of_round(number: int) -> dg.AssetSelection:
    """The tables by snapshot that are made in one round over all snapshots."""
    of_round = [t for t in TABLES if TABLES[t].partitioned_by == "snapshot" and round_of(t) == number]
    return dg.AssetSelection.assets(*(asset_key(table) for table in of_round))


JOBS = (
    dg.define_asset_job(
        "snapshots",
        selection=_of_round(0),
        description="Read snapshots and cards. A job of its own: a snapshot is cleaned with all earlier ones at hand.",
    ),
    dg.define_asset_job(
        "documented_atlas",
        selection=_of_round(1),
        description="One snapshot: cleaned models, documented parents, regions, impact, attributes, trends.",
    ),
    dg.define_asset_job(
        "across_snapshots",
        selection=_of_round(2),
        description="What changed since the snapshot before. After documented_atlas of all snapshots.",
    ),
    dg.define_asset_job(
        "charting",
        selection=dg.AssetSelection.groups("features", "distances", "edges"),
        description="One partition of regions: sampled neurons, neighbours, charted edges, scores.",
    ),
    dg.define_asset_job(
        "release",
        selection=dg.AssetSelection.groups("release"),
        description="Check everything anew, bundle the tables, publish them (a dry run without ATLAS_RELEASE_REPO).",
    ),
)


def build_defs(settings: Settings | None = None, *, atlas: Atlas | None = None) -> dg.Definitions:
    """Assemble the code location.

    Args:
        settings: where tables lie and what they are made from; read from the environment when None.
        atlas: the tables under those settings, where somebody wants to follow the progress.
    """
    return dg.Definitions(
        assets=dg.load_assets_from_modules(STAGES),
        asset_checks=all_table_checks(),
        jobs=JOBS,
        schedules=[raw.weekly_snapshot],
        resources={"atlas": atlas or Atlas(settings or Settings.from_environment())},
        # Steps of one run follow each other and share their imports; runs of several partitions go side by side.
        executor=dg.in_process_executor,
    )


defs = build_defs()
