"""Names of what the networks learn. The data behind them is in `data`; a plan needs only the names."""

from __future__ import annotations

from typing import Final

from atlas_pipeline.repositories.demo.tasks import TASKS
from benchmarks.zoo.plans import Family

TEXT_DOMAINS: Final = (
    "asyncio",
    "email",
    "unittest",
    "xml",
    "idlelib",
    "importlib",
    "help_topics",
    "licences",
    "numpy_docstrings",
    "scipy_docstrings",
    "sklearn_docstrings",
    "networkx_docstrings",
    "pandas_docstrings",
    "matplotlib_docstrings",
)
"""Real text that ships with Python and with packages that the project needs anyway."""

HALVES: Final = ("first", "second")
"""Every domain and every view of the digits comes in two disjoint halves."""

PRETRAINING: Final[dict[Family, tuple[str, ...]]] = {
    "llama-64": ("asyncio+email+unittest", "help_topics+numpy_docstrings"),
    "llama-96": ("pandas_docstrings+licences", "importlib+idlelib+xml"),
    "unet-32": ("plain/first", "mirrored/second"),
    "vit-64": ("plain/second", "inverted/first"),
}
"""What the roots of each family learn; no two regions of a family share data."""


def tasks_of(family: Family, pretraining: str) -> list[str]:
    """The tasks that models of a region are fine-tuned for: everything that its root has not seen as such."""
    if family.startswith("llama"):
        seen = pretraining.split("+")
        return [f"{name}/{half}" for name in TEXT_DOMAINS if name not in seen for half in HALVES]
    names = [f"{view}/{half}" for view in sorted(TASKS) for half in HALVES]
    # A denoiser sees no labels, so that other labels are no other task.
    by_label = ("successor", "mirrored_successor") if family.startswith("unet") else ()
    return [name for name in names if name != pretraining and not name.startswith(by_label or ("\0",))]
