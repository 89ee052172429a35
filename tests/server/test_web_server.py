"""The web server in this process, with a fake worker and nothing but the loopback address."""

import asyncio
import os
import re
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from server import run, web_server
from server.process.listen import listen
from server.run import serve
from tests.fakes import FakeWorker
from tests.server.terminal import Terminal, settings

pytestmark = pytest.mark.usefixtures("fake_processes")


def test_it_greets_when_a_worker_is_ready_and_ends_at_an_interrupt(tmp_path: Path, terminal: Terminal) -> None:
    assert serve(settings(tmp_path)) == 0
    greeting, *after = terminal.printed
    for words in ("runware:108@1 ", "embedded demonstration model", "Device: fake device.", "any key is accepted"):
        assert words in greeting
    assert str(tmp_path / "data") in greeting
    assert re.search(r"curl -s http://127\.0\.0\.1:\d+/v1 -H 'Content-Type", greeting)
    assert after == ["\nStopping. Unfinished tasks continue at the next start."]


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="only Linux tells how many may wait")
def test_more_clients_may_wait_than_are_taken_at_a_time(
    tmp_path: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[socket.socket] = []
    most: list[int] = []

    def open_sockets(host: str, port: int) -> list[socket.socket]:
        opened.extend(listen(host, port))
        return opened

    def look(text: str, *, err: bool = False) -> None:
        if "Try it:" in text:
            most.extend(most_waiting(sock) for sock in opened)
        terminal.echo(text, err=err)

    monkeypatch.setattr(run, "listen", open_sockets)
    monkeypatch.setattr(typer, "echo", look)
    assert serve(settings(tmp_path)) == 0
    assert most
    assert min(most) > web_server.ACCEPTED_AT_ONCE


def most_waiting(sock: socket.socket) -> int:
    """How many clients may wait at a listening socket: `tcpi_sacked` of the kernel's `tcp_info`."""
    return struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28)[0]


def test_an_interrupt_while_the_models_load_ends_it_too(
    tmp_path: Path, terminal: Terminal, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def load_for_ever(on_end: Callable[[], None]) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    monkeypatch.setattr(worker, "start", load_for_ever)
    assert serve(settings(tmp_path)) == 0
    assert terminal.printed == ["\nStopping. Unfinished tasks continue at the next start."]


def test_it_ends_when_no_worker_can_start(tmp_path: Path, terminal: Terminal, worker: FakeWorker) -> None:
    worker.start_failure = "no weights"
    assert serve(settings(tmp_path)) == 1
    assert terminal.printed == ["ownware: no worker can start: no weights"]
