"""Small folders of models: files with content and times."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

WEIGHTS = save({"w": np.ones((2, 2), np.float32)})
HOUR = 3600.0
NOON = 1_735_732_800.0
"""1 January 2025, 12:00 UTC."""


def put(path: Path, content: bytes | str | dict[str, Any] = WEIGHTS, *, time: float = NOON) -> Path:
    """Write a file, JSON where a mapping is given, last changed at a time (seconds since 1970)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content) if isinstance(content, dict) else content
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    os.utime(path, (time, time))
    return path


def put_model(folder: Path, model_id: str, *, time: float = NOON, config: dict[str, Any] | str | None = None) -> Path:
    """Write a model with weights and, where given, a config.json; returns its folder."""
    put(folder / model_id / "model.safetensors", time=time)
    if config is not None:
        put(folder / model_id / "config.json", config, time=time)
    return folder / model_id
