import contextlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

import pytest

from server.jobs.workers.inbox import Completed, ConnectionInbox
from server.jobs.workers.messages import Cancel, Stop


@pytest.fixture
def connection() -> Iterator[tuple[Connection, ConnectionInbox]]:
    ours, theirs = multiprocessing.Pipe()
    inbox = ConnectionInbox(theirs)
    yield ours, inbox
    ours.close()
    # Its thread reads no more then. Otherwise it might read what the next test opens with the same number.
    with contextlib.suppress(EOFError):
        while inbox.take(wait=True):
            pass
    theirs.close()


def test_messages_and_ends_of_work_arrive_in_one_place(connection: tuple[Connection, ConnectionInbox]) -> None:
    ours, inbox = connection
    assert inbox.take(wait=False) is None
    ours.send(Cancel(1))
    assert inbox.take(wait=True) == Cancel(1)
    future: Future[Any] = Future()
    done = Completed(lambda future: None, future)
    inbox.put(done)
    assert inbox.take(wait=True) is done


def test_the_end_of_the_connection_comes_after_its_messages_and_stays(
    connection: tuple[Connection, ConnectionInbox],
) -> None:
    ours, inbox = connection
    ours.send(Stop())
    ours.close()
    assert inbox.take(wait=True) == Stop()
    for _ in range(2):
        with pytest.raises(EOFError):
            inbox.take(wait=True)
