"""The ``atlas`` command: run the pipeline, ask its tables, open its UI."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import duckdb
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from atlas_pipeline import lineages, questions, reporting
from atlas_pipeline.atlas import Atlas
from atlas_pipeline.planning import SelectionError, phases, select_tables, steps
from atlas_pipeline.raw.sources import SourceError, find_snapshots
from atlas_pipeline.schema import TABLES
from atlas_pipeline.settings import DEMO, FOLDER, Settings, SettingsError
from atlas_pipeline.storage import StorageError, TableNotMaterialized, project_file

if TYPE_CHECKING:
    import dagster as dg

FAILED, MISUSED = 1, 2
"""Exit codes: something could not be made; the command was used wrongly."""

SHOWN_ROWS = 100
"""Rows of an answer that the terminal shows; of more, the first and the last."""

CHARTED: Final = ("raw", "components", "features", "distances", "edges.charted", "edges.audit")
"""What a folder's chart takes. Nothing is scored: of such a folder nobody knows the truth."""

CHART_MARK: Final = "chart.txt"
"""File in a home that was made for one folder's chart."""

PLAIN: Final[dict[str, Any]] = {"markup": False, "highlight": False, "soft_wrap": True}
"""How texts are printed that may hold anything."""

DatabaseOption = Annotated[
    Path | None,
    typer.Option("--database", help="A downloaded release or its atlas.duckdb; by default the tables in ATLAS_HOME."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The model atlas: which neural network was made from which, with evidence for every edge.",
)
out, err = Console(), Console(stderr=True)


@app.command()
def run(
    select: Annotated[
        list[str] | None,
        typer.Option("--select", "-s", help="Only these stages or tables, e.g. components or edges.charted."),
    ] = None,
    snapshot: Annotated[list[str] | None, typer.Option(help="Only these snapshots, YYYY-MM-DD.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Make everything again, also what is current.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Say what the next phase would do, and do nothing.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the orchestrator's log.")] = False,
) -> None:
    """Materialise what is missing or out of date: every snapshot, every region, the release (a dry run)."""
    atlas = Atlas(_settings())
    tables = select_tables(select or [])
    snapshots = _snapshots(atlas, snapshot or [])
    failures = _materialise(atlas, snapshots, tables, force=force, plan=plan, verbose=verbose)
    _tell(failures)
    reporting.print_summary(out, atlas)
    raise typer.Exit(FAILED if failures else 0)


@app.command()
def chart(
    folder: Annotated[Path, typer.Argument(help="Folder of models, <org>/<name>/<files>; nothing else is needed.")],
    home: Annotated[
        str, typer.Option(help="Where tables are kept; by default a place of the folder's own in ATLAS_HOME.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object an edge.")] = False,
    show_all: Annotated[bool, typer.Option("--all", help="Show every model, however many there are.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the orchestrator's log.")] = False,
) -> None:
    """Say what came from what in a folder of models: lineages with rule, confidence and doubts."""
    weights = str(folder.expanduser().absolute())
    atlas = Atlas(_settings(weights=weights, hub_stats=FOLDER, home=home or _home_of_folder(folder)))
    snapshots = _snapshots(atlas, [])
    _make_room(atlas, snapshots)
    failures = _materialise(atlas, snapshots, select_tables(CHARTED), verbose=verbose)
    _tell(failures)
    if atlas.store.partitions("components.models"):
        found = lineages.read_chart(atlas)
        if as_json:
            lineages.write_edges(sys.stdout, found)
        lineages.print_chart(err if as_json else out, found, show_all=show_all, with_edges=not as_json)
        err.print(f"Look further: ATLAS_HOME={shlex.quote(atlas.settings.home)} atlas sql 'from atlas_edges'", **PLAIN)
    raise typer.Exit(FAILED if failures else 0)


@app.command()
def release(
    force: Annotated[bool, typer.Option("--force", help="Make it again, also where it is current.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the orchestrator's log.")] = False,
) -> None:
    """Check everything anew and bundle the tables that are there; publish them if ATLAS_RELEASE_REPO says where."""
    run(select=["release"], force=force, verbose=verbose)


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(help="A query; without one, read it from standard input.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the query from a file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a row.")] = False,
) -> None:
    """Ask the tables: all of them as views, atlas_models and atlas_edges on top."""
    atlas = Atlas(_settings())
    with reporting.open_tables(atlas) as connection:
        if query is None and file is None and sys.stdin.isatty():
            _converse(connection)
            return
        text = file.read_text(encoding="utf-8") if file else query or sys.stdin.read()
        try:
            _answer(connection, text, as_json)
        except duckdb.Error as error:
            err.print(str(error), style="red", markup=False, highlight=False)
            raise typer.Exit(FAILED) from None


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="A model, ORG/NAME.")],
    database: DatabaseOption = None,
    depth: Annotated[int, typer.Option(min=0, help="Steps down that are shown.")] = 3,
    show_all: Annotated[bool, typer.Option("--all", help="Show every child, however many there are.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a model was made from and into: relation, confidence, downloads and licenses."""
    with questions.open_atlas(Atlas(_settings()), database) as connection:
        found = questions.pedigree(connection, model, depth=depth)
    if as_json:
        _write_json([found.as_json()])
    else:
        questions.print_pedigree(out, found, show_all=show_all)


@app.command()
def descendants(
    model: Annotated[str, typer.Argument(help="A model, ORG/NAME.")],
    database: DatabaseOption = None,
    least: Annotated[
        float, typer.Option("--confidence", min=0, max=1, help="Only those that are so sure: the weakest link counts.")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """List all that was made from a model, directly or not, with how sure that is."""
    with questions.open_atlas(Atlas(_settings()), database) as connection:
        rows = questions.descendants(connection, model, least_confidence=least)
    if as_json:
        _write_json(rows)
    else:
        questions.print_rows(out, rows, title=f"{len(rows)} descendants of {lineages.printable(model)}")


@app.command()
def path(
    one: Annotated[str, typer.Argument(help="A model, ORG/NAME.")],
    other: Annotated[str, typer.Argument(help="Another, made from it or it from that.")],
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the edges between two models of which one descends from the other; exit code 1 if neither does."""
    with questions.open_atlas(Atlas(_settings()), database) as connection:
        rows = questions.way(connection, one, other)
    if as_json:
        _write_json(rows)
    elif rows:
        questions.print_rows(out, rows, title=f"{len(rows)} steps")
    else:
        err.print("Neither descends from the other.")
    raise typer.Exit(0 if rows else FAILED)


@app.command(name="map")
def look(
    database: DatabaseOption = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Write the map here; by default map/ beside the release.")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in the browser.")] = True,
) -> None:
    """Open the map of all models in the browser: a page in a folder, no server. Made first if it is not there."""
    from atlas_pipeline.looking import map_page  # noqa: PLC0415  Arrow and gzip only where they are used

    page = map_page(Atlas(_settings()), database, folder)
    out.print(str(page), **PLAIN)
    if browser and not webbrowser.open(page.as_uri()):
        err.print("No browser was found: open the page above yourself.")


@app.command()
def bom(
    model: Annotated[str, typer.Argument(help="A model, ORG/NAME.")],
    database: DatabaseOption = None,
) -> None:
    """Print a model's pedigree as a CycloneDX ML-BOM (JSON): ancestors, licenses, and how sure each edge is."""
    from atlas_pipeline.bom import ml_bom  # noqa: PLC0415  half a second of imports

    with questions.open_atlas(Atlas(_settings()), database) as connection:
        found = questions.pedigree(connection, model, depth=0)
        snapshot = questions.snapshot_of(connection)
    sys.stdout.write(ml_bom(found, snapshot=snapshot))


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 3000,
) -> None:
    """Open the Dagster UI on the same tables: look, materialise, backfill."""
    settings = _settings()
    atlas = Atlas(settings)
    snapshots = _snapshots(atlas, [])
    _instance(settings, snapshots).dispose()
    err.print(f"Dagster UI: http://127.0.0.1:{port} (stop with Ctrl-C)")
    command = [sys.executable, "-m", "dagster", "dev", "-m", "atlas_pipeline.definitions", "-p", str(port)]
    os.execv(sys.executable, command)  # noqa: S606  the UI takes this process's place


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; known errors become one sentence and an exit code."""
    try:
        app(args=arguments, prog_name="atlas")
    except (SettingsError, SelectionError) as error:
        err.print(str(error), style="red", **PLAIN)
        raise SystemExit(MISUSED) from None
    except (SourceError, StorageError, questions.UnknownModelError, questions.NotAnAtlasError, OSError) as error:
        err.print(str(error), style="red", **PLAIN)
        raise SystemExit(FAILED) from None


def _materialise(
    atlas: Atlas,
    snapshots: Sequence[str],
    tables: Sequence[str],
    *,
    force: bool = False,
    plan: bool = False,
    verbose: bool = False,
) -> list[str]:
    """Make what is missing or out of date, phase by phase, and show how far it is; a sentence on each failure."""
    instance, defs = _instance(atlas.settings, snapshots), _definitions(atlas)
    failures: list[str] = []
    with _progress() as progress:
        for phase in phases(atlas, snapshots, tables):
            try:
                # A run with failures is not published, though what is sound is bundled.
                todo = steps(atlas, phase, force=force, leave_out=("release.published",) if failures else ())
            except TableNotMaterialized as error:
                failures.append(str(error))
                continue
            if plan and todo:
                out.print(
                    *(f"{phase.name}: {step.partition or ''} {', '.join(step.tables)}" for step in todo), sep="\n"
                )
                raise typer.Exit
            task = progress.add_task(phase.name, total=len(todo), where="")
            for step in todo:
                progress.update(task, where=step.partition or "")
                atlas.progress = _shown(progress, task, step.partition or "")
                failures += _execute(defs, instance, step, verbose)
                progress.advance(task)
            progress.update(task, where="done" if todo else "up to date")
    return failures


def _tell(failures: Sequence[str]) -> None:
    for failure in failures:
        err.print(f"failed: {failure}", style="red", **PLAIN)


def _home_of_folder(folder: Path) -> str:
    """A home in ATLAS_HOME for this folder alone: charts of several folders, or of a hub, must not mix."""
    place = folder.expanduser().resolve()
    name = re.sub(r"[^A-Za-z0-9._-]", "_", place.name)[:40].lstrip(".") or "folder"
    digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:8]
    return f"{Settings.from_environment().home}/charts/{name}-{digest}"


def _make_room(atlas: Atlas, snapshots: Sequence[str]) -> None:
    """Remove what an earlier chart found in another state of the folder: it is no history of what is there now.

    Raises:
        SelectionError: the home is not one that was made for charting a folder.
    """
    by_snapshot = [name for name, contract in TABLES.items() if contract.partitioned_by == "snapshot"]
    there = {(table, each) for table in by_snapshot for each in atlas.store.partitions(table)}
    if not atlas.store.files.exists(CHART_MARK):
        if there:
            raise SelectionError(
                f"{atlas.settings.home} holds an atlas already, which a folder's chart would mix with: "
                "name another --home, or leave it out"
            )
        atlas.store.files.write(CHART_MARK, b"Home of one folder's chart: tables of its earlier states are removed.\n")
    for table, each in sorted(there):
        if each not in snapshots:
            atlas.store.delete(table, each)


def _settings(**given: str) -> Settings:
    """The settings; the orchestrator's home is fixed by them, so that all its state lies in one place.

    Args:
        given: values by name that come before those of the environment.
    """
    settings = Settings.from_environment({**os.environ, **{f"ATLAS_{name.upper()}": given[name] for name in given}})
    os.environ.setdefault("DAGSTER_HOME", str(settings.dagster_home))
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    return settings


def _snapshots(atlas: Atlas, wanted: Sequence[str]) -> list[str]:
    if atlas.settings.hub_stats == DEMO:
        _prepare_demo_hub(atlas.settings)
    there = [source.snapshot for source in find_snapshots(atlas.settings)]
    if unknown := sorted(set(wanted) - set(there)):
        raise SelectionError(f"there is no snapshot {unknown[0]}; there are {', '.join(there)}")
    return [name for name in there if not wanted or name in wanted]


def _prepare_demo_hub(settings: Settings) -> None:
    from atlas_pipeline.repositories.demo import ensure_demo_hub  # noqa: PLC0415  scikit-learn: only for the demo

    with _progress() as progress:
        task = progress.add_task("training the demo hub", total=None, where="")

        def show(done: int, total: int, model_id: str) -> None:
            progress.update(task, completed=done, total=total, where=model_id)

        ensure_demo_hub(settings.demo_folder, seed=settings.seed, progress=show)


def _instance(settings: Settings, snapshots: Sequence[str]) -> dg.DagsterInstance:
    import dagster as dg  # noqa: PLC0415  a second of imports: only where something is run

    home = Path(os.environ["DAGSTER_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    if home == settings.dagster_home:
        shutil.copyfile(project_file("dagster.yaml"), home / "dagster.yaml")
    instance = dg.DagsterInstance.get()
    instance.add_dynamic_partitions("snapshot", list(snapshots))
    return instance


def _definitions(atlas: Atlas) -> dg.Definitions:
    from atlas_pipeline.definitions import build_defs  # noqa: PLC0415

    return build_defs(atlas.settings, atlas=atlas)


def _execute(defs: dg.Definitions, instance: dg.DagsterInstance, step: object, verbose: bool) -> list[str]:
    from atlas_pipeline.orchestration import execute_step  # noqa: PLC0415

    return execute_step(defs, instance, step, log_level="INFO" if verbose else "CRITICAL")  # type: ignore[arg-type]


def _shown(progress: Progress, task: TaskID, partition: str) -> Callable[[int, int, str], None]:
    """Shows how far the making of one partition is."""

    def show(done: int, total: int, name: str) -> None:
        progress.update(task, where=f"{partition}: {done} of {total}, {name}")

    return show


def _progress() -> Progress:
    columns = (TextColumn("{task.description:>22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn("{task.fields[where]}", markup=False), console=err)


def _converse(connection: duckdb.DuckDBPyConnection) -> None:
    """Ask and answer until the end of input; a mistake is shown and forgiven."""
    err.print("Tables: " + ", ".join(reporting.table_names(connection)) + "\nEnd a query with ; and leave with Ctrl-D.")
    pending = ""
    while True:
        try:
            pending += input("atlas> " if not pending else "  ...> ") + "\n"
        except (EOFError, KeyboardInterrupt):
            return
        if pending.rstrip().endswith(";"):
            try:
                _answer(connection, pending, as_json=False)
            except duckdb.Error as error:
                err.print(str(error), style="red", markup=False, highlight=False)
            pending = ""


def _answer(connection: duckdb.DuckDBPyConnection, text: str, as_json: bool) -> None:
    relation = connection.sql(text)
    if relation is None:
        return
    if as_json:
        _write_json(relation.to_arrow_table().to_pylist())
    else:
        relation.show(max_rows=SHOWN_ROWS)


def _write_json(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        sys.stdout.write(json.dumps(row, default=str) + "\n")


if __name__ == "__main__":
    main()
