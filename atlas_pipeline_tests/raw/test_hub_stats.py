"""Every form in which the source has ever had a column, and what a hostile one could hold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.raw.hub_stats import read_hub_stats
from atlas_pipeline.raw.sources import SourceError
from atlas_pipeline.schema import contract_of


@dataclass(frozen=True)
class Read:
    """A file as it was read to its end."""

    rows: pa.Table
    notes: tuple[str, ...]


NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def read(folder: Path, columns: dict, *, name: str = "models.parquet", **options) -> Read:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)
    raw = read_hub_stats(path, snapshot="2024-06-01", source_revision="r1")
    return Read(raw.rows.read_all(), raw.notes)


def one(folder: Path, column: str, values: pa.Array) -> tuple[list, list, tuple[str, ...]]:
    """Values, problems and notes of a file with an id and one other column."""
    raw = read(folder, {"id": [f"o/m{i}" for i in range(len(values))], column: values})
    return raw.rows[column].to_pylist(), raw.rows["problem"].to_pylist(), raw.notes


FILES = [["README.md", "model.safetensors"], None, []]
SIBLINGS = {
    "texts": pa.array(FILES, pa.list_(pa.string())),
    "dictionary": pa.array(FILES, pa.list_(pa.string())).cast(pa.list_(pa.large_string())),
    "structs": pa.array([None if f is None else [{"rfilename": n} for n in f] for f in FILES]),
    "larger structs": pa.array(
        [None if f is None else [{"blob": None, "rfilename": n, "size": 1} for n in f] for f in FILES]
    ),
    "JSON texts": pa.array([None if f is None else json.dumps(f) for f in FILES]),
    "JSON objects": pa.array([None if f is None else json.dumps([{"rfilename": n} for n in f]) for f in FILES]),
}


@pytest.mark.parametrize("form", SIBLINGS)
def test_siblings_of_every_form_are_file_names(tmp_path, form):
    values, problems, notes = one(tmp_path, "siblings", SIBLINGS[form])
    assert values == FILES
    assert problems == [None] * 3 and notes == ()


TIMES = {
    "naive": pa.array([NOON.replace(tzinfo=None), None], pa.timestamp("us")),
    "nanoseconds": pa.array([NOON.replace(tzinfo=None), None], pa.timestamp("ns")),
    "zone": pa.array([NOON, None], pa.timestamp("ms", tz="Asia/Tokyo")),
    "text": pa.array(["2024-05-01T12:00:00.000Z", None]),
    "text of a zone": pa.array(["2024-05-01 14:00:00+02:00", None]),
    "text without zone": pa.array(["2024-05-01T12:00:00", None]),
}


@pytest.mark.parametrize("form", TIMES)
def test_created_at_of_every_form_is_utc(tmp_path, form, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    values, problems, notes = one(tmp_path, "createdAt", TIMES[form])
    assert values == [NOON, None]
    assert problems == [None, None] and notes == ()


def test_a_day_is_its_first_instant(tmp_path):
    values, _, _ = one(tmp_path, "createdAt", pa.array([date(2024, 5, 1)]))
    assert values == [datetime(2024, 5, 1, tzinfo=UTC)]


def test_instants_that_are_none_are_null_and_said(tmp_path):
    """DuckDB takes 'infinity' and far years for instants; Python and Arrow's users cannot hold them."""
    hostile = ["infinity", "-infinity", "290000-01-01", "0044-03-15 (BC)", "yesterday", "", "1714564800"]
    values, problems, _ = one(tmp_path, "createdAt", pa.array(hostile))
    assert values == [None] * len(hostile)
    assert problems == ["createdAt cannot be read"] * len(hostile)
    values, problems, _ = one(tmp_path, "lastModified", pa.array([2**62], pa.timestamp("us")))
    assert (values, problems) == ([None], ["lastModified cannot be read"])


def test_instants_as_numbers_are_noted_and_null(tmp_path):
    """Seconds or milliseconds: nobody can tell, so it is not guessed."""
    values, _, notes = one(tmp_path, "createdAt", pa.array([1714564800]))
    assert values == [None]
    assert notes == ("column createdAt has the unreadable type BIGINT and is null throughout",)


COUNTS = {"parameters": {"F32": 3, "BF16": None, "miku": 2}, "total": 5}
TENSORS = {
    "fields by dtype": (pa.array([COUNTS, None]), [("F32", 3), ("miku", 2)], 5),
    "map": (
        pa.array(
            [{"parameters": [("F32", 3)], "total": 3}, None],
            pa.struct({"parameters": pa.map_(pa.string(), pa.int64()), "total": pa.int64()}),
        ),
        [("F32", 3)],
        3,
    ),
    "JSON": (pa.array([json.dumps(COUNTS), None]), [("F32", 3), ("miku", 2)], 5),
    "total alone": (pa.array([{"total": 5, "sharded": True}, None]), None, 5),
    "doubles": (pa.array([{"parameters": {"F32": 3.0}, "total": 3.0}, None]), [("F32", 3)], 3),
}


@pytest.mark.parametrize("form", TENSORS)
def test_safetensors_of_every_form_are_counts(tmp_path, form):
    given_values, parameters, total = TENSORS[form]
    (first, second), problems, notes = one(tmp_path, "safetensors", given_values)
    assert first == {"parameters": parameters, "total": total}
    assert second is None and problems == [None, None] and notes == ()


def test_safetensors_that_are_none_are_null_and_said(tmp_path):
    hostile = ["{", "[]", "7", '{"parameters": {"F32": 1, "F32": 2}}', '{"total": 1e400}', '{"parameters": "all"}']
    values, problems, _ = one(tmp_path, "safetensors", pa.array(hostile))
    assert values == [None] * len(hostile)
    assert problems == ["safetensors cannot be read"] * len(hostile)
    values, _, notes = one(tmp_path, "safetensors", pa.array([{"shape": {"parameters": 1}}]))
    assert values == [None] and "unreadable type STRUCT" in notes[0]


MODELS = {"relation": "merge", "models": [{"_id": "1", "id": "a/b"}, None, {"_id": None, "id": None}]}
BASES = {
    "structs": (pa.array([MODELS, None]), MODELS),
    "JSON": (pa.array([json.dumps(MODELS), None]), MODELS),
    "further fields": (
        pa.array([{"models": [{"sha": "x", "id": "a/b"}], "relation": "merge", "n": 1}, None]),
        {"relation": "merge", "models": [{"_id": None, "id": "a/b"}]},
    ),
    "no relation": (
        pa.array([{"models": [{"id": "a/b"}]}, None]),
        {"relation": None, "models": [{"_id": None, "id": "a/b"}]},
    ),
}


@pytest.mark.parametrize("form", BASES)
def test_base_models_of_every_form_are_parents(tmp_path, form):
    given_values, expected = BASES[form]
    values, problems, notes = one(tmp_path, "baseModels", given_values)
    assert values == [expected, None]
    assert problems == [None, None] and notes == ()


def test_base_models_of_other_shapes_are_noted(tmp_path):
    values, _, notes = one(tmp_path, "baseModels", pa.array([{"relation": "merge", "models": ["a/b"]}]))
    assert values == [None] and "column baseModels has the unreadable type" in notes[0]
    values, problems, _ = one(tmp_path, "baseModels", pa.array(["a/b"]))
    assert (values, problems) == ([None], ["baseModels cannot be read"])


def test_json_stays_as_it_is_and_other_text_is_said(tmp_path):
    texts = ['{"a": 1 }', "{'a': 1}", "", None, "[" * 100_000]
    values, problems, _ = one(tmp_path, "config", pa.array(texts))
    assert values == texts
    assert problems == [None, *["config is not JSON"] * 2, None, "config is not JSON"]


def test_structs_of_card_and_config_become_json(tmp_path):
    raw = read(
        tmp_path,
        {
            "id": ["a/b"],
            "cardData": pa.array([{"base_model": ["x/y"], "license": None}]),
            "config": pa.array([[("model_type", "bert")]], pa.map_(pa.string(), pa.string())),
        },
    )
    assert json.loads(raw.rows["cardData"][0].as_py()) == {"base_model": ["x/y"], "license": None}
    assert json.loads(raw.rows["config"][0].as_py()) == {"model_type": "bert"}


def test_gated_is_text_whether_flag_or_word(tmp_path):
    assert one(tmp_path, "gated", pa.array([False, True, None]))[0] == ["false", "true", None]
    assert one(tmp_path, "gated", pa.array(["auto", "manual"]).dictionary_encode())[0] == ["auto", "manual"]


def test_numbers_of_other_types_are_read_or_said(tmp_path):
    values, problems, _ = one(tmp_path, "downloads", pa.array([1, 2**63], pa.uint64()))
    assert (values, problems) == ([1, None], [None, "downloads cannot be read"])
    values, problems, _ = one(tmp_path, "downloads", pa.array(["12", "many", None, "1e3"]))
    assert (values, problems) == ([12, None, None, 1000], [None, "downloads cannot be read", None, None])
    values, problems, _ = one(tmp_path, "likes", pa.array([3.0, float("nan"), float("inf")]))
    assert (values, problems) == ([3, None, None], [None, *["likes cannot be read"] * 2])
    _, _, notes = one(tmp_path, "downloads", pa.array([[1]]))
    assert notes == ("column downloads has the unreadable type BIGINT[] and is null throughout",)


def test_unknown_columns_are_noted_even_with_the_names_of_ours(tmp_path):
    given_columns = {"id": ["a/b"], "row_number": [9], "problem": ["none"], "rejection": [1], "x\x1b[31m": [1]}
    raw = read(tmp_path, given_columns)
    assert raw.rows["row_number"].to_pylist() == [1] and raw.rows["problem"].to_pylist() == [None]
    assert [note.split(" is not known")[0] for note in raw.notes] == [
        "column row_number (BIGINT)",
        "column problem (VARCHAR)",
        "column rejection (BIGINT)",
        "column x?[31m (BIGINT)",
    ]


def test_columns_of_nothing_are_absent_ones(tmp_path):
    raw = read(tmp_path, {"id": ["a/b"], "tags": pa.nulls(1), "downloads": pa.nulls(1), "config": pa.nulls(1)})
    assert raw.notes == () and raw.rows["problem"].to_pylist() == [None]


IDS = {
    "gpt2": None,
    "Org/Model.v1_2-x": None,
    "a" * 200 + "/" + "b" * 199: None,
    None: "id is missing",
    "../../etc/passwd": "id is no model id",
    "a/..": "id is no model id",
    "a/.": "id is no model id",
    "./a": "id is no model id",
    "/etc/passwd": "id is no model id",
    "a/b/c": "id is no model id",
    "a/b\n": "id is no model id",
    "a/\x1b[31mred": "id is no model id",
    "a/b\x00": "id is no model id",
    'it\'s/"quoted"': "id is no model id",
    "C:\\models": "id is no model id",
    "": "id is no model id",
    "ä/b": "id is no model id",
    "x" * 10_000: "id is no model id",
}


def test_ids_that_are_none_are_rejected_with_the_reason(tmp_path):
    raw = read(tmp_path, {"id": list(IDS)})
    rejected, problems = raw.rows["is_rejected"].to_pylist(), raw.rows["problem"].to_pylist()
    assert raw.rows["id"].to_pylist() == list(IDS)
    for model_id, is_rejected, problem, expected in zip(IDS, rejected, problems, IDS.values(), strict=True):
        assert is_rejected == (expected is not None), model_id
        assert (problem or "").startswith(expected or ""), model_id
        assert problem is None or (len(problem) < 200 and problem.isprintable()), model_id


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab/.-_\\:~\n% "), max_size=8) | st.text(max_size=30), min_size=1, max_size=40))
def test_an_accepted_id_names_a_place_inside_any_folder(ids):
    with TemporaryDirectory() as folder:
        rows = read(Path(folder), {"id": ids}).rows
        accepted = rows.filter(pc.invert(rows["is_rejected"]))["id"].to_pylist()
        for model_id in accepted:
            place = (Path("/home") / model_id).resolve()
            assert place.is_relative_to("/home") and place.relative_to("/home").parts == tuple(model_id.split("/"))
        assert len(set(accepted)) == len(accepted)


def test_the_first_of_two_rows_with_one_id_counts(tmp_path):
    raw = read(tmp_path, {"id": ["a/b", "c/d", "a/b", None, None, "A/b"], "likes": [1, 2, 3, 4, 5, 6]})
    assert raw.rows["is_rejected"].to_pylist() == [False, False, True, True, True, False]
    assert raw.rows["problem"].to_pylist()[2] == "id stands twice"


def test_rows_stand_in_the_order_of_the_file(tmp_path):
    n = 150_000
    ids = [f"o/{(i * 7919) % n}" for i in range(n)]
    first = read(tmp_path, {"id": ids}, row_group_size=10_000)
    assert first.rows["id"].to_pylist() == ids
    assert first.rows["row_number"].to_pylist() == list(range(1, n + 1))
    assert first.rows.equals(read(tmp_path, {"id": ids}, row_group_size=5_000).rows)


def test_the_rows_satisfy_the_contract_even_without_any(tmp_path):
    contract = contract_of("raw.hub_stats")
    raw = read(tmp_path, {"id": pa.array([], pa.string())})
    assert raw.rows.num_rows == 0
    assert raw.rows.select(contract.arrow_schema.names).cast(contract.arrow_schema).num_rows == 0


@pytest.mark.parametrize("folder", ["it's", "a*b", "a?b", "a[1]b", "[*]", "id=7", 'say "hi"', "a;b--", "100%"])
def test_a_path_is_no_pattern(tmp_path, folder):
    """Neither a pattern that takes in the neighbour, nor a folder that names a column."""
    read(tmp_path, {"id": ["neighbour/x"]}, name="axb/models.parquet")
    raw = read(tmp_path, {"id": ["a/b"]}, name=f"{folder}/models.parquet")
    assert raw.rows["id"].to_pylist() == ["a/b"]
    assert raw.notes == ()


def test_files_that_are_no_hub_stats_are_refused_by_name(tmp_path):
    pq.write_table(pa.table({"id": ["a/b"] * 500, "tags": [["t"]] * 500}), tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    broken = {
        "empty": b"",
        "text": b"id,downloads\na/b,1\n" * 20,
        "truncated": whole[:-30],
        "torn": whole[: len(whole) // 2] + b"PAR1",
        "flipped": whole[:4] + bytes(255 - b for b in whole[4:60]) + whole[60:],
    }
    for name, content in broken.items():
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(content)
        with pytest.raises(SourceError, match=rf"{name}\.parquet cannot be read as Parquet"):
            read_hub_stats(path, snapshot="2024-06-01", source_revision="r1")
    with pytest.raises(SourceError, match="has no column id"):
        read(tmp_path, {"model": ["a/b"]})
