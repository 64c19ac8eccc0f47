"""The demo hub: a small model hub of really trained networks with known truth, the pipeline's input when offline.

It is a local mirror: hub-stats snapshots, a folder of weights and, beside them, who was really made from whom. It is
made on first use (about ten seconds) and is the same, byte for byte, for the same seed on the same machine.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock

from atlas_pipeline.repositories.demo.recipe import RECIPE_VERSION

_MARKER: Final = "demo_hub.json"


@dataclass(frozen=True)
class DemoHub:
    """Where the parts of a complete demo hub lie.

    `hub_stats` holds `<snapshot>/models.parquet`, `weights` holds `<org>/<name>/<files>`, `truth` is a Parquet file of
    child_id, parent_id, relation, pattern, coefficient (null except for merges) and is_documented.
    """

    root: Path
    hub_stats: Path
    weights: Path
    truth: Path


def ensure_demo_hub(root: Path, *, seed: int = 0, progress: Callable[[int, int, str], None] | None = None) -> DemoHub:
    """Return the demo hub in a folder, building it first where it is not there or of another recipe or seed.

    The hub is built beside the folder and renamed into place, so a build that is killed leaves no half of a hub; what
    it does leave behind is removed by the next build. Several processes may ask at once: one builds, the others wait.

    Args:
        root: The hub's folder.
        seed: Seed of weights, dates and counts.
        progress: Called after each model with the number done, the total and the model's id.

    Returns:
        The places of the hub's parts.

    Raises:
        FileExistsError: The folder holds something that is not a demo hub.
    """
    root = root.absolute()
    hub = DemoHub(root, root / "hub_stats", root / "models", root / "truth.parquet")
    wanted = {"recipe_version": RECIPE_VERSION, "seed": seed}
    if _read_marker(root) == wanted:
        return hub

    root.parent.mkdir(parents=True, exist_ok=True)
    growing, discarded = root.with_name(f".{root.name}.growing"), root.with_name(f".{root.name}.discarded")
    with FileLock(root.with_name(f".{root.name}.lock")):
        for leftover in (growing, discarded):
            if leftover.exists():
                shutil.rmtree(leftover)
        marker = _read_marker(root)
        if marker == wanted:
            return hub
        if marker is None and root.exists() and (not root.is_dir() or any(root.iterdir())):
            msg = f"{root} is not empty and not a demo hub: choose another folder, or empty this one"
            raise FileExistsError(msg)
        # Training needs libraries that take a second to load; a hub that is there does without them.
        from atlas_pipeline.repositories.demo.building import build  # noqa: PLC0415

        build(growing, seed=seed, progress=progress)
        (growing / _MARKER).write_text(json.dumps(wanted, sort_keys=True) + "\n", encoding="utf-8")
        if root.exists():
            root.rename(discarded)
        growing.rename(root)
        if discarded.exists():
            shutil.rmtree(discarded)
    return hub


def _read_marker(root: Path) -> dict[str, object] | None:
    """What the marker of a hub says; None where there is none, or one that no build has written."""
    try:
        marker = json.loads((root / _MARKER).read_bytes()[:4096])
    except (OSError, ValueError, RecursionError):
        return None
    return marker if isinstance(marker, dict) and isinstance(marker.get("recipe_version"), int) else None
