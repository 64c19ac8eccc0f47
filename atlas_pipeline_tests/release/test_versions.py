from __future__ import annotations

import dagster as dg
import pytest

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.release.assets import aliases, edge_changes, editions, model_changes, tombstones
from atlas_pipeline.release.versions import release_notes, version_of
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage import TableNotMaterialized, TableStore
from atlas_pipeline_tests.quality.sound_tables import (
    BASE,
    GRANDCHILD,
    ORPHAN,
    SIBLING,
    SILENT,
    SNAPSHOTS,
    TUNED,
    find,
    loose_table,
    partition_of,
    row,
    sound_rows,
)

OLD, LATEST = SNAPSHOTS
DESCRIBED = (tombstones, aliases, editions, model_changes, edge_changes)


def write(store, rows, *tables):
    for table in tables:
        for partition in {partition_of(table, r) for r in rows[table]}:
            own = [r for r in rows[table] if partition_of(table, r) == partition]
            store.write(table, loose_table(table, own), partition=partition)


def listed(snapshot, ids):
    pairs = enumerate(ids.items(), start=1)
    return [row("raw.hub_stats", snapshot=snapshot, id=i, _id=r, row_number=n) for n, (i, r) in pairs]


def released(home, instance, fix=0):
    """What the tables of changes hold after a release."""
    atlas = Atlas(Settings(home=str(home), release_fix=fix))
    assert dg.materialize(list(DESCRIBED), instance=instance, resources={"atlas": atlas}).success
    return {asset.key.path[1]: atlas.store.read(".".join(asset.key.path)).to_pylist() for asset in DESCRIBED}


@pytest.fixture
def listed_home(home, store):
    rows = {"raw.hub_stats": listed(OLD, {BASE: "1", "lab/first-name": "2", "lab/lost": "3", "lab/lent": None})}
    rows["raw.hub_stats"] += listed(LATEST, {BASE: "1", TUNED: "2", SILENT: "9", ORPHAN: None})
    write(store, rows, "raw.hub_stats")
    return home


def test_what_an_earlier_snapshot_listed_and_the_latest_does_not_is_a_tombstone(listed_home, store, instance):
    rows = sound_rows()
    about = {"created_at": None, "license": "mit", "downloads_30d": 7, "presence": "present"}
    rows["components.models"].append(row("components.models", snapshot=OLD, model_id="lab/lost", **about))
    find(rows, "edges.charted", child_id=SIBLING).update(parent_id="lab/lost")
    write(store, rows, "components.models", "edges.charted")
    found = released(listed_home, instance)["tombstones"]
    then = {"last_snapshot": OLD, "gone_by_snapshot": LATEST}
    nothing = {"license": None, "downloads_30d": None, "n_broken_references": 0}
    renamed = {"model_id": "lab/first-name", **then, "repository_id": "2", "renamed_to": TUNED, **nothing}
    lent = {"model_id": "lab/lent", **then, "repository_id": None, "renamed_to": None, **nothing}
    lost = {"model_id": "lab/lost", **then, "repository_id": "3", "renamed_to": None}
    assert found == [renamed, lent, lost | {"license": "mit", "downloads_30d": 7, "n_broken_references": 1}]


def test_former_names_and_names_that_children_use_are_aliases(listed_home, store, instance):
    rows = sound_rows()
    for child, resolution, said in ((TUNED, "letter_case", "LAB/base"), (SIBLING, "alias", "lab/of-old")):
        claim = find(rows, "components.claims", snapshot=LATEST, child_id=child)
        claim.update(resolution=resolution, declared_parent=said)
    write(store, rows, "components.claims")
    assert released(listed_home, instance)["aliases"] == [
        {"alias": "LAB/base", "model_id": BASE, "source": "letter_case"},
        {"alias": "lab/first-name", "model_id": TUNED, "source": "renamed"},
        {"alias": "lab/of-old", "model_id": BASE, "source": "hand_made"},
    ]


def test_first_release_is_compared_with_none(listed_home, store, instance):
    found = released(listed_home, instance)
    assert {(r["version"], r["is_latest"]) for r in found["editions"]} == {("2026.02.01", True)}
    assert len(found["editions"]) == 7 + 5
    assert found["model_changes"] == found["edge_changes"] == []
    assert "there is none to compare it with" in release_notes(store, version="2026.02.01")


def changed_home(store):
    """One model and one edge new, one gone, one changed."""
    rows = sound_rows()
    rows["components.models"].remove(find(rows, "components.models", snapshot=LATEST, model_id=GRANDCHILD))
    find(rows, "components.models", snapshot=LATEST, model_id=BASE).update(license="apache-2.0")
    find(rows, "components.models", snapshot=LATEST, model_id=SIBLING).update(downloads_30d=99)
    new = row("components.models", snapshot=LATEST, model_id="new/`<b>|x", downloads_30d=3, presence="present")
    rows["components.models"].append(new)
    rows["edges.charted"].remove(find(rows, "edges.charted", child_id=GRANDCHILD))
    find(rows, "edges.charted", child_id=SILENT).update(relation="adapter", confidence=0.5)
    find(rows, "edges.charted", child_id=TUNED).update(confidence=0.95)
    rows["edges.charted"].append(
        row("edges.charted", child_id="new/`<b>|x", parent_id=BASE, region_id="lab--base", origin="charted")
    )
    write(store, rows, "components.models", "edges.charted")


def test_next_release_says_what_is_new_gone_and_other(listed_home, store, instance):
    released(listed_home, instance)
    changed_home(store)
    found = released(listed_home, instance, fix=1)
    assert {(r["version"], r["is_latest"]) for r in found["editions"]} == {
        ("2026.02.01", False),
        ("2026.02.01.1", True),
    }
    license_changed = {"attribute": "license", "before": "mit", "after": "apache-2.0"}
    assert found["model_changes"] == [
        {"model_id": BASE, "change": "changed", "differences": [license_changed]},
        {"model_id": GRANDCHILD, "change": "gone", "differences": []},
        {"model_id": "new/`<b>|x", "change": "new", "differences": []},
    ]
    of_silent = [
        {"attribute": "relation", "before": "finetune", "after": "adapter"},
        {"attribute": "confidence", "before": "0.70", "after": "0.50"},
    ]
    edge = {"origin": "documented", "differences": []}
    assert found["edge_changes"] == [
        {"child_id": GRANDCHILD, "parent_id": TUNED, "change": "gone"} | edge,
        {"child_id": "new/`<b>|x", "parent_id": BASE, "change": "new", "origin": "charted", "differences": []},
        {
            "child_id": SILENT,
            "parent_id": ORPHAN,
            "change": "changed",
            "origin": "charted",
            "differences": of_silent,
        },
    ]


def test_notes_count_and_name_what_changed_and_let_no_name_out_of_its_cell(listed_home, store, instance):
    released(listed_home, instance)
    changed_home(store)
    released(listed_home, instance, fix=1)
    notes = release_notes(store, version="2026.02.01.1")
    assert "Compared with 2026.02.01." in notes
    assert "| models | 1 | 1 | 1 |" in notes
    assert "| charted edges | 1 | 0 | 1 |" in notes
    assert "| documented edges | 0 | 1 | 0 |" in notes
    assert f"| `{BASE}` | mit | apache-2.0 | 10 |" in notes
    assert "| `new/'&#60;b&#62;&#124;x` | 3 |  |" in notes
    assert "relation: finetune to adapter; confidence: 0.70 to 0.50" in notes
    assert "<b>" not in notes


def test_release_made_again_is_compared_with_the_one_before_it(listed_home, store, instance):
    released(listed_home, instance)
    changed_home(store)
    once = released(listed_home, instance, fix=1)
    assert released(listed_home, instance, fix=1) == once
    third = released(listed_home, instance, fix=2)
    assert {r["version"] for r in third["editions"]} == {"2026.02.01.1", "2026.02.01.2"}
    assert third["model_changes"] == third["edge_changes"] == []


def test_version_is_the_latest_snapshot_and_the_number_of_the_fix(store, tmp_path):
    assert version_of(store, Settings(home="h")) == "2026.02.01"
    assert version_of(store, Settings(home="h", release_fix=2)) == "2026.02.01.2"
    with pytest.raises(TableNotMaterialized, match=r"components\.models"):
        version_of(TableStore(str(tmp_path / "empty")), Settings(home="h"))
