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
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.table import Column

    def fixed(width: int) -> Column:
        return Column(no_wrap=True, min_width=width)

    progress = Progress(
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        BarColumn(12, table_column=fixed(12)),
        DownloadColumn(table_column=fixed(12)),
        TimeElapsedColumn(fixed(7)),
        TextColumn("eta", table_column=fixed(3)),
        TimeRemainingColumn(table_column=fixed(7)),
        console=Console(stderr=True),
        expand=True,
    )
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
                _say(step, done=share, percent=100 * done // max(total, 1), seconds=round(now - started))

    yield advance
    if (seconds := time.monotonic() - started) >= DELAY:
        _say(f"{step}: done", gigabytes=round(total / GB, 1), seconds=round(seconds, 1))


def _say(event: str, **values: object) -> None:
    """Write to the log, or to the error stream of a program that has configured none: its output holds results."""
    if structlog.is_configured():
        log.info(event, **values)
    else:
        print(f"ownware: {event}", *(f"{key}={value}" for key, value in values.items()), file=sys.stderr)  # noqa: T201
