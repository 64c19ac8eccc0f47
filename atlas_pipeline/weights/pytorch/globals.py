"""What a PyTorch checkpoint names: tensors and their storages as descriptions, and code that has no place in it.

A checkpoint describes a tensor as a call, `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)`, and
its storage as a reference, `("storage", class, key, location, size)`. Here each becomes a checked description.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from atlas_pipeline.weights.dtypes import BITS

MAX_DIMENSIONS: Final = 64
"""NumPy's limit, and PyTorch's."""

MAX_INTEGER: Final = 2**63 - 1
"""PyTorch's sizes, strides and offsets are signed 64-bit integers."""

STORAGES: Final[Mapping[str, str]] = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "ComplexFloatStorage": "C64",
    "ComplexDoubleStorage": "C128",
    "QInt8Storage": "I8",
    "QUInt8Storage": "U8",
    "QInt32Storage": "I32",
    "QUInt4x2Storage": "U8",
    "QUInt2x4Storage": "U8",
    "UntypedStorage": "U8",
    "_UntypedStorage": "U8",
}
"""Classes of storages in the modules `torch` and `torch.storage`, and safetensors' names of their types."""

DTYPES: Final[Mapping[str, str]] = {
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
}
"""Types that have no class of storages, by their names in the module `torch`, and safetensors' names of them."""

_ITEM_BYTES: Final = {dtype: bits // 8 for dtype, bits in BITS.items()} | {"C128": 16}

_PLAIN_NAMES: Final = frozenset({"Tensor", "device", "strided", "per_tensor_affine", "per_channel_affine"})
_PLAIN_TYPES: Final = frozenset(
    {"float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"}
)

_FORMER_LIBRARY: Final = frozenset({"__builtin__", "cPickle", "commands", "copy_reg", "exceptions", "popen2"})

_DATA_BUILTINS: Final = frozenset(
    {"bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range", "set"}
    | {"slice", "str", "tuple"}
)
_DATA_MODULES: Final = frozenset(
    {"__main__", "argparse", "array", "collections", "copyreg", "copy_reg", "datetime", "decimal", "enum", "fractions"}
    | {"pathlib", "typing", "uuid"}
)
_DATA_NAMES: Final = frozenset(
    {"_codecs.encode", "_io.BytesIO", "functools.partial", "logging.getLogger", "random.Random", "re._compile"}
    | {"types.SimpleNamespace"}
)
"""What people do keep in checkpoints: numbers, texts, dates, settings, and how Python pickles them."""


class PickleFlaw(Exception):
    """A pickle that breaks the rules of pickles, or describes an impossible tensor; a clause that says how."""


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function, by name only."""

    module: str
    name: str

    @property
    def path(self) -> str:
        """Its full name."""
        return f"{self.module}.{self.name}"

    @property
    def is_code(self) -> bool:
        """Whether it is code that no checkpoint needs: of Python's own library, save for classes of plain data.

        A dotted name is walked attribute by attribute when it is unpickled: `os.system` of the module
        `torch.serialization` is `os.system`.
        """
        top = self.module.partition(".")[0]
        if self.module in {"builtins", "__builtin__"}:
            return self.name not in _DATA_BUILTINS
        parts = self.name.split(".")
        if len(parts) > 1 and any(part in sys.stdlib_module_names or part.startswith("__") for part in parts):
            return True
        if top in _DATA_MODULES or self.path in _DATA_NAMES:
            return False
        return top in sys.stdlib_module_names or top in _FORMER_LIBRARY

    @property
    def is_foreign(self) -> bool:
        """Whether it is neither Python's own nor part of how PyTorch describes a tensor."""
        top = self.module.partition(".")[0]
        if top in sys.stdlib_module_names or top in _FORMER_LIBRARY or self.path in CALLS:
            return False
        if self.module in {"torch", "torch.storage"} and self.name in STORAGES:
            return False
        is_plain = self.name in DTYPES or self.name in _PLAIN_TYPES or self.name in _PLAIN_NAMES
        return not (self.module == "torch" and is_plain) and self.module != "torch.nn.parameter"


@dataclass(eq=False, slots=True)
class Opaque:
    """What a call would have made that is not run.

    Attributes:
        origin: Full name of the class or function.
        state: What the object would have been given afterwards as its attributes.
    """

    origin: str
    state: object = None


@dataclass(frozen=True, slots=True)
class Storage:
    """The numbers of one or several tensors: where in the archive, of which type, how many bytes."""

    key: str
    dtype: str
    n_bytes: int


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """What a checkpoint says of one tensor.

    Attributes:
        storage: Where its numbers are.
        dtype: Their type under safetensors' name.
        offset: Where the tensor begins in its storage, in numbers.
        shape: Its dimensions, outermost first.
        strides: How far apart neighbours along each dimension lie in the storage, in numbers.
        flaw: Why it cannot be read, as in `TensorInfo.flaw`.
    """

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    flaw: str = ""

    @property
    def item_bytes(self) -> int:
        """Bytes of one number."""
        return _ITEM_BYTES[self.dtype]


def storage_from(reference: object) -> Storage:
    """A storage from the reference by which a pickle names it; raises PickleFlaw if it is none."""
    if not isinstance(reference, tuple) or len(reference) != 5:
        raise PickleFlaw("a reference is no storage")
    tag, kind, key, _, n_items = reference
    if type(tag) is not str or tag != "storage" or not isinstance(kind, Global) or type(key) is not str:
        raise PickleFlaw("a reference is no storage")
    dtype = STORAGES.get(kind.name) if kind.module in {"torch", "torch.storage"} else None
    if dtype is None:
        raise PickleFlaw(f"the type of storage {kind.path[:100]!r} is not known")
    if not _is_count(n_items):
        raise PickleFlaw(f"the storage {key[:100]!r} has no size")
    return Storage(key, dtype, n_items * _ITEM_BYTES[dtype])


def _tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    """`_rebuild_tensor(storage, offset, size, stride, ...)`; raises PickleFlaw if it does not fit its storage."""
    if len(arguments) < 4 or not isinstance(arguments[0], Storage):
        raise PickleFlaw("a tensor has no storage")
    storage, offset, shape, strides = arguments[:4]
    if not _is_count(offset) or not _is_counts(shape) or not _is_counts(strides) or len(shape) != len(strides):
        raise PickleFlaw("a tensor has an offset, a size or a stride that is no count")
    return _checked(StoredTensor(storage, storage.dtype, offset, shape, strides))


def _checked(tensor: StoredTensor) -> StoredTensor:
    steps = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((size - 1) * stride for size, stride in steps)
    if all(tensor.shape) and (last + 1) * tensor.item_bytes > tensor.storage.n_bytes:
        raise PickleFlaw(f"a tensor ends beyond its storage {tensor.storage.key[:100]!r}")
    return tensor


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_INTEGER


def _is_counts(value: object) -> bool:
    return isinstance(value, tuple) and len(value) <= MAX_DIMENSIONS and all(_is_count(item) for item in value)


def _tensor_v2(arguments: tuple[Any, ...]) -> StoredTensor:
    tensor = _tensor(arguments)
    # The last argument marks views whose numbers are read negated or conjugated.
    is_marked = len(arguments) > 6 and isinstance(arguments[6], dict) and any(arguments[6].values())
    return replace(tensor, flaw="is a view that changes its numbers") if is_marked else tensor


def _tensor_v3(arguments: tuple[Any, ...]) -> StoredTensor:
    tensor = _tensor(arguments)
    kind = arguments[6] if len(arguments) > 6 else None
    if not isinstance(kind, Global):
        raise PickleFlaw("a tensor has no type")
    dtype = DTYPES.get(kind.name) if kind.module == "torch" else None
    if dtype is None:
        return replace(tensor, flaw=f"has the type {kind.path[:100]}")
    return _checked(replace(tensor, dtype=dtype))


def _quantized_tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    return replace(_tensor(arguments), flaw="is quantised in PyTorch's own way")


def _first(arguments: tuple[Any, ...]) -> object:
    """A parameter is its tensor, a size its tuple."""
    if not arguments:
        raise PickleFlaw("a call lacks its argument")
    return arguments[0]


def _subclass(arguments: tuple[Any, ...]) -> object:
    """`_rebuild_from_type_v2(function, type, arguments, state)`: the tensor without what its class adds."""
    if len(arguments) < 3 or not isinstance(arguments[0], Global) or not isinstance(arguments[2], tuple):
        raise PickleFlaw("a tensor has no class")
    rebuild = _REBUILDS.get(arguments[0].path)
    return rebuild(arguments[2]) if rebuild else Opaque(arguments[0].path)


def _dictionary(arguments: tuple[Any, ...]) -> object:
    """`OrderedDict()`, whose items follow; one that is given its items in the call is of a Python before PyTorch's."""
    has_items = any(isinstance(argument, (list, tuple, dict)) for argument in arguments)
    return Opaque("collections.OrderedDict") if has_items else {}


def _reconstructed(arguments: tuple[Any, ...]) -> Opaque:
    """`copyreg._reconstructor(class, base, state)`."""
    kind = _first(arguments)
    return Opaque(kind.path if isinstance(kind, Global) else "copyreg._reconstructor")


Call = Callable[[tuple[Any, ...]], object]

_REBUILDS: Final[Mapping[str, Call]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_qtensor": _quantized_tensor,
}

CALLS: Final[Mapping[str, Call]] = {
    **_REBUILDS,
    "torch._tensor._rebuild_from_type": _subclass,
    "torch._tensor._rebuild_from_type_v2": _subclass,
    "torch.Size": _first,
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": _dictionary,
    "copyreg._reconstructor": _reconstructed,
    "copy_reg._reconstructor": _reconstructed,
}
"""What calls by these names describe, from their arguments; each raises PickleFlaw where they describe nothing."""
