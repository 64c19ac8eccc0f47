"""The weight matrices by which models are compared, under names that do not depend on who saved them.

Fused matrices are cut into the parts that others store apart, convolution kernels become rows, wrappers' prefixes go,
and what a relative may have lost or gained (heads, vocabularies, towers for other modalities) is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from atlas_pipeline.weights.tensors import Weights
from atlas_pipeline.weights.unet_names import diffusers_unet_name

MAX_COLUMNS: Final = 1 << 18
"""Matrices with longer rows are not compared. The longest rows of known language models have about 53,000 columns; a
hundred rows of this length are 100 MB."""

OTHER_MODALITIES: Final = re.compile(
    r"(?:^|[._])(?:vision|visual|vit|image|audio|speech|video|siglip|clip|multi_modal|mm|connector|resampler)"
)
"""Towers that a language model gains when it learns to see or hear; left out where there is a tower besides them."""

_NOT_WEIGHTS: Final = (".bias", "_mask", "position_ids", "relative_position_index", "inv_freq")
_LAYER = re.compile(r"(?P<tower>(?:[^.\d][^.]*\.)*)(?P<number>\d{1,6})\.(?P<part>.+)")
_FUSED_QKV = re.compile(r"(?P<stem>.+\.)(?:qkv_proj|Wqkv|qkv)\.weight")
_FUSED_MLP = re.compile(r"(?P<stem>.+\.)gate_up_proj\.weight")
_ATTENTION = re.compile(r"(?:^|[._])(?:self_)?att(?:n|ention)")
_DIFFUSION_ATTENTION = re.compile(r".*\.attn\d?\.(?:to_(?:q|k|v|qkv|out\.0|add_out)|add_[qkv]_proj)\.weight")
_SINGLE_FILE_ATTENTION = re.compile(
    r"(?:.*\.)?(?P<module>(?:input_blocks|middle_block|output_blocks)\.\d{1,3}\.(?:\d{1,3}\.)?transformer_blocks\..+)"
)


@dataclass(frozen=True, slots=True)
class Matrix:
    """One weight matrix: all rows of a tensor, or some of a fused one.

    Attributes:
        canonical: Its name, the same in every relative.
        tensor: Name of the tensor, a key of `Weights.tensors`.
        first_row: Where it begins in the tensor.
        n_rows: Output neurons.
        n_columns: Inputs of each; kernels are flattened.
    """

    canonical: str
    tensor: str
    first_row: int
    n_rows: int
    n_columns: int


class _Heads(NamedTuple):
    """Attention heads as the config counts them, and their size; None where it does not say."""

    n_query: int | None
    n_key: int | None
    size: int | None


class _Tensor(NamedTuple):
    """What decides about a tensor's matrices."""

    name: str
    canonical: str
    shape: tuple[int, ...]


def matrices(weights: Weights) -> dict[str, Matrix]:
    """Every matrix of a model that can be read, by its canonical name, sorted.

    Args:
        weights: The model; the number of attention heads in its config tells how a fused qkv is cut.

    Returns:
        Matrices with at most MAX_COLUMNS columns. Where two would have the same name, neither is there.
    """
    return dict(_matrices(*_described(weights)))


def comparable_matrices(weights: Weights) -> Mapping[str, Matrix]:
    """The matrices that a model shares with its relatives, by canonical name, sorted.

    Diffusion models are compared by their attention alone (paper, App. C), and so are mixtures of experts, whose
    experts are stored in too many ways. Other models are compared by their repeated layers; those without any by all
    their matrices. Empty if nothing can be compared.
    """
    return _comparable(*_described(weights))


def _described(weights: Weights) -> tuple[tuple[_Tensor, ...], _Heads]:
    """What relatives have in common, so that it is worked out once for all of them."""
    readable = (info for info in weights.tensors.values() if info.is_readable and len(info.shape) >= 2)
    return tuple(_Tensor(info.name, info.canonical, info.shape) for info in readable), _heads(weights.config)


@lru_cache(maxsize=64)
def _matrices(tensors: tuple[_Tensor, ...], heads: _Heads) -> Mapping[str, Matrix]:
    found: dict[str, Matrix] = {}
    twice: set[str] = set()
    for tensor in sorted(tensors, key=lambda tensor: tensor.name):
        n_columns = math.prod(tensor.shape[1:])
        is_left_over = ".lora_" in tensor.name or tensor.canonical.endswith(_NOT_WEIGHTS)
        if is_left_over or not tensor.shape[0] or not 0 < n_columns <= MAX_COLUMNS:
            continue
        for matrix in _parts(tensor, heads):
            twice |= found.keys() & {matrix.canonical}
            found[matrix.canonical] = matrix
    return MappingProxyType({name: found[name] for name in sorted(found.keys() - twice)})


@lru_cache(maxsize=64)
def _comparable(tensors: tuple[_Tensor, ...], heads: _Heads) -> Mapping[str, Matrix]:
    found = _matrices(tensors, heads)
    if diffusion := [m for name, m in found.items() if _DIFFUSION_ATTENTION.fullmatch(name)]:
        return _by_name(diffusion)
    layers = {name: match for name in found if (match := _LAYER.match(name))}
    own = {name: match for name, match in layers.items() if not OTHER_MODALITIES.search(match["tower"])}
    layers = own or layers
    if any(".experts." in f".{match['part']}" for match in layers.values()):
        attention = {name: match for name, match in layers.items() if _ATTENTION.search(match["part"])}
        layers = attention or layers
    if not layers:
        return found
    n_shared = len(_shared_prefix({match["tower"] for match in layers.values()}))
    return _by_name([replace(found[name], canonical=name[n_shared:]) for name in layers])


def _by_name(chosen: list[Matrix]) -> Mapping[str, Matrix]:
    ordered = sorted(chosen, key=lambda matrix: matrix.canonical)
    return MappingProxyType({matrix.canonical: matrix for matrix in ordered})


def _shared_prefix(towers: set[str]) -> str:
    """What all towers' names begin with, whole parts only and never a tower's last part."""
    parts = [tower.removesuffix(".").split(".")[:-1] for tower in towers]
    shared = takewhile(lambda same: len(set(same)) == 1, zip(*parts, strict=False))
    return "".join(f"{same[0]}." for same in shared)


def _parts(tensor: _Tensor, heads: _Heads) -> Iterator[Matrix]:
    """The matrices of which a tensor is made: usually itself."""
    name, n_rows, n_columns = _diffusers_name(tensor.canonical), tensor.shape[0], math.prod(tensor.shape[1:])
    names: tuple[str, ...] = (name,)
    sizes: tuple[int, ...] = (n_rows,)
    if len(tensor.shape) == 2 and (match := _FUSED_QKV.fullmatch(name)):
        cut = _qkv_rows(n_rows, n_columns, heads)
        names, sizes = (tuple(f"{match['stem']}{part}_proj.weight" for part in "qkv"), cut) if cut else (names, sizes)
    elif len(tensor.shape) == 2 and n_rows % 2 == 0 and (match := _FUSED_MLP.fullmatch(name)):
        names = tuple(f"{match['stem']}{part}_proj.weight" for part in ("gate", "up"))
        sizes = (n_rows // 2, n_rows // 2)
    first = 0
    for part, size in zip(names, sizes, strict=True):
        yield Matrix(part, tensor.name, first, size, n_columns)
        first += size


def _heads(config: Mapping[str, Any]) -> _Heads:
    text = config.get("text_config")
    config = text if isinstance(text, dict) else config
    n_query = _count(config, "num_attention_heads", "n_head", "n_heads")
    return _Heads(n_query, _count(config, "num_key_value_heads", "n_head_kv") or n_query, _count(config, "head_dim"))


def _qkv_rows(n_rows: int, n_columns: int, heads: _Heads) -> tuple[int, int, int] | None:
    """Rows of q, k and v in a fused matrix: by the heads that the config counts, else thirds; None if neither fits."""
    if heads.n_query and heads.n_key:
        per_head, rest = divmod(n_rows, heads.n_query + 2 * heads.n_key)
        if not rest and per_head == (heads.size or per_head):
            return heads.n_query * per_head, heads.n_key * per_head, heads.n_key * per_head
    return (n_columns, n_columns, n_columns) if n_rows == 3 * n_columns else None


def _count(config: Mapping[str, Any], *names: str) -> int | None:
    values = (config.get(name) for name in names)
    return next((value for value in values if type(value) is int and 0 < value < 1 << 20), None)


def _diffusers_name(name: str) -> str:
    """Attention of Stable Diffusion's U-Net as one file names it, in the names of diffusers; other names stay."""
    match = _SINGLE_FILE_ATTENTION.fullmatch(name)
    return diffusers_unet_name(match["module"]) if match else name
