"""Ways to break sound rows of the map."""

from __future__ import annotations

import math

from atlas_pipeline_tests.quality.breakages import Breakage, add, change, drop
from atlas_pipeline_tests.quality.sound_tables import BASE, GRANDCHILD, ORPHAN, SILENT, SNAPSHOTS, TUNED, row

POSITIONS = "release.positions"

BROKEN_POSITIONS = (
    Breakage(
        f"{POSITIONS}/every_model_has_a_position",
        "a model is not on the map",
        drop(POSITIONS, model_id=SILENT),
        1,
        (SILENT,),
    ),
    Breakage(
        f"{POSITIONS}/every_model_has_a_position",
        "a place of no model",
        add(POSITIONS, model_id="lab/nothing", component_size=1),
        1,
        ("lab/nothing",),
    ),
    Breakage(
        f"{POSITIONS}/every_model_has_a_position",
        "a new model is not on the map",
        lambda rows: rows["components.models"].append(
            row("components.models", snapshot=SNAPSHOTS[-1], model_id="lab/new")
        ),
        1,
        ("lab/new",),
    ),
    Breakage(
        f"{POSITIONS}/positions_are_distinct",
        "two models at one place",
        change(POSITIONS, {"model_id": TUNED}, x=0.0),
        1,
        (BASE,),
    ),
    Breakage(
        f"{POSITIONS}/positions_are_distinct",
        "nowhere in the plane",
        change(POSITIONS, {"model_id": TUNED}, x=math.inf),
        1,
        (TUNED,),
    ),
    Breakage(
        f"{POSITIONS}/components_hold_their_edges",
        "an edge between components",
        change(POSITIONS, {"model_id": GRANDCHILD}, component_id=ORPHAN),
        1,
        (GRANDCHILD, TUNED),
    ),
    Breakage(
        f"{POSITIONS}/component_sizes_add_up",
        "a model counts another number of models",
        change(POSITIONS, {"model_id": TUNED}, component_size=5),
        1,
        (BASE,),
    ),
)
