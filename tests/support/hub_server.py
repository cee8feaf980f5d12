"""A stand-in for the Hugging Face hub on 127.0.0.1: lists, metadata, redirects to a CDN, ranges, broken connections."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson


@dataclass
class Hub:
    """Serves repositories: ``hub.repos["org/name"] = {"Q4_K_M.gguf": b"…" or a path}``.

    ``requests`` are those that were received: method, path, and headers, with the server's own name first, ``hub`` or
    ``cdn``. ``cuts`` are the numbers of bytes after which the next downloads break off; with ``hold`` the connection is
    silent then, instead. ``checksum`` and ``etag`` are sent in place of the right ones.
    """

    url: str = ""
    cdn: str = ""
    repos: dict[str, dict[str, bytes | Path]] = field(default_factory=dict)
    token: str = ""
    gated: bool = False
    cuts: list[int] = field(default_factory=list)
    checksum: str = ""
    etag: str = ""
    has_info: bool = True
    on_cut: threading.Event = field(default_factory=threading.Event)
    hold: bool = False
    requests: list[tuple[str, str, str, dict[str, str]]] = field(default_factory=list)

    def downloads(self) -> list[str | None]:
        """Return the ``Range`` of each download that was asked for."""
        return [headers.get("range") for server, method, _, headers in self.requests if server == "cdn"]

    def digest(self, data: bytes | Path) -> str:
        """Return what the hub says is the sha256 of a file."""
        return self.checksum or sha256(data)


def sha256(data: bytes | Path) -> str:
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    if data not in _digests:
        _digests[data] = hashlib.sha256(data.read_bytes()).hexdigest()
    return _digests[data]


_digests: dict[Path, str] = {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    role = "hub"

    def do_GET(self) -> None:
        self.note()
        path = unquote(self.path.partition("?")[0])
        if self.hub.has_info and (found := re.fullmatch(r"/api/models/([^/]+/[^/]+)", path)):
            self.info(found[1])
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/main", path):
            names = self.hub.repos[found[1]]
            self.answer(200, [{"type": "file", "path": name, "size": 1, "oid": "a" * 40} for name in names])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/main/(.+)", path):
            self.resolve(found[1], found[2])
        else:
            self.answer(404, {"error": "not found"})

    do_HEAD = do_GET

    def note(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.requests.append((self.role, self.command, self.path, headers))

    def refused(self, repo: str) -> bool:
        """Answer as the hub does if the repository does not exist, or if it is gated and the token may not read it."""
        hub = self.hub
        is_known = self.headers.get("Authorization") == f"Bearer {hub.token}"
        if repo not in hub.repos:
            self.answer(401, {"error": "Invalid username or password."}, **{"X-Error-Code": "RepoNotFound"})
        elif hub.token and not is_known:
            code = {"X-Error-Code": "GatedRepo"} if hub.gated else {}
            self.answer(403 if hub.gated else 401, {"error": "Access is restricted"}, **code)
        return repo not in hub.repos or (bool(hub.token) and not is_known)

    def info(self, repo: str) -> None:
        if self.refused(repo):
            return
        siblings: list[dict[str, Any]] = [{"rfilename": name} for name in self.hub.repos[repo]]
        if "blobs=" in self.path and self.hub.checksum != "none":
            for one in siblings:
                data = self.hub.repos[repo][one["rfilename"]]
                one["lfs"] = {"size": _size(data), "sha256": self.hub.digest(data), "pointerSize": 134}
        self.answer(200, {"id": repo, "sha": "c" * 40, "siblings": siblings})

    def resolve(self, repo: str, name: str) -> None:
        if self.refused(repo):
            return
        data = self.hub.repos[repo].get(name)
        if data is None:
            self.answer(404, {"error": "Entry not found"}, **{"X-Error-Code": "EntryNotFound"})
            return
        self.answer(
            302,
            {},
            **{"X-Repo-Commit": "c" * 40, "X-Linked-Etag": f'"{self.hub.etag or self.hub.digest(data)}"'},
            **{"X-Linked-Size": str(_size(data)), "Location": f"{self.hub.cdn}/{repo}/{name}"},
        )

    def answer(self, status: int, value: Any, **headers: str) -> None:
        body = orjson.dumps(value)
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


class _CdnHandler(_Handler):
    role = "cdn"

    def do_GET(self) -> None:
        self.note()
        _, org, repo, name = unquote(self.path).split("/", 3)
        data = self.hub.repos[f"{org}/{repo}"][name]
        size = _size(data)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(size - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        end = min(size, self.hub.cuts.pop(0)) if self.hub.cuts else size
        with suppress(ConnectionError):
            self.wfile.write(_read(data)[start:end])
            if end < size:
                self.wfile.flush()
                self.hub.on_cut.set()
                if self.hub.hold:
                    self.rfile.read(1)  # until the client leaves
                self.connection.shutdown(2)
        self.close_connection = end < size

    do_HEAD = do_GET


def _size(data: bytes | Path) -> int:
    return len(data) if isinstance(data, bytes) else data.stat().st_size


def _read(data: bytes | Path) -> bytes:
    return data if isinstance(data, bytes) else data.read_bytes()


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve a hub and the CDN that it sends downloads to, on two ports."""
    hub = Hub()
    servers = []
    for handler in (_Handler, _CdnHandler):
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), {"hub": hub}))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
    hub.url = f"http://127.0.0.1:{servers[0].server_port}"
    hub.cdn = f"http://localhost:{servers[1].server_port}"  # another host: it is not to see the token
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
