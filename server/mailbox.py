"""The events of one job for one watcher, who may be slow.

Knows kinds of events only by whether a later one replaces an earlier one.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

Event = TypeVar("Event")


class Mailbox(Generic[Event]):
    """Events in order. Of each kind in `latest_only`, no more than one waits: the newest."""

    def __init__(self, latest_only: Sequence[type]) -> None:
        self._latest_only = tuple(latest_only)
        self._events: deque[Event] = deque()
        self._arrived = asyncio.Event()

    def put(self, event: Event) -> None:
        """Add an event, in the place of an older one that it replaces."""
        if isinstance(event, self._latest_only):
            self._events = deque(waiting for waiting in self._events if type(waiting) is not type(event))
        self._events.append(event)
        self._arrived.set()

    async def get(self) -> Event:
        """The oldest event. Waits for one."""
        while not self._events:
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()
