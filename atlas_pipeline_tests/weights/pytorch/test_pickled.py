import copyreg
import os
import pickle
import time
import tracemalloc
from collections import OrderedDict, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.weights import WeightsError
from atlas_pipeline.weights.pytorch import pickled
from atlas_pipeline.weights.pytorch.globals import Opaque, Storage, StoredTensor
from atlas_pipeline.weights.pytorch.pickled import MAX_OPERATIONS, read_pickle
from atlas_pipeline_tests.weights.pytorch.writing import (
    call,
    counts,
    group,
    mapping,
    named,
    number,
    program,
    storage,
    tensor,
    text,
)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.text() | st.integers(-(2**63) + 1, 2**63 - 1)


def _nested(scalars: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=5)
            | st.dictionaries(KEYS, inner, max_size=5)
            | st.tuples(inner)
            | st.tuples(inner, inner, inner, inner)
        ),
        max_leaves=30,
    )


def _read(data: bytes) -> object:
    return read_pickle(data, what="The file").value


def _error(data: bytes) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        _read(data)
    return caught.value


def _fails(data: bytes, status: str, words: str) -> None:
    error = _error(data)
    assert error.status == status
    assert words in error.message
    assert error.message.startswith("The file")


@settings(deadline=None, max_examples=150)
@given(value=_nested(SCALARS | st.binary()), protocol=st.integers(3, pickle.HIGHEST_PROTOCOL))
def test_plain_values_are_as_pickle_reads_them(value: object, protocol: int) -> None:
    assert _read(pickle.dumps(value, protocol=protocol)) == value


@settings(deadline=None, max_examples=60)
@given(value=_nested(SCALARS), protocol=st.integers(0, 2))
def test_old_protocols(value: object, protocol: int) -> None:
    assert _read(pickle.dumps(value, protocol=protocol)) == value


def test_what_old_protocols_make_by_a_call_is_not_made() -> None:
    for value in (b"abc", {1, 2}, frozenset({3}), bytearray(b"x"), 1j):
        for protocol in (0, 2):
            assert isinstance(_read(pickle.dumps([value], protocol=protocol))[0], Opaque)  # type: ignore[index]
    # Later ones have instructions for sets.
    for value in ({1, 2}, frozenset({3})):
        assert isinstance(_read(pickle.dumps([value], protocol=4))[0], Opaque)  # type: ignore[index]


def test_what_is_dropped_is_gone() -> None:
    assert _read(b"(NN1K\x07.") == 7
    assert _read(b"K\x07(0.") == 7
    assert _read(b"(K\x01K\x02d.") == {1: 2}
    assert _read(b"](K\x01K\x02lK\x03a.") == [1, 2, 3]


def test_dictionaries_of_all_kinds() -> None:
    ordered = OrderedDict(a=1, b=[2, (3,)])
    assert _read(pickle.dumps(ordered, protocol=2)) == {"a": 1, "b": [2, (3,)]}
    assert _read(pickle.dumps(defaultdict(list, {"a": [1]}))) == {"a": [1]}
    # Only texts and integers name tensors.
    assert _read(pickle.dumps({"a": 1, 2: 3, 1.5: 4, (1, 2): 5, None: 6, True: 7, b"c": 8, 2**70: 9})) == {"a": 1, 2: 3}


def test_shared_and_circular_values() -> None:
    shared = [1]
    first, second = _read(pickle.dumps([shared, shared]))  # type: ignore[misc]
    assert first is second
    circle: list[object] = []
    circle.append(circle)
    found = _read(pickle.dumps(circle))
    assert isinstance(found, list)
    assert found[0] is found


class Ordinary:
    def __init__(self) -> None:
        self.kept = {"a": 1}


def test_objects_are_known_by_name_and_attributes_only() -> None:
    for protocol in range(6):
        content = read_pickle(pickle.dumps({"x": Ordinary(), "y": {1, 2}}, protocol=protocol), what="The file")
        assert isinstance(content.value, dict)
        found = content.value["x"]
        assert isinstance(found, Opaque)
        assert found.origin == content.foreign == f"{__name__}.Ordinary"
        assert found.state == {"kept": {"a": 1}}


class Payload:
    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def _canary(tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "it_ran"
    return path, f"__import__('pathlib').Path({str(path)!r}).touch()"


def test_no_payload_runs(tmp_path: Path) -> None:
    path, code = _canary(tmp_path)
    pickle.loads(pickle.dumps(Payload(eval, code)))  # noqa: S301 - shows that the payload would work
    assert path.exists()
    path.unlink()
    payloads = {
        "builtins.eval": Payload(eval, code),
        "builtins.exec": Payload(exec, code),
        "builtins.getattr": Payload(getattr, "text", "upper"),
        "builtins.__import__": Payload(__import__, "os"),
        "io.open": Payload(open, str(path), "w"),
        f"{os.system.__module__}.system": Payload(os.system, f"touch {path}"),
        "builtins.map": Payload(map, eval, [code]),
    }
    for name, payload in payloads.items():
        for protocol in range(6):
            data = pickle.dumps({"a": [payload]}, protocol=protocol)
            _fails(data, "unsupported_format", "wants to run '")
            assert protocol < 3 or name in str(_error(data))
    assert not path.exists()


def _stacked(module: str, name: str) -> bytes:
    return b"\x80\x04" + text(module) + text(name) + b"\x93"


CODE = b"V__import__('os').abort()\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"cos\nsystem\n(Vtrue\ntR.", "os.system"),
        (b"c__builtin__\neval\n(" + CODE + b"tR.", "__builtin__.eval"),
        (b"(ios\nsystem\n.", "os.system"),
        (b"(" + CODE + b"ibuiltins\neval\n.", "builtins.eval"),
        (b"(cbuiltins\neval\n" + CODE + b"o.", "builtins.eval"),
        (_stacked("subprocess", "Popen") + b")\x81.", "subprocess.Popen"),
        (_stacked("subprocess", "Popen") + b")}\x92.", "subprocess.Popen"),
        (_stacked("torch.serialization", "os.system") + b"(" + CODE + b"tR.", "torch.serialization.os.system"),
        (_stacked("numpy", "testing.os.system") + b".", "os.system"),
        (b"\x80\x04" + text("os") + b"\x94" + text("system") + b"\x94h\x00h\x01\x93.", "os.system"),
        (_stacked("collections", "namedtuple.__globals__") + b".", "namedtuple.__globals__"),
        (b"ccommands\ngetoutput\n.", "commands.getoutput"),
        (b"ctorch._utils\n_rebuild_parameter\n(cos\nsystem\n\x88NtR.", "os.system"),
        (b"cfunctools\nreduce\n.", "functools.reduce"),
        (b"crunpy\n_run_code\n.", "runpy._run_code"),
        (b"\x82\x01.", "EXT1"),
        (b"\x83\x01\x00.", "EXT2"),
        (b"\x84\x01\x00\x00\x00.", "EXT4"),
        (b"Pan id\n.", "PERSID"),
        (b"\x97.", "NEXT_BUFFER"),
        (b"N\x98.", "READONLY_BUFFER"),
    ],
)
def test_code_by_every_instruction(data: bytes, words: str) -> None:
    _fails(data, "unsupported_format", words)


def test_registered_extensions_are_not_looked_up() -> None:
    copyreg.add_extension("os", "system", 123)
    try:
        _fails(pickle.dumps(os.system, protocol=2).replace(b"cposix\nsystem\n", b"\x82\x7b"), "unsupported_format", "")
        _fails(b"\x82\x7b.", "unsupported_format", "EXT1")
    finally:
        copyreg.remove_extension("os", "system", 123)


def test_foreign_code_is_a_name_and_no_more() -> None:
    data = program(mapping({"w": call("somewhere.evil", "run", text("rm")), "v": named("other", "thing")}))
    content = read_pickle(data, what="The file")
    assert content.foreign == "somewhere.evil.run"
    assert isinstance(content.value, dict)
    assert content.value["w"].origin == "somewhere.evil.run"
    # What a call gives may itself be called.
    chained = _read(program(call("a", "b") + b")R" + b"}b"))
    assert isinstance(chained, Opaque)
    assert (chained.origin, chained.state) == ("a.b", {})
    for data in (
        b"\x80\x04" + text("a") + text("b") + b"\x93)}\x92.",
        b"(" + named("a", "b") + b"No.",
        b"(Nia\nb\n.",
    ):
        made = _read(data)
        assert isinstance(made, Opaque)
        assert made.origin == "a.b"


F32 = storage("0", "F32", 24)


def test_a_tensor() -> None:
    found = _read(program(tensor(F32, (2, 3), (3, 1), 6)))
    assert isinstance(found, StoredTensor)
    assert (found.storage, found.dtype, found.offset) == (Storage("0", "F32", 96), "F32", 6)
    assert (found.shape, found.strides, found.flaw) == ((2, 3), (3, 1), "")


def _rebuilt(*arguments: bytes, name: str = "_rebuild_tensor_v2") -> bytes:
    return program(call("torch._utils", name, *arguments))


PLACE = (number(0), counts((2, 2)), counts((2, 1)))


def test_views_that_change_numbers_and_unknown_types_are_flawed() -> None:
    rest = (b"\x89", b"N")
    negated = _read(_rebuilt(F32, *PLACE, *rest, mapping({"neg": b"\x88"})))
    assert isinstance(negated, StoredTensor)
    assert "changes" in negated.flaw
    plain = _read(_rebuilt(F32, *PLACE, *rest, mapping({"neg": b"\x89"})))
    assert isinstance(plain, StoredTensor)
    assert not plain.flaw
    untyped = group(text("storage"), named("torch.storage", "UntypedStorage"), text("0"), text("cpu"), number(8)) + b"Q"
    odd = _read(_rebuilt(untyped, *PLACE, *rest, named("torch", "float9"), name="_rebuild_tensor_v3"))
    assert isinstance(odd, StoredTensor)
    assert "torch.float9" in odd.flaw


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (program(tensor(F32, (5, 5))), "beyond its storage"),
        (program(tensor(F32, (2, 3), (3, 1), 19)), "beyond its storage"),
        (program(tensor(F32, (2**62, 2**62), (2**62, 1))), "beyond its storage"),
        (program(tensor(F32, (2, 2), (2**63 - 1, 1))), "beyond its storage"),
        (program(tensor(F32, (2, 2), (-2, 1))), "no count"),
        (program(tensor(F32, (2, -2), (2, 1))), "no count"),
        (program(tensor(F32, (2, 2), (2, 1), -1)), "no count"),
        (program(tensor(F32, (2**70, 2), (2, 1))), "no count"),
        (program(tensor(F32, (2, 2), (2, 1, 1))), "no count"),
        (program(tensor(F32, (1,) * 65)), "no count"),
        (_rebuilt(F32, number(0), b"](" + number(2) + b"e", counts((1,))), "no count"),
        (_rebuilt(F32, b"\x88", counts((2,)), counts((1,))), "no count"),
        (_rebuilt(F32, *PLACE[:2]), "no storage"),
        (_rebuilt(text("0"), *PLACE), "no storage"),
        (_rebuilt(name="_rebuild_parameter"), "lacks its argument"),
        (_rebuilt(F32, *PLACE, name="_rebuild_tensor_v3"), "no type"),
        (program(call("torch._tensor", "_rebuild_from_type_v2", text("f"), text("t"), group(), b"}")), "no class"),
        (program(storage("0", "F32", -1)), "no size"),
        (program(storage("0", "F32", 2**63)), "no size"),
        (
            program(group(text("storage"), named("torch", "OddStorage"), text("0"), text("cpu"), number(1)) + b"Q"),
            "Odd",
        ),
        (program(group(text("storage"), text("x"), text("0"), text("cpu"), number(1)) + b"Q"), "no storage"),
        (
            program(group(text("module"), named("torch", "FloatStorage"), text("0"), b"N", number(1)) + b"Q"),
            "no storage",
        ),
        (program(group(text("storage")) + b"Q"), "no storage"),
        (program(text("storage") + b"Q"), "no storage"),
        (program(group(group(), b"N", b"N", b"N", b"N") + b"Q"), "no storage"),
        (b"", "cannot be taken apart"),
        (b"\x80\x02}", "exhausted"),
        (b"\x80\x02X\xff\xff\xff\xffabc.", "cannot be taken apart"),
        (b"\x8e" + b"\xff" * 8 + b".", "cannot be taken apart"),
        (b"\x8d" + b"\xff" * 8 + b".", "cannot be taken apart"),
        (b"\x8b\xff\xff\xff\x7f.", "cannot be taken apart"),
        (b"I" + b"9" * 5000 + b"\n.", "cannot be taken apart"),
        (b"S'\\d'\n.", "cannot be taken apart"),
        (b"\xff.", "cannot be taken apart"),
        (b".", "stack"),
        (b"(.", "stack"),
        (b"N(0N\x85(\x85.", "stack"),
        (b"t.", "mark"),
        (b"h\x00.", "not made"),
        (b"Na.", "stack"),
        (b"NNa.", "no list"),
        (b"}(Nu.", "no dictionary"),
        (b"](NNu.", "no dictionary"),
        (b"NNb.", "attributes"),
        (b"(NK\x01b.", "attributes"),
        (b"NNR.", "no tuple"),
        (b"N)R.", "no function"),
        (b"(o.", "no function"),
        (b"NN\x93.", "no name"),
        (named("a" * 400, "b" * 400) + b".", "no name"),
    ],
)
def test_pickles_that_lie(data: bytes, words: str) -> None:
    _fails(data, "invalid_header", words)


def test_tensors_of_subclasses_are_their_tensors() -> None:
    inner = group(F32, *PLACE, b"\x89", b"N")
    arguments = (named("torch._utils", "_rebuild_tensor_v2"), named("my.library", "Special"), inner, b"}")
    found = _read(program(call("torch._tensor", "_rebuild_from_type_v2", *arguments)))
    assert isinstance(found, StoredTensor)
    nested = (named("torch._tensor", "_rebuild_from_type_v2"), named("a", "B"), group(), b"}")
    assert isinstance(_read(program(call("torch._tensor", "_rebuild_from_type_v2", *nested))), Opaque)


def _deep(n: int) -> bytes:
    return b"]" * n + b"a" * (n - 1) + b"."


FEW = 50_000


@pytest.mark.parametrize(
    "data",
    [
        b"}" * 2 * FEW,
        b"(" * 2 * FEW,
        b"](" + b"N" * FEW + b"e.",
        _deep(FEW),
        b"(" + b"N" * 1000 + b"t" + b"2" * FEW + b".",
        b"K\x00(" + b"2" * FEW + b"1" + b".",
    ],
)
def test_bombs_end_soon_and_stay_small(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(pickled, "MAX_OPERATIONS", FEW)
    tracemalloc.start()
    try:
        error = _error(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.status in {"unsupported_format", "invalid_header"}
    # A dictionary takes 64 bytes, its place on the stack 8, which may double while the stack grows.
    assert peak < 100 * FEW + 2 * len(data)


def test_as_many_operations_as_are_read_take_seconds() -> None:
    started = time.process_time()
    _fails(b"}0" * MAX_OPERATIONS, "unsupported_format", "operations")
    assert time.process_time() - started < 60


def test_depth_and_doubling_cost_nothing() -> None:
    assert isinstance(_read(_deep(200_000)), list)
    # Each tuple holds the last one twice: 2**5000 leaves, if anyone walked them.
    doubled = _read(b")" + b"2\x86" * 5000 + b".")
    assert isinstance(doubled, tuple)
    assert _read(b"}" + (b")" + b"2\x86" * 5000) + b"K\x01s.") == {}
