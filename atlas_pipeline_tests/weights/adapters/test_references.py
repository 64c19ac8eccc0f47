"""Adapters that PEFT, diffusers and LyCORIS saved, against the weights that they merge them into."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.weights.adapters.applying import AdapterWeights, open_adapter
from atlas_pipeline.weights.adapters.deltas import DeltaWeights
from atlas_pipeline.weights.adapters.lora_names import looks_like_lora
from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.opening import WeightFiles, open_weights
from atlas_pipeline_tests.weights.writing import model_folder, random_matrix, write_lora

REFERENCES = Path(__file__).parents[1] / "references" / "adapters"
NAMES = [path.stem.replace("--", "/") for path in sorted((REFERENCES / "expected").iterdir())]
TOLERANCE = 1e-6
"""Of the largest number of a matrix. The libraries compute in float32, where sums of a few products are off by 1e-7;
LyCORIS also adds float32's epsilon to DoRA's norms, which is 4e-7 here."""

KINDS = {
    "diffusers/layers": ("LoRA (diffusers)", 3),
    "diffusers/metadata": ("LoRA (diffusers)", 2),
    "diffusers/processors": ("LoRA (diffusers)", 3),
    "kohya/original": ("LoRA (kohya)", 2),
    "kohya/plain": ("LoRA (kohya)", 2),
    "lycoris/mixed": ("DoRA (kohya)", 2),
    "peft/conv": ("LoRA", 2),
    "peft/conv1d": ("LoRA", 2),
    "peft/conv1d_dora": ("DoRA", 2),
    "peft/conv1d_ia3": ("IA3", 0),
    "peft/conv_dora": ("DoRA", 2),
    "peft/conv_ia3": ("IA3", 0),
    "peft/dora": ("DoRA", 3),
    "peft/embedding": ("LoRA", 3),
    "peft/embedding_dora": ("DoRA", 3),
    "peft/head": ("LoRA", 2),
    "peft/ia3": ("IA3", 0),
    "peft/lora": ("LoRA", 4),
    "peft/patterns": ("LoRA", 6),
    "peft/pytorch": ("LoRA", 2),
    "peft/rslora": ("rsLoRA", 4),
}


def test_every_reference_is_compared() -> None:
    assert sorted(KINDS) == NAMES


@pytest.mark.parametrize("model_id", NAMES)
def test_rows_are_those_of_the_library(model_id: str) -> None:
    compare(REFERENCES, model_id)
    weights = _applied(REFERENCES, model_id)
    assert (weights.adapter_kind, weights.rank) == KINDS[model_id]


@pytest.mark.parametrize("model_id", [name for name in NAMES if name != "peft/pytorch"])
def test_cost_is_what_is_read(model_id: str) -> None:
    for name in load_file(_expected(REFERENCES, model_id)):
        weights = _applied(REFERENCES, model_id)
        opened = weights.meter.bytes_read
        promised = weights.cost_bytes(name, 3)
        weights.rows(name, [3, 0, 1])
        assert weights.meter.bytes_read - opened == promised
        again = weights.cost_bytes(name, 3)
        weights.rows(name, [3, 0, 1])
        assert weights.meter.bytes_read - opened - promised == again


@pytest.mark.parametrize("model_id", [name for name in NAMES if KINDS[name][0].startswith(("LoRA", "rsLoRA"))])
def test_the_change_alone_is_the_difference(tmp_path: Path, model_id: str) -> None:
    shutil.copytree(REFERENCES / "models" / model_id, tmp_path / model_id)
    alone = _opened(tmp_path, model_id)
    assert isinstance(alone, DeltaWeights)
    assert _base_id(model_id) in alone.base_flaw
    assert (alone.adapter_kind, alone.rank) == KINDS[model_id]
    base = open_weights(FolderRepository(REFERENCES / "models"), _base_id(model_id))
    stored = {info.canonical: name for name, info in base.tensors.items()}
    expected = load_file(_expected(REFERENCES, model_id))
    n_compared = 0
    for name, info in alone.tensors.items():
        merged = expected[stored[name]].astype(np.float64)
        merged = merged.reshape(merged.shape[0], -1)
        difference = merged - base.rows(stored[name], range(merged.shape[0]))
        # Outputs come first here, also for layers that store their inputs first.
        difference = difference.T if "conv1d" in model_id else difference
        rows = alone.rows(name, range(info.shape[0]))
        np.testing.assert_allclose(rows, difference, rtol=0, atol=TOLERANCE * np.abs(merged).max(), err_msg=name)
        n_compared += 1
    # A head that was trained as a whole is no change that stands alone.
    assert n_compared == len(expected) - (model_id == "peft/head")


@pytest.mark.parametrize("model_id", [name for name in NAMES if KINDS[name][0].startswith(("DoRA", "IA3"))])
def test_no_change_stands_alone_that_rescales_the_base(tmp_path: Path, model_id: str) -> None:
    shutil.copytree(REFERENCES / "models" / model_id, tmp_path / model_id)
    with pytest.raises(WeightsError, match=_base_id(model_id)) as caught:
        _opened(tmp_path, model_id)
    assert caught.value.status == "missing_base"


@pytest.mark.parametrize("encoding", ["bitsandbytes_nf4", "bitsandbytes_int8", "awq_group"])
def test_a_quantised_base_gives_its_rows_as_numbers(tmp_path: Path, encoding: str) -> None:
    file = REFERENCES.parent / "quantised" / f"{encoding}.safetensors"
    shutil.copy(file, model_folder(tmp_path, "birch/base") / "model.safetensors")
    repository = FolderRepository(tmp_path)
    base = open_weights(repository, "birch/base")
    name, info = next((name, info) for name, info in base.tensors.items() if len(info.shape) == 2)
    a, b = random_matrix(4, info.shape[1], seed=1), random_matrix(info.shape[0], 4, seed=2)
    module = f"base_model.model.{name.removesuffix('.weight')}"
    pair = {f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b}
    write_lora(tmp_path, "alder/qlora", pair, base="birch/base", lora_alpha=8)
    weights = open_adapter(repository, "alder/qlora")
    rows = [0, info.shape[0] - 1]
    np.testing.assert_allclose(weights.rows(name, rows), base.rows(name, rows) + 2 * (b[rows] @ a), rtol=0, atol=1e-7)
    assert base.is_quantized
    assert not weights.is_quantized


def test_names_tell_adapters_from_models() -> None:
    models = REFERENCES / "models"
    for path in sorted(models.rglob("*.safetensors")):
        owner, name = path.relative_to(models).parts[:2]
        # Whole tensors lie beside these; only their configuration says that they are adapters.
        is_lora = owner != "tiny" and name not in {"head", "embedding", "embedding_dora"}
        header = json.loads(path.read_bytes()[8:].split(b"}}", 1)[0] + b"}}")
        assert looks_like_lora(header.keys() - {"__metadata__"}) == is_lora, path


@pytest.mark.filterwarnings("ignore")
def test_the_libraries_of_today(tmp_path: Path) -> None:
    for library in ("torch", "transformers", "peft", "diffusers", "lycoris"):
        pytest.importorskip(library, reason=f"{library} makes the references")
    from atlas_pipeline_tests.weights.references.adapters import make

    make.main(tmp_path)
    for model_id in NAMES:
        compare(tmp_path, model_id)


def compare(references: Path, model_id: str) -> None:
    """Every matrix that the library changed, and no other, is changed to the same numbers."""
    weights = _applied(references, model_id)
    expected = load_file(_expected(references, model_id))
    for name, whole in expected.items():
        merged = whole.reshape(whole.shape[0], -1)
        rows = weights.rows(name, np.arange(merged.shape[0]))
        np.testing.assert_allclose(rows, merged, rtol=0, atol=TOLERANCE * np.abs(merged).max(), err_msg=name)
    for name, info in weights.tensors.items():
        if name not in expected and len(info.shape) > 1 and info.shape == weights.base.tensors[name].shape:
            every = np.arange(info.shape[0])
            np.testing.assert_array_equal(weights.rows(name, every), weights.base.rows(name, every))


def _base_id(model_id: str) -> str:
    if not model_id.startswith("peft"):
        return "tiny/diffusion"
    return "tiny/gpt2" if "conv1d" in model_id else "tiny/convolutions" if "conv" in model_id else "tiny/llama"


def _expected(references: Path, model_id: str) -> Path:
    return references / "expected" / f"{model_id.replace('/', '--')}.safetensors"


def _opened(models: Path, model_id: str) -> AdapterWeights | DeltaWeights:
    repository = FolderRepository(models)
    entries = [entry for entry in repository.files(model_id) if entry.path.endswith((".safetensors", ".bin"))]
    named = [] if model_id.startswith("peft") else ["tiny/diffusion"]
    return open_adapter(repository, model_id, base_ids=named, found=WeightFiles("adapter", tuple(entries)))


def _applied(references: Path, model_id: str) -> AdapterWeights:
    weights = _opened(references / "models", model_id)
    assert isinstance(weights, AdapterWeights), weights.base_flaw
    assert weights.base_id == _base_id(model_id)
    return weights
