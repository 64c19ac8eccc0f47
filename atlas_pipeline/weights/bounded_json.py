"""JSON from strangers: parsed only when small, flat enough and without duplicate keys."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

from atlas_pipeline.weights.errors import Status, WeightsError

MAX_ELEMENTS: Final = 4_000_000
"""Commas and opening brackets, an upper bound on values. The header of a model with 100,000 tensors needs 700,000;
without a cap, 100 MB of `[[],[],` would become gigabytes of Python objects."""

MAX_DEPTH: Final = 64
"""Nesting that is read. A safetensors header needs 3, a config.json rarely 6."""


def parse_json_object(data: bytes, *, what: str, status: Status) -> dict[str, Any]:
    """Parses bytes that must hold one JSON object.

    Args:
        data: UTF-8 text; the caller has capped its length.
        what: The file in words, for errors, as in "The header of a.safetensors of model org/name".
        status: The status to raise with.

    Raises:
        WeightsError: If it is not UTF-8, not JSON, no object, has a duplicate key, a NaN or infinity, too many values,
            or is nested too deeply.
    """
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_ELEMENTS:
        raise WeightsError(status, f"{what} has more than {MAX_ELEMENTS} values.")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique_pairs, parse_constant=_refuse_constant)
    except RecursionError:
        raise WeightsError(status, f"{what} is nested too deeply.") from None
    except ValueError as error:
        raise WeightsError(status, f"{what} is not valid JSON: {str(error)[:200]}.") from error
    if not isinstance(value, dict):
        raise WeightsError(status, f"{what} is not a JSON object.")
    if _is_deeper_than(value, MAX_DEPTH):
        raise WeightsError(status, f"{what} is nested too deeply.")
    return value


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        duplicate = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {duplicate[:100]!r} occurs twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _is_deeper_than(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [
            child
            for parent in level
            if isinstance(parent, (dict, list))
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True
