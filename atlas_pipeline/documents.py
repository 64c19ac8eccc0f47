"""Writes the generated documents of a checkout: ``python -m atlas_pipeline.documents``."""

from __future__ import annotations

from pathlib import Path

from atlas_pipeline.schema import TABLES
from atlas_pipeline.schema.dictionary import data_dictionary

ROOT = Path(__file__).resolve().parents[1]


def generated() -> dict[str, str]:
    """Text of each generated document by its path in the checkout."""
    return {"docs/data_dictionary.md": data_dictionary(tuple(TABLES))}


if __name__ == "__main__":
    for name, text in generated().items():
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(text, encoding="utf-8")
