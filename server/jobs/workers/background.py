"""A thread that works beside the steps of a worker, on one thing after the other.

Knows no job and no model.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from server.jobs.workers.inbox import Completed, Inbox

T = TypeVar("T")


class Background:
    """One thread, which starts with the first work and ends with its process.

    `pending` counts the works whose end was not taken out of the inbox yet.
    """

    def __init__(self, name: str, inbox: Inbox) -> None:
        """What is done is put into the inbox."""
        self._name = name
        self._inbox = inbox
        self._work: SimpleQueue[tuple[Callable[[], Any], Completed]] = SimpleQueue()
        self._started = False
        self.pending = 0

    def submit(self, work: Callable[[], T], done: Callable[[Future[T]], None]) -> None:
        """Do this after all that was submitted before. `done` is called by who takes its end out of the inbox."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        self.pending += 1
        self._work.put((work, Completed(partial(self._end, done), Future())))

    def _end(self, done: Callable[[Future[T]], None], future: Future[T]) -> None:
        """Runs in the thread that submits, so nothing is locked."""
        self.pending -= 1
        done(future)

    def _run(self) -> None:
        while True:
            self._inbox.put(self._next())

    def _next(self) -> Completed:
        """Do the next work. Nothing of it is held while the thread waits for more."""
        work, completed = self._work.get()
        _fulfil(completed.future, work)
        return completed


def run_now(work: Callable[[], T], done: Callable[[Future[T]], None]) -> None:
    """Do the work in this thread, with the same end as in the background."""
    future: Future[T] = Future()
    _fulfil(future, work)
    done(future)


def _fulfil(future: Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001  whoever asks for the result gets it
        future.set_exception(error)
