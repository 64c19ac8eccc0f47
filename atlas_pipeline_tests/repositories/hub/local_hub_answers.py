"""How a local hub answers: listings, redirects, byte ranges, refusals, and faults."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import struct
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from atlas_pipeline_tests.repositories.hub.local_hub_faults import Fault, Request

if TYPE_CHECKING:
    from atlas_pipeline_tests.repositories.hub.local_hub import LocalHub

PART = 1 << 16
RANGE = re.compile(r"bytes=([0-9]+)-([0-9]+)")


class HubServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, hub: LocalHub, *, is_store: bool) -> None:
        self.hub, self.is_store = hub, is_store
        self.open_connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self.open_connections):
            connection.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "LocalHub"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    timeout = 60
    server: HubServer

    def setup(self) -> None:
        super().setup()
        self.server.open_connections.add(self.connection)
        self.server.hub.connected()

    def finish(self) -> None:
        self.server.open_connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        hub = self.server.hub
        bearer = self.headers.get("Authorization")
        kind = "data" if self.server.is_store else "api" if self.path.startswith("/api/models/") else "resolve"
        request = Request(
            kind,
            self.command,
            self.path,
            self.headers.get("Range"),
            bearer is not None,
            (bearer or "").removeprefix("Bearer ") or None,
            self.headers.get("User-Agent", ""),
        )
        self.n_sent = 0
        self.fault = hub.began(request) or Fault(times=0)
        try:
            time.sleep(hub.latency_s + self.fault.delay_s)
            if self.fault.status is not None and self.fault.body is None and self.fault.cut_after is None:
                self._send(self.fault.status, {}, b"")
            else:
                {"api": self._api, "resolve": self._resolve, "data": self._data}[kind](request)
            self.wfile.flush()
        finally:
            hub.ended(kind, self.n_sent)

    def do_HEAD(self) -> None:
        """What a download asks first: the answer without its body."""
        self.do_GET()

    def _api(self, request: Request) -> None:
        parts = urlsplit(self.path)
        name, _, revision = unquote(parts.path.removeprefix("/api/models/")).partition("/revision/")
        if not self._refuse(name, request, prefix="/api/models/", suffix=f"?{parts.query}", checks_gate=False):
            listing = self.server.hub.listing(name)
            if revision not in ("", listing["sha"]):
                self._error(404, "RevisionNotFound")
            else:
                self._send(200, {"Content-Type": "application/json"}, json.dumps(listing).encode())

    def _resolve(self, request: Request) -> None:
        hub = self.server.hub
        name, _, rest = unquote(urlsplit(self.path).path.removeprefix("/resolve-cache").lstrip("/")).partition(
            "/resolve/"
        )
        revision, _, file = rest.partition("/")
        if self._refuse(name, request, prefix="/", suffix=f"/resolve/{rest}", checks_gate=True):
            return
        path = hub.root / name / file
        if revision not in (hub.revision(name), "main"):
            self._error(404, "RevisionNotFound")
        elif not path.is_file():
            self._error(404, "EntryNotFound")
        elif self.path.startswith("/resolve-cache") or not (hub.is_relative or file.endswith(hub.large_suffixes)):
            self._file(path, {"X-Repo-Commit": hub.revision(name)})
        else:
            digest = hub.sha256(path)
            headers = {"X-Repo-Commit": hub.revision(name), "X-Linked-Size": str(path.stat().st_size)}
            headers |= {"X-Linked-Etag": f'"{digest or _etag(path.stat())}"'}
            place = f"/resolve-cache{self.path}" if hub.is_relative else f"{hub.store}/{quote(name)}/{quote(file)}"
            self._send(302, headers | {"Location": f"{place}?signature={hub.signature}"}, b"Found")

    def _data(self, _: Request) -> None:
        hub, parts = self.server.hub, urlsplit(self.path)
        path = hub.root / unquote(parts.path.lstrip("/"))
        if parse_qs(parts.query).get("signature") != [hub.signature]:
            self._send(403, {}, b"<Error>AccessDenied: Request has expired</Error>")
        elif not path.is_file():
            self._send(404, {}, b"")
        else:
            self._file(path, {})

    def _refuse(self, name: str, request: Request, *, prefix: str, suffix: str, checks_gate: bool) -> bool:
        """Answers for a model that is not to be read, or under another name; returns whether it did."""
        hub = self.server.hub
        is_known = hub.token is not None and request.token == hub.token
        if name in hub.renamed:
            self._send(307, {"Location": f"{prefix}{hub.renamed[name]}{suffix}"}, b"")
        elif not (hub.root / name).is_dir() or (name in hub.private and not is_known):
            self._error(401, "RepoNotFound", "Repository not found")
        elif name in hub.disabled:
            self._error(403, "", "Access to this resource is disabled.")
        elif checks_gate and name in hub.gated and not is_known:
            self._error(403, "GatedRepo", "Access to this model is restricted.")
        else:
            return False
        return True

    def _error(self, status: int, code: str, message: str = "") -> None:
        headers = {"X-Error-Message": message} if message else {}
        self._send(
            status, headers | ({"X-Error-Code": code} if code else {}) if self.server.hub.gives_error_codes else {}, b""
        )

    def _file(self, path: Path, headers: dict[str, str]) -> None:
        status = path.stat()
        size, match = status.st_size, RANGE.fullmatch(self.headers.get("Range", ""))
        headers = headers | {"ETag": f'"{_etag(status)}"', "Accept-Ranges": "bytes"}
        start, stop = (int(match[1]), min(int(match[2]) + 1, size)) if match else (0, size)
        if match and start >= size:
            self._send(416, headers | {"Content-Range": f"bytes */{size}"}, b"")
        elif match and not self.fault.ignores_range:
            self._send(206, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}, path, start, stop)
        else:
            self._send(200, headers, path, 0, size)

    def _send(self, status: int, headers: dict[str, str], body: bytes | Path, start: int = 0, stop: int = 0) -> None:
        fault = self.fault
        if fault.body is not None:
            body = fault.body
        length = len(body) if isinstance(body, bytes) else stop - start
        given = {"Content-Length": str(length)} | headers | fault.headers
        self.send_response(status if fault.status is None else fault.status)
        for name, text in given.items():
            if text is not None:
                self.send_header(name, text)
        self.end_headers()
        n_wanted = length if fault.cut_after is None else min(fault.cut_after, length)
        if self.command == "HEAD":
            return
        if isinstance(body, bytes):
            self.wfile.write(body[:n_wanted])
            self.n_sent += n_wanted
        else:
            with body.open("rb", buffering=0) as file:
                while self.n_sent < n_wanted:
                    part = os.pread(file.fileno(), min(PART, n_wanted - self.n_sent), start + self.n_sent)
                    if not part:
                        break
                    self.wfile.write(part)
                    self.n_sent += len(part)
        if fault.cut_after is not None or fault.headers.get("Content-Length", ""):
            self._hang_up()

    def _hang_up(self) -> None:
        self.wfile.flush()
        if self.fault.is_reset:
            # With a linger time of zero, closing sends a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


def _etag(status: os.stat_result) -> str:
    return hashlib.sha256(f"{status.st_size} {status.st_mtime_ns} {status.st_ino}".encode()).hexdigest()
