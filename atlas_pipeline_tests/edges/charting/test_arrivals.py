"""New models are charted against an atlas that stays as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.edges.assets import arrivals, charted
from atlas_pipeline.edges.charting.arrivals import chart_arrivals, without_closing
from atlas_pipeline.edges.charting.method import chart
from atlas_pipeline.edges.records import Edge, Evidence
from atlas_pipeline.quality.invariants import checks_of, run_check
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage import Attachment
from atlas_pipeline_tests.edges.populations import Population, pairs, region_of
from atlas_pipeline_tests.quality.sound_tables import loose_table, row

LOCAL = ("copy", "cast", "quantised", "merge", "link")


def population() -> tuple[Population, dict[str, int]]:
    """A tree with a chain, a fan and a merge, and below it one model for each piece of local evidence, by its name."""
    grown = Population(seed=1)
    base = grown.base()
    chain = grown.snake(base, length=4)
    fan = grown.fan(base, size=4)
    half = np.float16(grown.vectors[fan[0]])
    grown.add(half, parent=fan[0], pattern="cast", relation="quantized")
    grown.is_quantized[-1] = False
    vectors = grown.vectors
    rows = {
        "copy": grown.copy(fan[1]),
        "cast": grown.add(np.float16(vectors[fan[2]]), parent=fan[2], pattern="cast", relation="quantized"),
        "quantised": grown.int8(chain[1]),
        "merge": grown.add(0.6 * vectors[fan[0]] + 0.4 * vectors[chain[2]], parent=fan[0], relation="merge"),
        "link": grown.finetune(chain[-1], pattern="snake"),
    }
    grown.is_quantized[rows["cast"]] = False
    return grown, rows


def without(region, rows):
    """The region before some of its models came; nothing in it is documented."""
    kept = np.setdiff1d(np.arange(region.n_models), rows)
    return region_of(
        region.vectors[kept],
        model_ids=tuple(region.model_ids[row] for row in kept),
        created_at=region.created_at[kept],
        is_quantized=region.is_quantized[kept],
    )


def plainly(edges):
    return {(edge.child_id, edge.parent_id, edge.relation) for edge in edges}


def ids_of(region, rows):
    return {region.model_ids[row] for row in rows}


@pytest.mark.parametrize("arrived", [(name,) for name in LOCAL] + [LOCAL], ids="+".join)
def test_local_evidence_gives_what_charting_from_scratch_gives(arrived):
    grown, names = population()
    region, rows = grown.region(), [names[name] for name in arrived]
    before = without(region, rows)
    known = chart(before)
    found = chart_arrivals(region, known, before.model_ids)
    scratch = [edge for edge in chart(region) if edge.child_id in ids_of(region, rows)]
    assert plainly(found) == plainly(scratch)
    assert {edge.rule for edge in found} == {edge.rule for edge in scratch}
    assert {edge.child_id for edge in found} == ids_of(region, rows)
    truth = {(t.child_id, t.parent_id) for t in grown.truth}
    assert {(edge.child_id, edge.parent_id) for edge in found if edge.rule != "merge"} <= truth
    if "merge" in arrived:
        # The cast of one of the parents is no parent, though it was charted long ago.
        merged = {edge.parent_id: edge.coefficient for edge in found if edge.rule == "merge"}
        assert merged == pytest.approx({"org/m005": 0.6, "org/m003": 0.4}, abs=0.01)


def test_old_models_are_not_decided_again():
    grown, names = population()
    region = grown.region()
    before = without(region, [names["link"]])
    known = list(chart(before))
    # Somebody knows better: what is wrong stays wrong, and a source stays a source.
    moved = replace(known[0], parent_id="org/m002" if known[0].parent_id != "org/m002" else "org/m003")
    altered = [moved, *(e for e in known[1:] if e.child_id not in (moved.child_id, "org/m006"))]
    found = chart_arrivals(region, altered, before.model_ids)
    assert pairs(found) == {(names["link"], 4)}
    assert pairs(chart_arrivals(region, altered, set(before.model_ids) - {"org/m006"})) > pairs(found)


def test_nothing_new_and_nothing_old():
    grown, _ = population()
    region = grown.region()
    known = chart(region)
    assert chart_arrivals(region, known, region.model_ids) == ()
    assert chart_arrivals(region, [], []) == known


def test_documented_parents_of_new_models_stay_and_those_of_old_ones_are_not_looked_at():
    grown, names = population()
    documents = {names["link"]: ((0, "finetune"),), names["copy"]: (), 1: ((2, "finetune"),)}
    region = grown.region(known_parents=documents, known_sources={(names["link"], 0): ("tag",)})
    rows = [names["link"], names["copy"]]
    before = without(region, rows)
    (edge,) = chart_arrivals(region, chart(before), before.model_ids)
    assert (edge.child_id, edge.parent_id, edge.origin) == (region.model_ids[names["link"]], "org/m000", "documented")
    assert edge.evidence.sources == ("tag",)


def test_a_second_quantisation_gets_the_parent_of_the_first():
    grown, names = population()
    grown.add(grown.vectors[names["quantised"]], parent=2, relation="quantized")
    region = grown.region()
    before = without(region, [region.n_models - 1])
    (edge,) = chart_arrivals(region, chart(before), before.model_ids)
    assert (edge.relation, pairs([edge])) == ("quantized", {(region.n_models - 1, 2)})


def test_known_edges_elsewhere_are_passed_over():
    grown, names = population()
    region = grown.region()
    before = without(region, [names["cast"]])
    known = chart(before)
    elsewhere = [replace(known[0], child_id="far/child"), replace(known[0], child_id="far/x", parent_id="far/y")]
    found = chart_arrivals(region, known, before.model_ids)
    assert chart_arrivals(region, [*known, *elsewhere], before.model_ids) == found


def test_a_new_edge_never_closes_a_cycle_and_never_costs_a_known_one():
    def edge(child, parent, confidence, days=None):
        return Edge(
            child_id=child, parent_id=parent, relation="finetune", origin="charted", rule="nearest",
            confidence=confidence, is_ambiguous=False, evidence=Evidence(days_apart=days),
        )  # fmt: skip

    known = [edge("b", "a", 0.0, days=-9.0), edge("c", "b", 0.0)]
    new = [edge("a", "c", 1.0), edge("d", "c", 0.1), edge("a", "e", 0.1)]
    assert without_closing(known, new) == (new[2], new[1])


# -- the asset -------------------------------------------------------------------------------------------------------

SNAPSHOT, PARTITION, GROUP = "2025-12-01", "bucket-00", "g"
BORN = datetime(2025, 1, 1, tzinfo=UTC)


def write(atlas, table, rows, partition=SNAPSHOT, attachment=None):
    atlas.write(table, loose_table(table, [row(table, **values) for values in rows]), partition, attachment=attachment)


def write_documents(atlas, region, documented):
    """What the documents say of a region's models: when they were made, and of some from what."""
    models = dict(zip(region.model_ids, region.created_at.tolist(), strict=True))
    at = {"snapshot": SNAPSHOT}
    write(
        atlas,
        "components.models",
        [{**at, "model_id": name, "created_at": BORN + timedelta(seconds=age)} for name, age in models.items()],
    )
    own = {**at, "region_id": "r", "region_partition": PARTITION}
    write(atlas, "components.regions", [{**own, "model_id": name} for name in models])
    plain = {**at, "relation": "finetune", "sources": ["tag"], "is_kept": True}
    write(atlas, "components.parents", [{**plain, "child_id": c, "parent_id": p} for c, p in documented])


def write_measurements(atlas, region):
    """What was measured of the models of a region, as the stages before write it."""
    ids = list(region.model_ids)
    sampled = {"region_id": "r", "status": "ok", "vector_group": GROUP, "format": "safetensors"}
    rows = [
        {**sampled, "model_id": name, "is_quantized": bool(quantized)}
        for name, quantized in zip(ids, region.is_quantized, strict=True)
    ]
    plan = {"tensors": [{"rows": [0], "n_columns": region.vectors.shape[1]}]}
    groups = json.dumps({GROUP: {"model_ids": ids, "plan": json.dumps(plan)}})
    vectors = Attachment({GROUP: region.vectors}, {"groups": groups})
    write(atlas, "features.models", rows, PARTITION, vectors)
    arrays = {f"{GROUP}/squared": region.squared_distances, f"{GROUP}/clusters": region.clusters}
    write(atlas, "distances.neighbors", [], PARTITION, Attachment(arrays))


def test_the_asset_charts_what_edges_charted_has_not_seen(tmp_path: Path):
    grown, names = population()
    region = grown.region()
    new, link = [names["copy"], names["quantised"], names["link"]], region.model_ids[names["link"]]
    atlas = Atlas(Settings(home=str(tmp_path / "atlas")))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("region", [PARTITION])

        def made(asset):
            run = dg.materialize([asset], partition_key=PARTITION, resources={"atlas": atlas}, instance=instance)
            assert run.success
            return atlas.store.read(".".join(asset.key.path), PARTITION).to_pylist()

        write_documents(atlas, region, [("org/m006", "org/m000")])
        write_measurements(atlas, without(region, new))
        known = made(charted)
        receipt = atlas.store.receipt("edges.charted", PARTITION)
        assert made(arrivals) == []
        assert atlas.is_current("edges.arrivals", PARTITION)
        write_documents(atlas, region, [("org/m006", "org/m000"), (link, "org/m000")])
        write_measurements(atlas, region)
        assert not atlas.is_current("edges.arrivals", PARTITION)
        found = made(arrivals)

    assert atlas.is_current("edges.arrivals", PARTITION)
    assert atlas.store.receipt("edges.charted", PARTITION) == receipt
    assert {edge["child_id"] for edge in known} & ids_of(region, new) == set()
    assert [
        tuple(edge[name] for name in ("child_id", "parent_id", "rule", "origin", "region_id")) for edge in found
    ] == [
        (region.model_ids[names["copy"]], "org/m006", "duplicate", "charted", "r"),
        (region.model_ids[names["quantised"]], "org/m002", "quantized", "charted", "r"),
        (link, "org/m000", "known", "documented", "r"),
    ]
    with atlas.connect("edges.arrivals", PARTITION, also=["edges.arrivals"]) as connection:
        results = {check.name: run_check(connection, check) for check in checks_of("edges.arrivals")}
    assert {name for name, result in results.items() if not result.is_passed} == set()
    assert "arrivals_are_new" in results
