"""Work beside the steps: on a GPU a second stream, which waits for the first one and is waited for by its own thread.

A CPU has no streams. Knows torch; knows no render.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class SideStreams:
    """One stream for each thread that works beside the steps."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._own = threading.local()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Work on the stream of this thread, after all that the default stream has been given so far.

        At the end the host waits for it, so whatever the work has made can be used by every stream.
        """
        if self._device.type != "cuda":
            yield
            return
        stream = self._stream()
        stream.wait_stream(torch.cuda.default_stream(self._device))
        with torch.cuda.device(self._device), torch.cuda.stream(stream):
            yield
        stream.synchronize()

    def _stream(self) -> torch.cuda.Stream:
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self._device)
        return self._own.stream
