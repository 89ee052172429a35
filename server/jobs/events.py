"""The events of jobs: a stream for the watchers of each job, and one observer of all jobs.

Knows no disk, no worker and no wire format.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from server.jobs.job import Job, Result

Key = tuple[str, str]  # owner and task UUID, see `Submission.key`


@dataclass(frozen=True, slots=True)
class ResultReady:
    """One more image of a job is finished. Its UUID finds it."""

    job: Job
    result: Result


@dataclass(frozen=True, slots=True)
class Ended:
    """A job is done, failed or cancelled."""

    job: Job


@dataclass(frozen=True, slots=True)
class Stopping:
    """The server stops. The job goes on at its next start."""


Event = ResultReady | Ended | Stopping


class JobObserver(Protocol):
    """Gets every image and every end, of all jobs."""

    def record_image(self, job: Job, result: Result) -> None:
        """An image of a job is finished."""
        ...

    def record_end(self, job: Job) -> None:
        """A job is done, failed or cancelled."""
        ...


class JobEvents:
    """Delivers the events of each job to its watchers, and those of all jobs to the observer."""

    def __init__(self, observer: JobObserver | None = None) -> None:
        self._observer = observer
        self._watchers: dict[Key, set[asyncio.Queue[Event]]] = defaultdict(set)

    @contextlib.contextmanager
    def watch(self, key: Key) -> Iterator[asyncio.Queue[Event]]:
        """Receive the events of a job. Enter before submitting it, so that none is missed."""
        events: asyncio.Queue[Event] = asyncio.Queue()
        self._watchers[key].add(events)
        try:
            yield events
        finally:
            self._watchers[key].discard(events)
            if not self._watchers[key]:
                del self._watchers[key]

    def publish(self, event: ResultReady | Ended) -> None:
        """Pass an event to the observer and to the watchers of its job."""
        if self._observer is not None:
            if isinstance(event, ResultReady):
                self._observer.record_image(event.job, event.result)
            else:
                self._observer.record_end(event.job)
        for events in self._watchers.get(event.job.submission.key, ()):
            events.put_nowait(event)

    def announce_stop(self) -> None:
        """Announce to all watchers that no more events come."""
        for watchers in self._watchers.values():
            for events in watchers:
                events.put_nowait(Stopping())
