"""The version of a release, and what it says is new in it."""

from __future__ import annotations

from typing import Final

from atlas_pipeline.release.markdown import code, markdown_table, plain
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage import TableNotMaterialized, TableStore, load_query

TABLES_OF_CHANGES: Final = ("release.editions", "release.model_changes", "release.edge_changes", "release.tombstones")
MENTIONED: Final = 20
"""Models and edges of one kind of change that the notes name."""


def version_of(store: TableStore, settings: Settings) -> str:
    """Version of a release made now: CalVer, the date of its latest snapshot, and the number of a fix.

    Raises:
        TableNotMaterialized: there is no snapshot.
    """
    snapshots = store.partitions("components.models")
    if not snapshots:
        raise TableNotMaterialized("components.models")
    version = snapshots[-1].replace("-", ".")
    return f"{version}.{settings.release_fix}" if settings.release_fix else version


def release_notes(store: TableStore, *, version: str) -> str:
    """What changed since the last release, as Markdown: counts, then what most people will meet.

    Args:
        store: where the tables of changes lie; one that is missing says nothing.
        version: version of the release.
    """
    tables = dict.fromkeys((*TABLES_OF_CHANGES, "components.models"))
    with store.connect(tables, optional=tuple(tables)) as connection:
        connection.execute("set variable mentioned = ?", [MENTIONED])
        last = connection.execute("select max(version) from release.editions where not is_latest").fetchall()[0][0]
        parts = [f"# What is new in {version}"]
        if last is None:
            parts.append("The first release of this atlas: there is none to compare it with.")
        else:
            counts = connection.execute(load_query("release/notes_counts")).fetchall()
            parts += [f"Compared with {last}.", markdown_table(("", "new", "gone", "described otherwise"), counts)]
        for title, name, header in _SECTIONS:
            rows = connection.execute(load_query(f"release/{name}")).fetchall()
            if rows:
                parts += [f"## {title}", markdown_table(header, [_cells(header, row) for row in rows])]
    parts.append(
        "All of it: tables `release.model_changes`, `release.edge_changes`, `release.tombstones`, `release.aliases`."
    )
    return "\n\n".join(parts) + "\n"


def _cells(header: tuple[str, ...], row: tuple[object, ...]) -> list[str]:
    return [code(value) if name in _NAMES else plain(value) for name, value in zip(header, row, strict=True)]


_NAMES: Final = ("model", "child", "parent", "renamed to")
_SECTIONS: Final = (
    ("New models, the most downloaded", "notes_new", ("model", "downloads of 30 days", "license")),
    ("Other licenses", "notes_licenses", ("model", "before", "now", "downloads of 30 days")),
    ("Gone models that others were made from", "notes_gone", ("model", "last seen", "renamed to", "children")),
    ("Edges that are another now", "notes_edges", ("child", "parent", "change", "what")),
)
