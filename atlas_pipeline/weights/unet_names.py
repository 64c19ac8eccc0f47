"""Names of Stable Diffusion's U-Net: from the original layout of one file to that of diffusers.

Holds for 1.x, 2.x and XL, whose levels have two blocks on the way down and three on the way up.
"""

from __future__ import annotations

import re
from typing import Final

OUTER_MODULES: Final = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
"""Modules outside the blocks."""

RESNET_MODULES: Final = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
"""Modules of a residual block."""

_BLOCK = re.compile(
    r"(?P<side>input_blocks\.|middle_block|output_blocks\.)(?P<number>\d{0,3})\.(?P<part>\d{1,2})\.(?P<rest>.{1,1000})"
)
_MIDDLE_PARTS: Final = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}


def diffusers_unet_name(module: str) -> str:
    """A module's name in diffusers: `input_blocks.4.1.proj_in` is `down_blocks.1.attentions.0.proj_in`.

    Names of other layouts stay as they are.
    """
    if module in OUTER_MODULES:
        return OUTER_MODULES[module]
    match = _BLOCK.fullmatch(module)
    if match is None:
        return module
    side, number, part, rest = match["side"], match["number"], match["part"], match["rest"]
    if side == "middle_block":
        is_known = not number and part in _MIDDLE_PARTS
        return f"mid_block.{_MIDDLE_PARTS[part]}.{RESNET_MODULES.get(rest, rest)}" if is_known else module
    if not number:
        return module
    if side == "input_blocks.":
        level, block = divmod(int(number) - 1, 3)
        if rest == "op":
            return f"down_blocks.{level}.downsamplers.0.conv"
        prefix = f"down_blocks.{level}"
    else:
        level, block = divmod(int(number), 3)
        if rest == "conv":
            return f"up_blocks.{level}.upsamplers.0.conv"
        prefix = f"up_blocks.{level}"
    if part == "0":
        return f"{prefix}.resnets.{block}.{RESNET_MODULES.get(rest, rest)}"
    return f"{prefix}.attentions.{block}.{rest}"
