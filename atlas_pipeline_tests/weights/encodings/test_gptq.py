from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.weights import WeightsError
from atlas_pipeline.weights.safetensors_file import open_safetensors
from atlas_pipeline.weights.tensors import FileReader
from atlas_pipeline_tests.weights.encodings.opened import open_written
from atlas_pipeline_tests.weights.writing import MODEL, model_folder, raw_safetensors

N_ROWS, N_COLUMNS, GROUP = 40, 96, 32


def packed(fields: np.ndarray, bits: int) -> np.ndarray:
    """Fields [k, n] as 32-bit words [k, ceil(n bits / 32)], by way of one large integer for each row."""
    words = -(-fields.shape[1] * bits // 32)
    rows = [sum(int(field) << (bits * place) for place, field in enumerate(row)) for row in fields]
    return np.array([np.frombuffer(row.to_bytes(4 * words, "little"), "<i4") for row in rows])


def gptq(
    bits: int = 4, *, zeros: np.ndarray | None = None, mean: float = 0.0, seed: int = 0, is_first: bool = True
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Tensors in GPTQ's layout, and the numbers they stand for."""
    rng = np.random.default_rng(seed)
    groups = np.arange(N_COLUMNS) // GROUP
    most = 2**bits - 1
    weight = rng.standard_normal((N_ROWS, N_COLUMNS)) * 0.05 + mean
    if zeros is None:
        zeros = rng.integers(most // 2, most // 2 + 2, (groups[-1] + 1, N_ROWS))
    scales = np.float16(0.4 / most) * np.ones(zeros.shape, np.float16)
    codes = np.clip(np.round(weight / scales.T[:, groups]) + zeros.T[:, groups], 0, most).astype(np.int64)
    numbers = (codes - zeros.T[:, groups]) * scales.T[:, groups].astype(np.float32)
    tensors = {
        "q.qweight": np.ascontiguousarray(packed(codes, bits).T),
        "q.qzeros": packed(zeros - 1 if is_first else zeros, bits),
        "q.scales": scales,
        "q.g_idx": groups.astype(np.int32),
    }
    return tensors, numbers.astype(np.float32)


@pytest.mark.parametrize("said", ["gptq", "gptq_v2", None])
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("is_symmetric", [True, False])
def test_values_tell_the_version(tmp_path: Path, said: str | None, is_first: bool, is_symmetric: bool) -> None:
    zeros = np.full((3, N_ROWS), 8) if is_symmetric else None
    tensors, numbers = gptq(zeros=zeros, is_first=is_first)
    weights = open_written(
        tmp_path, tensors, {"quant_method": "gptq", "bits": 4} | ({"checkpoint_format": said} if said else {})
    )
    np.testing.assert_array_equal(weights.rows("q.weight", [3, 39]), numbers[[3, 39]])


def test_the_config_decides_only_where_values_do_not(tmp_path: Path) -> None:
    # Weights whose mean is half a step from zero.
    tensors, numbers = gptq(mean=0.4 / 15 / 2, is_first=False)
    for said, is_right in (("gptq_v2", True), ("gptq", False)):
        weights = open_written(tmp_path, tensors, {"quant_method": "gptq", "checkpoint_format": said})
        assert np.array_equal(weights.rows("q.weight", [0]), numbers[[0]]) == is_right


@given(bits=st.sampled_from([2, 3, 4, 8]), seed=st.integers(0, 99))
def test_packing_is_undone(tmp_path_factory: pytest.TempPathFactory, bits: int, seed: int) -> None:
    if bits == 3:
        zeros = np.full((3, N_ROWS), 4)
        tensors, numbers = gptq(bits, zeros=zeros, seed=seed)
        # Words of three bits come in threes: 40 neurons do not fill them.
        wide = {name: np.concatenate([part] * 4, 1) for name, part in tensors.items() if name != "q.g_idx"}
        wide["q.qzeros"] = packed(np.full((3, 4 * N_ROWS), 3), 3)
        tensors, numbers = wide | {"q.g_idx": tensors["q.g_idx"]}, np.concatenate([numbers] * 4)
    else:
        tensors, numbers = gptq(bits, zeros=np.full((3, N_ROWS), 2 ** (bits - 1)), seed=seed)
    weights = open_written(tmp_path_factory.mktemp("gptq"), tensors, {"quant_method": "gptq"})
    assert weights.tensors["q.weight"].dtype == f"GPTQ{bits}"
    np.testing.assert_array_equal(weights.rows("q.weight", np.arange(len(numbers))), numbers)


def test_groups_without_an_order(tmp_path: Path) -> None:
    tensors, numbers = gptq()
    del tensors["q.g_idx"]
    weights = open_written(tmp_path, tensors)
    np.testing.assert_array_equal(weights.rows("q.weight", [7]), numbers[[7]])


@pytest.mark.parametrize(
    "config",
    [
        {"quant_method": "gptq", "checkpoint_format": "marlin"},
        {"quant_method": "gptq", "format": "gptq_p", "bits": 3},
        {"quant_method": "awq", "version": "gemv"},
        {"quant_method": "awq", "version": "GEMV_FAST"},
        {"quant_method": "awq", "version": "exllama"},
        {"quant_method": "hqq"},
        {"quant_method": 7},
        {"bits": 4},
    ],
)
def test_other_layouts_are_not_read(tmp_path: Path, config: dict) -> None:
    tensors, _ = gptq()
    weights = open_written(tmp_path, tensors, config)
    assert list(weights.tensors) == ["q.qweight"]
    with pytest.raises(WeightsError, match="not read") as caught:
        weights.rows("q.qweight", [0])
    assert caught.value.status == "unsupported_format"
    assert weights.is_quantized


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("q.qweight", np.zeros((12, 39), np.int32)),
        ("q.qweight", np.zeros((11, 40), np.int32)),
        ("q.qweight", np.zeros((12, 40), np.uint8)),
        ("q.qweight", np.zeros(12, np.int32)),
        ("q.qzeros", np.zeros((2, 5), np.int32)),
        ("q.qzeros", np.zeros((3, 4), np.int32)),
        ("q.scales", np.zeros((3, 40), np.int32)),
        ("q.scales", np.zeros(3, np.float16)),
        ("q.scales", np.zeros((0, 40), np.float16)),
        ("q.g_idx", np.zeros((96, 1), np.int32)),
        ("q.g_idx", np.zeros(95, np.float32)),
    ],
)
def test_parts_that_do_not_fit(tmp_path: Path, part: str, value: np.ndarray) -> None:
    tensors, _ = gptq()
    weights = open_written(tmp_path, tensors | {part: value}, {"quant_method": "gptq"})
    assert [info.is_readable for info in weights.tensors.values()] == [False]
    assert weights.tensors["q.qweight"].flaw


def test_groups_that_are_not_there(tmp_path: Path) -> None:
    tensors, _ = gptq()
    for wrong in (3, -1):
        order = tensors["q.g_idx"].copy()
        order[50] = wrong
        weights = open_written(tmp_path, tensors | {"q.g_idx": order})
        with pytest.raises(WeightsError, match=r"g_idx.*names groups") as caught:
            weights.rows("q.weight", [0])
        assert caught.value.status == "invalid_header"


def test_a_matrix_too_large_to_read_whole_is_not_begun(tmp_path: Path) -> None:
    shapes = {"qweight": (1 << 20, 128, "I32"), "qzeros": (1 << 16, 16, "I32"), "scales": (1 << 16, 128, "F16")}
    header, end = {}, 0
    for name, (rows, columns, dtype) in shapes.items():
        size = rows * columns * (2 if dtype == "F16" else 4)
        header[f"q.{name}"] = {"dtype": dtype, "shape": [rows, columns], "data_offsets": [end, end + size]}
        end += size
    content = raw_safetensors(header)
    path = tmp_path / "giant.safetensors"
    with path.open("wb") as stream:
        stream.write(content)
        stream.truncate(len(content) + end)
    (model_folder(tmp_path) / "model.safetensors").symlink_to(path)
    repository = FolderRepository(tmp_path)
    reader = FileReader(repository, MODEL, repository.files(MODEL)[0])
    weights = open_safetensors([reader], model_id=MODEL, tensor_files=None, config={})
    with pytest.raises(WeightsError, match="as a whole"):
        weights.rows("q.qweight", [0])
    assert weights.meter.bytes_read < 1000


def test_awq_interleaves_neurons(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    codes, zeros = rng.integers(0, 16, (64, 24)), rng.integers(0, 16, (2, 24))
    scales = rng.uniform(0.01, 0.02, (2, 24)).astype(np.float16)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    tensors = {
        f"q.{name}": packed(fields.reshape(-1, 8)[:, order], 4).reshape(len(fields), -1)
        for name, fields in {"qweight": codes, "qzeros": zeros}.items()
    }
    groups = np.arange(64) // 32
    numbers = ((codes - zeros[groups]) * scales[groups].astype(np.float32)).T
    for config in ({"quant_method": "awq", "version": "GEMM"}, {"quant_method": "awq"}, None):
        weights = open_written(tmp_path, tensors | {"q.scales": scales}, config)
        np.testing.assert_array_equal(weights.rows("q.weight", [0, 9, 23]), numbers[[0, 9, 23]].astype(np.float32))


def test_a_matrix_that_is_stored_twice_is_not_guessed(tmp_path: Path) -> None:
    tensors, _ = gptq()
    own = np.ones((4, 4), np.float32)
    weights = open_written(tmp_path, tensors | {"q.weight": own})
    np.testing.assert_array_equal(weights.rows("q.weight", [0]), own[[0]])
    assert "stored as well" in weights.tensors["q.qweight"].flaw
