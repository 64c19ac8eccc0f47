from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from atlas_pipeline.release.positions import drawn_map, positioned
from atlas_pipeline.schema import contract_of
from atlas_pipeline_tests.quality.sound_tables import (
    BASE,
    DOWNLOADS,
    GONE,
    SILENT,
    SNAPSHOTS,
    TUNED,
    connect,
    row,
    sound_rows,
)

NO_MAP = contract_of("release.positions").arrow_schema.empty_table()


def latest(rows):
    rows["components.models"] = [r for r in rows["components.models"] if r["snapshot"] == SNAPSHOTS[-1]]
    return connect(rows)


@pytest.fixture
def connection():
    with latest(sound_rows()) as opened:
        yield opened


def test_every_model_has_its_place_and_its_component(connection):
    rows = positioned(connection, NO_MAP)
    by_id = {r["model_id"]: r for r in rows.to_pylist()}
    assert set(by_id) == set(DOWNLOADS)
    assert {r["component_id"] for r in rows.to_pylist()} == {BASE, GONE}, "the oldest model of each"
    assert (by_id[TUNED]["component_size"], by_id[SILENT]["component_size"]) == (4, 3)
    assert len({(r["x"], r["y"]) for r in by_id.values()}) == len(by_id)
    rows.select(NO_MAP.schema.names).cast(NO_MAP.schema)


def test_the_next_map_starts_from_the_last(connection):
    rows = positioned(connection, NO_MAP)
    assert positioned(connection, rows).equals(rows)
    moved = rows.set_column(1, "x", pa.array(rows["x"].to_numpy() + 8.0))
    again = positioned(connection, moved)
    assert (np.abs(again["x"].to_numpy() - moved["x"].to_numpy()) < 4).all(), "and not from the middle"


def test_a_model_that_came_since_is_placed(connection):
    rows = positioned(connection, NO_MAP)
    more = sound_rows()
    more["components.models"].append(row("components.models", snapshot=SNAPSHOTS[-1], model_id="lab/new"))
    with latest(more) as opened:
        again = {r["model_id"]: r for r in positioned(opened, rows).to_pylist()}
    before = {r["model_id"]: r for r in rows.to_pylist()}
    assert again.pop("lab/new")["component_id"] == "lab/new"
    assert again == before


def test_edges_that_end_nowhere_are_not_on_the_map(connection):
    rows = sound_rows()
    rows["edges.charted"].append(row("edges.charted", child_id=BASE, parent_id="lab/unknown", region_id="lab--base"))
    with latest(rows) as opened:
        assert positioned(opened, NO_MAP).equals(positioned(connection, NO_MAP))


def test_the_picture_is_a_picture_also_of_nothing(connection):
    assert drawn_map(connection, positioned(connection, NO_MAP)).startswith(b"\x89PNG")
    with connect({}) as empty:
        rows = positioned(empty, NO_MAP)
        assert (rows.num_rows, drawn_map(empty, rows)[:4]) == (0, b"\x89PNG")
