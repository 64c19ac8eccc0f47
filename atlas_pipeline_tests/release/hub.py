"""A hub on 127.0.0.1 that keeps one data set in memory, and speaks what the client's upload needs of the Hub's API."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote

REPO = "org/atlas"
FOLDER = {"type": "directory", "oid": "0" * 40}
LARGE = (".parquet", ".duckdb")


class Hub:
    """What the hub holds and was asked."""

    def __init__(self) -> None:
        self.commits: list[str] = []
        self.files: dict[str, bytes] = {"README.md": b"old", "LICENSE": b"kept", "tables/old/x.parquet": b"old"}
        self.at: dict[str, dict[str, bytes]] = {}
        self.tags: dict[str, str] = {}
        self.requests: list[str] = []
        self.tokens: set[str] = set()
        self.failing: tuple[str, int] | None = None
        self.objects: dict[str, bytes] = {}
        self.large: set[str] = set()
        self.cut_at: int | None = None
        self.damaged: set[str] = set()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def store(self, oid: str, content: bytes) -> bool:
        """Keep a large file; False when the connection is to be cut off instead."""
        assert sha256(content) == oid
        with self._lock:
            if self.cut_at is not None and len(self.objects) >= self.cut_at:
                return False
            self.objects[oid] = content
            return True

    def commit(self, operations: list[dict]) -> str:
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                assert value["encoding"] == "base64"
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                self.files[value["path"]] = self.objects[value["oid"]]
                self.large.add(value["path"])
            elif operation["key"] == "deletedFile":
                del self.files[value["path"]]
                self.large.discard(value["path"])
            else:
                assert operation["key"] == "header", operation
        oid = hashlib.sha1(f"{len(self.commits)}".encode(), usedforsecurity=False).hexdigest()
        self.commits.append(oid)
        self.at[oid] = dict(self.files)
        return oid

    def answer(self, method: str, path: str, query: str, body: bytes) -> object:
        """What the API answers; None for a path that it does not know."""
        api = f"/api/datasets/{REPO}"
        if path == "/api/repos/create":
            return {"url": f"{self.endpoint}/datasets/{REPO}", "name": REPO, "id": "1"}
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        if path == f"{api}/refs":
            tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": oid} for n, oid in self.tags.items()]
            return {"branches": [], "tags": tags, "converts": []}
        if match := re.fullmatch(rf"{api}/tree/([^/]+)(?:/(.*))?", path):
            files, below = self.at.get(self.commit_of(match[1]), self.files), f"{match[2]}/" if match[2] else ""
            return self.listing(files, below, is_recursive="recursive=true" in query)
        if path == f"{api}/preupload/main":
            names = [file["path"] for file in json.loads(body)["files"]]
            oids = {
                name: (sha256 if name in self.large else blob)(self.files[name]) for name in names if name in self.files
            }
            return {
                "files": [
                    {"path": n, "uploadMode": "lfs" if n.endswith(LARGE) else "regular", "shouldIgnore": False}
                    | ({"oid": oids[n]} if n in oids else {})
                    for n in names
                ]
            }
        if path == f"/datasets/{REPO}.git/info/lfs/objects/batch":
            return {"transfer": "basic", "objects": [self.wanted(o) for o in json.loads(body)["objects"]]}
        if path == f"{api}/commit/main":
            oid = self.commit([json.loads(line) for line in body.splitlines() if line])
            return {"success": True, "commitOid": oid, "commitUrl": f"{self.endpoint}/datasets/{REPO}/commit/{oid}"}
        if match := re.fullmatch(rf"{api}(?:/revision/([^/]+))?", path):
            if (oid := self.commit_of(match[1] or "main")) not in self.at:
                return None
            siblings = [{"rfilename": name} for name in self.at[oid]]
            return {"id": REPO, "sha": oid, "siblings": siblings, "private": False, "tags": [], "downloads": 0}
        if match := re.fullmatch(rf"{api}/paths-info/([^/]+)", path):
            files, wanted = self.at[self.commit_of(match[1])], parse_qs(body.decode())["paths"]
            return [self.entry(name, files[name]) for name in wanted if name in files] + [
                FOLDER | {"path": name} for name in wanted if any(each.startswith(f"{name}/") for each in files)
            ]
        if method == "POST" and (match := re.fullmatch(rf"{api}/tag/(\w+)", path)):
            self.tags[json.loads(body)["tag"]] = match[1]
            return {}
        return None

    def entry(self, name: str, content: bytes) -> dict:
        """A file as the listing has it."""
        content = b"other" if name in self.damaged else content
        entry = {"type": "file", "path": name, "size": len(content), "oid": blob(content)}
        if name in self.large:
            entry |= {"oid": "0" * 40, "lfs": {"oid": sha256(content), "size": len(content), "pointerSize": 130}}
        return entry

    def listing(self, files: dict[str, bytes], below: str, *, is_recursive: bool) -> list[dict]:
        """Files below a folder, those deeper down as the folders that they lie in unless all are asked for."""
        names = [name for name in files if name.startswith(below)]
        direct = [name for name in names if is_recursive or "/" not in name.removeprefix(below)]
        folders = {below + name.removeprefix(below).split("/")[0] for name in set(names) - set(direct)}
        return [self.entry(name, files[name]) for name in direct] + [
            FOLDER | {"path": name} for name in sorted(folders)
        ]

    def wanted(self, asked: dict) -> dict:
        """What is to be done for a large file: nothing, if it is there."""
        upload = {"upload": {"href": f"{self.endpoint}/lfs/{asked['oid']}", "header": {}}}
        return asked | ({} if asked["oid"] in self.objects else {"actions": upload})

    def resolve(self, path: str) -> tuple[str, bytes] | None:
        """Commit and content of a file of the data set, under a tag."""
        match = re.fullmatch(rf"/datasets/{REPO}/resolve/([^/]+)/(.+)", path)
        files = self.at.get(oid := self.commit_of(match[1]), {}) if match else {}
        return (oid, files[match[2]]) if match and match[2] in files else None

    def commit_of(self, revision: str) -> str:
        """The commit of a tag, of ``main``, or of a commit's own id."""
        return self.tags.get(revision, self.commits[-1] if revision == "main" and self.commits else revision)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def send(self, status: int, content: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def handle_any(self) -> None:
                path, body = unquote(self.path.split("?")[0]), self.body()
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                hub.requests.append(f"{self.command} {path}")
                hub.tokens.add(token)
                if self.command == "PUT" and not hub.store(path.rsplit("/", 1)[-1], body):
                    self.close_connection = True
                    self.connection.close()
                elif self.command == "PUT":
                    self.send(200, b"")
                elif hub.failing and re.search(hub.failing[0], path):
                    said = json.dumps({"error": f"not with the token {token}"}).encode()
                    self.send(hub.failing[1], said, X_Error_Message=f"not with the token {token}")
                elif (file := hub.resolve(path)) is not None:
                    start, end = 0, len(file[1])
                    if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                        start, end = int(asked[1]), min(end, int(asked[2] or end - 1) + 1)
                    about = {"ETag": f'"{blob(file[1])}"', "X_Repo_Commit": file[0], "Accept_Ranges": "bytes"}
                    if asked:
                        about["Content_Range"] = f"bytes {start}-{end - 1}/{len(file[1])}"
                    self.send(206 if asked else 200, file[1][start:end], **about)
                elif (found := hub.answer(self.command, path, self.path.lower().partition("?")[2], body)) is not None:
                    self.send(200, json.dumps(found).encode(), Content_Type="application/json")
                else:
                    self.send(404, b"{}", X_Error_Code="EntryNotFound")

            do_GET = do_POST = do_PUT = do_HEAD = handle_any  # noqa: N815  names that the server looks for

        return Handler


def blob(content: bytes) -> str:
    """Git's id of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def sha256(content: bytes) -> str:
    """Id of a large file."""
    return hashlib.sha256(content).hexdigest()
