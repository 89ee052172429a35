"""The seconds of the steps of one image, however many steps of others run between them.

A GPU computes long after it was called, so its own events tell the time. Knows torch; knows no render.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class StepTimer:
    """Times the steps of one image. `step` is around each of them."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event, int]] = []
        self._seconds = 0.0

    @contextmanager
    def step(self, images: int = 1) -> Iterator[None]:
        """Time a step that this image shares with others, `images` in all. Waits for none of it."""
        if self._on_gpu:
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            yield
            end.record()
            self._events.append((begin, end, images))
        else:
            started = time.perf_counter()
            yield
            self._seconds += (time.perf_counter() - started) / images

    def seconds(self) -> float:
        """The seconds of all steps. Waits for the last one."""
        if self._events:
            self._events[-1][1].synchronize()
            self._seconds += sum(begin.elapsed_time(end) / images for begin, end, images in self._events) / 1000
            self._events.clear()
        return self._seconds


class StepPace:
    """Keeps the host one step ahead of a GPU at most, so that progress is true and a cancel is heard in time."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._last: torch.cuda.Event | None = None

    def keep(self) -> None:
        """Call after each step. Waits for the step before it; the device has the last one to do meanwhile."""
        if not self._on_gpu:
            return
        if self._last is not None:
            self._last.synchronize()
        self._last = torch.cuda.Event()
        self._last.record()
