"""Ways to break sound rows of ``edges.arrivals``."""

from __future__ import annotations

from atlas_pipeline_tests.quality.breakages import Breakage, add, change
from atlas_pipeline_tests.quality.sound_tables import BASE, GONE, SILENT, TUNED

ARRIVALS = "edges.arrivals"
OF_BASE = {"child_id": BASE}

BROKEN_ARRIVALS = (
    Breakage(
        f"{ARRIVALS}/arrivals_are_new",
        "a model that was charted before",
        add(ARRIVALS, child_id=TUNED, parent_id=SILENT, region_id="lab--base"),
        1,
        (TUNED,),
    ),
    Breakage(
        f"{ARRIVALS}/arrivals_are_sampled",
        "a model without weights",
        add(ARRIVALS, child_id=GONE, parent_id=SILENT, region_id="old--gone"),
        1,
        (GONE,),
    ),
    Breakage(
        f"{ARRIVALS}/documented_edges_are_kept",
        "nobody says so",
        change(ARRIVALS, OF_BASE, origin="documented"),
        1,
        (BASE, SILENT),
    ),
    Breakage(
        f"{ARRIVALS}/parents_are_other_models",
        "its own parent",
        change(ARRIVALS, OF_BASE, parent_id=BASE),
        1,
        (BASE,),
    ),
    Breakage(
        f"{ARRIVALS}/parents_are_other_models",
        "a parent that is no model",
        change(ARRIVALS, OF_BASE, parent_id="lab/nobody"),
        1,
        ("lab/nobody",),
    ),
)
