"""A listing made of a folder of weights, with whatever lies in it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gguf
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlas_pipeline.raw.folder_listing import list_folder
from atlas_pipeline.raw.snapshots import read_snapshot
from atlas_pipeline.raw.sources import SourceError, find_snapshot, find_snapshots
from atlas_pipeline.repositories import RepositoryError
from atlas_pipeline.schema import contract_of
from atlas_pipeline.settings import FOLDER, Settings
from atlas_pipeline_tests.raw.folders import HOUR, NOON, put, put_model

DAY = "2025-01-01"


def listed(folder: Path) -> dict[str, dict]:
    return {row["id"]: row for row in list_folder(folder, DAY).rows.read_all().to_pylist()}


def config_of(folder: Path, config, **files) -> dict | None:
    """What the listing says of a model with this config.json and these further files."""
    path = put_model(folder, "org/model", config=config)
    for name, content in files.items():
        put(path / f"{name}.json", content)
    row = listed(folder)["org/model"]
    return None if row["config"] is None else json.loads(row["config"])


def test_a_folder_is_listed_in_the_columns_of_hub_stats(tmp_path):
    put_model(
        tmp_path, "b/two", time=NOON + HOUR, config={"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    )
    put_model(tmp_path, "a/one")
    put(tmp_path / "a/one/README.md", "---\nlicense: mit\n---\n", time=NOON + 2 * HOUR)
    raw = list_folder(tmp_path, DAY)
    table = raw.rows.read_all()
    assert table.schema.equals(contract_of("raw.hub_stats").arrow_schema)
    one, two = table.to_pylist()
    assert (one["id"], one["author"], one["row_number"], one["snapshot"]) == ("a/one", "a", 1, DAY)
    assert one["siblings"] == ["README.md", "model.safetensors"]
    noon = datetime.fromtimestamp(NOON, UTC)
    assert (one["createdAt"], one["lastModified"]) == (noon, noon + timedelta(hours=2))
    assert json.loads(two["config"]) == {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    assert two["createdAt"] == noon + timedelta(hours=1)
    assert {row["problem"] for row in (one, two)} == {None}
    assert not any(row["is_rejected"] for row in (one, two))
    assert raw.notes == ()
    nothing = ("downloads", "likes", "tags", "baseModels", "cardData", "sha", "gguf")
    assert {one[name] for name in nothing} == {None}


def test_the_same_folder_gives_the_same_rows_and_a_changed_one_another_revision(tmp_path):
    put_model(tmp_path, "a/one")
    first, again = listed(tmp_path), listed(tmp_path)
    assert first == again
    put(tmp_path / "a/one/notes.txt", "x")
    changed = listed(tmp_path)
    assert changed["a/one"]["source_revision"] != first["a/one"]["source_revision"]
    assert changed["a/one"]["source_revision"].startswith("folder:")


def test_dates_written_down_win_and_strangers_are_named(tmp_path):
    put_model(tmp_path, "a/one")
    put_model(tmp_path, "a/two")
    put(tmp_path / "models.csv", "model_id,created_at\na/two,2023-02-03\nx/gone,2023-01-01\n")
    raw = list_folder(tmp_path, DAY)
    dates = {row["id"]: row["createdAt"] for row in raw.rows.read_all().to_pylist()}
    assert dates == {"a/one": None, "a/two": datetime(2023, 2, 3, tzinfo=UTC)}
    assert raw.notes == ("models.csv dates x/gone, which is no model of the folder",)


def test_weights_beside_the_models_are_noted(tmp_path):
    put_model(tmp_path, "a/one")
    put(tmp_path / "loose.gguf")
    assert list_folder(tmp_path, DAY).notes == ("1 weight files lie in no model <org>/<name>/: loose.gguf",)


def test_of_configurations_only_what_says_something_is_kept(tmp_path):
    found = config_of(
        tmp_path,
        {
            "model_type": "llama",
            "architectures": ["A", "B"],
            "id2label": {str(i): "x" for i in range(1000)},
            "quantization_config": {"quant_method": "gptq", "bits": 4, "modules": ["a"] * 100},
        },
        adapter_config={"base_model_name_or_path": "org/base", "peft_type": "LORA", "r": 8},
        model_index={"_class_name": "StableDiffusionPipeline", "vae": ["x", "y"]},
    )
    assert found == {
        "model_type": "llama",
        "architectures": ["A"],
        "quantization_config": {"quant_method": "gptq", "bits": 4},
        "peft": {"base_model_name_or_path": "org/base", "peft_type": "LORA"},
        "diffusers": {"_class_name": "StableDiffusionPipeline"},
    }


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/data/runs/org/base", "org/base"),
        ("../org/base/", "org/base"),
        ("C:\\runs\\org\\base", "org/base"),
        ("org/base", "org/base"),
        ("/data/other/base", "/data/other/base"),
        ("base", "base"),
    ],
)
def test_a_path_that_ends_like_a_model_of_the_folder_means_that_model(tmp_path, path, meant):
    put_model(tmp_path, "org/base")
    found = config_of(tmp_path, {"_name_or_path": path}, adapter_config={"base_model_name_or_path": path})
    assert found == {"_name_or_path": meant, "peft": {"base_model_name_or_path": meant}}


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"a":' * 5000 + "1" + "}" * 5000,
        '{"model_type": "a", "model_type": "b"}',
        '{"bits": NaN}',
        b"\xff\xfe",
        '{"a": ' + "9" * 5000 + "}",
    ],
    ids=["empty", "cut", "list", "deep", "deep objects", "twice", "nan", "bytes", "number"],
)
def test_a_configuration_that_cannot_be_read_is_a_problem_and_costs_nothing_else(tmp_path, config):
    path = put_model(tmp_path, "org/model")
    put(path / "config.json", config)
    row = listed(tmp_path)["org/model"]
    assert row["config"] is None
    assert row["problem"].startswith("config cannot be read: ")
    assert len(row["problem"]) < 1000
    assert (row["is_rejected"], row["siblings"]) == (False, ["config.json", "model.safetensors"])


def test_a_configuration_that_is_far_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("atlas_pipeline.raw.folder_listing.MAX_CONFIG_BYTES", 10)
    path = put_model(tmp_path, "org/model", config={"model_type": "llama"})
    assert "at most 10 are read" in listed(tmp_path)[f"org/{path.name}"]["problem"]


def test_values_of_the_wrong_kind_are_left_out(tmp_path):
    config = {"model_type": 3, "_name_or_path": None, "architectures": "A", "quantization_config": {"bits": [4]}}
    assert config_of(tmp_path, config) == {"quantization_config": {}}
    assert config_of(tmp_path, {"architectures": [7], "model_type": ""}) == {"architectures": []}
    assert config_of(tmp_path, {"model_type": "x" * 9999}) == {"model_type": "x" * 500}


def write_gguf_file(path: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("general.base_model.0.repo_url", "org/base")
    writer.add_string("general.license", "mit")
    writer.add_tensor("blk.0.ffn_up.weight", np.zeros((2, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_tells_architecture_and_size(tmp_path):
    (tmp_path / "org/model").mkdir(parents=True)
    write_gguf_file(tmp_path / "org/model/model-Q8_0.gguf")
    row = listed(tmp_path)["org/model"]
    found = json.loads(row["gguf"])
    assert found["architecture"] == "llama"
    assert found["total"] == 64
    assert found["general.base_model.0.repo_url"] == "org/base"
    put(tmp_path / "org/model/model-Q8_0.gguf", b"GGUF" + bytes(4))
    broken = listed(tmp_path)["org/model"]
    assert broken["gguf"] is None
    assert broken["problem"].startswith("gguf cannot be read: ")


def test_links_that_lead_out_are_problems_and_are_not_followed(tmp_path):
    secret = put(tmp_path / "secret/config.json", {"model_type": "secret"})
    folder = tmp_path / "models"
    put_model(folder, "org/sound")
    put_model(folder, "org/model")
    (folder / "org/model/config.json").symlink_to(secret)
    (folder / "org/whole").symlink_to(secret.parent)
    found = listed(folder)
    assert "leads out of the repository" in found["org/model"]["problem"]
    assert "leads out of the repository" in found["org/whole"]["problem"]
    assert found["org/model"]["siblings"] is None
    assert "secret" not in json.dumps([found[name]["config"] for name in found])
    assert found["org/sound"]["problem"] is None


def test_folders_whose_names_are_no_ids_are_rejected_by_name(tmp_path):
    for name in ("my org/model", "org/two words", "org/été", "org/sound"):
        put_model(tmp_path, name)
    found = listed(tmp_path)
    assert {name for name, row in found.items() if row["is_rejected"]} == {"my org/model", "org/two words", "org/été"}
    assert found["org/two words"]["problem"] == "id is no model id: org/two words"


def test_names_that_are_no_utf8_neither_break_the_listing_nor_the_table(tmp_path):
    put_model(tmp_path, "org/sound")
    try:
        (tmp_path / "org" / os.fsdecode(b"\xff\xfe")).mkdir()
        put(tmp_path / "org/sound" / os.fsdecode(b"\xff.txt"), "x")
    except OSError:
        pytest.skip("this file system takes no such names")
    found = listed(tmp_path)
    assert found["org/\\udcff\\udcfe"]["is_rejected"]
    assert found["org/sound"]["siblings"] == ["model.safetensors", "\\udcff.txt"]


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
CONTENTS = st.binary(max_size=40) | st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
).map(lambda value: json.dumps(value).encode())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.tuples(NAMES, NAMES), CONTENTS, max_size=4), st.integers())
def test_any_folder_gives_rows_that_the_contract_takes(tmp_path, found, number):
    folder = tmp_path / f"{number}-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    for (organisation, name), content in found.items():
        try:
            put(folder / organisation / name / "config.json", content)
        except OSError:  # names that mean folders, or that are too long for the file system
            continue
    table = list_folder(folder, DAY).rows.read_all()
    assert isinstance(table, pa.Table)
    table.validate(full=True)
    assert all(row["problem"] for row in table.to_pylist() if row["is_rejected"])


# -- as a source of snapshots ----------------------------------------------------------------------------------------


def own(folder: Path) -> Settings:
    return Settings(home="/nowhere", hub_stats=FOLDER, weights=str(folder), truth="")


def test_the_folder_is_one_snapshot_named_after_its_newest_file(tmp_path):
    put_model(tmp_path, "a/one")
    (source,) = find_snapshots(own(tmp_path))
    assert (source.snapshot, source.path, source.folder) == (DAY, None, tmp_path)
    assert read_snapshot(own(tmp_path), DAY).rows.read_all()["id"].to_pylist() == ["a/one"]
    with pytest.raises(SourceError, match=f"no snapshot 2020-01-01; it has {DAY}"):
        find_snapshot(own(tmp_path), "2020-01-01")


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("notes.txt", "a model is a folder <org>/<name>/ with its weights"),
        ("base.safetensors", "mkdir -p mine/base && ln -s ../../base.safetensors mine/base/"),
        ("run1/model.safetensors", "mkdir mine && ln -s ../run1 mine/run1"),
    ],
)
def test_a_folder_without_models_is_refused_with_what_to_do(tmp_path, path, remedy):
    put(tmp_path / path)
    with pytest.raises(SourceError) as caught:
        find_snapshots(own(tmp_path))
    assert remedy in str(caught.value)
    assert "there is no model in it" in str(caught.value)


def test_what_the_refusal_says_helps(tmp_path):
    put(tmp_path / "run1/model.safetensors")
    put(tmp_path / "base.safetensors")
    (tmp_path / "mine/base").mkdir(parents=True)
    (tmp_path / "mine/run1").symlink_to("../run1")
    (tmp_path / "mine/base/base.safetensors").symlink_to("../../base.safetensors")
    found = listed(tmp_path)
    assert {name: row["siblings"] for name, row in found.items()} == {
        "mine/base": ["base.safetensors"],
        "mine/run1": ["model.safetensors"],
    }


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(SourceError, match=r"ATLAS_WEIGHTS=.*missing: .* cannot be opened"):
        find_snapshots(own(tmp_path / "missing"))
    put_model(tmp_path, "a/one")
    put(tmp_path / "models.csv", "nothing\n")
    with pytest.raises(SourceError, match=r"models\.csv has no column model_id"):
        read_snapshot(own(tmp_path), DAY)
    with pytest.raises(RepositoryError):
        list_folder(tmp_path / "missing", DAY)
