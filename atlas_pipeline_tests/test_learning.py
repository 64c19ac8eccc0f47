"""Growing the ensembles on a small population: the shape of what comes out, and that it has learnt something."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.csv as pacsv
import pytest

from atlas_pipeline.edges.charting.boosting import read_trees
from atlas_pipeline.edges.charting.deciding import MEASURES, VERDICTS, decide
from atlas_pipeline_tests.edges.charting.lineages import region_and_truth
from benchmarks import learning
from benchmarks.learning import Lesson, Table, learn, write


def lesson(seed, fold):
    region, truth = region_and_truth(seed)
    parents = [()] * region.n_models
    for child, parent in truth:
        parents[child] = (parent,)
    return Lesson.of(region, parents, fold)


@pytest.fixture(scope="module")
def grown_up():
    return [lesson(seed, seed) for seed in range(3)]


@pytest.fixture
def lessons(grown_up):
    """Lessons that have not begun: learning changes what is believed."""
    return [replace(own) for own in grown_up]


def test_ancestors_are_all_above(lessons):
    parents = lessons[0].parents
    for row, above in enumerate(lessons[0].ancestors()):
        walk, at = set(), row
        while parents[at]:
            (at,) = parents[at]
            walk.add(at)
        assert above == walk


def test_a_table_has_a_row_for_each_candidate_and_gives_them_back_in_place(lessons):
    table = Table.of(lessons)
    assert table.measures.shape == (len(table.is_parent), len(MEASURES))
    assert (table.is_ancestor | ~table.is_parent).all()
    assert sorted(set(table.fold.tolist())) == [0, 1, 2]
    numbers = np.arange(len(table.fold), dtype=np.float64)
    spread = table.spread(numbers)
    assert np.concatenate([array[~np.isnan(array)] for array in spread]).tolist() == numbers.tolist()
    for (own, measured, exists), array in zip(table.parts, spread, strict=True):
        child, place = np.nonzero(exists)
        row = array[child[5], place[5]].astype(int)
        candidate = measured.around.candidate[child[5], place[5]]
        assert table.is_parent[row] == (candidate in own.parents[measured.children[child[5]]])


def test_what_is_learnt_is_written_and_charts_a_region_that_was_not_seen(lessons, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(learning, "GROWTH", learning.GROWTH | {"max_iter": 12, "learning_rate": 0.3})
    monkeypatch.setattr(learning, "N_STATES", 2)
    grown, score, right = learn(lessons)
    assert capsys.readouterr().out.count("held-out parents right") == 2
    assert len(score) == len(right) == sum(len(own.work.open_rows(own.found)) for own in lessons)
    assert ((score >= 0) & (score <= 1)).all()
    write(tmp_path, grown, score, right)
    read = read_trees(tmp_path / "trees.csv")
    assert set(read) == {"ancestry_first", "ancestry_later", "parentage_first", "parentage_later"}
    assert read["parentage_later"].feature.max() < len(MEASURES) + len(VERDICTS)
    calibration = pacsv.read_csv(tmp_path / "calibration.csv")
    confidence = calibration["confidence"].to_numpy()
    assert calibration["score"].to_pylist() == np.linspace(0, 1, 41).round(4).tolist()
    assert (np.diff(confidence) >= 0).all()
    assert 0 < confidence[0] <= confidence[-1] < 1
    unseen = lesson(5, 0)
    rows = unseen.work.open_rows(unseen.found)
    decision = decide(unseen.work.evidence, unseen.believed, rows, learnt=read)
    charted = np.mean([(int(decision.forest.parent[row]),) == unseen.parents[row] for row in rows])
    nearest = np.mean([(int(unseen.believed[row]),) == unseen.parents[row] for row in rows])
    assert charted > nearest
