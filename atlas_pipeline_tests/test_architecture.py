"""The three rules of the house, and what makes them worth keeping: read from the source, not from running it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import duckdb
import pytest

import atlas_pipeline
from atlas_pipeline import reporting
from atlas_pipeline.atlas import Atlas
from atlas_pipeline.definitions import build_defs
from atlas_pipeline.quality.invariants import all_checks, run_check
from atlas_pipeline.schema import STAGES, TABLES, contract_of
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage import TableStore, load_query, project_file
from atlas_pipeline_tests.storage.contract_rows import some_rows

PACKAGE = Path(atlas_pipeline.__file__).parent
TESTS = Path(__file__).parent
SQL = project_file("sql")
GROUND = ("schema", "storage", "repositories", "weights", "graph", "quality")
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
QUERIES = sorted(path.relative_to(SQL).with_suffix("").as_posix() for path in SQL.rglob("*.sql"))

WITH_DAGSTER = {"definitions.py", "orchestration.py", "quality/checks.py", *(f"{stage}/assets.py" for stage in STAGES)}
"""Where Dagster may be imported as the module is."""

DAGSTER_WHEN_CALLED = {"cli.py"}
"""Where Dagster may be imported inside functions, so that the rest starts without it."""


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"))


def imported(node: ast.AST) -> Iterator[str]:
    """Full names of what is imported anywhere below a node; ``import_module("x")`` counts too."""
    for each in ast.walk(node):
        if isinstance(each, ast.Import):
            yield from (alias.name for alias in each.names)
        elif isinstance(each, ast.ImportFrom):
            assert each.level == 0, "imports are absolute"
            yield from (f"{each.module}.{alias.name}" for alias in each.names)
        elif isinstance(each, ast.Call) and getattr(each.func, "attr", getattr(each.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            yield from (arg.value for arg in each.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def packages_imported(module: str) -> set[str]:
    """First folders or modules of this package that a module imports from."""
    names = (name.split(".") for name in imported(tree(module)))
    return {parts[1] for parts in names if parts[0] == "atlas_pipeline" and len(parts) > 1}


def imported_on_import(module: str) -> set[str]:
    """Top-level packages that importing a module imports itself: not those inside functions or under TYPE_CHECKING."""
    found: set[str] = set()
    pending: list[ast.AST] = [tree(module)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {name.split(".")[0] for name in imported(node)}
        pending += ast.iter_child_nodes(node)
    return found


# -- 1. stages meet only in tables -----------------------------------------------------------------------------------


def test_stages_import_no_other_stage_and_the_ground_imports_none() -> None:
    top = {"atlas", "planning", "orchestration", "definitions", "cli", "reporting"}
    for module in MODULES:
        folder = module.split("/", maxsplit=1)[0]
        forbidden = set(STAGES) - {folder} if folder in (*STAGES, *GROUND) else set()
        if folder in ("schema", "storage", "repositories", "weights", "graph"):
            forbidden |= {*top, "quality"}
        if module in ("settings.py", "atlas.py", "planning.py"):
            forbidden |= {*STAGES, *top, "quality"} - {"atlas"}
        assert not packages_imported(module) & forbidden, module


def test_every_folder_is_a_stage_or_ground() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == {*STAGES, *GROUND}
    tested = {path.parent.name for path in TESTS.glob("*/__init__.py")}
    assert tested <= folders, "tests mirror the package"


# -- 2. Dagster stands in few places ---------------------------------------------------------------------------------


def test_dagster_is_imported_where_it_may_be() -> None:
    for module in set(MODULES) - WITH_DAGSTER:
        assert "dagster" not in imported_on_import(module), module
        if module not in DAGSTER_WHEN_CALLED:
            packages = {name.split(".", maxsplit=1)[0] for name in imported(tree(module))}
            assert not {name for name in packages if name.startswith("dagster")}, module
    assert all("dagster" in imported_on_import(module) for module in WITH_DAGSTER), "the list is not longer than needed"


def test_the_command_starts_without_dagster() -> None:
    command = [sys.executable, "-c", "import sys, atlas_pipeline.cli; assert 'dagster' not in sys.modules"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


# -- 3. one name throughout ------------------------------------------------------------------------------------------


def test_folder_asset_group_schema_and_path_have_one_name(tmp_path: Path) -> None:
    graph = build_defs(Settings(home=str(tmp_path))).resolve_asset_graph()
    store = TableStore(str(tmp_path))
    partition = {"snapshot": "2025-06-01", "region": "bucket-00", None: None}
    for table, contract in TABLES.items():
        store.write(table, some_rows(table), partition=partition[contract.partitioned_by])
    assert {tuple(key.path) for key in graph.get_all_asset_keys()} == {tuple(table.split(".")) for table in TABLES}
    for key in graph.get_all_asset_keys():
        stage, name = key.path
        assert graph.get(key).group_name == stage
        assert (PACKAGE / stage / "assets.py").is_file()
        assert list((tmp_path / "tables" / stage / name).glob("*.parquet"))
    with store.connect() as connection:
        views = connection.execute("select schema_name, view_name from duckdb_views() where not internal").fetchall()
    assert set(views) == {tuple(table.split(".")) for table in TABLES}
    paths = {path.parent.relative_to(tmp_path / "tables").as_posix() for path in tmp_path.rglob("*.parquet")}
    assert paths == {table.replace(".", "/") for table in TABLES}


@cache
def assets() -> dict[str, ast.FunctionDef]:
    """The functions that make tables, by table."""
    found = {}
    for stage in STAGES:
        for node in ast.walk(tree(f"{stage}/assets.py")):
            for decorator in getattr(node, "decorator_list", ()):
                if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "table_asset":
                    table = ast.literal_eval(decorator.args[0])
                    assert table.split(".") == [stage, node.name]
                    found[table] = node
    return found


@pytest.mark.parametrize("table", TABLES)
def test_an_asset_reads_the_tables_and_settings_that_its_contract_names(table: str) -> None:
    node, contract = assets()[table], contract_of(table)
    texts = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    assert {text for text in texts if text in TABLES} <= {table, *(given.table for given in contract.inputs)}
    own = {field for field in Settings.__dataclass_fields__ if field not in ("home", "threads", "memory_limit")}
    used = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute) and each.attr in own}
    used |= {ast.literal_eval(c.args[0]) for c in ast.walk(node) if isinstance(c, ast.Call) and is_location(c)}
    assert used <= set(contract.settings)


def is_location(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "location"


def test_assets_are_thin() -> None:
    lengths = {table: len(node.body) for table, node in assets().items()}
    assert set(lengths) == set(TABLES)
    assert max(lengths.values()) <= 10, lengths


# -- SQL -------------------------------------------------------------------------------------------------------------


@cache
def queries_in_source() -> set[str]:
    """Names of queries that some module runs; ``f"trends/{name}"`` stands for the tables of that stage."""
    found = set()
    for module in MODULES:
        for call in (node for node in ast.walk(tree(module)) if isinstance(node, ast.Call)):
            if getattr(call.func, "id", getattr(call.func, "attr", "")) not in ("run_query", "load_query"):
                continue
            for argument in call.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    found.add(argument.value)
                elif isinstance(argument, ast.JoinedStr) and isinstance(argument.values[0], ast.Constant):
                    start = argument.values[0].value
                    found |= {name for name in QUERIES if name.startswith(start)}
    return found


def test_every_query_is_used_and_every_query_that_is_used_exists() -> None:
    run_by_name = {name for name in QUERIES if name.split("/")[0] not in ("checks", "examples")}
    assert run_by_name == queries_in_source() - {name for name in QUERIES if name.startswith("examples/")}
    assert queries_in_source() <= set(QUERIES)
    folders = {name.split("/")[0] for name in QUERIES}
    assert folders <= {*STAGES, "checks", "views", "macros", "questions", "examples"}
    trends = {name.split("/")[1] for name in QUERIES if name.startswith("trends/")}
    assert trends == {contract.table for contract in TABLES.values() if contract.stage == "trends"}
    checked = {name.split("/")[1] for name in QUERIES if name.startswith("checks/")}
    assert checked <= set(TABLES)


def tables_in(text: str) -> set[str]:
    code = re.sub(r"--[^\n]*", "", text)
    return {f"{a}.{b}" for a, b in re.findall(r'\b"?(\w+)"?\s*\.\s*"?(\w+)"?', code)} & set(TABLES)


def made_from(table: str) -> set[str]:
    """Tables that a table is made from, directly or not, and itself."""
    found = {table}
    for given in contract_of(table).inputs:
        found |= made_from(given.table)
    return found


@pytest.mark.parametrize("check", [c for c in all_checks() if c.query], ids=lambda c: f"{c.table} {c.name}")
def test_a_check_reads_what_its_table_is_made_from_and_says_so(check: object) -> None:
    read = tables_in(check.query)
    assert read <= made_from(check.table), "it would run before that table is there"
    assert read <= {check.table, *check.reads}
    assert set(check.reads) <= read


@pytest.mark.parametrize("name", [n for n in QUERIES if n.split("/")[0] in STAGES])
def test_a_query_reads_what_the_tables_of_its_stage_are_made_from(name: str) -> None:
    makes = [made_from(table) for table, contract in TABLES.items() if contract.stage == name.split("/", maxsplit=1)[0]]
    assert tables_in(load_query(name)) <= set().union(*makes)


def test_views_examples_and_checks_run_on_empty_and_on_full_tables(tmp_path: Path) -> None:
    atlas = Atlas(Settings(home=str(tmp_path)))
    for is_full in (False, True):
        if is_full:
            partition = {"snapshot": "2025-06-01", "region": "bucket-00", None: None}
            for table, contract in TABLES.items():
                values = {"snapshot": "2025-06-01", "parent_id": "org/parent"}
                values = {c.name: values[c.name] for c in contract.columns if c.name in values}
                atlas.store.write(table, some_rows(table, **values), partition=partition[contract.partitioned_by])
        with reporting.open_tables(atlas) as connection:
            connection.execute("set variable partition = null")
            for name in (n for n in QUERIES if n.startswith("examples/")):
                for statement in duckdb.extract_statements(load_query(name)):
                    connection.execute(statement)
            for check in all_checks():
                assert run_check(connection, check).n_failing >= 0
                assert is_full or run_check(connection, check).is_passed


# -- habits ----------------------------------------------------------------------------------------------------------

VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "base", "core", "lib"}
ALL_PYTHON = [*PACKAGE.rglob("*.py"), *TESTS.rglob("*.py")]


def test_modules_have_names_that_say_what_is_in_them() -> None:
    assert not {path for path in ALL_PYTHON if VAGUE & {path.stem.strip("_"), *path.stem.split("_"), path.parent.name}}


def test_no_file_is_long() -> None:
    lengths = {str(p): len(p.read_text(encoding="utf-8").splitlines()) for p in [*ALL_PYTHON, *SQL.rglob("*.sql")]}
    assert {name: length for name, length in lengths.items() if length > 450} == {}


UNSAFE = {
    ("eval",),
    ("exec",),
    ("compile",),
    ("pickle", "load"),
    ("pickle", "loads"),
    ("pickle", "Unpickler"),
    ("joblib", "load"),
    ("torch", "load"),
    ("marshal", "loads"),
    ("yaml", "load"),
    ("yaml", "unsafe_load"),
    ("yaml", "full_load"),
    ("os", "system"),
}


def test_nothing_from_outside_can_become_code() -> None:
    for module in MODULES:
        packages = {name.split(".", maxsplit=1)[0] for name in imported(tree(module))}
        assert not packages & {"pickle", "marshal", "shelve", "joblib", "dill"}, module
        for call in (node for node in ast.walk(tree(module)) if isinstance(node, ast.Call)):
            name = tuple(ast.unparse(call.func).split(".")[-2:])
            assert name not in UNSAFE, f"{module}:{call.lineno} calls {'.'.join(name)}"
            keywords = {word.arg: ast.unparse(word.value) for word in call.keywords}
            for switch in ("shell", "allow_pickle", "trust_remote_code"):
                assert keywords.get(switch, "False") == "False", f"{module}:{call.lineno}"
