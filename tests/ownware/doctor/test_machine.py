import contextlib
from pathlib import Path
from typing import Any

import pytest

from ownware.doctor import machine
from ownware.doctor.finding import Finding
from ownware.doctor.machine import check_extras, check_keys, check_ports
from server.keys.api_key import NO_LIMITS
from server.keys.key_table import KeyTable
from server.process.data_lock import lock_data_folder
from server.process.listen import listen
from server.settings import Settings


def settings(folder: Path, **changes: Any) -> Settings:
    return Settings(**{"data_dir": folder, "port": 0} | changes)


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({"api_keys": ("a", "b")}, "ok", "2 of the settings, 0 of the data folder"),
        ({}, "note", "everybody who reaches the server"),
        ({"host": "0.0.0.0", "open": True}, "note", "everybody who reaches the server"),
        ({"host": "0.0.0.0"}, "note", "will listen on 127.0.0.1 instead of 0.0.0.0"),
        ({"host": "no.such.host.invalid"}, "note", "instead of no.such.host.invalid"),
    ],
)
def test_keys(tmp_path: Path, changes: dict[str, Any], state: str, words: str) -> None:
    (found,) = check_keys(settings(tmp_path, **changes))
    assert found.state == state
    assert words in found.text
    assert not list(tmp_path.iterdir())


def test_stored_keys_count(tmp_path: Path) -> None:
    with contextlib.closing(KeyTable(tmp_path)) as table:
        table.add("alice", NO_LIMITS)
    assert list(check_keys(settings(tmp_path))) == [
        Finding("ok", "API keys", "0 of the settings, 1 of the data folder")
    ]


def test_a_port(tmp_path: Path) -> None:
    (free,) = check_ports(settings(tmp_path))
    assert free.state == "ok"
    (sock,) = listen("127.0.0.1", 0)
    with sock:
        taken = settings(tmp_path, port=sock.getsockname()[1])
        (used,) = check_ports(taken)
        assert (used.state, "it is in use" in used.text) == ("stops", True)
        with lock_data_folder(tmp_path):
            (own,) = check_ports(taken)
        assert own.state == "ok"
        found = check_ports(settings(tmp_path, metrics_port=sock.getsockname()[1]))
        assert [(each.subject, each.state) for each in found] == [("port", "ok"), ("metrics port", "stops")]
    (elsewhere,) = check_ports(settings(tmp_path, host="192.0.2.1"))
    assert elsewhere.state == "stops"


@pytest.mark.parametrize(
    ("here", "wanted", "states"),
    [(True, True, ["ok"] * 4), (False, False, ["note"] * 4), (False, True, ["note", *["stops"] * 3])],
)
def test_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: bool, wanted: bool, states: list[str]) -> None:
    monkeypatch.setattr(machine, "is_installed", lambda name: here)
    found = list(check_extras(settings(tmp_path, face_refinement=wanted, safety_default=wanted, tracing=wanted)))
    assert [finding.state for finding in found] == states
    assert here or all("pip install" in finding.text for finding in found)
