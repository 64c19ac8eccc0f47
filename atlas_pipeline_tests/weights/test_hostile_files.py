"""Every reader against files made to harm: only a WeightsError may come out, soon, and at a bounded price."""

import json
import logging
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.weights import WeightsError, open_adapter, open_weights
from atlas_pipeline_tests.weights.fuzzing import BASE, TARGETS, MemoryRepository, read_model, seeds
from atlas_pipeline_tests.weights.pytorch.writing import (
    Padded,
    checkpoint,
    mapping,
    open_checkpoint,
    storage,
    tensor,
    torch_path,
    write_archive,
    write_state_dict,
)
from atlas_pipeline_tests.weights.writing import (
    MODEL,
    model_folder,
    random_matrix,
    raw_safetensors,
    write_gguf,
    write_json,
    write_lora,
    write_safetensors,
)

SEEDS = {target: seeds(target) for target in TARGETS}
EXTREMES = [0, 1, 0x7F, 0xFF, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


@pytest.fixture(autouse=True)
def quiet() -> object:
    """What is left out of a damaged file is warned of again and again."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@st.composite
def damaged(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A valid file with a few bytes changed, numbers made extreme, parts moved, doubled, or cut off."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.integers(1, 40))
        kind = draw(st.sampled_from(["byte", "number", "fill", "splice", "delete", "cut"]))
        if kind == "byte":
            content[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "number":
            width = draw(st.sampled_from([2, 4, 8]))
            number = draw(st.sampled_from(EXTREMES)) % 256**width
            content[at : at + width] = number.to_bytes(width, "little")
        elif kind == "fill":
            content[at : at + length] = bytes([draw(st.sampled_from([0, 0xFF]))]) * length
        elif kind == "splice":
            other = draw(st.sampled_from(originals))
            start = draw(st.integers(0, len(other)))
            content[at:at] = other[start : start + length]
        elif kind == "delete":
            del content[at : at + length]
        else:
            del content[at:]
    return bytes(content)


@pytest.mark.parametrize("target", sorted(TARGETS))
@settings(deadline=5000, max_examples=300, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files(target: str, data: st.DataObject) -> None:
    TARGETS[target](data.draw(damaged(SEEDS[target])))


@pytest.mark.parametrize("target", sorted(TARGETS))
@settings(deadline=5000, max_examples=150)
@given(content=st.binary(max_size=300))
def test_noise(target: str, content: bytes) -> None:
    TARGETS[target](content)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_files_cut_short_at_every_byte(target: str) -> None:
    original = min(SEEDS[target], key=len)
    for size in range(len(original)):
        TARGETS[target](original[:size])


def _text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def _gguf(*, pairs: int = 0, tensors: int = 0, body: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs) + body


GIGANTIC = {
    "safetensors header": ("model.safetensors", raw_safetensors(b"{}", length=2**63 - 1)),
    "safetensors shape": (
        "model.safetensors",
        raw_safetensors({"w": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 2**82]}}),
    ),
    "safetensors rows of nothing": (
        "model.safetensors",
        raw_safetensors({"w": {"dtype": "F32", "shape": [2**62, 0], "data_offsets": [0, 0]}}),
    ),
    "safetensors depth": ("model.safetensors", raw_safetensors(b'{"w":' + b"[" * 50_000)),
    "gguf pairs": ("model.gguf", _gguf(pairs=2**60, body=bytes(2000))),
    "gguf tensors": ("model.gguf", _gguf(tensors=2**60, body=bytes(2000))),
    "gguf text": ("model.gguf", _gguf(pairs=1, body=struct.pack("<Q", 2**62))),
    "gguf array": ("model.gguf", _gguf(pairs=1, body=_text(b"k") + struct.pack("<IIQ", 9, 4, 2**60))),
    "gguf arrays": ("model.gguf", _gguf(pairs=1, body=_text(b"k") + struct.pack("<IIQ", 9, 9, 100) + bytes(1300))),
    "gguf dimensions": (
        "model.gguf",
        _gguf(tensors=1, body=_text(b"w") + struct.pack("<I2QIQ", 2, 2**40, 2**40, 0, 0) + bytes(64)),
    ),
}


@pytest.mark.parametrize("lie", sorted(GIGANTIC))
def test_gigantic_claims_cost_nothing(lie: str) -> None:
    path, content = GIGANTIC[lie]
    tracemalloc.start()
    try:
        read_model({path: content})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def test_rows_of_torch_that_would_fill_memory(tmp_path: Path) -> None:
    # 16 GiB in one row, on a disk that need not hold them.
    numbers = 2**32
    value = mapping({"w": tensor(storage("0", "F32", numbers), (1, numbers))})
    write_archive(torch_path(tmp_path), checkpoint(value, {"0": Padded(4 * numbers)}))
    weights = open_checkpoint(tmp_path)
    tracemalloc.start()
    with pytest.raises(WeightsError, match="read at once"):
        weights.rows("w", [0])
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


# Numbers that are none.

STRANGE = np.array([[np.nan, np.inf, -np.inf, 1.0], [0.0, -0.0, 3e38, -3e38]], dtype=np.float32)


def _write_safetensors(root: Path) -> None:
    write_safetensors(root, {"w": STRANGE, "half": STRANGE[:1].astype(np.float16)})


def _write_gguf(root: Path) -> None:
    write_gguf(root, {"w": (STRANGE, Kind.F32)})


@pytest.mark.parametrize("write", [_write_safetensors, _write_gguf])
def test_numbers_that_are_none_pass_through(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    np.testing.assert_array_equal(open_weights(FolderRepository(tmp_path), MODEL).rows("w", [0, 1]), STRANGE)


def test_numbers_that_are_none_in_a_checkpoint(tmp_path: Path) -> None:
    content = STRANGE.astype(ml_dtypes.bfloat16).tobytes()
    write_archive(
        torch_path(tmp_path), checkpoint(mapping({"w": tensor(storage("0", "BF16", 8), (2, 4))}), {"0": content})
    )
    rows = open_checkpoint(tmp_path).rows("w", [0])
    np.testing.assert_array_equal(rows, STRANGE[:1])


# Names that lead elsewhere.


@pytest.mark.parametrize("file", ["model.safetensors", "model.gguf", "pytorch_model.bin", "config.json"])
def test_links_that_lead_out_are_not_followed(tmp_path: Path, file: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    write_safetensors(outside, {"w": random_matrix(2, 4)})
    write_safetensors(root, {"w": random_matrix(2, 4)}, file="a.safetensors")
    (model_folder(root) / file).symlink_to(outside / MODEL / "model.safetensors")
    with pytest.raises(WeightsError) as caught:
        open_weights(FolderRepository(root), MODEL)
    assert caught.value.status == "unreadable"
    assert "leads out" in caught.value.message
    assert str(outside) not in caught.value.message


@pytest.mark.parametrize("name", ["../../outside.safetensors", "/etc/passwd", "..\\x", "a/../../b", "", ".", "\0"])
def test_indices_cannot_name_other_files(tmp_path: Path, name: str) -> None:
    write_safetensors(tmp_path, {"w": random_matrix(2, 4)}, file="part.safetensors")
    write_json(tmp_path, "model.safetensors.index.json", {"weight_map": {"w": name}})
    with pytest.raises(WeightsError) as caught:
        open_weights(FolderRepository(tmp_path), MODEL)
    assert caught.value.status == "invalid_header"


@pytest.mark.parametrize("base", ["../../x", "/etc", "https://host/model", "a/b/c", "x" * 5000, "\n", "a\\b", "{}"])
def test_adapters_cannot_name_what_is_no_model(tmp_path: Path, base: str) -> None:
    tensors = {
        "base_model.model.q.lora_A.weight": random_matrix(2, 8),
        "base_model.model.q.lora_B.weight": random_matrix(4, 2),
    }
    write_lora(tmp_path, MODEL, tensors, base=base)
    started = time.process_time()
    try:
        open_adapter(FolderRepository(tmp_path), MODEL)
    except WeightsError as error:
        assert len(error.message) < 2000
    assert time.process_time() - started < 5


# Documents.

LORA = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": BASE}


@pytest.mark.parametrize(
    "change",
    [
        {"lora_alpha": 10**400},
        {"lora_alpha": -1e308},
        {"lora_alpha": "4"},
        {"lora_alpha": [4]},
        {"r": 0},
        {"r": -1},
        {"r": 2**70},
        {"alpha_pattern": {"(a+)+$" * 50: 4}},
        {"alpha_pattern": {"(?:x?){30}x{30}": 4}},
        {"alpha_pattern": [1]},
        {"rank_pattern": {"(a*)*b": 3}},
        {"target_modules": "(a|a)*$" * 100},
        {"peft_type": {"a": 1}},
        {"base_model_name_or_path": {"a": 1}},
        {"use_rslora": "yes", "fan_in_fan_out": "no"},
        {"init_lora_weights": {"a": []}},
    ],
)
def test_adapter_configurations_that_lie(change: dict[str, object]) -> None:
    content = json.dumps(LORA | change).encode()
    started = time.process_time()
    TARGETS["documents"](b"\x02" + content)
    assert time.process_time() - started < 5


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
TEMPLATES: list[tuple[int, dict[str, object]]] = [
    (0, {"model_type": "llama", "quantization_config": {"quant_method": "gptq", "bits": 4}, "text_config": {}}),
    (0, {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}),
    (
        0,
        {"quantization_config": {"quant_method": "compressed-tensors", "format": "int-quantized", "config_groups": {}}},
    ),
    (1, {"metadata": {}, "weight_map": {"q.weight": "a.safetensors"}}),
    (2, LORA | {"target_modules": ["q"], "alpha_pattern": {}, "rank_pattern": {}, "use_dora": False, "bias": "none"}),
    (3, {"transformer.r": 2, "transformer.lora_alpha": 4}),
]


@settings(deadline=5000, max_examples=300)
@given(data=st.data())
def test_documents_with_any_values(data: st.DataObject) -> None:
    document, template = data.draw(st.sampled_from(TEMPLATES))
    changed = template | {data.draw(st.sampled_from(sorted(template))): data.draw(JSON_VALUES)}
    nested = changed.get("quantization_config")
    if isinstance(nested, dict) and nested and data.draw(st.booleans()):
        changed["quantization_config"] = nested | {data.draw(st.sampled_from(sorted(nested))): data.draw(JSON_VALUES)}
    TARGETS["documents"](bytes([document]) + json.dumps(changed).encode())


@pytest.mark.parametrize(
    "content",
    [
        b'{"a":' * 30_000,
        b"[" * 1_000_000,
        b'{"a": 1e999999999}',
        b'{"a": ' + b"1" * 200_000 + b"}",
        b'{"a": -' + b"9" * 4300 + b"e9}",
        b'{"a": "\\ud800"}',
        b'{"\\u0000": 1}',
        b"\xef\xbb\xbf{}",
        b'{"a": Infinity}',
        b'{"a": 1, "a": 2}',
        b"{" + b",".join(b'"%d":0' % n for n in range(20_000)) + b"}",
        b'"' + b"\\" * 100_001,
    ],
)
@pytest.mark.parametrize("document", range(4))
def test_documents_that_lie(content: bytes, document: int) -> None:
    started = time.process_time()
    TARGETS["json"](content)
    TARGETS["documents"](bytes([document]) + content)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("file", ["config.json", "model.safetensors.index.json"])
def test_documents_that_are_too_large_are_not_read(file: str) -> None:
    files = {file: bytes(40_000_000), "a.safetensors": raw_safetensors({})}
    tracemalloc.start()
    try:
        read_model(files)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_limits_of_these_tests_hold_for_sound_files(tmp_path: Path) -> None:
    # A reader that gave up on everything would pass all tests above.
    for target, originals in SEEDS.items():
        assert originals, target
    write_state_dict(tmp_path, {"w": random_matrix(2, 4)})
    assert open_checkpoint(tmp_path).rows("w", [0, 1]).shape == (2, 4)
    repository = MemoryRepository({MODEL: {"model.safetensors": SEEDS["safetensors"][0]}})
    assert open_weights(repository, MODEL).rows("norm", [0]).shape == (1, 1)
    repository = MemoryRepository({MODEL: {"model.gguf": SEEDS["gguf"][1]}})
    assert open_weights(repository, MODEL).rows("blk.0.attn_q.weight", [0]).shape == (1, 32)
