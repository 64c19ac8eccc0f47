"""Reads hand-made parents and aliases from CSV files: the project's own, and those of ``ATLAS_ANNOTATIONS``.

A file counts by its columns: ``current_model, base_model, base_model_relation`` holds parents (lists separated by
commas), ``alias, model_id`` holds former names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv as pacsv

OWN_FOLDER: Final = Path(__file__).parent / "annotations"
MAX_BYTES: Final = 100 << 20
"""A hand-made file is never larger; what is larger is a mistake."""

PARENT_SCHEMA: Final = pa.schema({"child_id": pa.string(), "declared_parent": pa.string(), "relation": pa.string()})
ALIAS_SCHEMA: Final = pa.schema({"alias": pa.string(), "model_id": pa.string()})
_KNOWN = ("current_model", "base_model", "base_model_relation", "alias", "model_id")
RELATIONS: Final = ("finetune", "adapter", "quantized", "merge")


class AnnotationError(Exception):
    """A file of annotations that cannot be read; the message names it."""


@dataclass(frozen=True)
class HandMade:
    """What people wrote down.

    Attributes:
        parents: child_id, declared_parent, relation (null where it was not written down).
        aliases: alias, model_id; the first file that names an alias wins.
        notes: files that were passed over, one sentence each.
    """

    parents: pa.Table
    aliases: pa.Table
    notes: tuple[str, ...]


def annotation_files(folder: str) -> list[Path]:
    """CSV files of the given folder and of the project's own, in the order in which they count.

    Raises:
        AnnotationError: the folder is not there.
    """
    folders = [OWN_FOLDER]
    if folder:
        if not Path(folder).is_dir():
            raise AnnotationError(f"ATLAS_ANNOTATIONS={folder}: no such folder")
        folders.insert(0, Path(folder))
    return [path for place in folders for path in sorted(place.glob("*.csv"))]


def annotations_digest(folder: str) -> str:
    """sha256 over the names and contents of all annotation files."""
    digest = hashlib.sha256()
    for path in annotation_files(folder):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def load_hand_made(folder: str) -> HandMade:
    """Read all annotation files.

    Args:
        folder: an extra folder, or empty for the project's own files alone.

    Raises:
        AnnotationError: the folder is not there, or a file is no CSV or far too large.
    """
    parents: list[dict[str, str | None]] = []
    aliases: dict[str, str] = {}
    notes: list[str] = []
    for path in annotation_files(folder):
        table = _read(path)
        names = set(table.column_names)
        if {"current_model", "base_model"} <= names:
            parents += [edge for row in table.to_pylist() for edge in _edges(row)]
        elif {"alias", "model_id"} <= names:
            for row in table.to_pylist():
                if row["alias"] and row["model_id"]:
                    aliases.setdefault(row["alias"], row["model_id"])
        else:
            notes.append(f"{path.name} was passed over: its columns {', '.join(sorted(names))} are not known")
    pairs = [{"alias": alias, "model_id": aliases[alias]} for alias in sorted(aliases)]
    return HandMade(
        pa.Table.from_pylist(parents, PARENT_SCHEMA), pa.Table.from_pylist(pairs, ALIAS_SCHEMA), tuple(notes)
    )


def _read(path: Path) -> pa.Table:
    if path.stat().st_size > MAX_BYTES:
        raise AnnotationError(f"{path} is larger than {MAX_BYTES >> 20} MB and was not read")
    # Names are text whatever they look like: "007" is no number.
    options = pacsv.ConvertOptions(strings_can_be_null=True, column_types=dict.fromkeys(_KNOWN, pa.string()))
    try:
        return pacsv.read_csv(path, convert_options=options)
    except (pa.ArrowInvalid, OSError) as error:
        raise AnnotationError(f"{path} cannot be read as CSV: {str(error).splitlines()[0]}") from error


def _edges(row: dict[str, str | None]) -> list[dict[str, str | None]]:
    """The edges of one row; a list of parents may have one relation for all or one for each."""
    named = [name.strip() for name in (row["base_model"] or "").split(",")]
    relations = [name.strip() for name in (row.get("base_model_relation") or "").split(",")]
    if len(relations) != len(named):
        relations = relations[:1] * len(named)
    return [
        {
            "child_id": row["current_model"],
            "declared_parent": parent,
            "relation": relation if relation in RELATIONS else None,
        }
        for parent, relation in zip(named, relations, strict=True)
        if parent and row["current_model"]
    ]
