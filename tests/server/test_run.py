"""The start of a server: what is printed, and what ends it before anything is loaded."""

import contextlib
import os
import socket
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
from tests.fakes import FakeWorker
from tests.pipelines.catalog.models_files import row, written
from tests.server.terminal import Terminal, settings

pytestmark = pytest.mark.usefixtures("fake_processes")


def test_the_greeting_names_the_weights_of_each_model(tmp_path: Path, terminal: Terminal) -> None:
    assert serve(settings(tmp_path, weights="catalog")) == 0
    assert "Qwen/Qwen-Image" in terminal.printed[0]
    assert "embedded" not in terminal.printed[0]


def test_mistakes_end_the_start_with_a_message(tmp_path: Path, terminal: Terminal) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "embedded.toml").write_text("format = 1\nfactor = 'much'\n")
    for changes in (
        {"models": tmp_path / "nowhere.toml"},
        {"data_dir": tmp_path / "file" / "data"},
        {"profile_dir": tmp_path},
    ):
        assert serve(settings(tmp_path, **changes)) == 2
    models, data, profile = terminal.printed
    assert models.startswith(f"ownware: {tmp_path / 'nowhere.toml'}: ")
    assert data.startswith(f"ownware: the data folder {tmp_path / 'file' / 'data'} cannot be used: ")
    assert profile.startswith(f"ownware: {tmp_path / 'embedded.toml'}: source: ")
    assert "; factor: " in profile


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((), "there is no folder"),
        (("transformer", "vae", "text_encoder", "tokenizer", "scheduler"), "there is no config.json"),
    ],
)
def test_weights_that_are_not_there_end_the_start(
    tmp_path: Path, terminal: Terminal, parts: tuple[str, ...], said: str
) -> None:
    for part in parts:
        (tmp_path / "nothing" / part).mkdir(parents=True)
    models = written(tmp_path, row(weights=str(tmp_path / "nothing")))
    assert serve(settings(tmp_path, models=models)) == 2
    assert said in terminal.text
    assert "nothing" in terminal.text


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
