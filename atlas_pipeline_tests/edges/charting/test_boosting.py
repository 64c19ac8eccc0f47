"""The trees of the package, and trees written and read again against those of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from atlas_pipeline.edges.charting.boosting import LEAF, BoostedTrees, read_trees
from atlas_pipeline.edges.charting.deciding import CALIBRATION, MEASURES, VERDICTS, calibrated, learnt_trees
from benchmarks.learning import write


@pytest.fixture(scope="module")
def examples():
    generator = np.random.default_rng(0)
    # Thresholds lie half way between such numbers, so writing them with fewer digits moves nobody across.
    features = np.round(generator.normal(size=(400, 5)), 2)
    features[generator.random(features.shape) < 0.2] = np.nan
    known = np.nan_to_num(features, nan=0.7)
    return features, (known[:, 0] * known[:, 1] + known[:, 2] + 0.3 * generator.normal(size=400)) > 0.2


def grown(features, labels, **growth):
    return HistGradientBoostingClassifier(**{"max_iter": 25, "max_depth": 4, "random_state": 0} | growth).fit(
        features, labels
    )


def test_trees_written_and_read_again_are_those_of_scikit_learn(examples, tmp_path):
    features, labels = examples
    models = {"deep": grown(features, labels), "stumps": grown(features[:, :3], ~labels, max_depth=1, max_iter=7)}
    score = np.linspace(0, 1, 50)
    write(tmp_path, models, score, (score > 0.4).astype(float))
    read = read_trees(tmp_path / "trees.csv")
    assert set(read) == set(models)
    generator = np.random.default_rng(1)
    unseen = np.round(generator.normal(size=(300, 5)) * 2, 2)
    unseen[generator.random(unseen.shape) < 0.3] = np.nan
    for rows in (features, unseen):
        for name, width in (("deep", 5), ("stumps", 3)):
            wanted = models[name].predict_proba(rows[:, :width])[:, 1]
            np.testing.assert_allclose(read[name].probability(rows[:, :width]), wanted, atol=1e-5)
    # The test is worth something only if the answers differ and both ways for NaN occur.
    assert np.ptp(read["deep"].probability(unseen)) > 0.5
    inner = read["deep"].feature != LEAF
    assert set(read["deep"].missing_left[inner].tolist()) == {True, False}


def test_a_sum_of_two_trees_is_the_sum_of_their_leaves():
    trees = BoostedTrees(
        roots=np.array([0, 3]),
        feature=np.array([0, LEAF, LEAF, LEAF]),
        threshold=np.array([1.0, 0, 0, 0]),
        left=np.array([1, 1, 2, 3]),
        right=np.array([2, 1, 2, 3]),
        missing_left=np.array([False, False, False, False]),
        value=np.array([0.0, 10.0, 20.0, 3.0]),
        baseline=0.5,
    )
    found = trees.log_odds(np.array([[1.0], [1.5], [np.nan]]))
    assert found.tolist() == [13.5, 23.5, 23.5]
    assert trees.probability(np.zeros((0, 1))).shape == (0,)


def test_the_ensembles_of_the_package_ask_only_for_figures_that_are_measured():
    models = learnt_trees()
    assert set(models) == {f"{name}_{state}" for name in ("ancestry", "parentage") for state in ("first", "later")}
    for name, trees in models.items():
        most = len(MEASURES) + (len(VERDICTS) if name.startswith("parentage") else 0)
        assert LEAF <= trees.feature.min() < 0 <= trees.feature.max() < most
        unknown = trees.probability(np.full((2, most), np.nan))
        assert ((unknown > 0) & (unknown < 1)).all()


def test_confidence_grows_with_the_score_and_stays_a_probability():
    assert CALIBRATION.is_file()
    confidence = calibrated(np.linspace(0, 1, 101))
    assert (np.diff(confidence) >= 0).all()
    assert 0 < confidence[0] < 0.2
    assert 0.8 < confidence[-1] < 1
