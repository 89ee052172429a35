"""Connections, bodies and frames of strangers are bounded in number, bytes and time."""

import contextlib
import json
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import websockets

from tests.chaos.servers import KEY, ChaosServer, chaos_server

pytestmark = pytest.mark.chaos

MB = 10**6
FILES = 1024


def few_files() -> None:
    """Run in the server's process before it starts: the soft limit that most systems have, and nothing above it."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


def address(server: ChaosServer) -> tuple[str, int]:
    parts = urlsplit(server.url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


@contextlib.contextmanager
def lines(server: ChaosServer, number: int, sent: bytes, source: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """Connections from an address that each send something, and then nothing."""
    with contextlib.ExitStack() as opened:
        found = []
        for _ in range(number):
            line = opened.enter_context(socket.create_connection(address(server), source_address=(source, 0)))
            with contextlib.suppress(ConnectionError):
                line.sendall(sent)
            found.append(line)
        yield found


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process open more files than the server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_idle_connections_keep_no_one_out(tmp_path: Path) -> None:
    """1,200 of them at nofile=1024: no new clients, and a million log lines in 45 s."""
    log = tmp_path / "log"
    with log.open("wb") as file, chaos_server(tmp_path / "data", log=file, preexec_fn=few_files) as server:
        with lines(server, 1200, b"", "127.0.0.2"):
            assert "imageURL" in server.send()
            assert len(log.read_bytes().splitlines()) < 100
        assert server.terminate() == 0


def test_the_soft_limit_of_files_is_raised(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with chaos_server(tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))) as server:
        limits = Path(f"/proc/{server.process.pid}/limits").read_text()
        (line,) = (line for line in limits.splitlines() if line.startswith("Max open files"))
        assert int(line.split()[3]) >= min(4096, hard)


def test_unfinished_bodies_share_a_budget(tmp_path: Path) -> None:
    """20 of them, of 30 MB each, held 757 MB."""
    head = b"POST /v1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 40000000\r\n\r\n"
    with chaos_server(tmp_path) as server:
        before = server.peak_memory()
        with lines(server, 20, head + bytes(30 * MB)):
            assert "imageURL" in server.send()
            assert server.peak_memory() - before < 250 * MB


async def test_a_stranger_sends_small_frames_only(tmp_path: Path) -> None:
    with chaos_server(tmp_path, "--api-keys", "any") as server:
        before = server.peak_memory()
        url = f"{server.url.replace('http', 'ws')}/v1"
        async with websockets.connect(url) as stranger:
            with contextlib.suppress(websockets.ConnectionClosed):
                await stranger.send("[" + "[]," * (10 * MB) + "[]]")
            with pytest.raises(websockets.ConnectionClosed):
                await stranger.recv()
            assert stranger.close_code == 1009
        assert server.peak_memory() - before < 10 * MB
        async with websockets.connect(url, additional_headers=KEY) as client:
            await client.send(json.dumps([{"taskType": "ping", "ping": True, "padding": "a" * 60_000}] * 20))
            assert "errors" in json.loads(await client.recv())
