"""Hand-made files: what is read of them, and what a careless one holds."""

from __future__ import annotations

import pytest

from atlas_pipeline.components.hand_made import (
    MAX_BYTES,
    OWN_FOLDER,
    AnnotationError,
    annotations_digest,
    load_hand_made,
)


def parents_of(folder) -> list[tuple[str, str, str | None]]:
    return [tuple(row.values()) for row in load_hand_made(str(folder)).parents.to_pylist()]


def test_lists_of_parents_have_one_relation_for_all_or_one_for_each(tmp_path):
    (tmp_path / "parents.csv").write_text(
        "current_model,base_model,base_model_relation\n"
        'a/one,"b/x, b/y ,",merge\n'
        'a/two,"b/x,b/y","adapter,finetune"\n'
        'a/three,"b/x,b/y,b/z","adapter,finetune"\n'
        "a/four,b/x,unknown_annotated\n"
        "a/five,b/x,\n"
        "a/six,,source\n"
        "a/seven,N/A,merge\n"
        ",b/x,merge\n"
        "007,b/x,merge\n"
    )
    assert parents_of(tmp_path) == [
        *(("a/one", parent, "merge") for parent in ("b/x", "b/y")),
        ("a/two", "b/x", "adapter"),
        ("a/two", "b/y", "finetune"),
        *(("a/three", parent, "adapter") for parent in ("b/x", "b/y", "b/z")),
        ("a/four", "b/x", None),
        ("a/five", "b/x", None),
        ("007", "b/x", "merge"),
    ]


def test_names_of_digits_and_dates_stay_text(tmp_path):
    (tmp_path / "numbers.csv").write_text("current_model,base_model\n007,2024-01-01\n008,true\n")
    assert parents_of(tmp_path) == [("007", "2024-01-01", None), ("008", "true", None)]


def test_the_given_aliases_count_before_the_own_ones(tmp_path):
    own = load_hand_made("").aliases.to_pylist()
    assert {"alias": "gpt2", "model_id": "openai-community/gpt2"} in own
    (tmp_path / "aliases.csv").write_text("alias,model_id\ngpt2,mine/gpt2\n,nobody/x\nnothing,\n007,b/x\n")
    names = {row["alias"]: row["model_id"] for row in load_hand_made(str(tmp_path)).aliases.to_pylist()}
    assert names == {**{row["alias"]: row["model_id"] for row in own}, "gpt2": "mine/gpt2", "007": "b/x"}


def test_the_own_aliases_are_names_of_models():
    for row in load_hand_made("").aliases.to_pylist():
        assert row["alias"] != row["model_id"] and row["model_id"].count("/") == 1
    assert list(OWN_FOLDER.glob("*.csv"))


def test_a_file_of_other_columns_is_passed_over_by_name(tmp_path):
    (tmp_path / "notes.csv").write_text("who,what\nme,nothing\n")
    (tmp_path / "readme.txt").write_text("no CSV")
    assert load_hand_made(str(tmp_path)).notes == ("notes.csv was passed over: its columns what, who are not known",)


@pytest.mark.parametrize(
    "content",
    [b"", b"current_model,base_model\na/b\n", b"current_model,base_model\n\xff\xfe,a/b\n", b"alias,model_id\na,b,c\n"],
)
def test_a_file_that_is_no_csv_is_refused_by_name(tmp_path, content):
    (tmp_path / "broken.csv").write_bytes(content)
    with pytest.raises(AnnotationError, match=r"broken\.csv cannot be read as CSV"):
        load_hand_made(str(tmp_path))


def test_a_file_of_another_world_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "huge.csv").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(AnnotationError, match="larger than 100 MB"):
        load_hand_made(str(tmp_path))
    with pytest.raises(AnnotationError, match="no such folder"):
        load_hand_made(str(tmp_path / "missing"))


def test_the_digest_follows_names_and_contents(tmp_path):
    digests = [annotations_digest(""), annotations_digest(str(tmp_path))]
    assert digests[0] == digests[1]
    for name, content in (("a.csv", "alias,model_id\n"), ("a.csv", "alias,model_id\nx,y/z\n"), ("b.csv", "who,what\n")):
        (tmp_path / name).write_text(content)
        digests.append(annotations_digest(str(tmp_path)))
    assert len(set(digests)) == 4
