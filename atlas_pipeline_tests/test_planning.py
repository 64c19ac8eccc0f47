"""What is planned: the right tables, in an order in which every input comes first."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.planning import Phase, SelectionError, Step, phases, select_tables, steps
from atlas_pipeline.schema import STAGES, TABLES
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage import TableNotMaterialized
from atlas_pipeline_tests.storage.contract_rows import some_rows

SNAPSHOTS = ("2025-06-01", "2025-12-01")


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    return Atlas(Settings(home=str(tmp_path), hub_stats="hub", weights="", truth=""))


def named(atlas: Atlas, name: str, tables: tuple[str, ...] = tuple(TABLES)) -> Phase:
    return next(phase for phase in phases(atlas, SNAPSHOTS, tables) if phase.name == name)


# -- selections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], tuple(TABLES)),
        (["edges"], ("edges.charted", "edges.arrivals", "edges.audit", "edges.scores")),
        (["edges.scores", "raw"], ("raw.hub_stats", "raw.cards", "edges.scores")),
        (
            [" release/files , trends ", "trends"],
            (*(name for name in TABLES if name.startswith("trends.")), "release.files"),
        ),
        (list(STAGES[::-1]), tuple(TABLES)),
    ],
)
def test_a_selection_means_tables_in_the_order_of_the_stages(names: list[str], expected: tuple[str, ...]) -> None:
    assert select_tables(names) == expected


@pytest.mark.parametrize(
    "names", [[""], ["edges,"], ["edge"], ["edges.*"], ["charted"], ["Edges"], ["edges.charted.x"]]
)
def test_a_name_that_is_nothing_is_refused_with_what_there_is(names: list[str]) -> None:
    with pytest.raises(SelectionError, match=r"is no stage and no table: stages raw, .*release; tables raw\.hub_stats"):
        select_tables(names)


# -- phases ----------------------------------------------------------------------------------------------------------


def test_every_table_is_in_one_phase_with_the_partitions_of_its_contract(atlas: Atlas) -> None:
    made = phases(atlas, SNAPSHOTS, tuple(TABLES))
    assert sorted(name for phase in made for name in phase.tables) == sorted(TABLES)
    for phase in made:
        assert len({TABLES[name].partitioned_by for name in phase.tables}) == 1


def test_inputs_come_first(atlas: Atlas) -> None:
    """Within a step tables follow each other; of other partitions only phases before may be read."""
    phase_of = {name: i for i, phase in enumerate(phases(atlas, SNAPSHOTS, tuple(TABLES))) for name in phase.tables}
    order = [name for phase in phases(atlas, SNAPSHOTS, tuple(TABLES)) for name in phase.tables]
    for name, contract in TABLES.items():
        for given in contract.inputs:
            is_unpartitioned = TABLES[given.table].partitioned_by is None
            if phase_of[given.table] == phase_of[name]:
                assert order.index(given.table) < order.index(name)
                assert given.scope == "same" or is_unpartitioned, f"{name} reads other partitions of its own phase"
            else:
                assert phase_of[given.table] < phase_of[name]


def test_a_phase_without_tables_is_left_out_and_partitions_are_found_late(atlas: Atlas) -> None:
    made = phases(atlas, SNAPSHOTS, ("components.impact", "edges.charted"))
    assert [(phase.name, phase.tables) for phase in made] == [
        ("documented atlas", ("components.impact",)),
        ("charting", ("edges.charted",)),
    ]
    with pytest.raises(TableNotMaterialized, match="components/regions"):
        steps(atlas, made[1])
    rows = some_rows("components.regions", region_partition=["type-bert", "bucket-00"])
    atlas.store.write("components.regions", rows, partition=SNAPSHOTS[1])
    assert steps(atlas, made[1]) == [Step("bucket-00", ("edges.charted",)), Step("type-bert", ("edges.charted",))]


# -- steps -----------------------------------------------------------------------------------------------------------


def test_an_empty_home_means_everything_partition_by_partition(atlas: Atlas) -> None:
    phase = named(atlas, "documented atlas")
    assert steps(atlas, phase) == [Step(snapshot, phase.tables) for snapshot in SNAPSHOTS]
    assert steps(atlas, named(atlas, "release")) == [
        Step(None, tuple(table for table in TABLES if table.startswith("release.")))
    ]


def make(atlas: Atlas, step: Step) -> None:
    for table in step.tables:
        atlas.write(table, some_rows(table, f"{step.partition}"), step.partition)


def test_what_is_current_is_left_and_what_is_fed_by_it_is_made_with_it(
    atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("raw", "documented atlas"):
        for step in steps(atlas, named(atlas, name)):
            make(atlas, step)
    phase = named(atlas, "documented atlas")
    assert steps(atlas, phase) == []
    atlas.store.delete("components.impact", SNAPSHOTS[0])
    reading = ("attributes.imputed", "attributes.license_lineage", "trends.statistics", "trends.depth_by_modality")
    reading += ("trends.merge_influence", "trends.top_impact", "trends.removed_models")
    fed = ("components.impact", *(t for t in phase.tables if t in (*reading, "attributes.scores")))
    assert steps(atlas, phase) == [Step(SNAPSHOTS[0], fed)]
    assert steps(atlas, phase, leave_out=("attributes.scores", "components.impact")) == [
        Step(SNAPSHOTS[0], tuple(t for t in phase.tables if t in reading))
    ]
    assert steps(atlas, phase, leave_out=phase.tables) == []
    with monkeypatch.context() as patch:
        patch.setitem(TABLES, "components.models", dataclasses.replace(TABLES["components.models"], version="2"))
        fed = tuple(name for name in phase.tables if name not in ("components.claims", "components.parents"))
        assert steps(atlas, phase) == [Step(SNAPSHOTS[0], fed), Step(SNAPSHOTS[1], fed)]
    alone = named(atlas, "documented atlas", ("trends.relations_by_month", "components.impact"))
    assert steps(atlas, alone) == [Step(SNAPSHOTS[0], ("components.impact",))]


def test_force_means_everything_that_is_not_left_out(atlas: Atlas) -> None:
    phase = named(atlas, "raw")
    for step in steps(atlas, phase):
        make(atlas, step)
    assert steps(atlas, phase) == []
    assert steps(atlas, phase, force=True) == [Step(snapshot, phase.tables) for snapshot in SNAPSHOTS]
    assert phase.tables == ("raw.hub_stats", "raw.cards", "components.cards")
    assert steps(atlas, phase, force=True, leave_out=phase.tables) == []
