import time

import pytest

from server.jobs.workers.images.phase_clock import PhaseClock
from server.jobs.workers.messages import Phase


def test_phases_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((1.0, 3.0, 2.5, 4.0))  # the clock is set back once
    monkeypatch.setattr(time, "time", lambda: next(times))
    clock = PhaseClock("prepare")
    for name in ("prepare", "steps", "steps", "decode"):
        clock.begin(name)
    assert clock.end() == (Phase("prepare", 1.0, 3.0), Phase("steps", 3.0, 3.0), Phase("decode", 2.5, 4.0))
