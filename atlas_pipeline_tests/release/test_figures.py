from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta
from xml.dom import minidom

import duckdb
import pytest

from atlas_pipeline.release.figures import FIGURES, figures
from atlas_pipeline.schema import contract_of
from atlas_pipeline_tests.quality.sound_tables import BASE, SNAPSHOTS, TUNED, connect, row, sound_rows

HOSTILE = "lab/$\\frac{1}{0}$<script>alert(1)</script>&amp;\n\u202e"
ALWAYS_UNDRAWN = {"07_neurons"}


def drawn(connection: duckdb.DuckDBPyConnection) -> dict[str, dict]:
    rows = figures(connection)
    contract = contract_of("release.figures")
    return {
        each["figure"]: each
        for each in rows.select(contract.arrow_schema.names).cast(contract.arrow_schema).to_pylist()
    }


def rich_rows() -> dict[str, list[dict]]:
    """Sound rows with a quantised leaf and one with a child, hostile texts, trends, and a charting error."""
    rows = sound_rows()
    models = [each for each in rows["components.models"] if each["snapshot"] == SNAPSHOTS[-1]]
    for each in rows["components.models"]:
        if each["model_id"] == TUNED:
            each["license"] = each["pipeline_tag"] = HOSTILE
    for each in rows["release.positions"]:
        each["component_size"] = 6 if each["component_id"] == BASE else each["component_size"]
    for number, parent in enumerate((BASE, TUNED)):
        name = f"lab/{number}-q4{HOSTILE}"
        rows["components.models"].append(
            row(
                "components.models",
                snapshot=SNAPSHOTS[-1],
                model_id=name,
                created_at=models[0]["created_at"] - timedelta(days=number),
            )
        )
        rows["release.positions"].append(
            row("release.positions", model_id=name, x=3.0, y=4.0 + number, component_id=BASE, component_size=6)
        )
        rows["edges.charted"].append(
            row("edges.charted", child_id=name, parent_id=parent, relation="quantized", region_id="lab--base")
        )
    return rows


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(rich_rows()) as opened:
        yield opened


def test_each_figure_is_drawn_or_says_why_not(connection):
    found = drawn(connection)
    assert list(found) == list(FIGURES)
    for name, each in found.items():
        assert (
            (each["reason"] is None) == (each["svg"] is not None) == (each["png"] is not None) == (each["n_shown"] > 0)
        )
        if each["reason"] is None:
            assert base64.b64decode(each["png"]).startswith(b"\x89PNG")
            assert minidom.parseString(each["svg"]).documentElement.tagName == "svg", name  # noqa: S318  our own
    undrawn = {name for name, each in found.items() if each["reason"]}
    assert undrawn >= ALWAYS_UNDRAWN
    assert {"01_regions", "02_atlas", "04_quantised_leaves", "05_time_order", "13_attributes"}.isdisjoint(undrawn)


def test_an_empty_atlas_has_reasons_for_all():
    with connect({}) as empty:
        assert all(each["reason"] and not each["n_shown"] for each in drawn(empty).values())


def test_the_same_tables_give_the_same_bytes(connection):
    with connect(rich_rows()) as other:
        assert drawn(connection) == drawn(other)


def test_names_are_texts_and_no_formulas(connection):
    svg = drawn(connection)["13_attributes"]["svg"]
    assert "<script>" not in svg
    assert "frac" in svg, "the text as it stands, and no fraction"
    assert "&lt;" in svg


def test_errors_are_told_apart(connection):
    rows = rich_rows()
    for each in rows["edges.audit"]:
        each.update(
            finding="measured" if each["finding"] == "not_comparable" else each["finding"], measured_parent_ids=[]
        )
    if rows["edges.audit"]:
        rows["edges.audit"][0]["measured_parent_ids"] = [rows["edges.audit"][0]["parent_id"]]
    with connect(rows) as opened:
        found = drawn(opened)["14_errors"]
    assert found["reason"] is None
    assert "right (1)" in found["svg"]
    assert f"missed ({len(rows['edges.audit']) - 1})" in found["svg"]
