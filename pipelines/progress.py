"""Tells how far a long step is: a bar with seconds on a terminal, and lines in the log elsewhere.

Knows bytes and a clock; knows no models. Nothing is said of a step that takes a moment only.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger()

Advance = Callable[[int], None]  # bytes that have been done since the last call; may be called by several threads

# Seconds before anything is said, and between two lines in the log.
DELAY, INTERVAL = 1.0, 10.0
GB = 10**9


@contextmanager
def show_progress(step: str, total: int) -> Iterator[Advance]:
    """Show the progress of a step of `total` bytes, such as "loading Qwen-Image", while the block runs."""
    with _bar(step, total) if sys.stderr.isatty() else _lines(step, total) as advance:
        yield advance


@contextmanager
def _bar(step: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    clock = (TimeElapsedColumn(), TextColumn("eta"), TimeRemainingColumn())
    progress = Progress(*columns, *clock, console=Console(stderr=True))
    task = progress.add_task(step, total=total)
    timer = threading.Timer(DELAY, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda done: progress.advance(task, done)
    finally:
        timer.cancel()
        timer.join()
        progress.stop()


@contextmanager
def _lines(step: str, total: int) -> Iterator[Advance]:
    started = time.monotonic()
    lock = threading.Lock()
    done, next_line = 0, started + DELAY

    def advance(more: int) -> None:
        nonlocal done, next_line
        with lock:
            done += more
            now = time.monotonic()
            if now >= next_line:
                next_line = now + INTERVAL
                share = f"{done / GB:.1f} of {total / GB:.1f} GB"
                log.info(step, done=share, percent=100 * done // max(total, 1), seconds=round(now - started))

    yield advance
    if (seconds := time.monotonic() - started) >= DELAY:
        log.info(f"{step}: done", gigabytes=round(total / GB, 1), seconds=round(seconds, 1))
