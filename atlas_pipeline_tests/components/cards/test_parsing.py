import json
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.components.assets import cards as cards_asset
from atlas_pipeline.components.cards import parse_card, parsed_cards
from atlas_pipeline.components.cards import parsing as cards
from atlas_pipeline.components.cards.blocks import normalised
from atlas_pipeline.components.cards.statements import MAX_STATEMENTS, RELATIONS
from atlas_pipeline.quality.invariants import checks_of, run_check
from atlas_pipeline.schema import contract_of
from atlas_pipeline.settings import Settings
from atlas_pipeline_tests.components.listings import SNAPSHOT, connected, table_of

REAL = Path(__file__).resolve().parents[4] / "shared/data/cards/2022-02-21.parquet"
OWN = "me/own"


def declared(front_matter):
    parsed = parse_card(f"---\n{front_matter}\n---\nText.\n", model_id=OWN)
    assert parsed.problem is None
    return [(s.source, s.declared_parent, s.relation, s.quote) for s in parsed.statements]


def test_front_matter_becomes_json_and_statements():
    front = "license: no\nlanguage: [en, no]\nbase_model: lab/a\nbase_model_relation: quantized\ndate: 2024-01-02"
    parsed = parse_card(f"---\n{front}\n---\n# T\n\nTwo words.\n", model_id=OWN)
    assert json.loads(parsed.metadata) == {
        "license": "no",
        "language": ["en", "no"],
        "base_model": "lab/a",
        "base_model_relation": "quantized",
        "date": "2024-01-02",
    }
    assert (parsed.n_words, parsed.problem) == (3, None)
    assert [(s.source, s.declared_parent, s.relation) for s in parsed.statements] == [
        ("card_data", "lab/a", "quantized")
    ]


def test_parents_of_the_front_matter_are_taken_as_they_stand():
    assert declared("base_model: [lab/a, ' lab/b ', lab/a]") == [
        ("card_data", "lab/a", None, None),
        ("card_data", "lab/b", None, None),
    ]
    assert declared("base_model: [1.5, {x: 1}, null, '']") == [
        ("card_data", "1.5", None, None),
        ("card_data", '{"x": 1}', None, None),
    ]
    assert declared("base_model: me/own") == [("card_data", "me/own", None, None)]
    assert declared("base_model: lab/a\nbase_model_relation: [finetune]") == [("card_data", "lab/a", None, None)]
    assert declared("base_model: lab/a\nbase_model_relation: cousin") == [("card_data", "lab/a", None, None)]
    assert declared("base_model:") == declared("x: 1") == []


@pytest.mark.parametrize(
    ("front_matter", "problem"),
    [
        ("a: b: c", "line 1: "),
        ("a: !!python/object/apply:os.system [ls]", "not allowed"),
        ("license: mit\nlicense: mit", "stands twice"),
        ("- a\n- b", "no mapping"),
        ("just words", "no mapping"),
    ],
)
def test_broken_front_matter_is_a_problem_and_the_text_is_read(front_matter, problem):
    parsed = parse_card(f"---\n{front_matter}\n---\nA fine-tuned version of lab/a-1.\n", model_id=OWN)
    assert parsed.metadata is None
    assert problem in parsed.problem
    assert [s.declared_parent for s in parsed.statements] == ["lab/a-1"]


def test_front_matter_without_end_is_a_problem_and_all_is_text():
    parsed = parse_card("---\nlicense: mit\n\nA fine-tuned version of lab/a-1.\n", model_id=OWN)
    assert (parsed.metadata, parsed.problem) == (None, "the front matter has no end")
    assert [s.declared_parent for s in parsed.statements] == ["lab/a-1"]


@pytest.mark.parametrize("card", ["", "---\n---\n", "---\n# nothing\n---\n", "words"])
def test_no_front_matter_is_no_problem(card):
    parsed = parse_card(card, model_id=OWN)
    assert (parsed.metadata, parsed.problem, parsed.statements) == (None, None, ())


def test_a_library_of_adapters_makes_adapters_of_what_a_trainer_calls_fine_tuned():
    text = "This model is a fine-tuned version of [a](https://huggingface.co/lab/a-1) on x."
    for library, relation in (("peft", "adapter"), ("transformers", "finetune"), ("[peft]", "finetune")):
        card = f"---\nlibrary_name: {library}\nbase_model: lab/a-1\n---\n{text}"
        found = [(s.source, s.relation) for s in parse_card(card, model_id=OWN).statements]
        assert found == [("card_data", None), ("card_text", relation)]


def test_what_a_quantised_model_repeats_of_its_parents_card_does_not_count():
    said = "This is a quantized version of [a](https://huggingface.co/lab/a-7b).\n\n"
    copied = "A fine-tuned version of lab/base-7b.\n\n```\nmerge_method: linear\nmodels: [{model: lab/b-7b}]\n```\n"
    front = "---\nbase_model: lab/base-7b\n---\n"
    found = parse_card(front + said + copied, model_id="me/a-7b-GGUF").statements
    assert [(s.source, s.declared_parent) for s in found] == [("card_data", "lab/base-7b"), ("card_text", "lab/a-7b")]
    assert len(parse_card(front + said + copied, model_id="me/a-7b").statements) == 4
    assert len(parse_card(front + copied, model_id="me/a-7b-GGUF").statements) == 3


def test_a_repeated_card_is_not_read():
    text = "Derived from lab/a-7b.\n\n# Original Model Card\n\nA fine-tuned version of lab/base-7b.\n"
    assert [s.declared_parent for s in parse_card(text, model_id=OWN).statements] == ["lab/a-7b"]


def test_noise_has_an_end():
    card = "---\nbase_model: [" + ", ".join(f"lab/m{i}" for i in range(2 * MAX_STATEMENTS)) + "]\n---\n"
    assert len(parse_card(card, model_id=OWN).statements) == MAX_STATEMENTS


WORDS = st.sampled_from(
    [
        *(
            "---\n",
            "base_model: ",
            "- ",
            "lab/a-1",
            "`gpt2`",
            "fine-tuned ",
            "version of ",
            "based on ",
            "merge ",
            "of ",
        ),
        *(
            "and ",
            "[x](https://huggingface.co/lab/b-2)",
            "[x](",
            ")",
            "|",
            "\n",
            "\n\n",
            "```\n",
            "models:\n",
            "**",
            "# ",
        ),
        *("merge_method: ties\n", "  - model: lab/c-3\n", "<!--", "-->", ". ", "GGUF ", "me/own ", "\x00", "\u202e"),
        *("\ue000", "\ue0011", "é"),
    ]
)


@settings(max_examples=300)
@given(st.lists(WORDS, max_size=25).map("".join) | st.text(max_size=200))
def test_any_text_is_parsed_and_quotes_are_its_words(card):
    parsed = parse_card(card, model_id=OWN)
    whole = normalised(card)
    assert parsed.n_words <= len(card)
    assert (parsed.metadata is None) or isinstance(json.loads(parsed.metadata), dict)
    keys = [(s.source, s.declared_parent) for s in parsed.statements]
    assert len(set(keys)) == len(keys)
    for statement in parsed.statements:
        assert statement.declared_parent
        assert statement.relation in (None, *RELATIONS)
        assert statement.quote is None or (statement.quote in whole and 0 < len(statement.quote) <= 300)
        assert statement.source == "card_data" or statement.declared_parent.casefold() != OWN


def raw_cards(texts):
    rows = [
        {
            "model_id": name,
            "source_revision": "r",
            "card": text,
            "n_bytes": len((text or "").encode()),
            "problem": None if text else "x",
        }
        for name, text in texts.items()
    ]
    return table_of("raw.cards", rows)


def test_rows_are_those_of_cards_with_a_text_for_any_number_of_processes(monkeypatch):
    monkeypatch.setattr(cards, "MANY_CARDS", 2)
    monkeypatch.setattr(cards, "RANGE_CARDS", 3)
    monkeypatch.setattr(cards, "BATCH_CARDS", 2)
    texts = {f"lab/m{i}": f"A fine-tuned version of lab/p-{i}." for i in range(10)} | {"lab/none": None, "lab/z": "é"}
    tables = []
    for processes in (1, 2):
        with connected({"raw.cards": raw_cards(texts)}) as connection:
            tables.append(parsed_cards(connection, SNAPSHOT, processes=processes).read_all())
    assert tables[0].equals(tables[1])
    assert tables[0].schema.equals(contract_of("components.cards").arrow_schema)
    assert tables[0]["model_id"].to_pylist() == sorted(set(texts) - {"lab/none"})
    found = [[s["declared_parent"] for s in row["statements"]] for row in tables[0].to_pylist()]
    assert found == [[f"lab/p-{i}"] for i in range(10)] + [[]]


def test_no_cards_are_no_rows():
    with connected({"raw.cards": raw_cards({})}) as connection:
        assert parsed_cards(connection, SNAPSHOT).read_all().num_rows == 0


def test_the_asset_writes_the_table_and_its_checks_pass(tmp_path):
    atlas = Atlas(Settings(home=str(tmp_path / "home"), threads=1))
    text = "---\nlibrary_name: peft\n---\nA fine-tuned version of lab/a-1, v{}."
    atlas.write("raw.cards", raw_cards({f"lab/m{i}": text.format(i) for i in range(3)} | {"lab/x": None}), SNAPSHOT)
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        instance.add_dynamic_partitions("snapshot", [SNAPSHOT])
        source = dg.AssetSpec(dg.AssetKey(["raw", "cards"]), partitions_def=cards_asset.partitions_def)
        result = dg.materialize(
            [cards_asset, source], partition_key=SNAPSHOT, resources={"atlas": atlas}, instance=instance
        )
    assert result.success
    assert atlas.store.read("components.cards").num_rows == 3
    assert atlas.is_current("components.cards", SNAPSHOT)
    with atlas.store.connect() as connection:
        for table in ("raw.cards", "components.cards"):
            own = [check for check in checks_of(table) if check.query]
            assert {check.name: run_check(connection, check).n_failing for check in own} == {
                check.name: int(check.name == "cards_that_cannot_be_read") for check in own
            }


BREAKAGES = {
    "every_card_is_parsed": ({}, {"lab/other": {}}),
    "statements_are_whole": ({}, {"lab/a": {"statements": [{"source": "rumour", "declared_parent": "x"}]}}),
    "no_text_names_its_own_model": (
        {},
        {"lab/a": {"statements": [{"source": "card_text", "declared_parent": "LAB/a", "quote": "x"}]}},
    ),
    "front_matter_that_cannot_be_parsed": ({}, {"lab/a": {"problem": "line 1"}}),
    "text_is_whole_or_says_so": ({"lab/a": {"card": "x", "n_bytes": 5}}, {"lab/a": {}}),
    "cards_that_cannot_be_read": ({"lab/b": {"problem": "no text"}}, {"lab/a": {}}),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_each_check_sees_what_it_is_for(name):
    raw, parsed = BREAKAGES[name]
    raw = {"lab/a": {"card": "x", "n_bytes": 1}} | raw
    blank = {"statements": [], "n_words": 0}
    tables = {
        "raw.cards": table_of("raw.cards", [{"model_id": k, "source_revision": "r", **v} for k, v in raw.items()]),
        "components.cards": table_of("components.cards", [{"model_id": k, **blank, **v} for k, v in parsed.items()]),
    }
    (check,) = [c for t in tables for c in checks_of(t) if c.name == name and c.query]
    with connected(tables) as connection:
        assert run_check(connection, check).n_failing >= 1


@pytest.mark.parametrize(
    "statements",
    [
        [{"source": "card_data", "declared_parent": ""}],
        [{"source": "card_data", "declared_parent": "a", "relation": "cousin"}],
        [{"source": "card_data", "declared_parent": "a", "role": "base"}],
        [{"source": "card_text", "declared_parent": "a"}],
        [{"source": "mergekit", "declared_parent": "a", "quote": "x" * 301}],
        [{"source": "card_data", "declared_parent": "a"}, {"source": "card_data", "declared_parent": "a"}],
    ],
)
def test_a_statement_that_is_not_whole_is_seen(statements):
    table = table_of("components.cards", [{"model_id": "lab/a", "n_words": 0, "statements": statements}])
    (check,) = [c for c in checks_of("components.cards") if c.name == "statements_are_whole"]
    with connected({"components.cards": table}) as connection:
        assert run_check(connection, check).n_failing >= 1


@pytest.mark.skipif(not REAL.is_file(), reason=f"the real cards are not in {REAL}")
def test_real_cards_are_parsed_and_many_name_a_parent():
    rows = pq.read_table(REAL, columns=["id", "card"]).to_pylist()
    parsed = {row["id"]: parse_card(row["card"], model_id=row["id"]) for row in rows}
    assert len(rows) == 3601
    assert sum(each.metadata is not None for each in parsed.values()) > 3_100
    assert sum(each.problem is not None for each in parsed.values()) < 20
    assert 1_550 < sum(bool(each.statements) for each in parsed.values()) < 1_750
    for row in rows:
        whole = normalised(row["card"])
        assert all(s.quote in whole for s in parsed[row["id"]].statements)
    batch = pa.RecordBatch.from_pylist([{"model_id": r["id"], "card": r["card"]} for r in rows[:50]])
    assert cards.parse_batch(batch, SNAPSHOT).num_rows == 50
