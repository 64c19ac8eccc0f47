"""Rows of files that the libraries wrote, against what the libraries themselves make of them."""

import importlib.util
import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.weights.encodings import encode_quantized
from atlas_pipeline.weights.tensors import FileReader, StoredWeights
from atlas_pipeline_tests.weights.encodings.opened import CountingRepository, open_written
from atlas_pipeline_tests.weights.writing import MODEL

REFERENCES = Path(__file__).parents[1] / "references" / "quantised"
CASES = json.loads((REFERENCES / "cases.json").read_text())
EXPECTED = safetensors.numpy.load_file(REFERENCES / "expected.safetensors")

DTYPES = {
    "awq": "AWQ4",
    "bitsandbytes_nf4": "NF4",
    "bitsandbytes_fp4": "FP4",
    "bitsandbytes_int8": "INT8",
    "compressed_float8": "F8_E4M3",
    "compressed_int8": "I8",
    "compressed_mxfp4": "MXFP4",
    "compressed_mxfp8": "MXFP8",
    "compressed_nvfp4": "NVFP4",
    "compressed_pack_3bit": "INT3",
    "compressed_pack_4bit": "INT4",
    "compressed_pack_8bit": "INT8",
    "compressed_pack_bfloat16": "INT4",
    "older_pack_3bit": "INT3",
    "older_pack_4bit": "INT4",
    "fp8_blocks": "F8_E4M3",
    "gptq_2bit": "GPTQ2",
    "gptq_3bit": "GPTQ3",
    "gptq_4bit": "GPTQ4",
    "gptq_8bit": "GPTQ8",
    "mlx_3bit": "MLX3",
    "mlx_4bit": "MLX4",
    "modelopt_nvfp4": "NVFP4",
    "mxfp4_experts": "MXFP4",
}

TOLERANCES = {
    # The library multiplies with 1/127 as it rounds to float32, and with 127 by two roundings: two units in the last
    # place of float32.
    "bitsandbytes_int8": 2.0**-22,
    # The library rounds its result to bfloat16 (8 bits): half a unit in the last place, and scales that it has rounded.
    "bitsandbytes_nf4_bfloat16": 2.0**-8,
    "compressed_pack_bfloat16": 2.0**-8,
    "compressed_nvfp4": 2.0**-8,
}
"""Largest error relative to the number; the arithmetic of all other cases is exact up to one rounding that both do."""

WHOLE = ("gptq", "awq")
"""Layouts in which a neuron is a column."""


def matrix_name(case: str, layer: int) -> str:
    name = f"model.layers.{layer}.mlp.up_proj"
    return name if case == "mxfp4_experts" else f"{name}.weight"


def check_case(root: Path, folder: Path, case: str, facts: dict, expected: dict[str, np.ndarray]) -> None:
    repository = CountingRepository(root)
    weights = open_written(root, folder / f"{case}.safetensors", facts["quantization_config"], repository=repository)
    names = [matrix_name(case, layer) for layer in range(2)]
    assert sorted(weights.tensors) == names
    for layer, name in enumerate(names):
        info = weights.tensors[name]
        assert info.is_readable
        assert list(info.shape) == facts["shape"]
        assert info.dtype == next(dtype for start, dtype in DTYPES.items() if case.startswith(start))
        assert info.canonical == name.removeprefix("model.")
        wanted = expected[f"{case}/{layer}"].astype(np.float32)
        rows = weights.rows(name, facts["rows"])
        assert (rows.dtype, rows.shape) == (np.float32, wanted.shape)
        np.testing.assert_allclose(rows, wanted, rtol=TOLERANCES.get(case, 0), atol=0)
        # Any order, also repeated, alone or together: the same numbers.
        order = [2, 0, 3, 0]
        np.testing.assert_array_equal(weights.rows(name, [facts["rows"][place] for place in order]), rows[order])
        np.testing.assert_array_equal(weights.rows(name, [facts["rows"][2]]), rows[[2]])
        assert weights.rows(name, []).shape == (0, info.shape[1])
    assert weights.is_quantized
    assert weights.quantization
    assert weights.quantization.startswith(weights.tensors[names[0]].dtype)


@pytest.mark.parametrize("case", sorted(CASES))
def test_rows_are_those_of_the_library(tmp_path: Path, case: str) -> None:
    check_case(tmp_path, REFERENCES, case, CASES[case], EXPECTED)


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_row_costs_what_was_announced(tmp_path: Path, case: str) -> None:
    weights = open_written(tmp_path, REFERENCES / f"{case}.safetensors", CASES[case]["quantization_config"])
    name = matrix_name(case, 1)
    before = weights.meter.bytes_read
    weights.rows(name, [1])
    spent = weights.meter.bytes_read - before
    announced = weights.cost_bytes(name, 1)
    # Where blocks run on from row to row, a row may touch one more or less.
    assert spent <= announced <= spent + 8
    whole = weights.cost_bytes(name, weights.tensors[name].shape[0])
    if case.startswith(WHOLE):
        assert announced == whole
    elif not case.startswith("bitsandbytes"):
        assert announced < whole / 4
    assert weights.cost_bytes(name, 2) >= announced


@pytest.mark.parametrize("case", ["gptq_4bit_v1_ordered", "bitsandbytes_nf4", "compressed_pack_4bit", "fp8_blocks"])
def test_another_container_is_read_alike(tmp_path: Path, case: str) -> None:
    opened = open_written(tmp_path, REFERENCES / f"{case}.safetensors", CASES[case]["quantization_config"])
    repository = FolderRepository(tmp_path)
    (entry,) = repository.files(MODEL)
    weights = StoredWeights(
        model_id=MODEL,
        format="pytorch",
        readers=[FileReader(repository, MODEL, entry)],
        tensors=opened.stored,
        config=opened.config,
    )
    encode_quantized(weights)
    name = matrix_name(case, 0)
    np.testing.assert_array_equal(weights.rows(name, [0, 1]), opened.rows(name, [0, 1]))
    assert weights.quantization == opened.quantization


def test_every_library_is_there() -> None:
    assert {facts["library"].split()[0] for facts in CASES.values()} == {
        "GPTQModel",
        "bitsandbytes",
        "compressed-tensors",
        "mlx",
        "nvidia-modelopt",
        "transformers",
    }
    assert sum(path.stat().st_size for path in REFERENCES.iterdir() if path.is_file()) < 300_000
    assert len(CASES) == len(list(REFERENCES.glob("*.safetensors"))) - 1


@pytest.mark.filterwarnings("ignore")  # the libraries warn of each other
def test_files_that_the_libraries_write_today(tmp_path: Path) -> None:
    """Makes all references anew where the libraries are installed."""
    libraries = ("torch", "bitsandbytes", "compressed_tensors", "transformers", "gptqmodel", "modelopt", "mlx")
    if missing := [name for name in libraries if importlib.util.find_spec(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    spec = importlib.util.spec_from_file_location("make_quantised", REFERENCES / "make.py")
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    make.write(tmp_path / "made")
    cases = json.loads((tmp_path / "made" / "cases.json").read_text())
    expected = safetensors.numpy.load_file(tmp_path / "made" / "expected.safetensors")
    assert cases.keys() == {case for case in CASES if not case.startswith("older")}
    for case, facts in cases.items():
        (tmp_path / case).mkdir()
        check_case(tmp_path / case, tmp_path / "made", case, facts, expected)


def test_bfloat16_results_are_the_rounded_ones(tmp_path: Path) -> None:
    """The tolerance of rounding libraries hides nothing: rounded as they round, the numbers are theirs."""
    for case in ("compressed_pack_bfloat16",):
        weights = open_written(tmp_path, REFERENCES / f"{case}.safetensors", CASES[case]["quantization_config"])
        rows = weights.rows(matrix_name(case, 0), CASES[case]["rows"])
        np.testing.assert_array_equal(
            rows.astype(ml_dtypes.bfloat16).astype(np.float32), EXPECTED[f"{case}/0"].astype(np.float32)
        )
