import logging
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlas_pipeline.repositories import FolderRepository
from atlas_pipeline.weights import WeightsError
from atlas_pipeline.weights.dtypes import FULL_PRECISION, NUMPY
from atlas_pipeline_tests.weights.pytorch.writing import (
    Padded,
    call,
    checkpoint,
    mapping,
    named,
    number,
    open_checkpoint,
    refuses,
    state_dict,
    storage,
    tensor,
    text,
    torch_path,
    write_archive,
    write_repacked,
    write_state_dict,
)
from atlas_pipeline_tests.weights.writing import random_matrix

REFERENCES = Path(__file__).parents[1] / "references"


class Remote(FolderRepository):
    """A folder where requests are dear, and counted."""

    gap_bytes = 1 << 16  # type: ignore[misc]
    n_requests = 0

    def read_ranges(self, model_id: str, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        self.n_requests += len(ranges)
        return super().read_ranges(model_id, path, ranges)


# What PyTorch itself wrote.


def _expected(file: str) -> dict[str, tuple[str, list[int], np.ndarray]]:
    """Type, shape and float32 rows of every tensor."""
    found = {}
    for name, content in safetensors.deserialize((REFERENCES / "torch" / "expected.safetensors").read_bytes()):
        if name.startswith(f"{file}/"):
            dtype, shape = content["dtype"], content["shape"]
            values = np.frombuffer(bytes(content["data"]), NUMPY[dtype]).astype(np.float32)
            rows = values.reshape(*shape[:1], int(np.prod(shape[1:])))
            found[name.removeprefix(f"{file}/")] = (dtype, shape, rows)
    assert found
    return found


@pytest.mark.parametrize("file", ["plain.bin", "views.bin", "training.ckpt", "whole.pt", "protocol4.pth"])
def test_rows_are_those_that_pytorch_saved(file: str) -> None:
    expected = _expected(file)
    weights = open_checkpoint(REFERENCES.parent, file, model_id="references/torch")
    assert weights.format == "pytorch"
    assert set(weights.tensors) == set(expected)
    n_compared = 0
    for name, (dtype, shape, rows) in expected.items():
        info = weights.tensors[name]
        assert (info.dtype, list(info.shape)) == (dtype, shape), name
        if dtype in {"I8", "I64", "BOOL"} or not shape or name == "expanded":
            assert not info.is_readable
            with pytest.raises(WeightsError, match="is not read"):
                weights.rows(name, [0])
            continue
        n_compared += 1
        if not shape[0]:
            assert weights.rows(name, []).size == 0
            continue
        np.testing.assert_array_equal(weights.rows(name, range(shape[0])), rows)
        chosen = np.random.default_rng(0).integers(0, shape[0], 5)
        np.testing.assert_array_equal(weights.rows(name, chosen), rows[chosen])
        np.testing.assert_array_equal(weights.stored_values(info).astype(np.float32).reshape(rows.shape), rows)
    assert n_compared >= 7


def test_shards_of_pytorch(tmp_path: Path) -> None:
    files = [f"shard-0000{number}-of-00002.bin" for number in (1, 2)]
    weights = open_checkpoint(REFERENCES.parent, *files, model_id="references/torch")
    expected = _expected("shard")
    assert list(weights.tensors) == ["layers.0.weight", "layers.0.bias", "layers.1.weight"]
    for name, (_, _, rows) in expected.items():
        np.testing.assert_array_equal(weights.rows(name, range(len(rows))), rows)
    assert [entry.path for entry in weights.files] == files
    refuses(REFERENCES.parent, "unsupported_format", "both in", files[0], files[0], model_id="references/torch")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("legacy.pt", "before 1.6"),
        ("script.pt", "TorchScript"),
        ("payload.pt", "wants to run 'posix.system'"),
        ("expected.safetensors", "safetensors file"),
    ],
)
def test_what_pytorch_saves_and_is_not_read(file: str, words: str) -> None:
    refuses(REFERENCES.parent, "unsupported_format", words, file, model_id="references/torch")


def test_tensors_of_kinds_that_are_not_read_are_named(caplog: pytest.LogCaptureFixture) -> None:
    weights = open_checkpoint(REFERENCES.parent, "unread.pt", model_id="references/torch")
    assert weights.rows("w", [1]).tolist() == [[1.0, 1.0]]
    with pytest.raises(WeightsError, match="quantised in PyTorch's own way"):
        weights.rows("quantized", [0])
    with pytest.raises(WeightsError, match="_rebuild_sparse_tensor"):
        weights.rows("sparse", [0])


def test_what_is_left_out_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        open_checkpoint(REFERENCES.parent, "training.ckpt", model_id="references/torch")
    assert len(caplog.records) == 1
    assert "__main__.Callback" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        open_checkpoint(REFERENCES.parent, "plain.bin", model_id="references/torch")
    assert not caplog.records


# What this test writes.


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=80)
@given(data=st.data())
def test_any_view_of_a_storage(tmp_path: Path, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(sorted(FULL_PRECISION)))
    sides = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    base = np.arange(7, 7 + np.prod(sides, dtype=int)).reshape(sides).astype(NUMPY[dtype])
    view = base.transpose(data.draw(st.permutations(range(len(sides)))))
    cuts = tuple(slice(data.draw(st.integers(0, side)), None, data.draw(st.integers(1, 2))) for side in view.shape)
    view = view[cuts]
    offset = (view.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // base.itemsize
    strides = [stride // base.itemsize for stride in view.strides]
    value = tensor(storage("0", dtype, base.size), view.shape, strides, offset if view.size else 0)
    noise = {"z": tensor(storage("1", "F32", 1), (1,))}
    path = torch_path(tmp_path)
    members = checkpoint(mapping({"x": value} | noise), {"0": base.tobytes(), "1": bytes(4)})
    if data.draw(st.booleans()):
        write_archive(path, members, alignment=data.draw(st.sampled_from([64, 8, 128])))
    else:
        write_repacked(path, members)  # type: ignore[arg-type]
    weights = open_checkpoint(tmp_path)
    indices = data.draw(st.lists(st.integers(0, view.shape[0] - 1), max_size=8)) if view.shape[0] else []
    expected = view.astype(np.float32).reshape(view.shape[0], int(np.prod(view.shape[1:])))
    before = weights.meter.bytes_read
    rows = weights.rows("x", indices)
    assert rows.dtype == np.float32
    assert rows.size == len(indices) * expected.shape[1]
    if indices:
        np.testing.assert_array_equal(rows, expected[indices])
        cost = weights.cost_bytes("x", len(set(indices)))
        header = weights.meter.bytes_read - before - cost
        assert header <= 30 + len("archive/data/0") + 4 + 128
        weights.rows("x", indices)
        assert weights.meter.bytes_read - before == header + 2 * cost
        np.testing.assert_array_equal(open_checkpoint(tmp_path, repository=Remote(tmp_path)).rows("x", indices), rows)


@pytest.mark.parametrize("root", ["pytorch_model", "a" * 52])
def test_a_large_model_costs_little(tmp_path: Path, root: str) -> None:
    # 291 tensors of a model of 7 billion parameters in 16 bits, on a disk that need not hold their zeros.
    values, storages = {}, {}
    sides = [(4096, 4096)] * 4 + [(11008, 4096)] * 2 + [(4096, 11008)] + [(4096,)] * 2
    shapes = [("model.embed_tokens.weight", (32000, 4096)), ("lm_head.weight", (32000, 4096))]
    shapes += [
        (f"model.layers.{layer}.part{part}.weight", side) for layer in range(32) for part, side in enumerate(sides)
    ]
    for key, (name, shape) in enumerate(shapes):
        size = int(np.prod(shape))
        values[name] = tensor(storage(str(key), "BF16", size), shape)
        storages[str(key)] = Padded(2 * size)
    last = np.arange(1, 4097).astype(ml_dtypes.bfloat16)
    values["last"] = tensor(storage("last", "BF16", 4096), (2, 2048))
    members = checkpoint(mapping(values), storages | {"last": last.tobytes()}, root=root)
    path = torch_path(tmp_path)
    write_archive(path, members)
    assert path.stat().st_size > 13_000_000_000
    repository = Remote(tmp_path)
    weights = open_checkpoint(tmp_path, repository=repository)
    assert len(weights.tensors) == 291
    assert weights.meter.bytes_read < 200_000
    assert repository.n_requests <= 4
    before = weights.meter.bytes_read
    np.testing.assert_array_equal(weights.rows("last", [1])[0], last[2048:].astype(np.float32))
    assert not weights.rows("lm_head.weight", [31999]).any()
    assert weights.meter.bytes_read - before < 4096 + 8192 + 300
    assert weights.quantization is None


def test_names_of_members_are_matched_in_any_order_of_the_archive(tmp_path: Path) -> None:
    first, second = random_matrix(4, 3, seed=1), random_matrix(2, 3, seed=2)
    members = checkpoint(*state_dict({"a": first, "b": second}))
    write_archive(torch_path(tmp_path), dict(reversed(members.items())), comment=b"packed by hand")
    weights = open_checkpoint(tmp_path)
    np.testing.assert_array_equal(weights.rows("a", range(4)), first)
    np.testing.assert_array_equal(weights.rows("b", [1, 0]), second[::-1])


MATRIX = random_matrix(3, 4)
PLAIN, STORAGES = state_dict({"w": MATRIX})
WEIGHT = tensor(storage("0", "F32", 12), (3, 4))
MOMENT = tensor(storage("0", "F32", 12), (4, 3))
OPTIMIZER = mapping({"state": b"}" + number(0) + mapping({"exp_avg": MOMENT}) + b"s", "param_groups": b"]"})
MODULE = (
    named("my.model", "Part") + b")\x81" + mapping({"_parameters": mapping({"w": WEIGHT}), "_modules": b"}"}) + b"b"
)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (mapping({"w": WEIGHT}), ["w"]),
        (mapping({"state_dict": mapping({"w": WEIGHT}), "optimizer": OPTIMIZER}), ["w"]),
        (mapping({"model": mapping({"w": WEIGHT}), "last": OPTIMIZER, "rng_state": WEIGHT}), ["w"]),
        (mapping({"module": mapping({"state_dict": mapping({"w": WEIGHT})})}), ["w"]),
        (mapping({"model": mapping({"body": mapping({"w": WEIGHT}), "head.w": WEIGHT})}), ["body.w", "head.w"]),
        (mapping({"generator": mapping({"w": WEIGHT}), "critic": mapping({"w": WEIGHT})}), ["generator.w", "critic.w"]),
        (mapping({"generator": mapping({"w": WEIGHT}), "optim_g": mapping({"m": MOMENT})}), ["generator.w"]),
        (mapping({"critic": mapping({"w": WEIGHT}), "more": OPTIMIZER}), ["critic.w"]),
        (mapping({"model": b"N", "ema": MODULE, "optimizer": OPTIMIZER}), ["w"]),
        (mapping({"model": text("yolo"), "w": WEIGHT}), ["w"]),
        (MODULE, ["w"]),
        (mapping({"params": mapping({"w": MOMENT}), "params_ema": mapping({"w": WEIGHT})}), ["w"]),
        (mapping({"blocks": b"}" + number(7) + mapping({"w": WEIGHT}) + b"s"}), ["blocks.7.w"]),
        (mapping({"w": call("torch._utils", "_rebuild_parameter", WEIGHT, b"\x88", b"N")}), ["w"]),
        (mapping({"weight": WEIGHT, "bias": WEIGHT}), ["weight", "bias"]),
    ],
)
def test_the_model_is_found_in_a_checkpoint(tmp_path: Path, value: bytes, names: list[str]) -> None:
    write_archive(torch_path(tmp_path), checkpoint(value, STORAGES))
    weights = open_checkpoint(tmp_path)
    assert list(weights.tensors) == names
    for name in names:
        np.testing.assert_array_equal(weights.rows(name, range(3)), MATRIX)


@pytest.mark.parametrize(
    ("value", "status", "words"),
    [
        (b"}", "unsupported_format", "no named tensors"),
        (text("weights"), "unsupported_format", "no named tensors"),
        (WEIGHT, "unsupported_format", "no named tensors"),
        (b"](" + WEIGHT + b"e", "unsupported_format", "no named tensors"),
        (mapping({"x": call("evil", "run")}), "unsupported_format", "only objects that only running 'evil.run'"),
        (mapping({"optimizer": OPTIMIZER}), "unsupported_format", "no named tensors"),
        (mapping({"a": mapping({"w": WEIGHT}), "a.w": WEIGHT}), "invalid_header", "twice"),
        (mapping({"a" * 1001: WEIGHT}), "invalid_header", "1001 characters"),
        (mapping({"w": tensor(storage("1", "F32", 12), (3, 4))}), "invalid_header", "there is none"),
        (mapping({"w": tensor(storage("0", "F32", 24), (3, 4))}), "invalid_header", "has 48"),
        (mapping({"w": tensor(storage("../data.pkl", "F32", 12), (3, 4))}), "invalid_header", "there is none"),
    ],
)
def test_checkpoints_without_a_model(tmp_path: Path, value: bytes, status: str, words: str) -> None:
    write_archive(torch_path(tmp_path), checkpoint(value, STORAGES))
    refuses(tmp_path, status, words)


def test_dictionaries_that_hold_each_other_without_end(tmp_path: Path) -> None:
    # Each level holds the one before twice.
    level = b"q\x00}" + text("a") + b"h\x00s" + text("b") + b"h\x00s"
    value = mapping({"w": WEIGHT}) + level * 40
    write_archive(torch_path(tmp_path), checkpoint(value, STORAGES))
    refuses(tmp_path, "unsupported_format", "entries")
    circle = b"}q\x00X\x01\x00\x00\x00ah\x00s"
    write_archive(torch_path(tmp_path), checkpoint(circle, STORAGES))
    refuses(tmp_path, "unsupported_format", "no named tensors")


def test_views_that_repeat_numbers_are_not_unrolled(tmp_path: Path) -> None:
    endless = tensor(storage("0", "F32", 12), (2**40, 2**40), (0, 0))
    write_archive(torch_path(tmp_path), checkpoint(mapping({"w": WEIGHT, "endless": endless}), STORAGES))
    weights = open_checkpoint(tmp_path)
    assert not weights.tensors["endless"].is_readable
    with pytest.raises(WeightsError, match="several places"):
        weights.rows("endless", [0])


def test_a_matrix_that_is_too_large_to_transpose(tmp_path: Path) -> None:
    side = 1 << 14
    value = mapping({"w": tensor(storage("0", "F32", side * side), (side, side), (1, side))})
    write_archive(torch_path(tmp_path), checkpoint(value, {"0": Padded(4 * side * side)}))
    weights = open_checkpoint(tmp_path)
    assert weights.cost_bytes("w", 1) == 4 * side * side
    tracemalloc.start()
    with pytest.raises(WeightsError, match="at most 268435456 are read at once"):
        weights.rows("w", [0])
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_quantised_matrix_in_parts(tmp_path: Path) -> None:
    codes = np.arange(-12, 12, dtype=np.int8).reshape(4, 6)
    scales = np.arange(1, 5, dtype=np.float32)
    storages = {"0": codes.tobytes(), "1": scales.tobytes()}
    parts = {"q.weight": tensor(storage("0", "I8", 24), (4, 6)), "q.SCB": tensor(storage("1", "F32", 4), (4,))}
    write_archive(torch_path(tmp_path), checkpoint(mapping(parts), storages))
    weights = open_checkpoint(tmp_path)
    assert set(weights.tensors) == {"q.weight"}
    assert weights.is_quantized
    expected = codes.astype(np.float64) * scales[:, None] / 127
    np.testing.assert_allclose(weights.rows("q.weight", range(4)), expected, rtol=1e-6)
    # Transposed codes are read as the matrix that they show; who takes bytes for another shape is refused.
    parts["q.weight"] = tensor(storage("0", "I8", 24), (6, 4), (1, 6))
    parts["q.SCB"] = tensor(storage("1", "F32", 4), (2, 2), (1, 2))
    write_archive(torch_path(tmp_path), checkpoint(mapping(parts), storages))
    weights = open_checkpoint(tmp_path)
    np.testing.assert_array_equal(weights.stored_values(weights.stored["q.weight"]), codes.T)
    with pytest.raises(WeightsError, match="view of others' numbers"):
        weights.stored_rows(replace(weights.stored["q.weight"], shape=(24, 1)), np.zeros(1, np.int64))


def test_a_reference_that_is_shared_counts_once_in_bytes(tmp_path: Path) -> None:
    write_state_dict(tmp_path, {"w": MATRIX, "v": MATRIX[:1]})
    weights = open_checkpoint(tmp_path)
    opened = weights.meter.bytes_read
    weights.rows("w", [2, 0, 2])
    once = weights.meter.bytes_read
    # The header of the storage comes with its first rows only.
    weights.rows("w", [2, 0, 2])
    assert weights.meter.bytes_read - once == 2 * 16
    assert once - opened > 2 * 16
