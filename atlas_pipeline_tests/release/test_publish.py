from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import huggingface_hub
import pandas as pd
import pytest

from atlas_pipeline.release.bundle import make_bundle
from atlas_pipeline.release.publish import PublishError, publish
from atlas_pipeline.schema import contract_of
from atlas_pipeline.settings import Settings
from atlas_pipeline_tests.release.hub import REPO, Hub

TOKEN = "hf_" + "S3cret" * 5
VERSION = "2026.02.01"
TAG = f"v{VERSION}"

CLIENTS_OWN = "ignore:Use 'content=:DeprecationWarning"
"""The client's upload of large files takes an argument that its HTTP library has renamed."""

pytestmark = pytest.mark.filterwarnings(CLIENTS_OWN)


@pytest.fixture
def hub():
    made = Hub()
    yield made
    made.close()


@pytest.fixture
def client(hub, monkeypatch, tmp_path):
    """The real client, pointed at the local hub; it waits for nothing between its attempts."""
    from huggingface_hub.utils import _http

    template = huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE
    template = template.replace(huggingface_hub.constants.ENDPOINT, hub.endpoint)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(_http.time, "sleep", lambda _: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield hub
    huggingface_hub.close_session()


@pytest.fixture
def home(bundled_home, tmp_path):
    return shutil.copytree(bundled_home, tmp_path / "home")


@pytest.fixture
def files(store):
    return store.read("release.files")


def folder(home):
    root = home / "release"
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def upload(store, files):
    return publish(store, files, version=VERSION, repo_id=REPO).to_pylist()[0]


def test_without_a_repository_nothing_is_sent(client, store, files):
    rows = publish(store, files, version=VERSION, repo_id="")
    assert rows.schema.equals(contract_of("release.published").arrow_schema)
    row = rows.to_pylist()[0]
    assert (row["is_dry_run"], row["repo_id"], row["revision"]) == (True, None, None)
    assert (row["n_files"], row["bytes"]) == (files.num_rows, sum(files["bytes"].drop_null().to_pylist()))
    assert client.requests == []


def test_release_is_one_commit_with_a_tag_and_holds_the_bytes_of_the_folder(client, store, files, home):
    row = upload(store, files)
    assert len(client.commits) == 1
    assert client.tags == {TAG: client.commits[0]}
    assert (row["revision"], row["is_dry_run"], row["repo_id"]) == (client.commits[0], False, REPO)
    assert client.files == folder(home) | {"LICENSE": b"kept"}
    assert client.tokens - {""} == {TOKEN}


def test_same_release_again_changes_nothing(client, store, files):
    first, second = upload(store, files), upload(store, files)
    assert first == second
    assert len(client.commits) == 1


def test_published_version_never_gets_other_content(client, store, files, home):
    upload(store, files)
    published = dict(client.files)
    other = make_bundle(
        store, Settings(home=str(home), seed=1), contract_of("release.checks").arrow_schema.empty_table()
    )
    with pytest.raises(PublishError, match=rf"already has a release {TAG} with other content; nothing was uploaded"):
        upload(store, other)
    assert (client.files, len(client.commits)) == (published, 1)


def test_tag_that_failed_is_set_by_the_next_attempt(client, store, files, home):
    client.failing = ("/tag/", 403)
    with pytest.raises(PublishError, match=rf"setting the tag {TAG}: the Hub answered 403"):
        upload(store, files)
    assert (len(client.commits), client.tags) == (1, {})
    client.failing = None
    assert upload(store, files)["revision"] == client.tags[TAG] == client.commits[0]
    assert len(client.commits) == 1
    assert client.files == folder(home) | {"LICENSE": b"kept"}


def test_upload_that_is_cut_off_goes_on_where_it_was_and_is_one_commit(client, store, files, home):
    client.cut_at = 5
    with pytest.raises(PublishError, match=r"while uploading the files: "):
        upload(store, files)
    assert (client.commits, client.tags, len(client.objects)) == ([], {}, 5)
    there, client.cut_at = set(client.objects), None
    client.requests.clear()
    row = upload(store, files)
    sent = {request.rsplit("/", 1)[-1] for request in client.requests if request.startswith("PUT ")}
    assert (client.commits, client.tags) == ([row["revision"]], {TAG: row["revision"]})
    assert sent == client.objects.keys() - there
    assert client.files == folder(home) | {"LICENSE": b"kept"}


@pytest.mark.parametrize("path", ["README.md", "tables/edges/charted/bucket-00.parquet"])
def test_nothing_is_tagged_that_does_not_read_back_as_it_was_sent(client, store, files, path):
    client.damaged = {path}
    with pytest.raises(PublishError, match=rf"does not hold what was uploaded: {re.escape(path)} \(1 files\); no tag"):
        upload(store, files)
    assert client.tags == {}


@pytest.mark.parametrize(
    ("path", "status", "step"),
    [
        ("repos/create", 401, "creating the data set"),
        ("repos/create", 500, "creating the data set"),
        ("/refs", 403, "reading its tags"),
        ("/tree/", 500, "uploading the files"),
        ("/preupload/", 403, "uploading the files"),
        ("/lfs/objects/batch", 403, "uploading the files"),
        ("/commit/", 401, "committing the files"),
        ("/commit/", 500, "committing the files"),
        ("/tag/", 500, f"setting the tag {TAG}"),
    ],
)
def test_refusal_says_step_and_status_and_never_the_token(client, store, files, capfd, caplog, *, path, status, step):
    client.failing = (path, status)
    with pytest.raises(PublishError) as refused:
        upload(store, files)
    assert str(refused.value).startswith(f"publishing to {REPO} failed while {step}")
    assert f"the Hub answered {status}" in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    assert client.tags == {}
    assert TOKEN in client.tokens
    said = capfd.readouterr()
    assert TOKEN not in f"{refused.value}{said.out}{said.err}{caplog.text}"


def test_hub_that_does_not_answer_is_one_sentence(client, store, files):
    client.close()
    with pytest.raises(PublishError, match=rf"publishing to {REPO} failed while creating the data set: ConnectError"):
        upload(store, files)


def test_token_in_any_error_is_masked(client, store, files, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError(f"a library said: Bearer {TOKEN}\nmore")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", fail)
    with pytest.raises(PublishError, match=r"RuntimeError: a library said: Bearer \*\*\* more$"):
        upload(store, files)


def test_name_that_is_no_repository_is_refused(client, store, files):
    with pytest.raises(PublishError, match=r"creating the data set: HFValidationError"):
        publish(store, files, version=VERSION, repo_id="../../etc")
    assert client.requests == []


def test_folder_that_is_not_what_was_bundled_is_not_uploaded(client, store, files, home):
    path = home / "release/tables/edges/charted/bucket-00.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\0")
    with pytest.raises(PublishError, match=r"bucket-00\.parquet in the release folder is not the file"):
        upload(store, files)
    path.unlink()
    with pytest.raises(PublishError, match=r"bucket-00\.parquet is missing from the release folder"):
        upload(store, files)
    assert client.requests == []


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "tables/../../outside", ""])
def test_path_out_of_the_folder_is_refused(client, store, files, path):
    rows = [row | {"path": path} for row in files.to_pylist()[:1]]
    with pytest.raises(PublishError, match="is no path within a release"):
        upload(store, type(files).from_pylist(rows, files.schema))
    assert client.requests == []


def test_published_tables_are_read_where_they_lie(client, store, files):
    upload(store, files)
    filesystem = huggingface_hub.HfFileSystem(endpoint=client.endpoint, token=TOKEN, skip_instance_cache=True)
    paths = filesystem.glob(f"datasets/{REPO}@{TAG}/tables/edges/charted/*.parquet")
    parts = [pd.read_parquet(filesystem.open(path)) for path in paths]
    assert len(parts) == 2
    assert sum(len(part) for part in parts) == 5


UPLOAD = """
import sys
from atlas_pipeline.release.publish import publish
from atlas_pipeline.storage import TableStore
store = TableStore(sys.argv[1])
print(publish(store, store.read("release.files"), version=sys.argv[2], repo_id=sys.argv[3])["revision"][0])
"""


def test_endpoint_and_token_come_from_the_environment(hub, home, tmp_path):
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "hf")}
    environment |= {"HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-W", "error", "-W", CLIENTS_OWN, "-c", UPLOAD, str(home), VERSION, REPO]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == hub.commits[0] == hub.tags[TAG]
    assert TOKEN not in done.stdout + done.stderr
    assert hub.files == folder(home) | {"LICENSE": b"kept"}
