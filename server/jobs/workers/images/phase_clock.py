"""Measures the phases of an image, one after the other: load, prepare, steps, decode, encode.

Times are seconds since the epoch, because they are compared with those of another process. Knows no image.
"""

import time

from server.jobs.workers.messages import Phase


class PhaseClock:
    """The phases so far."""

    def __init__(self, name: str) -> None:
        """The first phase begins."""
        self._name, self._begun = name, time.time()
        self._phases: list[Phase] = []

    def begin(self, name: str) -> None:
        """The phase under way ends, and another one begins, unless it is this one."""
        if name == self._name:
            return
        now = time.time()
        self._phases.append(Phase(self._name, self._begun, max(self._begun, now)))
        self._name, self._begun = name, now

    def end(self) -> tuple[Phase, ...]:
        """The last phase ends."""
        self.begin("")
        return tuple(self._phases)
