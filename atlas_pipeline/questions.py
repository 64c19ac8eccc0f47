"""Questions about single models: what one was made from and into, what descends from it, and the way between two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import duckdb
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.lineages import described, printable, wide_enough
from atlas_pipeline.release.bundle import DATABASE
from atlas_pipeline.reporting import open_tables
from atlas_pipeline.storage import load_query

Row = Mapping[str, Any]

SHOWN: Final = 20
"""Children of a model that are shown unless all are asked for."""


class UnknownModelError(Exception):
    """No such model; the message names those that are spelt nearly like it."""


class NotAnAtlasError(Exception):
    """A file or folder that is no released atlas; the message names it."""


@dataclass(frozen=True)
class Pedigree:
    """A model with what it was made from and what was made from it.

    Attributes:
        model: what is known of the model.
        above: edges on the ways to its sources, with license, downloads and presence of the parent.
        below: edges to its descendants, with license, downloads and presence of the child.
    """

    model: Row
    above: Sequence[Row]
    below: Sequence[Row]

    def as_json(self) -> dict[str, Any]:
        """The same as one object."""
        return {"model": self.model, "edges_above": list(self.above), "edges_below": list(self.below)}


def open_atlas(atlas: Atlas, database: Path | None) -> duckdb.DuckDBPyConnection:
    """Open a released database, or the folder that it lies in, to be read; without one, the tables of the home.

    Raises:
        NotAnAtlasError: there is no released atlas at that place.
    """
    if database is None:
        return open_tables(atlas)
    path = database / DATABASE if database.is_dir() else database
    try:
        connection = duckdb.connect(str(path), read_only=True)
        connection.execute("select 1 from edges.charted limit 0")
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise NotAnAtlasError(f"{path} is no released atlas ({reason})") from None
    return connection


def find_model(connection: duckdb.DuckDBPyConnection, name: str) -> Row:
    """What is known of a model, whatever the case of its name.

    Raises:
        UnknownModelError: there is none of that name.
    """
    if found := _rows(connection, "model", model_id=name):
        return found[0]
    similar = [row["model_id"] for row in _rows(connection, "similar", model_id=name)]
    hint = f"; did you mean {', '.join(printable(each) for each in similar)}?" if similar else ""
    raise UnknownModelError(f"the atlas holds no model {printable(name)}{hint}")


def snapshot_of(connection: duckdb.DuckDBPyConnection) -> str:
    """The latest snapshot, which all answers are of."""
    return str(connection.execute("select max(snapshot) from components.models").fetchall()[0][0])


def pedigree(connection: duckdb.DuckDBPyConnection, name: str, *, depth: int) -> Pedigree:
    """What a model was made from, up to its sources, and what was made from it, so many steps down.

    Raises:
        UnknownModelError: there is none of that name.
    """
    model = find_model(connection, name)
    above = _rows(connection, "edges_above", model_id=model["model_id"])
    below = _rows(connection, "edges_below", model_id=model["model_id"], depth=depth) if depth else []
    return Pedigree(model, above, below)


def descendants(connection: duckdb.DuckDBPyConnection, name: str, *, least_confidence: float = 0.0) -> list[Row]:
    """Rows of ``blast_radius``: what descends from a model, how surely, and how much it is used.

    Raises:
        UnknownModelError: there is none of that name.
    """
    model_id = find_model(connection, name)["model_id"]
    query = "from blast_radius($model_id) where confidence >= $least order by steps, model_id"
    return _fetched(connection, query, {"model_id": model_id, "least": least_confidence})


def way(connection: duckdb.DuckDBPyConnection, one: str, other: str) -> list[Row]:
    """Rows of ``path``: the edges between two models of which one descends from the other; none if neither does.

    Raises:
        UnknownModelError: one of them is not there.
    """
    ends = {"a": find_model(connection, one)["model_id"], "b": find_model(connection, other)["model_id"]}
    return _fetched(connection, "from path($a, $b)", ends)


def print_pedigree(console: Console, found: Pedigree, *, show_all: bool) -> None:
    """Print what is known of the model, then a tree up to its sources and one down to its descendants."""
    console.print(Text(printable(found.model["model_id"]), style="bold"), Text(_facts(found.model)), soft_wrap=True)
    limit = None if show_all else SHOWN
    for title, edges, near, far in (
        ("Made from", found.above, "child_id", "parent_id"),
        ("Made into", found.below, "parent_id", "child_id"),
    ):
        if not edges:
            console.print(Text(f"{title}: nothing known"))
            continue
        tree = Tree(Text(title))
        _grow(tree, edges, found.model["model_id"], ends=(near, far), limit=limit)
        with wide_enough(console, [tree]):
            console.print(tree)


def print_rows(console: Console, rows: Sequence[Row], *, title: str) -> None:
    """Print rows as a table; elsewhere than on a terminal as lines with tabs between, the names first."""
    names = list(rows[0]) if rows else []
    if not console.is_terminal:
        for line in [names, *([_cell(row[name]) for name in names] for row in rows)] if rows else []:
            console.file.write("\t".join(line) + "\n")
        return
    table = Table(title=title, title_justify="left", box=None)
    for name in names:
        is_number = any(isinstance(row[name], int | float) for row in rows)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row[name])) for name in names))
    console.print(table)


def _grow(tree: Tree, edges: Sequence[Row], start: str, *, ends: tuple[str, str], limit: int | None) -> None:
    """Hang edges onto a tree from one model on; a model that is reached twice stands in full once."""
    near, far = ends
    onward = defaultdict(list)
    for edge in edges:
        onward[edge[near]].append(edge)
    for each in onward.values():
        each.sort(key=lambda edge: (-(edge["downloads_30d"] or 0), edge[far]))
    pending, seen = [(tree, start)], {start}
    while pending:
        branch, model_id = pending.pop(0)
        for edge in onward[model_id][:limit]:
            is_again = edge[far] in seen and bool(onward[edge[far]])
            added = branch.add(_label(edge, far, is_again=is_again))
            if not is_again:
                seen.add(edge[far])
                pending.append((added, edge[far]))
        if limit is not None and (more := len(onward[model_id]) - limit) > 0:
            branch.add(Text(f"… {more} more (--all)", style="dim"))


def _label(edge: Row, far: str, *, is_again: bool) -> Text:
    label = Text(printable(edge[far]), style="bold")
    label.append(f"  {described(edge)}", style="not bold")
    if edge["is_ambiguous"]:
        label.append(", ambiguous", style="not bold yellow")
    label.append(f"  {_facts(edge)}", style="not bold dim")
    return label.append("  (see above)", style="not bold dim") if is_again else label


def _facts(row: Row) -> str:
    """What is known of a model, in a line."""
    said = [
        "" if row.get("presence") in (None, "present") else str(row["presence"]).replace("_", " "),
        printable(row["license"]) if row.get("license") else "no license",
        "" if row.get("downloads_30d") is None else f"{row['downloads_30d']:,} downloads",
        printable(row.get("pipeline_tag") or ""),
        f"{row['created_at']:%Y-%m-%d}" if row.get("created_at") else "",
        f"region {printable(row['region_id'])}, {row['region_size']:,} models" if row.get("region_size") else "",
        f"{row['n_descendants']:,} documented descendants" if row.get("n_descendants") else "",
    ]
    return ", ".join(part for part in said if part)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}"
    return "" if value is None else printable(str(value))


def _rows(connection: duckdb.DuckDBPyConnection, question: str, **values: str | int) -> list[Row]:
    return _fetched(connection, load_query(f"questions/{question}"), values)


def _fetched(connection: duckdb.DuckDBPyConnection, query: str, values: Mapping[str, object]) -> list[Row]:
    rows: list[Row] = connection.sql(query, params=dict(values)).to_arrow_table().to_pylist()
    return rows
