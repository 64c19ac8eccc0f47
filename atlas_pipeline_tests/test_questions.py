import json
from io import StringIO

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from atlas_pipeline import questions
from atlas_pipeline.release.warehouse import MACROS, open_views
from atlas_pipeline.schema import contract_of
from atlas_pipeline_tests.conftest import run_atlas

TABLES = ("components.models", "components.regions", "components.impact", "edges.charted")
DAY = "2026-05-20"


def atlas_of(edges, models=()):
    """An atlas in memory: edges as (child, parent, confidence)."""
    connection = duckdb.connect()
    for table in TABLES:
        schema, name = table.split(".")
        connection.execute(f"create schema if not exists {schema}")
        connection.register("empty", contract_of(table).arrow_schema.empty_table())
        connection.execute(f"create table {table} as from empty")
    named = sorted({end for edge in edges for end in edge[:2]} | set(models))
    for number, name in enumerate(named):
        connection.execute(
            "insert into components.models by name "
            "select ? as snapshot, ? as model_id, 'mit' as license, ? as downloads_30d, 'present' as presence",
            [DAY, name, number],
        )
    for edge in edges:
        connection.execute(
            "insert into edges.charted by name select ? as child_id, ? as parent_id, ? as confidence, "
            "'finetune' as relation, 'charted' as origin, 'snake' as rule, false as is_ambiguous",
            list(edge),
        )
    open_views(connection)
    return connection


DIAMOND = [("b", "a", 0.9), ("c", "a", 0.5), ("d", "b", 0.8), ("d", "c", 0.7), ("e", "d", 0.6)]


@pytest.fixture
def diamond():
    with atlas_of(DIAMOND, ["alone"]) as connection:
        yield connection


def asked(connection, query, *values):
    return connection.execute(query, list(values)).fetchall()


def test_descendants_and_ancestors_take_the_surest_way_and_the_fewest_steps(diamond):
    assert asked(diamond, "from descendants('a')") == [("b", 1, 0.9), ("c", 1, 0.5), ("d", 2, 0.8), ("e", 3, 0.6)]
    assert asked(diamond, "from ancestors('d')") == [("b", 1, 0.8), ("c", 1, 0.7), ("a", 2, 0.8)]
    assert asked(diamond, "from descendants('alone')") == asked(diamond, "from ancestors('nobody')") == []


def test_siblings_share_a_parent(diamond):
    assert asked(diamond, "select model_id, parent_id from siblings('b')") == [("c", "a")]


@pytest.mark.parametrize("ends", [("a", "e"), ("e", "a")])
def test_the_way_between_two_models_is_the_shortest_and_surest_in_either_order(diamond, ends):
    rows = asked(diamond, "select step, parent_id, child_id from path(?, ?)", *ends)
    assert rows == [(1, "a", "b"), (2, "b", "d"), (3, "d", "e")]


@pytest.mark.parametrize("ends", [("b", "c"), ("a", "a"), ("a", "alone"), ("a", "nobody")])
def test_there_is_no_way_between_models_of_which_neither_descends_from_the_other(diamond, ends):
    assert asked(diamond, "from path(?, ?)", *ends) == []


def test_impact_sums_what_the_blast_radius_lists(diamond):
    touched = asked(diamond, "select model_id, confidence, license, downloads_30d from blast_radius('a')")
    assert touched == [("e", 0.6, "mit", 5), ("d", 0.8, "mit", 4), ("c", 0.5, "mit", 3), ("b", 0.9, "mit", 2)]
    columns = "n_children, n_descendants, n_sure_descendants, greatest_depth, descendant_downloads, own_downloads"
    assert asked(diamond, f"select {columns} from impact('a')") == [(2, 4, 1, 3, 14, 0)]
    assert asked(diamond, f"select {columns} from impact('alone')") == [(0, 0, 0, 0, 0, 1)]


def test_every_macro_says_what_it_is(diamond):
    said = dict(asked(diamond, "select function_name, comment from duckdb_functions() where not internal"))
    assert set(said) == set(MACROS)
    assert all(text and text.endswith(".") for text in said.values())


def test_a_ladder_of_merges_has_too_many_ways_to_be_walked_one_by_one():
    edges = [
        edge
        for step in range(40)
        for edge in (
            (f"l{step + 1:02}", f"l{step:02}", 0.9),
            (f"r{step + 1:02}", f"l{step:02}", 0.9),
            (f"l{step + 1:02}", f"r{step:02}", 0.9),
            (f"r{step + 1:02}", f"r{step:02}", 0.9),
        )
    ]
    with atlas_of(edges) as connection:
        assert len(asked(connection, "from descendants('l00')")) == 80
        assert len(asked(connection, "from path('l00', 'r40')")) == 40


@settings(max_examples=30, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=14))
def test_descendants_are_the_ancestors_of_the_others(pairs):
    ordered = sorted({tuple(sorted(pair)) for pair in pairs})
    edges = [(f"m{child}", f"m{parent}", 0.5) for parent, child in ordered if parent < child]
    with atlas_of(edges) as connection:
        names = [f"m{number}" for number in range(8)]
        below = {(name, row[0], row[1]) for name in names for row in asked(connection, "from descendants(?)", name)}
        above = {(row[0], name, row[1]) for name in names for row in asked(connection, "from ancestors(?)", name)}
        assert below == above
        for top, bottom, steps in below:
            assert len(asked(connection, "from path(?, ?)", top, bottom)) == steps


def test_a_name_in_other_case_is_found_and_a_wrong_one_is_answered_with_near_ones(diamond):
    assert questions.find_model(diamond, "ALONE")["model_id"] == "alone"
    with pytest.raises(questions.UnknownModelError, match="no model alon; did you mean alone"):
        questions.find_model(diamond, "alon")


def text_of(found, **options):
    stream = StringIO()
    questions.print_pedigree(Console(file=stream, width=200), found, **{"show_all": False, **options})
    return stream.getvalue()


def test_a_pedigree_shows_both_ways_and_a_model_reached_twice_once(diamond):
    text = text_of(questions.pedigree(diamond, "a", depth=9))
    assert "Made from: nothing known" in text
    assert text.count("e  finetune, snake, 0.60") == 1
    assert text.count("d  finetune") == 2
    assert text.count("(see above)") == 1
    assert "5 downloads" in text
    up = text_of(questions.pedigree(diamond, "e", depth=9))
    assert up.index("Made from") < up.index("d  finetune, snake, 0.60") < up.index("b  finetune, snake, 0.80")


def test_depth_and_number_of_children_are_limited():
    with atlas_of([(f"m{n:02}", "a", 0.9) for n in range(30)] + [("z", "m00", 0.9)]) as connection:
        found = questions.pedigree(connection, "a", depth=1)
        assert "z" not in {edge["child_id"] for edge in found.below}
        assert "… 10 more (--all)" in text_of(found)
        assert "more" not in text_of(found, show_all=True)
        assert questions.pedigree(connection, "a", depth=0).below == []


def test_hostile_names_reach_the_terminal_as_text():
    name = "org/[red]\x1b[2J\x07"
    with atlas_of([(name, "a", 0.9)]) as connection:
        text = text_of(questions.pedigree(connection, "a", depth=2))
    assert "org/[red]?[2J?" in text
    assert "\x1b" not in text


def test_questions_are_answered_from_a_home_and_from_its_release_alike(finished):
    with questions.open_atlas(finished.atlas, None) as home:
        model_id = asked(home, "select model_id from atlas_models order by n_descendants desc, model_id limit 1")[0][0]
        expected = questions.descendants(home, model_id)
    assert expected
    for place in (finished.home / "release", finished.home / "release" / "atlas.duckdb"):
        done = run_atlas(finished.home, "descendants", model_id, "--database", str(place), "--json")
        assert [json.loads(line)["model_id"] for line in done.stdout.splitlines()] == [r["model_id"] for r in expected]
    sure = run_atlas(finished.home, "descendants", model_id, "--confidence", "0.9").stdout.splitlines()
    assert sure[0].split("\t")[:3] == ["model_id", "steps", "confidence"]
    assert len(sure) - 1 == sum(row["confidence"] >= 0.9 for row in expected)


def test_commands_answer_wrong_questions_with_a_sentence(finished, tmp_path):
    lost = run_atlas(finished.home, "show", "nobody/here", check=False)
    assert lost.returncode == 1
    assert "the atlas holds no model nobody/here; did you mean" in lost.stderr
    (tmp_path / "atlas.duckdb").write_bytes(b"no database")
    other = run_atlas(finished.home, "show", "a/b", "--database", str(tmp_path), check=False)
    assert other.returncode == 1
    assert "is no released atlas" in other.stderr
    assert "Traceback" not in lost.stderr + other.stderr
