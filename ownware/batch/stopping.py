"""The user's wish to stop: the first Ctrl-C or SIGTERM is noted, the second one ends the command at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ownware.batch.item import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether the user has asked to stop."""

    def __init__(self) -> None:
        self.requested = False

    def check(self) -> None:
        """Raise `Interrupted` when the user has asked to stop."""
        if self.requested:
            raise Interrupted

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Note the signals within this block."""
        before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
