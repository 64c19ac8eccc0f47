from __future__ import annotations

import ast
import re

import duckdb
import pytest
from huggingface_hub import DatasetCard

from atlas_pipeline.release.bundle import make_bundle
from atlas_pipeline.release.card import facts, write_card
from atlas_pipeline.schema import RELEASED, contract_of
from atlas_pipeline.schema.components import MODELS_MADE_FROM
from atlas_pipeline.storage import TableStore
from atlas_pipeline_tests.quality.sound_tables import (
    BASE,
    PARTITIONS,
    SNAPSHOTS,
    loose_table,
    row,
    sound_rows,
    write_home,
)

HOSTILE = (
    "evil/a|b|c",
    "evil/`code`",
    "evil/line\nbreak\n\n# Heading",
    "evil/<script>alert(1)</script>",
    "evil/---\nlicense: stolen\n---",
    "evil/](http://x) ![](y)",
    "evil/\u2028\x1b[31m\x00",
)


def checks(*failed):
    rows = [
        row("release.checks", **{"table": "edges.charted", "check": f"sound_{i}", "is_passed": True}) for i in range(3)
    ]
    for i, name in enumerate(failed, start=1):
        values = {"table": "edges.charted", "check": name, "severity": "warning", "is_passed": False, "n_failing": i}
        rows.append(row("release.checks", **values))
    return loose_table("release.checks", rows)


def card_of(store, *failed, repo_id="org/atlas"):
    return write_card(store, checks(*failed), version="2026.02.01", repo_id=repo_id)


def shown(card, heading):
    """The rows of the table below a heading, as texts."""
    section = card.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def snippets(card, language):
    return re.findall(rf"```{language}\n(.*?)```", card, re.DOTALL)


@pytest.fixture
def release(home, store, settings, monkeypatch):
    """The release folder, as the folder that one works in."""
    make_bundle(store, settings, checks())
    monkeypatch.chdir(home / "release")
    return home / "release"


def test_front_matter_has_one_config_for_each_table_that_finds_its_files(release):
    card = DatasetCard((release / "README.md").read_text())
    card.data.to_yaml()
    configs = {config["config_name"]: config for config in card.data.configs}
    assert list(configs) == list(RELEASED)
    assert card.data.to_dict()["configs"] == list(card.data.configs)
    for table, config in configs.items():
        found = sorted(path.relative_to(release).as_posix() for path in release.glob(config["data_files"]))
        assert found == [
            path.relative_to(release).as_posix()
            for path in sorted((release / f"tables/{table.replace('.', '/')}").iterdir())
        ]
        assert found
    assert [name for name, config in configs.items() if config.get("default")] == ["edges.charted"]
    assert not any(set("<>:/\\|?*") & set(name) for name in configs)


def test_coverage_is_what_the_latest_snapshot_holds(store):
    rows = dict(shown(card_of(store), "Coverage"))
    assert rows == {
        "Latest snapshot": "2026-02-01",
        "Snapshots": "2",
        "Models": "7",
        "of these restored because a child names them": "1",
        "Models whose weights were sampled": "6",
        "Documented edges": "4",
        "Charted edges": "1",
        "Edges marked ambiguous": "1",
        "Documented edges dropped with a reason": "0",
        "Models without any parent, documented or charted": "2",
        "Regions of two models or more": "2",
    }


def test_what_only_an_earlier_snapshot_holds_is_not_counted(tmp_path):
    rows = sound_rows()
    old = {"snapshot": SNAPSHOTS[0]}
    for i in range(5):
        ids = {"model_id": f"old/{i}"}
        rows["components.models"].append(row("components.models", **old, **ids, presence="removed"))
        rows["components.regions"].append(row("components.regions", **old, **ids, region_id="old", region_size=5))
        rows["components.parents"].append(row("components.parents", **old, child_id=f"old/{i}", drop_reason="cycle"))
    before = facts(write_home(str(tmp_path / "before"), sound_rows()))
    assert facts(write_home(str(tmp_path / "after"), rows)) == before


def test_facts_of_an_empty_home_are_zero_and_no_error(tmp_path):
    known = facts(TableStore(str(tmp_path)))
    assert known.pop("snapshot") is None
    assert set(known.values()) == {0}


def test_rows_and_keys_of_the_tables_are_those_stored(store):
    rows = {name: (key, number) for name, _, key, number in shown(card_of(store), "Tables")}
    assert set(rows) == {f"`{table}`" for table in RELEASED}
    for table in RELEASED:
        key, number = rows[f"`{table}`"]
        found = store.read(table)
        assert int(number) == found.num_rows
        columns = [name.strip("` ") for name in key.split(",")]
        assert len({tuple(r.values()) for r in found.select(columns).to_pylist()}) == found.num_rows


def test_warnings_are_named_with_their_counts(store):
    card = card_of(store, "one", "two")
    assert "3 of 5 checks passed" in card
    assert shown(card, "Checks") == [["`edges.charted`", "one", "1"], ["`edges.charted`", "two", "2"]]
    assert "3 of 3 checks passed" in card_of(store)
    assert shown(card_of(store), "Checks") == []


def test_hostile_text_in_the_data_changes_nothing_of_the_card_but_counts(store, tmp_path):
    rows = sound_rows()
    for i, name in enumerate(HOSTILE):
        for snapshot in SNAPSHOTS:
            rows["components.models"].append(row("components.models", snapshot=snapshot, model_id=name, license=name))
            rows["components.regions"].append(
                row("components.regions", snapshot=snapshot, model_id=name, region_id=name, region_name=name)
            )
        rows["edges.charted"].append(
            row(
                "edges.charted",
                child_id=name,
                parent_id=HOSTILE[i - 1],
                region_id=next(iter(PARTITIONS)),
                confidence=0.5,
            )
        )
    hostile = card_of(write_home(str(tmp_path / "hostile"), rows))
    without_numbers = [re.sub(r"\d+", "0", card) for card in (hostile, card_of(store))]
    assert without_numbers[0] == without_numbers[1]


def test_hostile_names_of_checks_stay_in_their_cells(store):
    card = card_of(store, *HOSTILE)
    rows = shown(card, "Checks")
    assert [len(cells) for cells in rows] == [3] * len(HOSTILE)
    assert "<script>" not in card
    assert DatasetCard(card).data.to_dict() == DatasetCard(card_of(store)).data.to_dict()


def test_sql_snippets_run_in_the_release_folder(release):
    found = snippets((release / "README.md").read_text(), "sql")
    assert found
    for text in found:
        with duckdb.connect() as connection:
            assert len(connection.execute(text).fetchall()) == 5


def test_python_snippets_are_python_and_those_for_duckdb_run(release, monkeypatch):
    found = snippets((release / "README.md").read_text(), "python")
    parsed = {text: ast.parse(text) for text in found}
    run = [text for text in found if "import duckdb" in text]
    assert len(run) == 1
    scope: dict = {}
    exec(compile(parsed[run[0]], "README.md", "exec"), scope)  # noqa: S102  the card's own snippet
    last = parsed[run[0]].body[-1]
    assert len(eval(compile(ast.Expression(last.value), "README.md", "eval"), scope).fetchall()) == 7  # noqa: S307
    scope["atlas"].close()


def test_pandas_snippet_runs_in_the_release_folder(release, monkeypatch, capsys):
    (text,) = [t for t in snippets((release / "README.md").read_text(), "python") if "import pandas" in t]
    monkeypatch.chdir(release)
    scope: dict = {}
    exec(compile(text, "README.md", "exec"), scope)  # noqa: S102  the card's own snippet
    assert len(scope["edges"]) == 5
    assert "finetune" in capsys.readouterr().out


def test_columns_are_said_to_be_made_from_columns_that_there_are(store):
    raw = {column.name for column in contract_of("raw.hub_stats").columns}
    clean = {column.name for column in contract_of("components.models").columns}
    assert clean == MODELS_MADE_FROM.keys() | {"snapshot"}
    assert {name for names in MODELS_MADE_FROM.values() for name in names} <= raw
    assert ["`license`", "`tags`, `cardData`"] in shown(card_of(store), "From raw to clean")


def test_sources_code_and_version_to_cite_are_named(store):
    rows = [row("raw.hub_stats", snapshot=s, id=BASE, source_revision=f"revision-{s}") for s in SNAPSHOTS]
    for snapshot, each in zip(SNAPSHOTS, rows, strict=True):
        store.write("raw.hub_stats", loose_table("raw.hub_stats", [each]), partition=snapshot)
    card = card_of(store, repo_id="org/atlas")
    expected = [[f"`{s}`", f"`revision-{s}`"] for s in SNAPSHOTS]
    assert shown(card, "Where it comes from") == expected
    assert "version = {2026.02.01}" in card
    assert "url = {https://huggingface.co/datasets/org/atlas}" in card
    assert "url = " not in card_of(store, repo_id="")


def test_hub_snippet_names_the_repository_and_a_config_that_there_is(store):
    for repo_id, expected in (("org/atlas", "org/atlas"), ("", "ORG/NAME")):
        text = next(t for t in snippets(card_of(store, repo_id=repo_id), "python") if "load_dataset" in t)
        (call,) = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
        assert [argument.value for argument in call.args] == [expected, "edges.charted"]
