"""What a hub says about a model is not taken on trust."""

import json
import logging
from typing import Any

import pytest

from atlas_pipeline.repositories import HubRepository, RepositoryError
from atlas_pipeline.repositories.hub.listing import Listing
from atlas_pipeline_tests.repositories.hub.conftest import MODEL
from atlas_pipeline_tests.repositories.hub.local_hub import Fault, LocalHub


def listing(files: Any, **others: Any) -> bytes:
    return json.dumps({"id": MODEL, "sha": "a" * 40, "siblings": files} | others).encode()


BAD_LISTINGS = {
    "no JSON": b"<html>",
    "no UTF-8": b'{"id": "\xff"}',
    "no object": b"[1]",
    "deep": b"[" * 100_000,
    "large number": b'{"sha": ' + b"9" * 10_000 + b"}",
    "no files": listing(None),
    "files that are none": listing(["config.json"]),
    "file without name": listing([{"size": 1}]),
    "no size": listing([{"rfilename": "a"}]),
    "negative size": listing([{"rfilename": "a", "size": -1}]),
    "huge size": listing([{"rfilename": "a", "size": 1 << 60}]),
    "size that is none": listing([{"rfilename": "a", "size": True}]),
    "broken size": listing([{"rfilename": "a", "size": 1.5}]),
    "twice": listing([{"rfilename": "a", "size": 1}, {"rfilename": "a", "size": 2}]),
    "no commit": listing([], sha=None),
    "commit that is none": listing([], sha="../../x"),
    "other name": listing([], id="../../x"),
    "name that is none": listing([], id=5),
}


@pytest.mark.parametrize("name", BAD_LISTINGS)
def test_listings_that_make_no_sense(hub: LocalHub, repository: HubRepository, name: str) -> None:
    hub.faults = [Fault("api", body=BAD_LISTINGS[name])]
    with pytest.raises(RepositoryError, match=f"[Tt]he listing of model {MODEL}"):
        repository.files(MODEL)


def test_paths_that_lead_out_are_left_out_with_a_warning(
    hub: LocalHub, repository: HubRepository, caplog: pytest.LogCaptureFixture
) -> None:
    paths = ["../../etc/passwd", "/etc/passwd", "a//b", "a\\b", "a\nb", ".git/config", "a/.b", "ok/fine", ""]
    hub.faults = [Fault("api", body=listing([{"rfilename": path, "size": 1} for path in paths]))]
    assert [entry.path for entry in repository.files(MODEL)] == ["ok/fine"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        f"The listing of model {MODEL} has 6 paths that lead out of it, as '../../etc/passwd'; left out."
    ]


def test_digests_that_are_none_are_not_passed_on(hub: LocalHub, repository: HubRepository) -> None:
    lfs = [None, [], {"sha256": 5}, {"sha256": "x" * 64}, {"sha256": "a" * 64}]
    files = [{"rfilename": f"{i}", "size": 1, "lfs": each} for i, each in enumerate(lfs)]
    hub.faults = [Fault("api", body=listing(files))]
    assert [entry.sha256 for entry in repository.files(MODEL)] == [None, None, None, None, "a" * 64]


def test_listings_without_end(hub: LocalHub, repository: HubRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas_pipeline.repositories.hub.repository.MAX_LISTING_BYTES", 100)
    with pytest.raises(RepositoryError, match="at most 100 are read"):
        repository.files(MODEL)
    hub.faults = [Fault("api", headers={"Content-Length": None, "Connection": "close"}, cut_after=10_000)]
    with pytest.raises(RepositoryError, match="more than the 100 bytes"):
        repository.files(MODEL)


def test_too_many_files(hub: LocalHub, repository: HubRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas_pipeline.repositories.hub.listing.MAX_FILES_PER_MODEL", 3)
    with pytest.raises(RepositoryError, match="more than 3 files"):
        repository.files(MODEL)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"model_id": "a/b", "revision": "x", "files": []}', "[" * 99_999]
)
def test_kept_listings_that_are_none(text: str) -> None:
    assert Listing.from_json(text) is None


def test_a_kept_listing_comes_back(repository: HubRepository) -> None:
    listing_ = Listing(MODEL, "b" * 40, tuple(repository.files(MODEL)))
    assert Listing.from_json(listing_.to_json()) == listing_
    assert Listing.from_json(listing_.to_json().replace("config.json", "../x")).files == listing_.files[1:]
