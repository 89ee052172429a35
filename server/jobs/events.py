"""The events of jobs: results and ends, steps and previews.

Watchers get those of one job, live watchers its steps and previews too. One observer gets the images and ends of all
jobs. Knows no disk, no worker and no wire format.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from server.jobs.job import Job, Result
from server.mailbox import Mailbox

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


@dataclass(frozen=True, slots=True)
class Begun:
    """A worker has a job. It loads what is needed, and encodes the prompt, before the first step."""

    job: Job


@dataclass(frozen=True, slots=True)
class StepDone:
    """`step` of the `steps` steps of image `index` are done. The last one was computed, or `reused` by a step cache."""

    job: Job
    index: int
    step: int
    steps: int
    reused: bool


@dataclass(frozen=True, slots=True)
class PreviewReady:
    """A small picture of image `index` after a step, as a JPEG file."""

    job: Job
    index: int
    step: int
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class QueueMoved:
    """Another job has joined or left the queue, so the places in it may have changed."""


Event = ResultReady | Ended | Stopping
LiveEvent = Event | Begun | StepDone | PreviewReady | QueueMoved
LATEST_ONLY = (StepDone, PreviewReady, QueueMoved)
Watcher = TypeVar("Watcher")


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
        self._live: dict[Key, set[Mailbox[LiveEvent]]] = defaultdict(set)

    def watch(self, key: Key) -> AbstractContextManager[asyncio.Queue[Event]]:
        """Receive the events of a job. Enter before submitting it, so that none is missed."""
        return _registered(asyncio.Queue[Event](), key, self._watchers)

    def watch_live(self, key: Key) -> AbstractContextManager[Mailbox[LiveEvent]]:
        """Receive the steps and previews of a job too. Of those, a slow watcher gets the latest."""
        return _registered(Mailbox[LiveEvent](LATEST_ONLY), key, self._live)

    def has_live_watchers(self, key: Key) -> bool:
        """Whether previews of a job are wanted."""
        return key in self._live

    def publish_live(self, event: Begun | StepDone | PreviewReady) -> None:
        """Pass an event to the live watchers of its job."""
        self._send_live(event.job, event)
        if isinstance(event, Begun):
            self.move_queue()

    def move_queue(self) -> None:
        """Tell all live watchers that the queue has changed."""
        for mailboxes in self._live.values():
            for mailbox in mailboxes:
                mailbox.put(QueueMoved())

    def publish(self, event: ResultReady | Ended) -> None:
        """Pass an event to the observer and to the watchers of its job."""
        if self._observer is not None:
            if isinstance(event, ResultReady):
                self._observer.record_image(event.job, event.result)
            else:
                self._observer.record_end(event.job)
        for events in self._watchers.get(event.job.submission.key, ()):
            events.put_nowait(event)
        self._send_live(event.job, event)
        if isinstance(event, Ended):
            self.move_queue()

    def announce_stop(self) -> None:
        """Announce to all watchers that no more events come."""
        for watchers in self._watchers.values():
            for events in watchers:
                events.put_nowait(Stopping())
        for mailboxes in self._live.values():
            for mailbox in mailboxes:
                mailbox.put(Stopping())

    def _send_live(self, job: Job, event: LiveEvent) -> None:
        for mailbox in self._live.get(job.submission.key, ()):
            mailbox.put(event)


@contextlib.contextmanager
def _registered(watcher: Watcher, key: Key, watchers: dict[Key, set[Watcher]]) -> Iterator[Watcher]:
    """Keep a watcher of a job among the others within this block."""
    watchers[key].add(watcher)
    try:
        yield watcher
    finally:
        watchers[key].discard(watcher)
        if not watchers[key]:
            del watchers[key]
