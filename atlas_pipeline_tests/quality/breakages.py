"""Ways to break sound rows, one for each thing that a SQL check must see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from atlas_pipeline_tests.quality.sound_tables import (
    BASE,
    BORN,
    GONE,
    GRANDCHILD,
    ORPHAN,
    SIBLING,
    SILENT,
    SNAPSHOTS,
    TUNED,
    Rows,
    find,
    row,
)

OLD, LATEST = SNAPSHOTS


@dataclass(frozen=True)
class Breakage:
    """What is done to sound rows, and what the check must say of it."""

    check: str
    what: str
    break_rows: Callable[[Rows], object]
    n_failing: int
    shows: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"


def change(table: str, where: dict, **values: object) -> Callable[[Rows], object]:
    return lambda rows: find(rows, table, **where).update(values)


def drop(table: str, **where: object) -> Callable[[Rows], object]:
    return lambda rows: rows[table].remove(find(rows, table, **where))


def add(table: str, **values: object) -> Callable[[Rows], object]:
    return lambda rows: rows[table].append(row(table, **values))


def _model(model: str, snapshot: str = LATEST) -> dict:
    return {"snapshot": snapshot, "model_id": model}


def _edge(child: str, snapshot: str = LATEST) -> dict:
    return {"snapshot": snapshot, "child_id": child}


def _charted(child: str, parent: str, origin: str = "charted") -> Callable[[Rows], object]:
    return add("edges.charted", child_id=child, parent_id=parent, region_id="lab--base", origin=origin)


MODELS, PARENTS, REGIONS = "components.models", "components.parents", "components.regions"
IMPACT, CHARTED, NEIGHBORS = "components.impact", "edges.charted", "distances.neighbors"

CLAIMS, LICENSES = "components.claims", "attributes.license_lineage"
NO_TERMS = {"ancestor_licenses": ["mit"], "inherited_terms": ["attribution"], "lost_terms": []}

BREAKAGES = (
    Breakage(
        f"{CLAIMS}/resolution_fits",
        "a local path is understood as a model",
        change(CLAIMS, _edge(TUNED), drop_reason="local_path"),
        1,
        (TUNED, "local_path"),
    ),
    Breakage(
        f"{CLAIMS}/resolution_fits",
        "a model names itself and the claim stands",
        change(CLAIMS, _edge(TUNED), parent_id=TUNED, drop_reason="self_loop", resolution="not_a_model"),
        1,
        (TUNED, "self_loop"),
    ),
    Breakage(
        f"{PARENTS}/sources_are_those_of_the_claims",
        "a source without a claim",
        change(PARENTS, _edge(TUNED), sources=["card_data", "tag"]),
        1,
        (TUNED, "card_data"),
    ),
    Breakage(
        f"{PARENTS}/sources_are_those_of_the_claims",
        "an edge that nobody claims",
        drop(CLAIMS, **_edge(SIBLING)),
        1,
        (SIBLING,),
    ),
    Breakage(
        f"{IMPACT}/depths_and_totals_are_in_order",
        "the shortest way is longer than the longest",
        change(IMPACT, _model(TUNED), shortest_depth=2),
        1,
        (TUNED,),
    ),
    Breakage(
        f"{IMPACT}/depths_and_totals_are_in_order",
        "fewer downloads by paths than by models",
        change(IMPACT, _model(BASE), path_counted_downloads=99.0),
        1,
        (BASE, "99"),
    ),
    Breakage(
        f"{LICENSES}/losses_are_edges",
        "terms are lost on an edge that is none",
        add(
            LICENSES,
            **_model(TUNED),
            **NO_TERMS | {"lost_terms": ["attribution"]},
            lost_at_child_id=TUNED,
            lost_at_parent_id=GONE,
        ),
        1,
        (TUNED, GONE),
    ),
    Breakage(
        f"{LICENSES}/losses_are_edges",
        "an edge is named where nothing was lost",
        add(LICENSES, **_model(TUNED), **NO_TERMS, lost_at_child_id=TUNED, lost_at_parent_id=BASE),
        1,
        (TUNED, BASE),
    ),
    Breakage(
        f"{LICENSES}/lost_terms_were_inherited",
        "terms are lost that no ancestor has",
        add(LICENSES, **_model(TUNED), **NO_TERMS | {"lost_terms": ["naming"]}),
        1,
        (TUNED, "naming"),
    ),
    Breakage(
        f"{MODELS}/ends_of_edges_are_models",
        "a parent is no model of this snapshot, though of another",
        drop(MODELS, **_model(GONE)),
        1,
        (ORPHAN, LATEST),
    ),
    Breakage(f"{MODELS}/ends_of_edges_are_models", "a child is none", drop(MODELS, **_model(SIBLING)), 1, (SIBLING,)),
    Breakage(
        f"{MODELS}/removed_models_are_parents",
        "the edge that names it is no longer kept",
        change(PARENTS, _edge(ORPHAN), is_kept=False, drop_reason="cycle"),
        1,
        (GONE, LATEST),
    ),
    Breakage(
        f"{MODELS}/children_are_not_older",
        "a kept child is older",
        change(PARENTS, _edge(TUNED), child_is_older=True),
        1,
        (TUNED, BASE),
    ),
    Breakage(
        f"{MODELS}/dates_are_in_order",
        "changed before it was created",
        change(MODELS, _model(TUNED), last_modified_at=BORN - timedelta(days=1)),
        1,
        (TUNED,),
    ),
    Breakage(
        f"{MODELS}/dates_are_in_order",
        "created after the snapshot",
        change(MODELS, _model(TUNED), created_at=BORN.replace(year=2027), last_modified_at=None),
        1,
        (TUNED, "2027"),
    ),
    Breakage(
        f"{PARENTS}/no_kept_self_loops",
        "a model is its own parent",
        change(PARENTS, _edge(TUNED), parent_id=TUNED),
        1,
        (TUNED,),
    ),
    Breakage(
        f"{PARENTS}/dropped_edges_say_why",
        "dropped without reason",
        change(PARENTS, _edge(TUNED), is_kept=False),
        1,
        (TUNED,),
    ),
    Breakage(
        f"{PARENTS}/dropped_edges_say_why",
        "kept with a reason to drop it",
        change(PARENTS, _edge(TUNED), drop_reason="cycle"),
        1,
        (TUNED, "cycle"),
    ),
    Breakage(
        f"{REGIONS}/every_model_has_a_region", "a model has none", drop(REGIONS, **_model(SILENT)), 1, (SILENT, LATEST)
    ),
    Breakage(
        f"{REGIONS}/every_model_has_a_region",
        "a region has a model that is none",
        add(REGIONS, snapshot=OLD, model_id="no/model", region_id="no--region"),
        1,
        ("no--region",),
    ),
    Breakage(
        f"{REGIONS}/sizes_add_up",
        "one row of a region has another size",
        change(REGIONS, _model(GRANDCHILD), region_size=5),
        1,
        ("lab--base",),
    ),
    Breakage(
        f"{REGIONS}/sizes_add_up", "no source in it", change(REGIONS, _model(BASE), is_source=False), 1, ("lab--base",)
    ),
    Breakage(
        f"{REGIONS}/sizes_add_up",
        "it lies in two partitions",
        change(REGIONS, _model(TUNED), region_partition="bucket-01"),
        1,
        ("lab--base",),
    ),
    Breakage(
        f"{REGIONS}/sources_have_no_parent",
        "a child is said to be a source",
        change(REGIONS, _model(TUNED), is_source=True),
        1,
        (TUNED,),
    ),
    Breakage(
        f"{REGIONS}/sources_have_no_parent",
        "a model without parent is said to be none",
        change(REGIONS, _model(SILENT), is_source=False),
        1,
        (SILENT,),
    ),
    Breakage(
        f"{REGIONS}/edges_stay_within_regions",
        "an edge leaves its region",
        change(REGIONS, _model(SIBLING), region_id="new--silent"),
        1,
        (SIBLING, BASE),
    ),
    Breakage(
        f"{IMPACT}/every_model_has_impact", "a model has none", drop(IMPACT, **_model(SILENT)), 1, (SILENT, LATEST)
    ),
    Breakage(
        f"{IMPACT}/every_model_has_impact",
        "a model that is none has impact",
        add(IMPACT, **_model("no/model")),
        1,
        ("no/model",),
    ),
    Breakage(
        f"{IMPACT}/children_are_deeper",
        "as deep as its parent",
        change(IMPACT, _model(TUNED), depth=0),
        2,
        (TUNED, GRANDCHILD),
    ),
    Breakage(
        f"{IMPACT}/children_are_deeper", "too deep", change(IMPACT, _model(GRANDCHILD), depth=7), 1, (GRANDCHILD,)
    ),
    Breakage(
        f"{IMPACT}/children_are_deeper",
        "a source that is not on top",
        change(IMPACT, _model(SILENT), depth=1),
        1,
        (SILENT,),
    ),
    Breakage(
        f"{IMPACT}/children_are_counted", "a child too many", change(IMPACT, _model(TUNED), n_children=2), 1, (TUNED,)
    ),
    Breakage(
        f"{IMPACT}/children_are_counted",
        "a parent called a leaf",
        change(IMPACT, _model(BASE), is_leaf=True),
        1,
        (BASE,),
    ),
    Breakage(
        f"{IMPACT}/children_are_counted",
        "fewer descendants than children",
        change(IMPACT, _model(BASE), n_descendants=1),
        1,
        (BASE,),
    ),
    Breakage(
        f"{IMPACT}/impact_covers_own_downloads",
        "own downloads left out",
        change(IMPACT, _model(BASE), sub_tree_downloads=90),
        1,
        (BASE, "90"),
    ),
    Breakage(
        f"{IMPACT}/impact_covers_own_downloads",
        "a share less than its own",
        change(IMPACT, _model(BASE), merge_share_downloads=9.0),
        1,
        (BASE,),
    ),
    Breakage(
        f"{NEIGHBORS}/lists_are_sorted",
        "the second is nearer than the first",
        change(NEIGHBORS, {"rank": 2}, squared_distance=0.5),
        1,
        (GRANDCHILD,),
    ),
    Breakage(f"{NEIGHBORS}/lists_are_sorted", "ranks have a gap", change(NEIGHBORS, {"rank": 2}, rank=3), 1, (TUNED,)),
    Breakage(f"{NEIGHBORS}/lists_are_sorted", "a rank twice", change(NEIGHBORS, {"rank": 2}, rank=1), 1, (TUNED,)),
    Breakage(
        f"{NEIGHBORS}/lists_are_sorted",
        "its own neighbour",
        change(NEIGHBORS, {"rank": 1}, neighbor_id=TUNED),
        1,
        (TUNED,),
    ),
    Breakage(
        f"{NEIGHBORS}/lists_are_sorted",
        "a distance that is no number",
        change(NEIGHBORS, {"rank": 2}, squared_distance=float("nan")),
        1,
        ("NaN",),
    ),
    Breakage(f"{CHARTED}/no_self_loops", "a model is its own parent", _charted(SILENT, SILENT), 1, (SILENT,)),
    Breakage(f"{CHARTED}/ends_are_models", "a parent is no model", _charted(SILENT, "no/model"), 1, ("no/model",)),
    Breakage(f"{CHARTED}/ends_are_models", "a child is no model", _charted("no/model", BASE), 1, ("no/model",)),
    Breakage(f"{CHARTED}/parents_are_earlier", "charted against time", _charted(BASE, SILENT), 1, (BASE, SILENT)),
    Breakage(
        f"{CHARTED}/documented_edges_are_all_there",
        "one is missing",
        drop(CHARTED, child_id=SIBLING),
        1,
        (SIBLING, BASE),
    ),
    Breakage(
        f"{CHARTED}/documented_edges_are_all_there",
        "one passes for charted",
        change(CHARTED, {"child_id": SIBLING}, origin="charted"),
        1,
        (SIBLING,),
    ),
    Breakage(
        f"{CHARTED}/documented_edges_are_kept",
        "one that nobody documents",
        _charted(SILENT, BASE, "documented"),
        1,
        (SILENT,),
    ),
    Breakage(
        f"{CHARTED}/documented_edges_are_kept",
        "one that has been dropped since",
        change(PARENTS, _edge(SIBLING), is_kept=False, drop_reason="cycle"),
        1,
        (SIBLING,),
    ),
    Breakage(
        f"{CHARTED}/documented_edges_are_kept",
        "another relation",
        change(CHARTED, {"child_id": SIBLING}, relation="adapter"),
        1,
        (SIBLING, "adapter"),
    ),
    Breakage(
        "attributes.imputed/reported_values_stay",
        "another value passes for the reported one",
        change("attributes.imputed", _model(SIBLING), reported_value="gpl"),
        1,
        (SIBLING, "gpl"),
    ),
    Breakage(
        "attributes.imputed/reported_values_stay",
        "a value for a model that is none",
        add("attributes.imputed", **_model("no/model"), attribute="relation"),
        1,
        ("no/model",),
    ),
    Breakage(
        "attributes.scores/accuracy_is_the_ratio",
        "it is not",
        change("attributes.scores", {"snapshot": LATEST}, accuracy=0.6),
        1,
        ("0.6",),
    ),
    Breakage(
        "attributes.scores/accuracy_is_the_ratio",
        "of nothing",
        change("attributes.scores", {"snapshot": LATEST}, n_models=0, n_correct=0),
        1,
        ("0.5",),
    ),
    Breakage(
        "raw.hub_stats/rows_are_usable",
        "a row is rejected",
        add("raw.hub_stats", snapshot=LATEST, id="x" * 300, is_rejected=True, problem="no id"),
        1,
        ("no id", LATEST),
    ),
)
