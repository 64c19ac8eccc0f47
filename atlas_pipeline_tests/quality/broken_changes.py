"""Ways to break sound rows of what a release says is new and gone."""

from __future__ import annotations

from atlas_pipeline_tests.quality.breakages import Breakage, add
from atlas_pipeline_tests.quality.sound_tables import BASE, GONE, SIBLING, TUNED

LAST = {"last_snapshot": "2025-12-01", "gone_by_snapshot": "2026-01-01"}

BROKEN_CHANGES = (
    Breakage(
        "release.tombstones/gone_models_are_not_there",
        "a model that is there",
        add("release.tombstones", model_id=BASE, **LAST),
        1,
        (BASE,),
    ),
    Breakage(
        "release.aliases/aliases_mean_models",
        "a name of nothing",
        add("release.aliases", alias="lab/old-name", model_id="lab/nothing"),
        1,
        ("lab/old-name", "lab/nothing"),
    ),
    Breakage(
        "release.aliases/aliases_mean_models",
        "the name of a model that is there",
        add("release.aliases", alias=TUNED, model_id=BASE),
        1,
        (TUNED,),
    ),
    Breakage(
        "release.model_changes/changed_models_are_there",
        "gone and there",
        add("release.model_changes", model_id=BASE, change="gone"),
        1,
        (BASE,),
    ),
    Breakage(
        "release.model_changes/changed_models_are_there",
        "changed in nothing",
        add("release.model_changes", model_id=BASE, change="changed"),
        1,
        (BASE,),
    ),
    Breakage(
        "release.edge_changes/changed_edges_are_there",
        "new and not there",
        add("release.edge_changes", child_id=SIBLING, parent_id=GONE, change="new", origin="charted"),
        1,
        (SIBLING, GONE),
    ),
)
