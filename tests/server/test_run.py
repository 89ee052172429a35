"""The server from start to end in this process, with a fake worker and nothing but the loopback address."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.models.planning.cards import GIB, find_card
from server import run
from server.extras import install_command
from server.keys.api_key import NO_LIMITS
from server.keys.key_table import KeyTable
from server.machine import capacity
from server.process.data_lock import lock_data_folder
from server.process.listen import listen
from server.run import serve
from server.settings import Settings
from tests.fakes import FakeWorker


class Terminal:
    """What is printed. The user presses Ctrl-C twice when the greeting appears."""

    def __init__(self) -> None:
        self.printed: list[str] = []

    def echo(self, text: str, *, err: bool = False) -> None:
        self.printed.append(text)
        if "Try it:" in text:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)

    @property
    def text(self) -> str:
        return "\n".join(self.printed)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr(run.typer, "echo", terminal.echo)
    return terminal


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch, worker: FakeWorker) -> None:
    monkeypatch.setattr(run, "configure_logs", lambda level: None)
    monkeypatch.setattr(run, "tune_interpreter", lambda: None)  # the tests are no garbage
    monkeypatch.setattr(run, "WorkerProcess", lambda *arguments, sharing: worker)


def settings(tmp_path: Path, **changes: Any) -> Settings:
    return Settings(**{"data_dir": tmp_path / "data", "port": 0, "devices": ("cpu",)} | changes)


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
    monkeypatch.setattr(run.typer, "echo", look)
    assert serve(settings(tmp_path)) == 0
    assert most
    assert min(most) > run.ACCEPTED_AT_ONCE


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


def test_the_greeting_names_the_weights_of_each_model(tmp_path: Path, terminal: Terminal) -> None:
    assert serve(settings(tmp_path, weights="catalog")) == 0
    assert "Qwen/Qwen-Image" in terminal.printed[0]
    assert "embedded" not in terminal.printed[0]


def test_it_ends_when_no_worker_can_start(tmp_path: Path, terminal: Terminal, worker: FakeWorker) -> None:
    worker.start_failure = "no weights"
    assert serve(settings(tmp_path)) == 1
    assert terminal.printed == ["ownware: no worker can start: no weights"]


def test_mistakes_end_the_start_with_a_message(tmp_path: Path, terminal: Terminal) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "embedded.toml").write_text("format = 1\n")
    for changes in (
        {"models": tmp_path / "nowhere.toml"},
        {"data_dir": tmp_path / "file" / "data"},
        {"profile_dir": tmp_path},
    ):
        assert serve(settings(tmp_path, **changes)) == 2
    models, data, profile = terminal.printed
    assert models.startswith(f"ownware: {tmp_path / 'nowhere.toml'}: ")
    assert data.startswith(f"ownware: the data folder {tmp_path / 'file' / 'data'} cannot be used: ")
    assert profile.startswith(f"ownware: {tmp_path / 'embedded.toml'}: ")


def test_two_servers_share_no_data_folder(tmp_path: Path, terminal: Terminal) -> None:
    folder = tmp_path / "data"
    with lock_data_folder(folder):
        assert serve(settings(tmp_path)) == 2
    assert terminal.text.startswith(f"ownware: another server (process {os.getpid()}) uses the data folder {folder}: ")
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_a_port_in_use_is_told_before_anything_is_loaded(
    tmp_path: Path, terminal: Terminal, worker: FakeWorker
) -> None:
    (sock,) = listen("127.0.0.1", 0)
    with sock:
        port = sock.getsockname()[1]
        assert serve(settings(tmp_path, port=port)) == 2
        assert serve(settings(tmp_path, metrics_port=port)) == 2
    assert serve(settings(tmp_path, host="192.0.2.1", open=True)) == 2
    in_use, metrics, elsewhere = terminal.printed
    assert metrics.endswith(f"port {port} of 127.0.0.1: it is in use; choose another one with --metrics-port")
    assert in_use == f"ownware: cannot listen on port {port} of 127.0.0.1: it is in use; choose another one with --port"
    assert elsewhere.startswith("ownware: cannot listen on port 0 of 192.0.2.1: ")
    assert not worker.starts


@pytest.mark.parametrize(
    ("changes", "listening"),
    [
        ({}, "127.0.0.1"),
        ({"api_keys": ("one",)}, "0.0.0.0"),
        ({"open": True}, "0.0.0.0"),
    ],
)
def test_without_keys_it_stays_on_this_machine(
    tmp_path: Path,
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    listening: str,
) -> None:
    hosts: list[str] = []

    def listen_here(host: str, port: int) -> list[socket.socket]:
        hosts.append(host)
        return listen("127.0.0.1", port)

    monkeypatch.setattr(run, "listen", listen_here)
    assert serve(settings(tmp_path, host="0.0.0.0", **changes)) == 0
    assert hosts == [listening]
    assert ("any API key is accepted" in capsys.readouterr().out) == ("api_keys" not in changes)


def test_a_stored_key_lets_it_listen_and_a_revoked_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(KeyTable(tmp_path / "data")) as keys:
        keys.add("alice", NO_LIMITS)
        keys.revoke("alice")
    hosts: list[str] = []
    monkeypatch.setattr(run, "listen", lambda host, port: hosts.append(host))
    monkeypatch.setattr(run, "_serve", lambda *arguments: 0)
    with pytest.raises(TypeError):  # no sockets
        serve(settings(tmp_path, host="0.0.0.0"))
    assert hosts == ["0.0.0.0"]


def test_refined_faces_need_their_detector(tmp_path: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "is_installed", lambda package: False)
    assert serve(settings(tmp_path, face_refinement=True)) == 2
    assert f"needs the face detector: {install_command('faces')}" in terminal.text


def test_tracing_needs_its_packages(tmp_path: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "is_installed", lambda package: False)
    assert serve(settings(tmp_path, tracing=True)) == 2
    assert f"--tracing needs OpenTelemetry: {install_command('otel')}" in terminal.text


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a card of 24 GiB, 64 GiB of host memory, and nothing downloaded."""
    card = find_card("RTX 4090")
    monkeypatch.setattr(run, "find_devices", lambda wanted: ("cuda:0",))
    monkeypatch.setattr(capacity, "find_cards", lambda: (card,))
    monkeypatch.setattr(capacity, "free_host_memory", lambda: 64 * GIB)
    monkeypatch.setattr(capacity, "_free_disk_bytes", lambda folder: 10**15)


@pytest.mark.usefixtures("gpu")
def test_a_model_that_fits_no_plan_ends_the_start(tmp_path: Path, terminal: Terminal) -> None:
    assert serve(settings(tmp_path, weights="catalog", vram=4)) == 2
    assert "Qwen/Qwen-Image: 4.0 GiB of GPU memory are too few for 1328×1328: at least " in terminal.text


@pytest.mark.usefixtures("gpu")
def test_the_plan_is_printed_before_anything_is_loaded(tmp_path: Path, terminal: Terminal, worker: FakeWorker) -> None:
    worker.start_failure = "no weights"
    serve(settings(tmp_path, weights="catalog"))
    assert "Qwen-Image (runware:108@1) on RTX 4090 (24.0 GiB) with 64.0 GiB of host memory" in terminal.text
    assert "streamed a step" in terminal.text
