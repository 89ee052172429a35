"""What a worker process has to hear: messages of the API process, and the ends of work in the background.

A thread reads the connection, so that the worker can wait for both at a time. Knows no job and no model.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Completed:
    """Work in the background has ended. `done` gets the future, in the thread that takes this."""

    done: Callable[[Future[Any]], None]
    future: Future[Any]


class Inbox(Protocol):
    """Takes what has arrived, in its order."""

    def take(self, *, wait: bool) -> Any:
        """The next message. Without one, wait for it, or return None. Raises `EOFError` when the server has gone."""
        ...

    def put(self, message: Completed) -> None:
        """Add a message. Called by threads in the background."""
        ...


class ConnectionInbox:
    """The inbox of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._messages: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def take(self, *, wait: bool) -> Any:
        """See `Inbox`."""
        try:
            message = self._messages.get(block=wait)
        except Empty:
            return None
        if isinstance(message, EOFError):
            self._messages.put(message)  # for who takes again
            raise message
        return message

    def put(self, message: Completed) -> None:
        """See `Inbox`."""
        self._messages.put(message)

    def _read(self, connection: Connection) -> None:
        while True:
            try:
                self._messages.put(connection.recv())
            except (EOFError, OSError):
                self._messages.put(EOFError())
                return
