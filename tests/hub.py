"""A hub on loopback for tests: the few addresses that downloads ask, with ranges, and with faults on demand."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub import constants

COMMIT = "a" * 40


@dataclass
class FakeHub:
    """The repositories by name, each a mapping of file names to contents, and the faults.

    `breaks` counts, for a file, the transfers that still break off after `break_after` bytes. A file in `stalls` stops
    after that many bytes, until `go_on` is set. `corrupt` are files that arrive with another last byte. `status`
    answers every request so. `requests` are those that came, in order.
    """

    url: str
    repositories: dict[str, dict[str, bytes]]
    breaks: dict[str, int] = field(default_factory=dict)
    break_after: int = 0
    stalls: dict[str, int] = field(default_factory=dict)
    go_on: threading.Event = field(default_factory=threading.Event)
    corrupt: set[str] = field(default_factory=set)
    status: int = 200
    gated: bool = False
    ranges: bool = True
    sizes: bool = True
    commit: str = COMMIT
    requests: list[str] = field(default_factory=list)

    def count(self, method: str) -> int:
        """How many requests of a method came."""
        return sum(request.startswith(f"{method} ") for request in self.requests)


def use_hub(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """Let the hub's client of this process ask a hub, with a cache of its own. A child reads HF_ENDPOINT instead."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


def folder_files(folder: Path) -> dict[str, bytes]:
    """The contents of a folder's files by their names in it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@contextmanager
def serve_hub(repositories: dict[str, dict[str, bytes]]) -> Iterator[FakeHub]:
    """Serve repositories on a free port while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Keep the output of the tests clean."""

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            path = urlsplit(self.path).path
            hub.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
            if hub.gated:
                return self._send(403, b"", {"X-Error-Code": "GatedRepo"})
            if hub.status != 200:
                return self._send(hub.status, b"", {})
            if listed := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+)?", path):
                return self._list(listed[1])
            found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
            content = hub.repositories.get(found[1], {}).get(found[3]) if found else None
            if found is None or content is None:
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return self._file(found[3], content, with_body=with_body)

        def _list(self, name: str) -> None:
            if name not in hub.repositories:
                return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            siblings = [_sibling(file, content, hub.sizes) for file, content in hub.repositories[name].items()]
            told = {"id": name, "modelId": name, "sha": hub.commit, "siblings": siblings, "tags": [], "private": False}
            return self._send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

        def _file(self, name: str, content: bytes, *, with_body: bool) -> None:
            if name in hub.corrupt:
                content = content[:-1] + bytes([content[-1] ^ 1])
            headers = {"ETag": f'"{_digest(hub.repositories, name, content)}"', "X-Repo-Commit": hub.commit}
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(asked[1]) if asked and hub.ranges else 0
            body, status = content[start:], 206 if asked and hub.ranges else 200
            if not with_body:
                return self._send(200, b"", headers | {"Content-Length": str(len(content))})
            if name in hub.stalls:
                self._send(status, body, headers, cut=hub.stalls[name])
                hub.go_on.wait()
                self.close_connection = True
                return None
            if hub.breaks.get(name, 0) > 0:
                hub.breaks[name] -= 1
                self._send(status, body, headers, cut=hub.break_after)
                self.close_connection = True
                self.connection.close()
                return None
            return self._send(status, body, headers)

        def _send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
            self.send_response(status)
            for header, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(header, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[:cut])
                self.wfile.flush()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub = FakeHub(f"http://127.0.0.1:{server.server_port}", repositories)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _sibling(name: str, content: bytes, sizes: bool) -> dict[str, object]:
    if not sizes:
        return {"rfilename": name}
    if not name.endswith((".safetensors", ".gguf")):
        return {"rfilename": name, "size": len(content), "blobId": git_sha1(content)}
    lfs = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return {"rfilename": name, "size": len(content), "blobId": git_sha1(b"pointer"), "lfs": lfs}


def _digest(repositories: dict[str, dict[str, bytes]], name: str, sent: bytes) -> str:
    """The checksum that the hub tells: that of the true content, whatever is sent."""
    true = next((files[name] for files in repositories.values() if name in files), sent)
    return hashlib.sha256(true).hexdigest() if name.endswith((".safetensors", ".gguf")) else git_sha1(true)


def git_sha1(content: bytes) -> str:
    """The checksum by which git names a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
