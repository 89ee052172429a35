import resource

import pytest
import structlog

from server.connections import guard as module
from server.connections.guard import MAX_CONNECTIONS, OTHER_FILES, ConnectionGuard, raise_file_limit


def test_one_address_has_half_and_all_have_the_whole() -> None:
    guard = ConnectionGuard(4)
    assert [guard.enter(address) for address in "aaabbbc"] == [True, True, False, True, True, False, False]
    guard.leave("a")
    assert [guard.enter("c"), guard.enter("a")] == [True, False]


def test_refusals_are_logged_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    guard, now = ConnectionGuard(2), [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with structlog.testing.capture_logs() as logged:
        for _ in range(1000):
            guard.enter("a")
        now[0] += 11
        guard.enter("a")
    assert [line["count"] for line in logged] == [1, 999]


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "room"),
    [
        (1024, 1_048_576, MAX_CONNECTIONS + OTHER_FILES, MAX_CONNECTIONS),
        (1024, 1024, None, 1024 - OTHER_FILES),
        (1024, 2048, 2048, 2048 - OTHER_FILES),
        (65536, 65536, None, MAX_CONNECTIONS),
        (100, 100, None, 2),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, MAX_CONNECTIONS),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_needed(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int | None, room: int
) -> None:
    changes = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: changes.append(limits))
    assert raise_file_limit() == room
    assert changes == ([] if raised is None else [(raised, hard)])
