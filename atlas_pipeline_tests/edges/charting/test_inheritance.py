"""The figures that tell a child from a sibling, on families whose lineage is made."""

from __future__ import annotations

import numpy as np
import pytest

from atlas_pipeline.edges.candidates import NOBODY
from atlas_pipeline.edges.charting.forest import Forest
from atlas_pipeline.edges.charting.geometry import blocks, local_products
from atlas_pipeline.edges.charting.inheritance import (
    EQUAL,
    FEATURES,
    JOINT,
    NEURONS,
    STAR,
    TRIANGLE,
    inheritance,
)
from atlas_pipeline.edges.charting.neighborhoods import neighborhoods

LAYOUT = ((24, 40), (12, 80))
N_COLUMNS = 1920


def measured(vectors, parent, child, candidates):
    """Figures of some candidates of the last model, by name, {candidate: {name: value}}; rows are in order of age."""
    vectors = np.asarray(vectors, dtype=np.float32)
    forest, children, position = Forest(np.array(parent)), np.array([child]), np.arange(len(vectors))
    near = np.array([[row for row in range(len(vectors)) if row != child]])
    around = neighborhoods(forest, near, np.array([candidates]), position, children, first=forest)
    products = local_products(vectors, blocks(LAYOUT), children, around.members)
    figures = inheritance(products, around, children, forest, position)[0]
    assert figures.shape == (around.candidate.shape[1], len(FEATURES))
    assert np.isnan(figures[around.candidate[0] < 0]).all()
    places = np.flatnonzero(around.candidate[0] >= 0)
    return {
        int(around.candidate[0, place]): dict(zip(FEATURES, figures[place].tolist(), strict=True)) for place in places
    }


@pytest.fixture
def family():
    """A base; four siblings that share most of what they learnt; a child of the first of them; a fifth sibling."""
    generator = np.random.default_rng(0)
    base, shared = generator.normal(size=(2, N_COLUMNS))

    def learn(own):
        return 0.01 * (np.sqrt(0.7) * shared + own * generator.normal(size=N_COLUMNS))

    siblings = [base + learn(np.sqrt(0.3)) for _ in range(4)]
    child = siblings[0] + 0.006 * generator.normal(size=N_COLUMNS)
    return [base, *siblings, child, base + learn(np.sqrt(0.3))]


def test_a_child_holds_what_its_parent_alone_had_learnt_and_a_sibling_does_not(family):
    of_child = measured(family[:6], [NOBODY, 0, 0, 0, 0, NOBODY], 5, [1, 2, 0])
    of_sibling = measured([*family[:5], family[6]], [NOBODY, 0, 0, 0, 0, NOBODY], 5, [1, 2, 0])
    for when in ("any_time", "earlier"):
        assert of_child[1][f"own_share_{when}"] > 0.8
        assert abs(of_child[2][f"own_share_{when}"]) < 0.3
        assert abs(of_sibling[1][f"own_share_{when}"]) < 0.5
        assert of_child[1][f"private_slope_{when}"] > 0.8
        assert abs(of_child[2][f"private_slope_{when}"]) < 0.5
    # A sibling points back at what its candidate has and it lacks; a child goes its own way.
    assert abs(of_child[1]["cosine"]) < 0.1
    assert of_sibling[1]["cosine"] < -0.3
    assert of_child[1]["slope_p10"] > of_sibling[1]["slope_p10"]
    # Seen from a sibling all others lie on one side; a child leaves its parent for another.
    assert of_sibling[1]["star_mean"] > 0.3 > of_child[1]["star_mean"]


def test_the_triangle_is_that_of_the_differences(family):
    vectors = np.asarray(family[:6], dtype=np.float32).astype(np.float64)
    found = measured(family[:6], [NOBODY, 0, 0, 0, 0, NOBODY], 5, [1, 2, 0])[2]
    x, y = vectors[2] - vectors[0], vectors[5] - vectors[2]
    wanted = (x @ y / (x @ x), x @ y / np.sqrt((x @ x) * (y @ y)), np.log((y @ y) / (x @ x)))
    assert [found[name] for name in TRIANGLE[:3]] == pytest.approx(wanted, rel=1e-4)


def test_no_figure_depends_on_the_scale_of_the_weights(family):
    parent = [NOBODY, 0, 0, 0, 0, NOBODY]
    small, great = (measured(np.asarray(family[:6]) * scale, parent, 5, [1, 2, 0]) for scale in (1, 64))
    for candidate, figures in small.items():
        assert list(great[candidate].values()) == pytest.approx(list(figures.values()), rel=1e-3, abs=1e-5, nan_ok=True)


def test_older_models_tell_even_where_later_ones_are_believed_wrongly(family):
    # A whole sweep from the first sibling, believed to come from the base: its runs hold all that the sibling learnt.
    generator = np.random.default_rng(1)
    sweep = [family[1] + 0.006 * generator.normal(size=N_COLUMNS) for _ in range(3)]
    models = [family[0], *family[2:5], family[1], *sweep]
    found = measured(models, [NOBODY, *[0] * 6, NOBODY], 7, [4, 1, 2, 3, 0, 5, 6])
    assert found[4]["private_slope_older"] > 0.8
    assert found[4]["private_share_older"] > 2 * found[4]["private_share_earlier"]
    assert found[4]["n_controls_older"] == 3 < found[4]["n_controls_earlier"]


def test_the_parent_has_the_greatest_share_of_its_child(family):
    found = measured(family[:6], [NOBODY, 0, 0, 0, 0, NOBODY], 5, [1, 2, 3, 4, 0])
    for name in JOINT[:2]:
        assert found[1][name] > 0.5 > max(abs(figures[name]) for candidate, figures in found.items() if candidate != 1)


def test_what_has_no_reference_is_unknown_but_for_star_and_shares(family):
    for stranger, wanted in ((0, list(JOINT)), (NOBODY, [*STAR, *JOINT])):
        # The star is made of those that do not descend from the candidate.
        root = measured(family[:6], [NOBODY, 0, 0, 0, stranger, NOBODY], 5, [1, 2, 0])[0]
        assert [name for name, value in root.items() if not np.isnan(value)] == wanted


def test_equal_neurons_say_what_was_inherited_and_what_never_was(family):
    vectors = np.asarray(family[:4], dtype=np.float32)
    # The child has the candidate's first matrix; of the second it has six of twelve neurons as the base had them.
    vectors[3, :960] = vectors[1, :960]
    vectors[3, 960:1440] = vectors[0, 960:1440]
    found = measured(vectors, [NOBODY, 0, 0, NOBODY], 3, [1, 2, 0])[1]
    assert [found[name] for name in EQUAL] == pytest.approx([24 / 36, 24 / 36, 6 / 36])


def test_every_figure_is_a_number_where_vectors_are_equal_or_zero():
    for vectors in (np.zeros((5, N_COLUMNS)), np.ones((5, N_COLUMNS)), np.eye(5, N_COLUMNS)):
        found = measured(vectors, [NOBODY, 0, 1, 1, NOBODY], 4, [3, 2, 1, 0])
        for figures in found.values():
            assert not np.isinf(list(figures.values())).any()
        assert not np.isnan([found[2][name] for name in (*TRIANGLE, *NEURONS, *EQUAL)]).any()
