"""Queries of the project are found by name and take their values as variables, never as text."""

from __future__ import annotations

import duckdb
import pytest

from atlas_pipeline.storage import load_query, project_file, queries, run_query, sql_literal


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"sql/trends/none\.sql"):
        load_query("trends/none")


def test_an_installed_package_finds_its_own_files_first(tmp_path, monkeypatch) -> None:
    package = tmp_path / "atlas_pipeline"
    (package / "_project" / "sql").mkdir(parents=True)
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "a.sql").write_text("select 'checkout'")
    monkeypatch.setattr(queries, "_PACKAGE", package)
    assert project_file("sql/a.sql") == tmp_path / "sql" / "a.sql"
    (package / "_project" / "sql" / "a.sql").write_text("select 'installed'")
    assert project_file("sql/a.sql") == package / "_project" / "sql" / "a.sql"


def test_values_are_bound_and_the_last_statement_answers(monkeypatch) -> None:
    monkeypatch.setattr(
        queries, "load_query", lambda _: "create temp table t as select 1; select getvariable('x') as x"
    )
    hostile = "'; drop table t; --"
    with duckdb.connect() as connection:
        assert run_query(connection, "any", x=hostile).to_pylist() == [{"x": hostile}]
        assert connection.execute("from t").fetchall() == [(1,)]


@pytest.mark.parametrize("text", ["", "'", "''", "it's", "\\'", "a\nb", "ü"])
def test_a_literal_is_the_text(text: str) -> None:
    with duckdb.connect() as connection:
        assert connection.execute(f"select {sql_literal(text)}").fetchall() == [(text,)]
