import gc
import threading
import weakref
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

import pytest

from server.jobs.workers.background import Background, run_now
from server.jobs.workers.inbox import Completed


class Inbox:
    """Keeps what was done."""

    def __init__(self) -> None:
        self._done: SimpleQueue[Completed] = SimpleQueue()

    def take(self, *, wait: bool) -> Completed:
        return self._done.get(timeout=10)

    def put(self, message: Completed) -> None:
        self._done.put(message)

    def deliver(self) -> None:
        completed = self.take(wait=True)
        completed.done(completed.future)


def test_work_is_done_in_its_order_and_ends_where_the_inbox_is_taken_from() -> None:
    inbox, seen = Inbox(), list[Any]()
    background = Background("name", inbox)
    for number in range(3):
        background.submit(
            lambda number=number: (number, threading.current_thread().name),
            lambda future: seen.append((future.result(), threading.current_thread() is threading.main_thread())),
        )
    for _ in range(3):
        inbox.deliver()
    assert seen == [((number, "name"), True) for number in range(3)]


def test_an_error_ends_one_work_only() -> None:
    inbox, errors = Inbox(), list[BaseException | None]()
    background = Background("name", inbox)

    def fail() -> None:
        raise ZeroDivisionError

    for work in (fail, lambda: None):
        background.submit(work, lambda future: errors.append(future.exception()))
    inbox.deliver()
    inbox.deliver()
    assert [type(error) for error in errors] == [ZeroDivisionError, type(None)]


def test_nothing_of_the_work_is_held_while_it_waits_for_more() -> None:
    class Tensor:
        pass

    inbox, tensor = Inbox(), Tensor()
    held = weakref.ref(tensor)
    Background("name", inbox).submit(lambda tensor=tensor: None, lambda future: None)
    del tensor
    inbox.deliver()
    gc.collect()
    assert held() is None


def test_work_in_this_thread_ends_in_the_same_way() -> None:
    seen = list[Future[int]]()
    run_now(lambda: 7, seen.append)
    run_now(lambda: 1 // 0, seen.append)
    assert seen[0].result() == 7
    with pytest.raises(ZeroDivisionError):
        seen[1].result()


def test_work_is_pending_until_its_end_is_taken() -> None:
    inbox, pending = Inbox(), list[int]()
    background = Background("name", inbox)
    background.submit(lambda: None, lambda future: pending.append(background.pending))
    assert background.pending == 1
    inbox.deliver()
    assert pending == [0]
