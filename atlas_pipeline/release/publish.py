"""Publishes a release folder to a Hub data set: one commit, then a tag. A dry run unless a repository is named."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from atlas_pipeline.release.bundle import FOLDER
from atlas_pipeline.schema import contract_of
from atlas_pipeline.storage import TableStore


class PublishError(Exception):
    """An upload that failed; the message says at which step, and never holds a token."""


def publish(store: TableStore, files: pa.Table, *, version: str, repo_id: str) -> pa.Table:
    """Upload the release folder if a repository is named, and return the row of ``release.published``.

    Args:
        store: where the release folder lies.
        files: rows of ``release.files``.
        version: version of the release; the tag is ``v`` and the version.
        repo_id: Hub data set; empty for a dry run.

    Raises:
        PublishError: the Hub refused.
    """
    revision = _upload(store, files, version, repo_id) if repo_id else None
    sizes = files["bytes"].to_pylist()
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
    api = HfApi()
    try:
        api.create_repo(repo_id, repo_type="dataset", exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            for path in files["path"].to_pylist():
                target = Path(folder) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(store.files.read(f"{FOLDER}/{path}") or b"")
            commit = api.upload_folder(
                repo_id=repo_id,
                repo_type="dataset",
                folder_path=folder,
                commit_message=f"Atlas {version}",
                delete_patterns="tables/**",
            )
        api.create_tag(repo_id, tag=f"v{version}", revision=commit.oid, repo_type="dataset", exist_ok=True)
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        raise PublishError(
            f"publishing to {repo_id} failed: the Hub answered {status} ({type(error).__name__})"
        ) from None
    return str(commit.oid)
