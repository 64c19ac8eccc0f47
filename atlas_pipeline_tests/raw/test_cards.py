import os

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.raw import cards
from atlas_pipeline.raw.assets import cards as cards_asset
from atlas_pipeline.raw.cards import MAX_CARD_BYTES, read_card_file, read_card_folder, read_cards
from atlas_pipeline.raw.sources import SourceError
from atlas_pipeline.schema import contract_of
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage.files import sha256_of

SNAPSHOT = "2025-01-01"


def put(path, ids, texts, *, names=("id", "card"), kind=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({names[0]: pa.array(ids), names[1]: pa.array(texts, kind)}), path)
    return path


def settings_of(tmp_path, **given):
    return Settings(home=str(tmp_path / "home"), hub_stats="nothing", **{"weights": "", **given})


def rows_of(reader):
    table = reader.read_all()
    assert table.schema.equals(contract_of("raw.cards").arrow_schema)
    rows = table.to_pylist()
    assert [row["model_id"] for row in rows] == sorted({row["model_id"] for row in rows})
    return {row["model_id"]: row for row in rows}


def read_file(tmp_path, ids, texts, **options):
    path = put(tmp_path / "cards.parquet", ids, texts, **options)
    return rows_of(read_card_file(path, snapshot=SNAPSHOT, settings=settings_of(tmp_path)))


def test_cards_are_read_by_id_and_untouched(tmp_path):
    text = "---\r\nlicense: no\r\n---\n\n # é 😀\x00\x1b\n"
    rows = read_file(tmp_path, ["lab/b", "gpt2", "lab/a"], ["B", text, ""])
    assert rows["gpt2"] == {
        "snapshot": SNAPSHOT,
        "model_id": "gpt2",
        "source_revision": f"sha256:{sha256_of(tmp_path / 'cards.parquet')}",
        "card": text,
        "n_bytes": len(text.encode()),
        "is_truncated": False,
        "problem": None,
    }
    assert (rows["lab/a"]["card"], rows["lab/b"]["card"]) == ("", "B")


@pytest.mark.parametrize("names", [("modelId", "card"), ("model_id", "text"), ("id", "text")])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())])
def test_columns_have_several_names_and_types(tmp_path, names, kind):
    texts = pa.array([b"x", b"y"], pa.binary()) if kind == pa.binary() else pa.array(["x", "y"]).cast(kind)
    rows = read_file(tmp_path, ["lab/a", "lab/b"], texts, names=names, kind=kind)
    assert [row["card"] for row in rows.values()] == ["x", "y"]


def test_what_cannot_be_read_stays_with_the_problem(tmp_path):
    long_id = "lab/" + "x" * 400
    ids = [None, None, "lab/a", "a/b/c", "../x", "lab/.", "x\ny", long_id, "lab/none", "lab/bytes", "lab/a", "lab/a"]
    texts = [b"1", b"2", b"first", b"4", b"5", b"6", b"7", b"8", None, b"\xff\xfe", b"second", b"third"]
    rows = read_file(tmp_path, ids, texts)
    problems = {name: row["problem"] for name, row in rows.items()}
    assert problems == {
        "": "id is missing; id stands 2 times, the first is kept",
        "lab/a": "id stands 3 times, the first is kept",
        "a/b/c": "id is no model id",
        "../x": "id is no model id",
        "lab/.": "id is no model id",
        "x?y": "id is no model id",
        long_id[:300] + "…": "id is no model id",
        "lab/none": "card is missing",
        "lab/bytes": "card is no UTF-8 text",
    }
    assert rows["lab/a"]["card"] == "first"
    assert all(row["card"] is None for name, row in rows.items() if name != "lab/a")
    assert rows["lab/bytes"]["n_bytes"] == 2


def test_one_text_that_is_no_utf8_does_not_spoil_the_file(tmp_path):
    offsets = pa.array([0, 2, 5], pa.int32()).buffers()[1]
    texts = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"\xff\xfeabc"))
    rows = read_file(tmp_path, ["lab/a", "lab/b"], texts)
    assert [(row["card"], row["problem"]) for row in rows.values()] == [(None, "card is no UTF-8 text"), ("abc", None)]


@settings(max_examples=12, deadline=None)
@given(st.integers(-5, 5), st.sampled_from(["x", "é", "€", "😀"]))
def test_long_texts_are_cut_between_characters(tmp_path_factory, extra, character):
    tmp_path = tmp_path_factory.mktemp("long")
    text = "y" * (MAX_CARD_BYTES + extra - 2) + character * 2
    readme = tmp_path / "models/lab/a/README.md"
    readme.parent.mkdir(parents=True)
    readme.write_text(text)
    in_file = read_file(tmp_path, ["lab/a"], [text])["lab/a"]
    in_folder = rows_of(read_card_folder(tmp_path / "models", snapshot=SNAPSHOT))["lab/a"]
    for row in (in_file, in_folder):
        assert row["n_bytes"] == len(text.encode())
        assert row["is_truncated"] == (row["n_bytes"] > MAX_CARD_BYTES) == (row["card"] != text)
        assert text.startswith(row["card"])
        assert MAX_CARD_BYTES - 4 < len(row["card"].encode()) <= MAX_CARD_BYTES or not row["is_truncated"]
        assert row["problem"] is None


@pytest.mark.parametrize("name", [f"{SNAPSHOT}.parquet", f"{SNAPSHOT}/cards.parquet"])
def test_a_folder_holds_a_file_for_each_snapshot(tmp_path, name):
    put(tmp_path / "cards" / name, ["lab/a"], ["x"])
    settings = settings_of(tmp_path, cards=str(tmp_path / "cards"))
    assert list(rows_of(read_cards(settings, SNAPSHOT))) == ["lab/a"]
    assert rows_of(read_cards(settings, "2025-02-01")) == {}


def test_a_single_file_serves_every_snapshot(tmp_path):
    settings = settings_of(tmp_path, cards=str(put(tmp_path / "c.parquet", ["lab/a"], ["x"])))
    for snapshot in (SNAPSHOT, "2025-02-01"):
        assert rows_of(read_cards(settings, snapshot))["lab/a"]["snapshot"] == snapshot


def test_a_file_on_the_hub_is_fetched_by_its_address(tmp_path, monkeypatch):
    path, asked = put(tmp_path / "c.parquet", ["lab/a"], ["x"]), []

    def fetch(source, cache):
        asked.append((source.repo_id, source.path_in_repo, source.revision, cache))
        return path

    monkeypatch.setattr(cards.SnapshotSource, "fetch", fetch)
    for location in ("hf://datasets/org/name/a/b.parquet", "hf://datasets/org/name@v1/b.parquet"):
        assert list(rows_of(read_cards(settings_of(tmp_path, cards=location), SNAPSHOT))) == ["lab/a"]
    cache = settings_of(tmp_path).state_folder
    assert asked == [("org/name", "a/b.parquet", "main", cache), ("org/name", "b.parquet", "v1", cache)]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("nothing", "no such file or folder"),
        ("hf://models/org/name/x.parquet", "expected hf://datasets/ORG/NAME"),
        ("hf://datasets/org/name/x.csv", "expected hf://datasets/ORG/NAME"),
        ("broken.parquet", "cannot be read as Parquet"),
        ("other.parquet", "has no column id or modelId or model_id"),
        ("numbers.parquet", "the column card holds int64, not texts"),
    ],
)
def test_a_location_that_cannot_be_used_is_one_sentence(tmp_path, location, reason):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no PAR1")
    put(tmp_path / "other.parquet", ["x"], ["y"], names=("name", "card"))
    put(tmp_path / "numbers.parquet", ["x"], [1])
    given = location if "://" in location else str(tmp_path / location)
    with pytest.raises(SourceError, match=reason) as caught:
        read_cards(settings_of(tmp_path, cards=given), SNAPSHOT)
    assert location in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_breaks_off_is_named_while_it_is_read(tmp_path):
    path = put(tmp_path / "c.parquet", [f"lab/{i}" for i in range(5000)], [str(i) * 50 for i in range(5000)])
    content = bytearray(path.read_bytes())
    content[20 : len(content) // 2] = bytes(len(content) // 2 - 20)
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"c\.parquet cannot be read as Parquet"):
        read_cards(settings_of(tmp_path, cards=str(path)), SNAPSHOT).read_all()


def test_without_cards_and_weights_there_are_none(tmp_path):
    for weights in ("", "hub", str(tmp_path / "nothing")):
        assert rows_of(read_cards(settings_of(tmp_path, weights=weights), SNAPSHOT)) == {}


def test_readmes_of_a_folder_are_cards(tmp_path):
    models = tmp_path / "models"
    for name, content in {"lab/a": b"# A\r\n", "lab/bytes": b"\xff", "lab/none": None, "zoo/b": "é".encode()}.items():
        (models / name).mkdir(parents=True)
        if content is not None:
            (models / name / "README.md").write_bytes(content)
    (models / "lab/none/readme.txt").write_text("no card")
    (models / "lab/none/sub").mkdir()
    (models / "lab/none/sub/README.md").write_text("no card")
    (models / "README.md").write_text("no card")
    rows = rows_of(read_cards(settings_of(tmp_path, weights=str(models)), SNAPSHOT))
    assert {name: (row["card"], row["n_bytes"], row["problem"]) for name, row in rows.items()} == {
        "lab/a": ("# A\r\n", 5, None),
        "lab/bytes": (None, 1, "card is no UTF-8 text"),
        "zoo/b": ("é", 2, None),
    }
    assert rows["lab/a"]["source_revision"] == f"sha256:{sha256_of(models / 'lab/a/README.md')}"


def test_a_folder_whose_name_is_no_text_is_a_problem_of_its_own(tmp_path):
    models = tmp_path / "models"
    try:
        for name in (os.fsdecode(b"\xff"), "z", "a"):
            (models / "lab" / name).mkdir(parents=True)
            (models / "lab" / name / "README.md").write_text("x")
    except OSError:
        pytest.skip("this file system takes no such names")
    rows = read_cards(settings_of(tmp_path, weights=str(models)), SNAPSHOT).read_all().to_pylist()
    assert [(row["model_id"], row["problem"]) for row in rows] == [
        ("lab/\\udcff", "id is no model id"),
        ("lab/a", None),
        ("lab/z", None),
    ]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    secret = tmp_path / "secret.md"
    secret.write_text("secret")
    for name in ("lab/in", "lab/out"):
        (tmp_path / "models" / name).mkdir(parents=True)
    (tmp_path / "models/lab/shared.md").write_text("shared")
    (tmp_path / "models/lab/in/README.md").symlink_to("../shared.md")
    (tmp_path / "models/lab/out/README.md").symlink_to(secret)
    rows = rows_of(read_card_folder(tmp_path / "models", snapshot=SNAPSHOT))
    assert rows["lab/in"]["card"] == "shared"
    assert (rows["lab/out"]["card"], rows["lab/out"]["source_revision"]) == (None, "unread")
    assert "leads out of the repository" in rows["lab/out"]["problem"]


def test_the_demo_hub_has_cards(tmp_path, demo_hub):
    rows = rows_of(read_card_folder(demo_hub.weights, snapshot=SNAPSHOT))
    assert len(rows) > 10
    assert all(row["problem"] is None and row["card"] for row in rows.values())


def test_the_demo_hub_is_made_before_it_is_read(tmp_path, monkeypatch):
    def make(folder, *, seed):
        (folder / "models/demo/a").mkdir(parents=True)
        (folder / "models/demo/a/README.md").write_text(f"seed {seed}")

    monkeypatch.setattr(cards, "ensure_demo_hub", make)
    settings = Settings(home=str(tmp_path / "home"), seed=7)
    assert rows_of(read_cards(settings, SNAPSHOT))["demo/a"]["card"] == "seed 7"


def test_the_asset_writes_the_table(tmp_path, instance):
    path = put(tmp_path / "c.parquet", ["lab/b", "lab/a"], ["x", "y"])
    atlas = Atlas(settings_of(tmp_path, cards=str(path)))
    instance.add_dynamic_partitions("snapshot", [SNAPSHOT])
    result = dg.materialize([cards_asset], partition_key=SNAPSHOT, resources={"atlas": atlas}, instance=instance)
    assert result.success
    assert atlas.store.read("raw.cards")["model_id"].to_pylist() == ["lab/a", "lab/b"]
    assert atlas.is_current("raw.cards", SNAPSHOT)
    put(path, ["lab/b", "lab/a"], ["x", "another"])
    assert not atlas.is_current("raw.cards", SNAPSHOT)
