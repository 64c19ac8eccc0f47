import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.repositories import (
    FileEntry,
    FileNotInModel,
    FolderRepository,
    InvalidModelId,
    ModelNotFound,
    RepositoryError,
    ShortRead,
    UnsafeLink,
    open_repository,
    validate_model_id,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    model = tmp_path / "models" / "birch" / "leaf"
    (model / "nested").mkdir(parents=True)
    (model / "weights.bin").write_bytes(bytes(range(100)))
    (model / "config.json").write_text("{}")
    (model / "nested" / "part.bin").write_bytes(b"abc")
    (model / ".hidden").write_text("secret")
    (tmp_path / "models" / "alder" / "cone").mkdir(parents=True)
    (tmp_path / "outside.txt").write_text("outside")
    return tmp_path / "models"


def test_models_and_files_are_sorted(root: Path) -> None:
    repository = FolderRepository(root)
    (root / "loose.txt").write_text("no organisation")
    (root / ".cache" / "x").mkdir(parents=True)
    assert repository.models() == ["alder/cone", "birch/leaf"]
    assert repository.files("birch/leaf") == [
        FileEntry("config.json", 2),
        FileEntry("nested/part.bin", 3),
        FileEntry("weights.bin", 100),
    ]
    assert repository.files("alder/cone") == []


@given(start=st.integers(0, 100), length=st.integers(0, 100))
def test_a_range_is_exactly_its_bytes_or_refused(
    tmp_path_factory: pytest.TempPathFactory, start: int, length: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "ranges"
    (folder / "a" / "b").mkdir(parents=True, exist_ok=True)
    (folder / "a" / "b" / "f").write_bytes(bytes(range(100)))
    repository = FolderRepository(folder)
    if start + length <= 100:
        assert repository.read("a/b", "f", start, start + length) == bytes(range(100))[start : start + length]
    else:
        with pytest.raises(ShortRead, match="model a/b ends before"):
            repository.read("a/b", "f", start, start + length)


@pytest.mark.parametrize(("start", "stop"), [(-1, 4), (5, 4), (0, 1 << 40)])
def test_what_is_no_range_is_refused(root: Path, start: int, stop: int) -> None:
    with pytest.raises(RepositoryError):
        FolderRepository(root).read("birch/leaf", "weights.bin", start, stop)


def test_sha256_is_that_of_the_content(root: Path) -> None:
    assert FolderRepository(root).sha256("birch/leaf", "weights.bin") == hashlib.sha256(bytes(range(100))).hexdigest()


@pytest.mark.parametrize(
    "model_id",
    [
        "..",
        "../birch",
        "birch/..",
        "birch/../birch",
        "birch/../../x",
        "/birch/leaf",
        "birch//leaf",
        "birch/",
        "",
        "birch\\leaf",
        "birch/le\0af",
        "birch/le\naf",
        "./birch",
        ".git/config",
        "a/b/c",
        "birch/a..b",
        "x" * 300,
    ],
)
def test_ids_that_are_none_are_refused(root: Path, model_id: str) -> None:
    repository = FolderRepository(root)
    with pytest.raises(InvalidModelId):
        repository.files(model_id)
    with pytest.raises(InvalidModelId):
        repository.read(model_id, "config.json", 0, 1)


@given(st.text(max_size=40))
def test_an_accepted_id_stays_inside_any_folder(model_id: str) -> None:
    try:
        validate_model_id(model_id)
    except InvalidModelId:
        return
    path = os.path.normpath(f"/root/{model_id}")
    assert path == f"/root/{model_id}"
    assert path.startswith("/root/")


@pytest.mark.parametrize("model_id", ["birch/missing", "missing/leaf", "birch"])
def test_missing_models_are_named(root: Path, model_id: str) -> None:
    with pytest.raises(ModelNotFound, match=model_id):
        FolderRepository(root).files(model_id)


@pytest.mark.parametrize(
    "path",
    ["../leaf/config.json", "/etc/passwd", "", ".", "nested/../config.json", "nested//part.bin", "a\\b", "a\0", "nope"],
)
def test_paths_out_of_the_model_are_refused(root: Path, path: str) -> None:
    with pytest.raises(FileNotInModel):
        FolderRepository(root).read("birch/leaf", path, 0, 1)


def test_links_that_lead_out_are_refused(root: Path) -> None:
    repository = FolderRepository(root)
    (root / "birch" / "leaf" / "link.txt").symlink_to(root.parent / "outside.txt")
    with pytest.raises(UnsafeLink, match=r"link\.txt.*birch/leaf"):
        repository.files("birch/leaf")
    with pytest.raises(UnsafeLink):
        repository.read("birch/leaf", "link.txt", 0, 1)
    with pytest.raises(UnsafeLink):
        repository.sha256("birch/leaf", "link.txt")


def test_a_model_or_organisation_that_leads_out_is_refused(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    outside = root.parent / "elsewhere" / "model"
    outside.mkdir(parents=True)
    (outside / "f").write_text("x")
    (root / "alder" / "escape").symlink_to(outside)
    (root / "zelkova").symlink_to(outside.parent)
    repository = FolderRepository(root)
    assert repository.models() == ["alder/cone", "alder/escape", "birch/leaf"]
    assert "zelkova" in caplog.text
    for model_id in ("alder/escape", "zelkova/model"):
        with pytest.raises(UnsafeLink, match=model_id):
            repository.files(model_id)
        with pytest.raises(UnsafeLink):
            repository.read(model_id, "f", 0, 1)


def test_links_inside_the_root_are_followed(root: Path) -> None:
    (root / "alder" / "cone" / "copy.bin").symlink_to(root / "birch" / "leaf" / "weights.bin")
    repository = FolderRepository(root)
    assert repository.files("alder/cone") == [FileEntry("copy.bin", 100)]
    assert repository.read("alder/cone", "copy.bin", 1, 3) == b"\x01\x02"


def test_links_into_a_download_cache_tell_the_digest(root: Path) -> None:
    blobs = root / ".cache" / "models--elm--seed" / "blobs"
    snapshot = blobs.parent / "snapshots" / ("a" * 40)
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    digest = hashlib.sha256(b"weights").hexdigest()
    (blobs / digest).write_bytes(b"weights")
    (blobs / ("b" * 40)).write_text("{}")
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{digest}")
    (snapshot / "config.json").symlink_to(f"../../blobs/{'b' * 40}")
    (root / "elm").mkdir()
    (root / "elm" / "seed").symlink_to(snapshot)
    repository = FolderRepository(root)
    assert repository.files("elm/seed") == [
        FileEntry("config.json", 2),
        FileEntry("model.safetensors", 7, digest),
    ]
    assert repository.sha256("elm/seed", "model.safetensors") == digest
    (root / "birch" / "leaf" / "blobs").mkdir()
    (root / "birch" / "leaf" / "blobs" / ("c" * 64)).write_text("a name is no digest where nothing links to it")
    assert {entry.sha256 for entry in repository.files("birch/leaf")} == {None}


def test_broken_and_circular_links_are_errors(root: Path) -> None:
    (root / "alder" / "cone" / "broken").symlink_to(root / "nowhere")
    with pytest.raises(RepositoryError, match="alder/cone"):
        FolderRepository(root).files("alder/cone")
    with pytest.raises(RepositoryError) as caught:
        FolderRepository(root).files("alder/cone")
    assert str(root) not in str(caught.value)
    (root / "birch" / "leaf" / "circle").symlink_to(root / "birch" / "leaf" / "circle")
    with pytest.raises(RepositoryError, match="birch/leaf"):
        FolderRepository(root).files("birch/leaf")


def test_pipes_are_no_files(root: Path) -> None:
    os.mkfifo(root / "alder" / "cone" / "pipe")
    repository = FolderRepository(root)
    assert repository.files("alder/cone") == []
    with pytest.raises(FileNotInModel):
        repository.read("alder/cone", "pipe", 0, 1)


def test_opening_by_location(root: Path) -> None:
    assert open_repository(str(root)).models() == ["alder/cone", "birch/leaf"]
    for location in (str(root / "missing"), str(root / "birch" / "leaf" / "config.json"), "s3://bucket/models"):
        with pytest.raises(RepositoryError):
            open_repository(location)
