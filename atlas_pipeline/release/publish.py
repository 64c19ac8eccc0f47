"""Publishes a release folder to a Hub data set: one commit, then a tag. A dry run unless a repository is named."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

import pyarrow as pa
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import RepoFile

from atlas_pipeline.release.bundle import CHUNK, DATAPACKAGE, FOLDER
from atlas_pipeline.schema import contract_of
from atlas_pipeline.storage import TableStore, sha256_of

DATASET: Final = "dataset"
OWN_FOLDERS: Final = ("tables/", "graphs/", "figures/", "map/")
"""Folders of the data set that hold nothing but what a release puts there."""


class PublishError(Exception):
    """A release that was not published; the message says at which step, and never holds a token."""


def publish(store: TableStore, files: pa.Table, *, version: str, repo_id: str) -> pa.Table:
    """Upload the release folder if a repository is named, and return the row of ``release.published``.

    A version is published once. Doing it again with the same files changes nothing; with others it is refused before
    anything is uploaded, because readers hold on to the tag.

    Args:
        store: where the release folder lies.
        files: rows of ``release.files``.
        version: version of the release; the tag is ``v`` and the version.
        repo_id: Hub data set; empty for a dry run.

    Raises:
        PublishError: the folder is not what ``files`` says, the version is taken, or the Hub refused or did not answer.
    """
    revision = _upload(store, files, version, repo_id) if repo_id else None
    sizes = files["bytes"].drop_null().to_pylist()
    row = {
        "version": version,
        "repo_id": repo_id or None,
        "revision": revision,
        "is_dry_run": not repo_id,
        "n_files": files.num_rows,
        "bytes": sum(sizes),
    }
    return pa.Table.from_pylist([row], contract_of("release.published").arrow_schema)


def _upload(store: TableStore, files: pa.Table, version: str, repo_id: str) -> str:
    api, tag = HfApi(), f"v{version}"
    with tempfile.TemporaryDirectory() as folder:
        for file in files.to_pylist():
            _fetch(store, file, Path(folder))
        with _step(repo_id, "creating the data set"):
            api.create_repo(repo_id, repo_type=DATASET, exist_ok=True)
        with _step(repo_id, "reading its tags"):
            tagged = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo_id, repo_type=DATASET).tags}
        if tag in tagged:
            _require_same(api, Path(folder), repo_id, tag)
            _read_back(api, files["path"].to_pylist(), Path(folder), repo_id, tagged[tag])
            return tagged[tag]
        with _step(repo_id, "uploading the files"):
            operations = _operations(api, files["path"].to_pylist(), Path(folder), repo_id)
            added = [operation for operation in operations if isinstance(operation, CommitOperationAdd)]
            # What is large lies at the Hub before the commit; a repeated attempt sends only what is not there yet.
            api.preupload_lfs_files(repo_id, added, repo_type=DATASET, free_memory=False)
        with _step(repo_id, "committing the files"):
            # Not upload_folder: it may make several commits, and a reader would see half a release between them.
            commit = api.create_commit(repo_id, operations, commit_message=f"Atlas {version}", repo_type=DATASET)
        _read_back(api, files["path"].to_pylist(), Path(folder), repo_id, commit.oid)
        with _step(repo_id, f"setting the tag {tag}"):
            api.create_tag(repo_id, tag=tag, revision=commit.oid, repo_type=DATASET)
    return str(commit.oid)


def _operations(
    api: HfApi, paths: list[str], folder: Path, repo_id: str
) -> list[CommitOperationAdd | CommitOperationDelete]:
    """What makes the data set's tables those of the folder; files beside them that are not ours stay."""
    there = api.list_repo_files(repo_id, repo_type=DATASET)
    gone = sorted(path for path in set(there) - set(paths) if path.startswith(OWN_FOLDERS))
    return [
        *(CommitOperationAdd(path_in_repo=path, path_or_fileobj=folder / path) for path in paths),
        *(CommitOperationDelete(path_in_repo=path, is_folder=False) for path in gone),
    ]


def _read_back(api: HfApi, paths: list[str], folder: Path, repo_id: str, revision: str) -> None:
    """Compare what the Hub holds at a revision with the folder, by checksum; the tag is set on nothing else.

    Raises:
        PublishError: a file is missing there or another one, or a table's file is there that is not of the release.
    """
    with _step(repo_id, "reading back what was committed"):
        tree = api.list_repo_tree(repo_id, recursive=True, revision=revision, repo_type=DATASET)
        there = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    unlike = [path for path in paths if path not in there or not _is_same(there[path], folder / path)]
    unlike += sorted(path for path in there.keys() - set(paths) if path.startswith(OWN_FOLDERS))
    if unlike:
        raise PublishError(
            f"{repo_id} at {revision[:12]} does not hold what was uploaded: {', '.join(unlike[:5])} "
            f"({len(unlike)} files); no tag was set, publish it again"
        )


def _is_same(entry: RepoFile, path: Path) -> bool:
    """Whether a file of the Hub is the local one: by sha256 if it is large, by git's id of its content if not."""
    if entry.size != path.stat().st_size:
        return False
    if entry.lfs is not None:
        return bool(entry.lfs.sha256 == sha256_of(path))
    content = path.read_bytes()
    return entry.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _fetch(store: TableStore, file: dict[str, object], folder: Path) -> None:
    """Copy a file of the release to a local folder, as it was when it was bundled, or fail."""
    path = str(file["path"])
    if not PurePosixPath(path).parts or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise PublishError(f"{path!r} is no path within a release; nothing was uploaded")
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    try:
        with store.files.filesystem.open(store.files.path(f"{FOLDER}/{path}")) as source, target.open("wb") as stream:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                stream.write(chunk)
    except FileNotFoundError:
        raise PublishError(f"{path} is missing from the release folder; nothing was uploaded") from None
    is_same = file["bytes"] in (None, target.stat().st_size) and file["sha256"] in (None, digest.hexdigest())
    if not is_same:
        raise PublishError(f"{path} in the release folder is not the file that was bundled; nothing was uploaded")


def _require_same(api: HfApi, folder: Path, repo_id: str, tag: str) -> None:
    """Refuse to give a published version other content; the datapackage stands for all files by their checksums."""
    with _step(repo_id, f"reading what {tag} holds"):
        published = api.hf_hub_download(
            repo_id, DATAPACKAGE, repo_type=DATASET, revision=tag, local_dir=folder / "published"
        )
    if Path(published).read_bytes() != (folder / DATAPACKAGE).read_bytes():
        raise PublishError(
            f"{repo_id} already has a release {tag} with other content; nothing was uploaded (delete the tag there to "
            "publish it anew)"
        )


@contextmanager
def _step(repo_id: str, doing: str) -> Iterator[None]:
    """Turn whatever the client raises into one sentence. It lets errors of several libraries through."""
    try:
        yield
    except Exception as error:
        raise PublishError(f"publishing to {repo_id} failed while {doing}: {_cause(error)}") from None


def _cause(error: Exception) -> str:
    """What went wrong first, without the token, which a server may have written back into its answer."""
    while isinstance(error.__cause__, Exception) and not isinstance(error, HfHubHTTPError):
        error = error.__cause__
    kind = type(error).__name__
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return f"the Hub answered {error.response.status_code} ({kind})"
    text = " ".join(str(error).split())[:300]
    if token := get_token():
        text = text.replace(token, "***")
    return f"{kind}: {text}"
