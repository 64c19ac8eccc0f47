"""Which snapshots a location holds: folders, single files, the Hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atlas_pipeline.raw.sources import SnapshotSource, SourceError, find_snapshot, find_snapshots
from atlas_pipeline.settings import Settings
from atlas_pipeline.storage.files import sha256_of

TOKEN = "hf_" + "s" * 34
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def put(path: Path, **columns) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": ["a/b"], **columns}), path)
    return path


def found(location: Path | str) -> list[SnapshotSource]:
    return find_snapshots(Settings(home="/nowhere", hub_stats=str(location)))


def test_a_folder_of_dated_folders_is_read_oldest_first(tmp_path):
    later, earlier = put(tmp_path / "2025-12-01/models.parquet"), put(tmp_path / "2025-06-01/models.parquet")
    put(tmp_path / "drafts/models.parquet")
    (tmp_path / "2025-07-01").mkdir()
    assert found(tmp_path) == [SnapshotSource("2025-06-01", earlier), SnapshotSource("2025-12-01", later)]
    settings = Settings(home="/nowhere", hub_stats=str(tmp_path))
    assert find_snapshot(settings, "2025-12-01").fetch(tmp_path / "cache") == later
    assert find_snapshot(settings, "2025-12-01").revision_of(later) == f"sha256:{sha256_of(later)}"
    assert not (tmp_path / "cache").exists()
    with pytest.raises(SourceError, match="no snapshot 2025-07-01; it has 2025-06-01, 2025-12-01"):
        find_snapshot(settings, "2025-07-01")


def test_a_folder_named_after_no_day_is_refused(tmp_path):
    put(tmp_path / "2025-06-31/models.parquet")
    with pytest.raises(SourceError, match="2025-06-31 is no day of the calendar"):
        found(tmp_path)


@pytest.mark.parametrize("place", ["models.parquet", "2024-02-03/hub.parquet"])
def test_a_single_file_is_dated_by_its_folder_or_its_last_change(tmp_path, place):
    path = put(tmp_path / place, lastModified=[datetime(2024, 5, 1)])  # noqa: DTZ001 - as hub-stats has it
    snapshot = "2024-02-03" if "/" in place else "2024-05-01"
    assert found(path) == [SnapshotSource(snapshot, path)]
    if "/" not in place:
        assert found(tmp_path) == found(path)


LAST_CHANGES = {
    "zone": ({"lastModified": pa.array([datetime(2024, 5, 1, 23, tzinfo=UTC)])}, "2024-05-01"),
    "nanoseconds": ({"lastModified": pa.array([datetime(2024, 5, 1)], pa.timestamp("ns"))}, "2024-05-01"),  # noqa: DTZ001
    "text": ({"lastModified": ["2024-05-01T23:00:00Z"]}, "2024-05-01"),
    "text of a zone": ({"lastModified": ["2024-05-01T23:00:00-02:00"]}, "2024-05-02"),
    "day": ({"lastModified": [date(2024, 5, 1)]}, "2024-05-01"),
    "creation alone": ({"lastModified": pa.nulls(1), "createdAt": ["2024-04-01"]}, "2024-04-01"),
    "creation beside an unreadable change": ({"lastModified": [17], "createdAt": ["2024-04-01"]}, "2024-04-01"),
}


@pytest.mark.parametrize("form", LAST_CHANGES)
def test_the_last_change_is_read_in_utc_from_every_form(tmp_path, form, monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    columns, snapshot = LAST_CHANGES[form]
    assert found(put(tmp_path / "it's [1]" / "models.parquet", **columns))[0].snapshot == snapshot


@pytest.mark.parametrize("column", [{}, {"lastModified": ["infinity"]}, {"lastModified": [5]}, {"createdAt": ["?"]}])
def test_a_file_without_dates_is_refused_with_what_to_do(tmp_path, column):
    with pytest.raises(SourceError, match="put it in a folder named after its date"):
        found(put(tmp_path / "models.parquet", **column))


def test_locations_that_are_none_are_refused(tmp_path):
    (tmp_path / "models.parquet").write_text("no Parquet")
    for location, message in [
        (tmp_path / "missing", "no such file or folder"),
        (tmp_path, "cannot be read as Parquet"),
        ("hf://datasets/org/name", "expected hf://datasets/ORG/NAME"),
        ("hf://models/org/name/models.parquet", "expected hf://datasets/ORG/NAME"),
    ]:
        with pytest.raises(SourceError, match=message):
            found(location)
    (tmp_path / "models.parquet").unlink()
    with pytest.raises(SourceError, match=r"no models.parquet and no YYYY-MM-DD/models.parquet"):
        found(tmp_path)


class _Hub(ThreadingHTTPServer):
    """As much of the Hub as a data set's revision and one of its files take."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.content = content
        self.requests: list[tuple[str, str, str | None]] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: _Hub

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *args) -> None:
        """Nothing is printed."""

    def _answer(self, *, with_body: bool) -> None:
        self.server.requests.append((self.command, self.path, self.headers.get("Authorization")))
        if self.path.startswith("/api/datasets/org/gone"):
            status, body, headers = 404, b"{}", {"X-Error-Code": "RepoNotFound"}
        elif self.path.startswith("/api/datasets/"):
            name = "/".join(self.path.split("/")[3:5])
            about = {"_id": "1", "id": name, "sha": COMMIT, "lastModified": "2026-05-20T23:30:00.000Z", "siblings": []}
            status, body, headers = 200, json.dumps(about).encode(), {"Content-Type": "application/json"}
        elif f"/resolve/{COMMIT}/" in self.path and "missing" not in self.path:
            status, body, headers = 200, self.server.content, {"ETag": '"abc"', "X-Repo-Commit": COMMIT}
        else:
            status, body, headers = 404, b"", {"X-Error-Code": "EntryNotFound"}
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@pytest.fixture
def hub(tmp_path):
    server = _Hub(put(tmp_path / "served.parquet").read_bytes())
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


# The Hub's address is read when huggingface_hub is imported, so each look at it has a process of its own.
_LOOK = """
import sys
from pathlib import Path
from atlas_pipeline.raw.hub_stats import read_hub_stats
from atlas_pipeline.raw.sources import SourceError, find_snapshots
from atlas_pipeline.settings import Settings
for location in sys.argv[2:]:
    try:
        for source in find_snapshots(Settings(home="/nowhere", hub_stats=location)):
            print(source.snapshot, source.repo_id, source.path_in_repo, source.revision)
            if "listed-only" not in location:
                path = source.fetch(Path(sys.argv[1]))
                revision = source.revision_of(path)
                print(read_hub_stats(path, snapshot=source.snapshot, source_revision=revision).rows.read_all()["id"])
    except SourceError as error:
        print("SourceError:", error)
"""


def look(endpoint: str, cache: Path, *locations: str) -> subprocess.CompletedProcess:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "ATLAS_"))},
        "HF_ENDPOINT": endpoint,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(cache / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    command = [sys.executable, "-W", "error", "-c", _LOOK, str(cache), *locations]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_hub_is_read_by_revision_once_and_only_when_asked(hub, tmp_path):
    dated = "hf://datasets/org/weekly@main/models/2025-01-06/models.parquet"
    seen = look(
        hub.endpoint,
        tmp_path / "cache",
        "hf://datasets/org/listed-only/models.parquet",
        "hub",
        "hub",
        dated,
        "hf://datasets/org/gone/models.parquet",
        "hf://datasets/org/name/missing.parquet",
    )
    assert seen.returncode == 0, seen.stderr
    lines = [line for line in seen.stdout.splitlines() if COMMIT in line or line.startswith("SourceError")]
    live = f"2026-05-20 cfahlgren1/hub-stats models.parquet {COMMIT}"
    assert lines[0] == f"2026-05-20 org/listed-only models.parquet {COMMIT}"
    assert lines[1:3] == [live, live]
    assert lines[3] == f"2025-01-06 org/weekly models/2025-01-06/models.parquet {COMMIT}"
    assert lines[4].startswith("SourceError: ATLAS_HUB_STATS=hf://datasets/org/gone/models.parquet: 404")
    assert lines[5].startswith("2026-05-20 org/name missing.parquet")
    assert lines[6].startswith("SourceError: missing.parquet of the data set org/name: 404")
    assert seen.stdout.count('"a/b"') == 3
    downloads = [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]
    assert sorted(downloads) == sorted(
        f"/datasets/{name}/resolve/{COMMIT}/{path}"
        for name, path in [
            ("cfahlgren1/hub-stats", "models.parquet"),
            ("org/weekly", "models/2025-01-06/models.parquet"),
        ]
    )
    assert {token for _, _, token in hub.requests} == {f"Bearer {TOKEN}"}
    assert TOKEN not in seen.stdout + seen.stderr


def test_a_hub_that_does_not_answer_is_one_sentence(tmp_path):
    seen = look("http://127.0.0.1:9", tmp_path / "cache", "hub")
    assert seen.returncode == 0, seen.stderr
    assert seen.stdout.startswith("SourceError: ATLAS_HUB_STATS=hf://datasets/cfahlgren1/hub-stats/models.parquet: ")
    assert TOKEN not in seen.stdout + seen.stderr
