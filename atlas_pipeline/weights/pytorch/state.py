"""Which of the things in a checkpoint are the model's tensors, and under which names.

People save a state dict, a dictionary that holds one next to an optimizer's and a scheduler's, several models in one
dictionary, or a whole model object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from atlas_pipeline.weights.errors import WeightsError
from atlas_pipeline.weights.pytorch.globals import Opaque, StoredTensor
from atlas_pipeline.weights.tensors import MAX_NAME_LENGTH

STATE_KEYS: Final = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "params_ema",
    "params",
    "weights",
    "weight",
    "ema",
)
"""Under which keys a checkpoint keeps its model; the first that holds tensors counts, as what is trained and used."""

BOOKKEEPING: Final = ("optim", "scheduler", "scaler", "rng_state", "callback", "loops", "hyper_parameters", "ema_")
"""Beginnings of keys beside several models that hold no model."""

MAX_ENTRIES: Final = 1_000_000
"""Entries that are looked at: a dictionary may hold another any number of times."""

MAX_DEPTH: Final = 32
"""Dictionaries, or parts of a model, within each other."""

UNREAD_ORIGINS: Final = ("torch._utils._rebuild_", "torch._tensor._rebuild_", "numpy.")
"""What makes an object that is no stored tensor and holds a weight's numbers all the same: sparse tensors, arrays."""


def named_tensors(value: object, *, what: str) -> dict[str, StoredTensor | Opaque]:
    """The tensors of the model in a checkpoint, by name; Opaque for those that are kept in a way that is not read.

    Dictionaries within the model's own become dots in the names. Of a whole pickled model the parameters and buffers
    are taken, under the names that its state dict would have.

    Args:
        value: The checkpoint's content, as `read_pickle` gives it.
        what: The file in words, for errors.

    Raises:
        WeightsError: invalid_header if two tensors have one name or a name is longer than MAX_NAME_LENGTH;
            unsupported_format if there are more than MAX_ENTRIES entries.
    """
    walk = _Walk(what)
    for _ in range(MAX_DEPTH):
        entries = _entries(value)
        inner = (entries[key] for key in STATE_KEYS if _entries(entries.get(key)))
        state = next((state for state in inner if walk.tensors(state)), None)
        if state is None:
            break
        value = state
    entries = _entries(value)
    kept = {key: entry for key, entry in entries.items() if not str(key).startswith(BOOKKEEPING) or _is_tensor(entry)}
    return walk.tensors(kept)


class _Walk:
    def __init__(self, what: str) -> None:
        self._what = what
        self._n_entries = 0

    def tensors(self, value: object) -> dict[str, StoredTensor | Opaque]:
        found: dict[str, StoredTensor | Opaque] = {}
        for name, tensor in self._walk(value, prefix="", depth=0):
            if name in found:
                raise WeightsError("invalid_header", f"{self._what} has the tensor {name[:100]!r} twice.")
            found[name] = tensor
        return found

    def _walk(self, value: object, *, prefix: str, depth: int) -> Iterator[tuple[str, StoredTensor | Opaque]]:
        entries = _entries(value)
        # An optimizer's state holds tensors of the shapes of weights.
        if depth > MAX_DEPTH or {"state", "param_groups"} <= entries.keys():
            return
        for key, entry in entries.items():
            self._n_entries += 1
            if self._n_entries > MAX_ENTRIES:
                raise WeightsError("unsupported_format", f"{self._what} has more than {MAX_ENTRIES} entries.")
            is_tensor = _is_tensor(entry)
            if not is_tensor and not _entries(entry):
                continue
            name = f"{prefix}{key}"
            if len(name) > MAX_NAME_LENGTH:
                raise WeightsError(
                    "invalid_header", f"{self._what} has a tensor with a name of {len(name)} characters."
                )
            if is_tensor:
                yield name, entry
            else:
                yield from self._walk(entry, prefix=f"{name}.", depth=depth + 1)


def _entries(value: object) -> Mapping[Any, Any]:
    """What a dictionary or a pickled module holds; empty for anything else."""
    if isinstance(value, dict):
        return value
    state = value.state if isinstance(value, Opaque) else None
    if not isinstance(state, dict) or not isinstance(state.get("_parameters"), dict):
        return {}
    parts = (state.get(part) for part in ("_parameters", "_buffers", "_modules"))
    return {key: entry for part in parts if isinstance(part, dict) for key, entry in part.items()}


def _is_tensor(value: object) -> bool:
    return isinstance(value, StoredTensor) or (isinstance(value, Opaque) and value.origin.startswith(UNREAD_ORIGINS))
