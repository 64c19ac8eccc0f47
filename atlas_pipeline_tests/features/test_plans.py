import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.features.plans import N_ANCHOR_ROWS, N_ANCHORS, SamplingPlan, make_plan, shape_signature
from atlas_pipeline.weights import Matrix

SHAPES = st.dictionaries(
    st.text("abc.0123456789", min_size=1, max_size=8),
    st.tuples(st.integers(1, 30), st.integers(1, 9)),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(signature=SHAPES, n_neurons=st.integers(1, 200), seed=st.integers(0, 5))
def test_a_plan_is_even_within_bounds_and_repeatable(
    signature: dict[str, tuple[int, int]], n_neurons: int, seed: int
) -> None:
    plan = make_plan(signature, n_neurons=n_neurons, seed=seed)
    assert plan == make_plan(dict(reversed(signature.items())), n_neurons=n_neurons, seed=seed)
    assert plan == SamplingPlan.from_json(plan.to_json())
    capacity = sum(n_rows for n_rows, _ in signature.values())
    assert plan.n_neurons == min(n_neurons, capacity)
    assert plan.n_dimensions == sum(len(t.rows) * signature[t.canonical][1] for t in plan.tensors)
    for tensor in plan.tensors:
        assert list(tensor.rows) == sorted(set(tensor.rows))
        assert 0 <= tensor.rows[0] <= tensor.rows[-1] < signature[tensor.canonical][0]
    anchors = [tensor for tensor in plan.tensors if tensor.canonical in plan.anchors]
    assert plan.at_anchors.tensors == tuple(anchors)
    assert plan.at_anchors.n_neurons == sum(len(tensor.rows) for tensor in anchors)
    assert plan.at_anchors.vector_group != plan.vector_group


@settings(deadline=None)
@given(widths=st.lists(st.integers(1, 500), min_size=3, max_size=60), seed=st.integers(0, 50))
def test_every_length_of_row_takes_its_share_of_the_weights(widths: list[int], seed: int) -> None:
    signature = {f"layers.{number}.weight": (10_000, width) for number, width in enumerate(widths)}
    plan = make_plan(signature, n_neurons=100, seed=seed)
    in_anchors = min(N_ANCHOR_ROWS, 100 // (2 * N_ANCHORS))
    drawn = dict.fromkeys(signature, 0) | {t.canonical: len(t.rows) for t in plan.tensors}
    for name in plan.anchors:
        drawn[name] -= in_anchors
    total = 100 - in_anchors * len(plan.anchors)
    for width in set(widths):
        expected = total * sum(w == width for w in widths) / width / sum(1 / w for w in widths)
        found = sum(drawn[name] for name, (_, columns) in signature.items() if columns == width)
        assert abs(found - expected) <= 1 + 1e-9


def test_anchors_are_the_smallest_matrices() -> None:
    signature = {f"layers.{n}.q.weight": (400, 400) for n in range(8)} | {
        f"layers.{n}.k.weight": (100, 400) for n in range(8)
    }
    plan = make_plan(signature, n_neurons=100, seed=3)
    assert len(plan.anchors) == N_ANCHORS
    assert all(name.endswith("k.weight") for name in plan.anchors)
    assert N_ANCHORS * N_ANCHOR_ROWS <= plan.at_anchors.n_neurons <= N_ANCHORS * N_ANCHOR_ROWS + 20


def test_seed_shapes_and_number_of_neurons_each_name_another_group() -> None:
    signature = {"layers.0.q.weight": (50, 8)}
    plans = [
        make_plan(signature, n_neurons=10, seed=0),
        make_plan(signature, n_neurons=10, seed=1),
        make_plan(signature, n_neurons=11, seed=0),
        make_plan({"layers.0.q.weight": (50, 9)}, n_neurons=10, seed=0),
        make_plan({"layers.1.q.weight": (50, 8)}, n_neurons=10, seed=0),
    ]
    assert len({plan.vector_group for plan in plans}) == len(plans)
    assert plans[0].tensors[0].rows != plans[1].tensors[0].rows


def test_a_plan_never_changes_between_versions() -> None:
    # Vectors of earlier runs stay comparable only while the same shapes give the same rows.
    plan = make_plan({"layers.0.a.weight": (64, 8), "layers.0.b.weight": (64, 4)}, n_neurons=7, seed=0)
    assert plan.to_json() == PINNED


PINNED = (
    '{"vector_group":"shapes-c26bb7275f25","seed":0,"n_neurons_asked":7,'
    '"tensors":[{"canonical":"layers.0.a.weight","n_rows":64,"n_columns":8,"rows":[6,24]},'
    '{"canonical":"layers.0.b.weight","n_rows":64,"n_columns":4,"rows":[7,16,22,29,62]}],'
    '"anchors":["layers.0.a.weight","layers.0.b.weight"]}'
)


def test_rows_are_drawn_uniformly() -> None:
    counts = np.zeros(40)
    for seed in range(300):
        counts[list(make_plan({"0.w": (40, 1)}, n_neurons=10, seed=seed).tensors[0].rows)] += 1
    # 300 draws of 10 out of 40: 75 expected for each, standard deviation 7.5.
    assert counts.min() > 40
    assert counts.max() < 110


@pytest.mark.parametrize(
    ("signature", "n_neurons", "seed"), [({}, 1, 0), ({"a": (1, 1)}, 0, 0), ({"a": (1, 1)}, 1, -1)]
)
def test_impossible_plans(signature: dict[str, tuple[int, int]], n_neurons: int, seed: int) -> None:
    with pytest.raises(ValueError, match="plan"):
        make_plan(signature, n_neurons=n_neurons, seed=seed)


def test_a_signature_is_names_and_shapes_in_order() -> None:
    matrices = {name: Matrix(name, f"model.{name}", 0, n_rows, 4) for name, n_rows in (("b", 3), ("a", 5))}
    assert list(shape_signature(matrices).items()) == [("a", (5, 4)), ("b", (3, 4))]
    assert shape_signature({}) == {}
