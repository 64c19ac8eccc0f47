"""The pickle of a PyTorch checkpoint as plain values: nothing that it names is imported, called or built.

A pickle is a program for a small stack machine, and one of its instructions calls any function of any module. This is
that machine without the instruction. `pickletools` takes the program apart; dictionaries, lists, tuples, numbers and
texts become themselves; of all calls, only those by which `torch.save` describes a tensor have a meaning, as a
description. Every other call gives an `Opaque`, which knows the name of what would have been called and nothing else,
so that a checkpoint with an optimizer, callbacks or a whole pickled model still yields its weights.

A file that names code no checkpoint needs (`os.system`, `builtins.eval`, `getattr`, ...: any function of Python's own
library) is refused as a whole, by that name. That is to tell people of it; safety does not rest on the list, for
nothing is run in either case.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.pytorch.globals import (
    CALLS,
    MAX_INTEGER,
    Global,
    Opaque,
    PickleFlaw,
    StoredTensor,
    storage_from,
)

MAX_OPERATIONS: Final = 2_000_000
"""Instructions: a tensor takes about 45, with its optimizer's state 150. Each takes a microsecond and makes one object
of at most about 100 bytes, or as long as its own text."""

MAX_GLOBAL_LENGTH: Final = 500
"""Characters of the name of a class or function."""


@dataclass(frozen=True, slots=True)
class Unpickled:
    """A pickle as plain values.

    Attributes:
        value: Its content: dict (entries whose keys are texts or integers; no other key names a tensor), list, tuple,
            number, text, StoredTensor or Opaque.
        foreign: The first class or function named that storing tensors does not need, if any.
    """

    value: object
    foreign: str | None


def read_pickle(data: bytes, *, what: str) -> Unpickled:
    """Takes a pickle apart.

    Args:
        data: The pickle; the caller has capped its length.
        what: The file in words, for errors, as in "The file 'a.bin' of model org/name".

    Raises:
        WeightsError: unsupported_format if it names code that no checkpoint needs, has an instruction that none has, or
            more than MAX_OPERATIONS; invalid_header if it is no pickle or describes an impossible tensor.
    """
    machine = _Machine(what)
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(data)):
            machine.step(opcode.name, argument)
    # Decoders of pickletools raise ValueError and warn of odd escapes, which is an error where warnings are.
    except (PickleFlaw, ValueError, Warning) as error:
        raise WeightsError(
            "invalid_header", f"{what} has a pickle that cannot be taken apart: {str(error)[:200]}."
        ) from error
    return Unpickled(machine.value, machine.foreign)


class _Machine:
    """The stack machine. Its methods raise PickleFlaw where the pickle breaks the rules."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.value: object = None
        self.foreign: str | None = None
        self._n_operations = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        self._n_operations += 1
        if self._n_operations > MAX_OPERATIONS:
            raise self._unsupported(f"has a pickle of more than {MAX_OPERATIONS} operations")
        if opcode in _LITERALS:
            self._stack.append(argument)
        elif opcode in _INSTRUCTIONS:
            _INSTRUCTIONS[opcode](self, argument)
        elif opcode not in _IGNORED:
            raise self._unsupported(f"has a pickle with the instruction {opcode}")

    def push(self, value: object) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise PickleFlaw("it takes more from its stack than is there")
        return self._stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self._stack.append(value)
        return value

    def pop_to_mark(self) -> list[Any]:
        if not self._marks:
            raise PickleFlaw("a mark is missing")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def pop_items(self, n_items: int) -> list[Any]:
        return [self.pop() for _ in range(n_items)][::-1]

    def mark(self, _: object) -> None:
        self._marks.append(len(self._stack))

    def drop(self, _: object) -> None:
        # With nothing above the mark, it is the mark that goes.
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self.pop()

    def drop_to_mark(self, _: object) -> None:
        self.pop_to_mark()

    def finish(self, _: object) -> None:
        self.value = self.pop()

    def remember(self, index: int | None) -> None:
        self._memo[len(self._memo) if index is None else index] = self.top()

    def recall(self, index: int) -> None:
        if index not in self._memo:
            raise PickleFlaw("it refers to what it has not made")
        self._stack.append(self._memo[index])

    def append(self, items: list[Any]) -> None:
        target = self.top()
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Opaque):
            raise PickleFlaw("it appends to what is no list")

    def update(self, items: list[Any]) -> None:
        target = self.top()
        if len(items) % 2 or not isinstance(target, (dict, Opaque)):
            raise PickleFlaw("it sets items of what is no dictionary")
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                # Hashing any other key can take as long as a stranger likes.
                if type(key) is str or (type(key) is int and abs(key) <= MAX_INTEGER):
                    target[key] = value

    def make_dict(self, _: object) -> None:
        items = self.pop_to_mark()
        self.push({})
        self.update(items)

    def make_frozenset(self, _: object) -> None:
        self.pop_to_mark()
        self.push(Opaque("builtins.frozenset"))

    def find(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > MAX_GLOBAL_LENGTH:
            raise PickleFlaw("it names a class or function by no name")
        found = Global(module, name)
        if found.is_code:
            raise self._unsupported(f"wants to run {found.path[:100]!r}")
        if self.foreign is None and found.is_foreign:
            self.foreign = found.path
        self.push(found)

    def find_on_stack(self, _: object) -> None:
        self.find(*self.pop_items(2))

    def find_storage(self, _: object) -> None:
        self.push(storage_from(self.pop()))

    def call(self, function: object, arguments: object) -> None:
        if not isinstance(arguments, tuple):
            raise PickleFlaw("a call has arguments that are no tuple")
        if isinstance(function, Global):
            self.push(CALLS[function.path](arguments) if function.path in CALLS else Opaque(function.path))
        elif isinstance(function, Opaque):
            self.push(Opaque(function.origin))
        else:
            raise PickleFlaw("it calls what is no function")

    def reduce(self, _: object) -> None:
        self.call(*self.pop_items(2))

    def construct_with_keywords(self, _: object) -> None:
        self.call(*self.pop_items(3)[:2])

    def construct_named(self, path: str) -> None:
        arguments = self.pop_to_mark()
        self.find(*path.split(" ", 1))
        self.call(self.pop(), tuple(arguments))

    def construct_on_stack(self, _: object) -> None:
        kind, *arguments = self.pop_to_mark() or [None]
        self.call(kind, tuple(arguments))

    def build(self, _: object) -> None:
        target, state = self.pop_items(2)
        if isinstance(target, Opaque):
            target.state = state
        # Attributes of a dictionary (`_metadata` of a state dict) or of a tensor change no number.
        elif not isinstance(target, (dict, StoredTensor)):
            raise PickleFlaw("it sets attributes of what has none")
        self.push(target)

    def _unsupported(self, flaw: str) -> WeightsError:
        return WeightsError("unsupported_format", f"{self.what} {flaw}; it is not read.")


_IGNORED: Final = frozenset({"PROTO", "FRAME"})
_LITERALS: Final = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
    | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
)
_INSTRUCTIONS: Final[Mapping[str, Callable[[_Machine, Any], None]]] = {
    "STOP": _Machine.finish,
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_to_mark,
    "DUP": lambda machine, _: machine.push(machine.top()),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_SET": lambda machine, _: machine.push(Opaque("builtins.set")),
    "LIST": lambda machine, _: machine.push(machine.pop_to_mark()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop_items(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.pop_items(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.pop_items(3))),
    "DICT": _Machine.make_dict,
    "FROZENSET": _Machine.make_frozenset,
    "APPEND": lambda machine, _: machine.append(machine.pop_items(1)),
    "APPENDS": lambda machine, _: machine.append(machine.pop_to_mark()),
    "ADDITEMS": lambda machine, _: machine.append(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.update(machine.pop_items(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.pop_to_mark()),
    "PUT": _Machine.remember,
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": _Machine.remember,
    "GET": _Machine.recall,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "GLOBAL": lambda machine, path: machine.find(*path.split(" ", 1)),
    "STACK_GLOBAL": _Machine.find_on_stack,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "NEWOBJ_EX": _Machine.construct_with_keywords,
    "INST": _Machine.construct_named,
    "OBJ": _Machine.construct_on_stack,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.find_storage,
}
