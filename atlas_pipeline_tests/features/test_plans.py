import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.features.plans import MAX_COLUMNS, SamplingPlan, make_plan, shape_signature
from atlas_pipeline.weights import TensorInfo

SHAPES = st.dictionaries(
    st.text("abc.0123456789", min_size=1, max_size=8),
    st.tuples(st.integers(1, 30), st.integers(1, 9)),
    min_size=1,
    max_size=12,
)


def _info(canonical: str, *shape: int, is_readable: bool = True) -> TensorInfo:
    return TensorInfo(f"model.{canonical}", canonical, shape, "F32", "f", 0, 0, is_readable)


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
    counts = dict.fromkeys(signature, 0) | {t.canonical: len(t.rows) for t in plan.tensors}
    for tensor in plan.tensors:
        assert list(tensor.rows) == sorted(set(tensor.rows))
        assert 0 <= tensor.rows[0] <= tensor.rows[-1] < signature[tensor.canonical][0]
    # A matrix that could give more has at most one neuron less than any other.
    not_full = [count for name, count in counts.items() if count < signature[name][0]]
    if not_full:
        assert max(counts.values()) - min(not_full) <= 1


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
    '{"vector_group":"shapes-5087a7b36443","seed":0,"n_neurons_asked":7,'
    '"tensors":[{"canonical":"layers.0.a.weight","n_columns":8,"rows":[21,34,43,46]},{"canonical":"layers.0.b.weight","n_columns":4,"rows":[27,49,53]}]}'
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


def test_only_matrices_of_repeated_layers_count() -> None:
    tensors = [
        _info("layers.1.q.weight", 8, 4),
        _info("layers.0.q.weight", 8, 4),
        _info("layers.0.norm.weight", 8),
        _info("layers.0.conv.weight", 8, 4, 3),
        _info("layers.0.q.SCB", 8, 1, is_readable=False),
        _info("layers.0.empty.weight", 0, 4),
        _info("layers.0.wide.weight", 2, MAX_COLUMNS + 1),
        _info("embed_tokens.weight", 100, 4),
        _info("lm_head.weight", 100, 4),
    ]
    signature = shape_signature({info.name: info for info in tensors})
    assert signature == {"layers.0.q.weight": (8, 4), "layers.1.q.weight": (8, 4)}
    assert list(signature) == sorted(signature)


def test_without_layers_every_matrix_counts() -> None:
    tensors = [_info("encoder.weight", 8, 4), _info("decoder.weight", 4, 8), _info("bias", 8)]
    assert shape_signature({info.name: info for info in tensors}) == {
        "encoder.weight": (8, 4),
        "decoder.weight": (4, 8),
    }
    assert shape_signature({}) == {}
