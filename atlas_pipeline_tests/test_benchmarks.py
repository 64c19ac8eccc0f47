"""The benchmarks at a size for tests: what they draw, and that two independent ways give one documented graph."""

from __future__ import annotations

import json

import duckdb
import pytest

from benchmarks import descendants, row_loops
from benchmarks.hub import RELATIONS, SHARE_WITH_PARENTS, lineage, write_hub

ROWS = 3000


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    return write_hub(tmp_path_factory.mktemp("hub"), rows=ROWS)


def test_a_drawn_hub_has_the_shares_of_the_hub(hub):
    query = f"""
        select count(distinct id), count(*) filter (cardData like '%base_model":[%') / count(*),
            count(safetensors) / count(*), count(*) filter (downloads > 0) / count(*)
        from '{hub}'
    """
    models, parents, weights, downloads = duckdb.sql(query).fetchall()[0]
    assert models == ROWS
    assert parents == pytest.approx(SHARE_WITH_PARENTS, abs=0.03)
    assert weights == pytest.approx(0.234, abs=0.03)
    assert downloads == pytest.approx(0.355, abs=0.03)


def test_a_drawn_lineage_is_a_dag_with_the_hubs_relations():
    drawn = lineage(50_000, seed=1)
    assert (drawn["parent"].to_numpy() < drawn["child"].to_numpy()).all()
    first = drawn.filter(drawn["position"].to_numpy() == 0)
    for relation, share in RELATIONS.items():
        assert first["relation"].to_pylist().count(relation) / first.num_rows == pytest.approx(share, abs=0.01)
    most = max(count["counts"] for count in drawn["parent"].value_counts().to_pylist())
    assert most > 200, "some models are the parents of very many"


def test_the_same_seed_draws_the_same_rows(hub, tmp_path):
    again, other = write_hub(tmp_path / "a", rows=ROWS), write_hub(tmp_path / "b", rows=ROWS, seed=1)
    differ = "select count(*) from (from '{}' except all from '{}')"
    assert duckdb.sql(differ.format(hub, again)).fetchall() == [(0,)]
    assert duckdb.sql(differ.format(hub, other)).fetchall()[0][0] > ROWS // 2


def test_row_loops_and_tables_give_the_same_documented_graph(hub, tmp_path):
    """Two implementations that share no code agree on every model, edge, depth, hub and sum."""
    found = {}
    for side in ("rows", "tables"):
        row_loops.one_side(side, hub, tmp_path / "home", tmp_path / side)
        found[side] = json.loads((tmp_path / side).read_text())
    for what in ("models", "edges", "impact", "components", "hubs"):
        assert found["rows"][what] == found["tables"][what], what
    assert len(found["rows"]["edges"]) > 500


def test_descendant_sums_are_those_of_a_walk():
    assert descendants.mismatches(20, seed=3) == 0
