"""A hub on this machine: a folder `<org>/<name>/<files>` served as the Hugging Face Hub serves models.

Listings and small files come from the endpoint; large ones are redirected to signed addresses on a second port, which
gives byte ranges, as the Hub's stores do. Faults make any answer go wrong. Files are served by position and never read
whole, so that sparse files of any size will do.

    python -m atlas_pipeline_tests.repositories.hub.local_hub <folder> --latency 0.05
"""

from __future__ import annotations

import argparse
import hashlib
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from atlas_pipeline_tests.repositories.hub.local_hub_answers import HubServer
from atlas_pipeline_tests.repositories.hub.local_hub_faults import Fault, Faults, Request

__all__ = ["Fault", "LocalHub", "Request"]

HASHED_BYTES = 1 << 24
"""Larger files are listed without a digest, which would have to be computed."""


class LocalHub:
    """Serves a folder until it is closed; a context manager.

    Attributes that may be changed while it runs: `faults`, `latency_s`, `renamed` (old id to new), `gated`, `private`
    and `disabled` (ids), `commits` (id to any text: another text, another commit).
    """

    def __init__(
        self,
        root: Path,
        *,
        latency_s: float = 0.0,
        token: str | None = None,
        large_suffixes: tuple[str, ...] = (".safetensors", ".gguf", ".bin"),
        is_relative: bool = False,
        gives_error_codes: bool = True,
        faults: Faults = (),
    ) -> None:
        """Starts to serve.

        Args:
            root: The folder.
            latency_s: Waited before every answer.
            token: Who sends it may read private and gated models.
            large_suffixes: Files that are redirected to the store; others come from the endpoint.
            is_relative: The endpoint redirects to an address of its own (no host in Location), as the Hub does for
                small files; there is no second origin then.
            gives_error_codes: Whether refusals carry X-Error-Code, as the Hub's do.
            faults: What goes wrong.
        """
        self.root = root
        self.latency_s = latency_s
        self.token = token
        self.large_suffixes = large_suffixes
        self.is_relative = is_relative
        self.gives_error_codes = gives_error_codes
        self.faults: Faults = faults
        self.renamed: dict[str, str] = {}
        self.gated: set[str] = set()
        self.private: set[str] = set()
        self.disabled: set[str] = set()
        self.commits: dict[str, str] = {}
        self.requests: list[Request] = []
        self.n_bytes: Counter[str] = Counter()
        self.n_connections = 0
        self.max_in_flight = 0
        self._in_flight = 0
        self._signature = 0
        self._digests: dict[tuple[str, int, int], str] = {}
        self._lock = threading.Lock()
        self._servers = [HubServer(self, is_store=False), HubServer(self, is_store=True)]
        self.endpoint, self.store = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __enter__(self) -> LocalHub:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops serving and ends all connections."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def expire(self) -> None:
        """Makes all signed addresses that were given out so far invalid."""
        self._signature += 1

    @property
    def signature(self) -> str:
        """What signed addresses carry at present."""
        return hashlib.sha256(f"signature {self._signature}".encode()).hexdigest()

    def revision(self, model_id: str) -> str:
        """The commit of a model."""
        return hashlib.sha1(f"{model_id} {self.commits.get(model_id, '')}".encode()).hexdigest()  # noqa: S324

    def of_kind(self, kind: str) -> list[Request]:
        """The requests of a kind so far."""
        return [request for request in self.requests if request.kind == kind]

    def began(self, request: Request) -> Fault | None:
        """Counts a request that has arrived; returns what is to go wrong with it."""
        with self._lock:
            self.requests.append(request)
            self._in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self._in_flight)
            if callable(self.faults):
                return self.faults(request)
            return next((fault for fault in self.faults if fault.applies(request)), None)

    def ended(self, kind: str, n_bytes: int) -> None:
        """Counts an answer."""
        with self._lock:
            self._in_flight -= 1
            self.n_bytes[kind] += n_bytes

    def connected(self) -> None:
        """Counts a connection."""
        with self._lock:
            self.n_connections += 1

    def listing(self, model_id: str) -> dict[str, Any]:
        """What `/api/models/<id>?blobs=true` answers."""
        folder = self.root / model_id
        siblings = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name, size = path.relative_to(folder).as_posix(), path.stat().st_size
            sibling: dict[str, Any] = {"rfilename": name, "size": size, "blobId": "0" * 40}
            if name.endswith(self.large_suffixes) and (digest := self.sha256(path)):
                sibling["lfs"] = {"sha256": digest, "size": size, "pointerSize": 134}
            siblings.append(sibling)
        flags = {"private": model_id in self.private, "gated": "auto" if model_id in self.gated else False}
        return {"id": model_id, "sha": self.revision(model_id), "disabled": False, "siblings": siblings, **flags}

    def sha256(self, path: Path) -> str | None:
        """Digest of a file's content; None if it is large."""
        status = path.stat()
        if status.st_size > HASHED_BYTES:
            return None
        key = (str(path), status.st_size, status.st_mtime_ns)
        if key not in self._digests:
            self._digests[key] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._digests[key]


def main() -> None:
    """Command line: serves until it is interrupted."""
    parser = argparse.ArgumentParser(description="Serve a folder of models as a hub.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before every answer")
    given = parser.parse_args()
    with LocalHub(given.folder, latency_s=given.latency) as hub:
        print(f"HF_ENDPOINT={hub.endpoint}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(f"{len(hub.requests)} requests, {sum(hub.n_bytes.values())} bytes, {hub.n_connections} connections")


if __name__ == "__main__":
    main()
