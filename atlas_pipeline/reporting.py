"""What a run leaves on the terminal, and the view of the tables that ``atlas sql`` opens."""

from __future__ import annotations

import duckdb
from rich.console import Console
from rich.table import Table

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.release.bundle import FOLDER
from atlas_pipeline.release.card import facts
from atlas_pipeline.release.warehouse import open_views
from atlas_pipeline.schema import TABLES
from atlas_pipeline.storage import load_query


def open_tables(atlas: Atlas) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with every table of the home as a view, absent ones empty, and the macros."""
    connection = atlas.store.connect(dict.fromkeys(TABLES), optional=tuple(TABLES), threads=atlas.settings.threads)
    open_views(connection)
    return connection


def table_names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Names of the views that ``open_tables`` made, as they are written in a query."""
    rows = connection.execute(
        "select schema_name, view_name from duckdb_views() where not internal order by all"
    ).fetchall()
    return [view if schema == "main" else f"{schema}.{view}" for schema, view in rows]


def print_summary(console: Console, atlas: Atlas) -> None:
    """Print what the atlas holds and how to look further."""
    if not atlas.store.partitions("components.models"):
        return
    known = facts(atlas.store)
    table = Table(show_header=False, box=None, title=f"Atlas of {known['snapshot']}", title_justify="left")
    table.add_column(justify="right", style="bold")
    table.add_column()
    rows = [
        ("models", "models", f"({known['restored']} restored, {known['sampled']} sampled)"),
        ("documented", "documented edges", f"({known['dropped']} more dropped with a reason)"),
        ("charted", "charted edges", f"({known['ambiguous']} ambiguous)"),
        ("regions_of_several", "documented regions of two models or more", f"({known['singles']} models stand alone)"),
        ("snapshots", "snapshots", ""),
    ]
    for key, name, more in rows:
        table.add_row(str(known[key]), f"{name} {more}".rstrip())
    table.add_row(*_checks(atlas))
    console.print(table)
    _print_scores(console, atlas)
    if atlas.store.partitions("release.files"):
        console.print(f"Release: {atlas.store.files.url(FOLDER)}", soft_wrap=True, highlight=False, markup=False)
    console.print("Look further: atlas sql 'from atlas_edges limit 10', atlas ui (make ui)", highlight=False)


def _checks(atlas: Atlas) -> tuple[str, str]:
    if not atlas.store.partitions("release.checks"):
        return "0", "checks run (materialise release.checks)"
    rows = atlas.store.read("release.checks").to_pylist()
    failed = [row for row in rows if not row["is_passed"]]
    errors = [row for row in failed if row["severity"] == "error"]
    named = ", ".join(f"{row['table']} {row['check']} ({row['n_failing']})" for row in [*errors, *failed][:4])
    text = f"of {len(rows)} checks passed"
    if failed:
        text += f" (errors: {len(errors)}, warnings: {len(failed) - len(errors)}: {named})"
    return str(len(rows) - len(failed)), text


def _print_scores(console: Console, atlas: Atlas) -> None:
    """Accuracy of charting by method, where it was scored."""
    if not atlas.store.partitions("edges.scores"):
        return
    with open_tables(atlas) as connection:
        rows = connection.execute(load_query("examples/how_well_charted")).fetchall()
    if not rows:
        return
    table = Table(box=None, title="Charting against known truth", title_justify="left")
    for name in ("method", "documentation", "models scored", "n", "accuracy"):
        table.add_column(name, justify="right" if name in ("n", "accuracy") else "left")
    for method, documentation, subset, n_models, accuracy, _ in rows:
        table.add_row(method, documentation, subset, str(n_models), f"{accuracy:.3f}")
    console.print(table)
