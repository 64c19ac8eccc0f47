"""What a model's config.json says about its quantisation: claims, each of which is checked against the tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from atlas_pipeline.weights.quantization import quantization_config

MAX_GROUPS: Final = 64
"""Groups of modules with a scheme of their own; mixed precision uses two or three."""

MAX_BLOCK: Final = 1 << 16
"""Rows or columns that share a scale; those in use are 16 to 1,024."""

MAX_BITS: Final = 8
"""Codes in use have 2 to 8 bits."""

_MAX_TEXT: Final = 64


@dataclass(frozen=True, slots=True)
class Declared:
    """A quantisation as config.json declares it; empty where it declares none.

    Attributes:
        method: `quant_method` in lower case; None if it has none, empty if there is no declaration at all.
        formats: Names of layouts: `format`, `checkpoint_format`, `version` and `packing_format`, in lower case.
        kinds: Kinds of numbers of the weights' schemes of compressed-tensors: `int`, `float`.
        bits: Their widths.
        group_sizes: Columns that share a scale, of those schemes that group.
        block: Rows and columns that share a scale, if they do so in blocks.
        is_sparse: Whether weights were left out, too.
        affine: MLX: bits and columns that share a scale by module; under the empty name those of all others.
    """

    method: str | None = ""
    formats: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    bits: frozenset[int] = frozenset()
    group_sizes: frozenset[int] = frozenset()
    block: tuple[int, int] | None = None
    is_sparse: bool = False
    affine: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The method for sentences."""
        if self.method == "":
            return "no quantisation that config.json declares"
        names = sorted(self.formats)
        return (self.method or "a method without a name") + (f" ({', '.join(names)})" if names else "")


def declared_by(config: Mapping[str, Any]) -> Declared:
    """Reads the declaration of a config.json; fields that make no sense count as absent."""
    settings = quantization_config(config)
    if not settings:
        return Declared()
    method = settings.get("quant_method")
    schemes = list(_weight_schemes(settings))
    names = [settings.get(key) for key in ("format", "checkpoint_format", "version", "packing_format")]
    names += [scheme.get("format") for scheme in schemes]
    sparsity = settings.get("sparsity_config")
    blocks = [settings.get("weight_block_size"), *(scheme.get("block_structure") for scheme in schemes)]
    return Declared(
        method=method.lower()[:_MAX_TEXT] if isinstance(method, str) else None,
        formats=frozenset(name.lower()[:_MAX_TEXT] for name in names if isinstance(name, str)),
        kinds=frozenset(kind for scheme in schemes if isinstance(kind := scheme.get("type"), str)),
        bits=frozenset(bits for scheme in schemes if _is_count(bits := scheme.get("num_bits")) and bits <= MAX_BITS),
        group_sizes=frozenset(size for scheme in schemes if _is_count(size := scheme.get("group_size"))),
        block=next((found for block in blocks if (found := _block(block))), None),
        is_sparse=isinstance(sparsity, dict) and sparsity.get("format") not in {None, "dense"},
        affine=dict(_affine(settings)) if not isinstance(method, str) else {},
    )


def _weight_schemes(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """compressed-tensors: how the weights of each group of modules are quantised, with the group's own format."""
    groups = settings.get("config_groups")
    for group in list(groups.values())[:MAX_GROUPS] if isinstance(groups, dict) else []:
        if isinstance(group, dict) and isinstance(weights := group.get("weights"), dict):
            yield weights | {"format": group.get("format")}


def _affine(settings: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, int]]]:
    """MLX: its own `mode` apart, all modules have one width unless they are named."""
    for module, scheme in {"": settings, **settings}.items():
        if isinstance(scheme, dict) and scheme.get("mode", "affine") == "affine":
            bits, size = scheme.get("bits"), scheme.get("group_size")
            if _is_count(bits) and bits <= MAX_BITS and _is_count(size):
                yield module, (bits, size)


def _block(value: object) -> tuple[int, int] | None:
    # Older files write a block as text.
    if isinstance(value, str):
        sides = value[:_MAX_TEXT].split("x")
        value = [int(side) for side in sides] if all(side.isascii() and side.isdigit() for side in sides) else None
    if isinstance(value, list) and len(value) == 2 and _is_count(value[0]) and _is_count(value[1]):
        return value[0], value[1]
    return None


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 1 <= value <= MAX_BLOCK
