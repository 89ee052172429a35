import subprocess

import pytest
from structlog.testing import capture_logs

from pipelines.models.planning.cards import make_card
from server.machine import memory
from server.machine.memory import Memory, read_memory


def test_the_host_and_its_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "read_cards", lambda: ((make_card("Board", 80 * 2**30, (9, 0)), 30 * 2**30),))
    host, card = read_memory()
    assert host.name == "host"
    assert 0 <= host.free <= host.total
    assert host.total > 2**28
    assert card == Memory("Board", 80 * 2**30, 30 * 2**30)


def test_a_machine_without_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "read_cards", tuple)
    assert [each.name for each in read_memory()] == ["host"]


def test_cards_whose_driver_hangs_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang() -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 10)

    monkeypatch.setattr(memory, "read_cards", hang)
    with capture_logs() as logs:
        assert [each.name for each in read_memory()] == ["host"]
    assert [line["event"] for line in logs] == ["nvidia-smi does not answer"]
