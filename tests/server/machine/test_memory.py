import pytest

from pipelines.models.planning.cards import make_card
from server.machine import memory
from server.machine.memory import Memory, read_memory


def test_the_host_and_its_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_cards(*, whole: bool = False) -> tuple[object, ...]:
        return (make_card("Board", (80 if whole else 30) * 2**30, (9, 0)),)

    monkeypatch.setattr(memory, "find_cards", find_cards)
    host, card = read_memory()
    assert host.name == "host"
    assert 0 <= host.free <= host.total
    assert host.total > 2**28
    assert card == Memory("Board", 80 * 2**30, 30 * 2**30)


def test_a_machine_without_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "find_cards", lambda *, whole=False: ())
    assert [each.name for each in read_memory()] == ["host"]
