from typing import Any

import pytest
import torch

from pipelines.models.running import step_timer
from pipelines.models.running.step_timer import StepPace, StepTimer

CPU, CARD = torch.device("cpu"), torch.device("cuda:0")


class Event:
    """An event of a fake GPU, at the time at which it was recorded. `log` tells which were waited for."""

    now = 0
    log: list[int]

    def __init__(self, enable_timing: bool = False) -> None:
        self.at = -1

    def record(self) -> None:
        self.at = Event.now

    def synchronize(self) -> None:
        Event.log.append(self.at)

    def elapsed_time(self, end: "Event") -> float:
        return float(end.at - self.at)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    monkeypatch.setattr(Event, "log", [], raising=False)
    monkeypatch.setattr(Event, "now", 0)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    return Event.log


def test_a_cpu_counts_the_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    times: Any = iter([1.0, 3.0, 10.0, 11.0])
    monkeypatch.setattr(step_timer.time, "perf_counter", lambda: next(times))
    timer = StepTimer(CPU)
    for _ in range(2):
        with timer.step():
            pass
    assert timer.seconds() == 3.0


def test_a_gpu_tells_the_time_by_its_own_events(events: list[int]) -> None:
    timer = StepTimer(CARD)
    for begin, end in ((1000, 3000), (10_000, 11_000)):
        Event.now = begin
        with timer.step():
            Event.now = end
        assert events == []
    assert timer.seconds() == timer.seconds() == 3.0
    assert events == [11_000]


def test_the_host_is_one_step_ahead_of_a_gpu(events: list[int]) -> None:
    pace = StepPace(CARD)
    for now in (1, 2, 3):
        Event.now = now
        pace.keep()
    assert events == [1, 2]


def test_a_cpu_is_never_waited_for(events: list[int]) -> None:
    pace = StepPace(CPU)
    pace.keep()
    pace.keep()
    assert events == []
