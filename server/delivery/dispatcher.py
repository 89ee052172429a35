"""Sends what is due in the outbox: at least once, in order within a task, many receivers at a time.

A row ends in the database before the next one of its task is sent. One that was under way when the process ended is
sent again at the next start, with the same message id. Knows no job, no body and no network.
"""

import asyncio
import contextlib
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from server.delivery.outbox import Delivery, Kind, Outbox
from server.delivery.sender import DeliveryFailed

log = structlog.get_logger()

# Requests under way, in all and to one receiver. The difference is what one dead receiver cannot take from others.
SLOTS, SLOTS_OF_HOST = 32, 4
# A delay is lengthened by up to this part of it, so that receivers that come back are not hit by all at once.
JITTER = 0.2
# While the database cannot be written, what was sent must not be sent again and again.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0
# A clock that is set back must not stop the retries.
LONGEST_SLEEP_SECONDS = 60.0


class Courier(Protocol):
    """Sends the rows of one kind."""

    async def send(self, delivery: Delivery) -> None:
        """Send a row once. Raises `DeliveryFailed`."""
        ...

    async def end(self, delivery: Delivery, error: str | None) -> bool:
        """Store that a row is delivered, or why it is given up. False when it is gone with its job."""
        ...


@dataclass(frozen=True, slots=True)
class Couriers:
    """What sends the rows of jobs, and those of tasks that are no jobs, by their kinds."""

    jobs: Mapping[Kind, Courier]
    tasks: Mapping[Kind, Courier]

    def of(self, delivery: Delivery) -> Courier:
        """What sends a row."""
        return (self.tasks if delivery.job_id is None else self.jobs)[delivery.kind]


class Observer(Protocol):
    """Is told of every row that ends."""

    def record_delivery(self, kind: Kind, *, delivered: bool) -> None:
        """A row is delivered or given up."""
        ...


class Dispatcher:
    """The one that sends. `wake` says that there may be something new."""

    def __init__(self, outbox: Outbox, observer: Observer) -> None:
        self._outbox = outbox
        self._observer = observer
        self._couriers = Couriers({}, {})
        self._waking = asyncio.Event()
        self._busy: dict[int, asyncio.Task[None]] = {}
        self._hosts: Counter[str] = Counter()
        self._loop: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Look for rows now."""
        self._waking.set()

    def open(self, couriers: Couriers) -> None:
        """Start to send. Rows of an earlier process are sent too."""
        self._couriers = couriers
        self._loop = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop at once. What is under way is sent again at the next start."""
        tasks = [*self._busy.values(), *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._waking.clear()
            try:
                await self._start_due()
                following = await self._outbox.next_time(time.time())
            except sqlite3.Error as error:
                log.error("no delivery can be read from the database", reason=str(error))
                following = time.time() + LONGEST_PAUSE_SECONDS
            sleep = LONGEST_SLEEP_SECONDS if following is None else max(0.0, following - time.time())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(sleep, LONGEST_SLEEP_SECONDS)):
                    await self._waking.wait()

    async def _start_due(self) -> None:
        while len(self._busy) < SLOTS:
            full = [host for host, count in self._hosts.items() if count >= SLOTS_OF_HOST]
            delivery = await self._outbox.next_due(time.time(), list(self._busy), full)
            if delivery is None:
                return
            self._hosts[delivery.host] += 1
            self._busy[delivery.id] = asyncio.create_task(self._deliver(delivery))

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._store(await self._try(delivery), delivery)
        finally:
            del self._busy[delivery.id]
            self._hosts[delivery.host] -= 1
            if not self._hosts[delivery.host]:
                del self._hosts[delivery.host]
            self.wake()

    async def _try(self, delivery: Delivery) -> Callable[[], Awaitable[None]]:
        """Send a row once, and return what stores how it went."""
        try:
            await self._couriers.of(delivery).send(delivery)
        except DeliveryFailed as failure:
            reason, final = failure.reason, failure.final
        except Exception:
            log.exception("a delivery failed", kind=delivery.kind, delivery=delivery.id)
            reason, final = "The server failed on this delivery. Its log has the details.", False
        else:
            return lambda: self._end(delivery, None)
        if final or delivery.tries >= len(delivery.delays):
            return lambda: self._end(delivery, reason)
        due = time.time() + delivery.delays[delivery.tries] * random.uniform(1, 1 + JITTER)
        return lambda: self._outbox.retry(delivery, due, reason)

    async def _end(self, delivery: Delivery, error: str | None) -> None:
        if not await self._couriers.of(delivery).end(delivery, error):
            return
        self._observer.record_delivery(delivery.kind, delivered=error is None)
        if error is not None:
            log.warning("a delivery is given up", kind=delivery.kind, host=delivery.host, reason=error)

    async def _store(self, store: Callable[[], Awaitable[None]], delivery: Delivery) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await store()
            except sqlite3.Error as error:
                log.error("a delivery cannot be stored yet", delivery=delivery.id, reason=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
