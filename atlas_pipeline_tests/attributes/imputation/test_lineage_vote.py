"""Lineage vote on proposals of known worth."""

from __future__ import annotations

import numpy as np
import pytest

from atlas_pipeline.attributes.imputation.lineage import N_FOLDS
from atlas_pipeline.attributes.imputation.lineage_vote import learn, vote
from atlas_pipeline.attributes.imputation.proposals import Proposals, cells, chances, measured
from atlas_pipeline.attributes.imputation.scoring import calibration_error


def planted(worth: dict[str, float], *, n: int = 4000, seed: int = 0, n_values: int = 6):
    """Proposals of kinds that are right so often, and the truth, folds and one stratum."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_values, n)
    kinds = []
    for name, share in worth.items():
        is_right = rng.random(n) < share
        value = np.where(is_right, truth, (truth + rng.integers(1, n_values, n)) % n_values)
        ones = np.ones(n, dtype=np.int32)
        kinds.append(Proposals(name, np.arange(n, dtype=np.int32), value.astype(np.int32), ones * 3, ones * 4))
    return kinds, truth, rng.integers(0, N_FOLDS, n), np.zeros(n, dtype=np.int64)


def voted(kinds, reported, fold, stratum):
    return vote(kinds, learn(kinds, reported=reported, fold=fold, stratum=stratum, seed=0), fold=fold, stratum=stratum)


def test_the_better_kind_decides_and_confidence_is_how_often_it_is_right():
    kinds, truth, fold, stratum = planted({"good": 0.9, "poor": 0.3})
    found = voted(kinds, truth, fold, stratum)
    is_right = found.value == truth
    assert is_right.mean() > 0.89
    assert (found.evidence[kinds[0].value != kinds[1].value] == 0).mean() > 0.99
    assert calibration_error(found.confidence, is_right) < 0.03
    agree = kinds[0].value == kinds[1].value
    assert found.confidence[agree].mean() > found.confidence[~agree].mean() + 0.05
    assert (found.n_votes == 4).all()


def test_two_that_agree_outvote_a_better_one():
    kinds, truth, fold, stratum = planted({"first": 0.7, "second": 0.7, "best": 0.75})
    found = voted(kinds, truth, fold, stratum)
    together = (kinds[0].value == kinds[1].value) & (kinds[0].value != kinds[2].value)
    assert (found.value[together] == kinds[0].value[together]).all()
    assert (found.value == truth).mean() > 0.8


def test_labels_of_a_fold_have_no_part_in_its_votes():
    kinds, truth, fold, stratum = planted({"good": 0.8, "poor": 0.4}, n=1500)
    before = voted(kinds, truth, fold, stratum)
    for held_out in range(N_FOLDS):
        shuffled = np.where(fold == held_out, (truth + 1) % 6, truth)
        after = voted(kinds, shuffled, fold, stratum)
        own = fold == held_out
        assert (after.value[own] == before.value[own]).all()
        assert (after.confidence[own] == before.confidence[own]).all()
        assert (after.confidence[~own] != before.confidence[~own]).any(), "the others have learned of it"


def test_no_kind_is_trusted_where_none_is_right():
    kinds, truth, fold, stratum = planted({"noise": 1 / 6, "more": 1 / 6})
    found = voted(kinds, truth, fold, stratum)
    assert 0.1 < found.confidence.mean() < 0.25
    assert calibration_error(found.confidence, found.value == truth) < 0.05


def test_without_labels_confidence_is_one_half():
    kinds, truth, fold, stratum = planted({"any": 0.9}, n=50)
    found = voted(kinds, np.full_like(truth, -1), fold, stratum)
    assert (found.value == kinds[0].value).all() and (found.confidence == 0.5).all()


def test_few_labels_give_little_confidence():
    kinds, truth, fold, stratum = planted({"any": 1.0}, n=2000)
    reported = np.where(np.arange(2000) < 7, truth, -1)
    assert voted(kinds, reported, fold, stratum).confidence.max() < 0.8


def test_a_model_that_nobody_tells_has_no_value():
    kinds, truth, fold, stratum = planted({"any": 0.9, "other": 0.9}, n=60)
    kinds = [kind.take(kind.model >= 10) for kind in kinds]
    found = voted(kinds, truth, fold, stratum)
    assert (found.value[:10] == -1).all() and (found.evidence[:10] == -1).all() and (found.n_votes[:10] == 0).all()
    assert (found.value[10:] >= 0).all()
    nobody = vote(
        kinds, learn(kinds, reported=truth, fold=fold, stratum=stratum, seed=0), fold=fold[:0], stratum=stratum[:0]
    )
    assert len(nobody.value) == 0


def test_of_several_groups_of_a_kind_the_surer_one_proposes():
    rng = np.random.default_rng(5)
    n = 2000
    truth = rng.integers(0, 4, n)
    sure, unsure = truth, (truth + rng.integers(0, 4, n)) % 4
    kind = Proposals(
        "sibling",
        np.repeat(np.arange(n, dtype=np.int32), 2),
        np.stack((unsure, sure), axis=1).ravel().astype(np.int32),
        np.tile(np.array([1, 9], dtype=np.int32), n),
        np.tile(np.array([2, 10], dtype=np.int32), n),
    )
    found = voted([kind], truth, rng.integers(0, N_FOLDS, n), np.zeros(n, dtype=np.int64))
    assert (found.value == truth).all() and (found.n_votes == 10).all()


def test_strata_are_measured_apart():
    kinds, truth, fold, _ = planted({"any": 0.5}, n=4000)
    stratum = (kinds[0].value == truth).astype(np.int64)
    found = voted(kinds, truth, fold, stratum)
    assert found.confidence[stratum == 1].min() > 0.9
    assert found.confidence[stratum == 0].max() < 0.1


def test_chances_are_counted_in_the_other_folds_and_drawn_to_the_coarser_cell():
    fold = np.array([0, 1, 1, 2])
    kind = Proposals("k", *(np.array(column, dtype=np.int32) for column in (range(4), [0] * 4, [1] * 4, [1] * 4)))
    stratum = np.zeros(4, dtype=np.int64)
    counted = measured(kind, reported=np.array([0, 0, 1, 0]), fold=fold, stratum=stratum)
    cell = cells(kind, stratum)[0]

    def drawn(right, cases):
        found = 0.5
        for _ in range(4):
            found = (right + 8 * found) / (cases + 8)
        return found

    table = chances(counted)
    assert table[0, cell] == pytest.approx(drawn(2, 3))
    assert table[1, cell] == pytest.approx(drawn(2, 2))
    assert chances(counted, without=2)[0, cell] == pytest.approx(drawn(1, 2))
