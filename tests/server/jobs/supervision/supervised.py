"""A supervisor at work with a fake worker, and its store."""

import asyncio
import sqlite3
from typing import Any

import pytest

from server.database import Database
from server.jobs.events import JobEvents
from server.jobs.job import Job, Submission
from server.jobs.policy.admission import QueueBounds
from server.jobs.queue import DEFAULT_SILENCE
from server.jobs.recorder import JobRecorder
from server.jobs.scheduler import Scheduler
from server.jobs.storage.store import Beside, Choose, Fits, JobStore, first_come
from server.jobs.supervision.supervisor import Supervisor
from server.jobs.timing.silence import SilenceLimits
from server.jobs.timing.step_times import StepTimes
from server.keys.api_key import NO_LIMITS
from server.media.store import MediaStore
from server.tasks.task_ids import IdClaims
from tests.fakes import FakeWorker
from tests.server.jobs.common import ended


class WatchedStore(JobStore):
    """Tells when a worker has found no job."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, IdClaims("job"))
        self.idle = asyncio.Event()

    async def claim(
        self,
        choose: Choose = first_come,
        beside: Beside = lambda chosen: (),
        fits: Fits = lambda chosen, request: True,
    ) -> Job | None:
        job = await super().claim(choose, beside, fits)
        if job is None:
            self.idle.set()
        return job


class Supervised:
    """A supervisor at work, and the events of its jobs."""

    def __init__(
        self,
        worker: FakeWorker,
        store: JobStore,
        media: MediaStore,
        times: StepTimes,
        limits: SilenceLimits = DEFAULT_SILENCE,
    ) -> None:
        self.events = JobEvents()
        self.store = store
        self.times = times
        self.failures: list[str | None] = []
        self.seen: list[Submission] = []
        recorder = JobRecorder(store, media, self.events)
        scheduler = Scheduler(store, QueueBounds(9, 1e6), lambda owner: NO_LIMITS, list)
        self.supervisor = Supervisor(worker, scheduler, recorder, times, limits, self.note_failure)
        self.task = asyncio.create_task(self.supervisor.run())

    async def note_failure(self) -> None:
        self.failures.append(self.supervisor.start_failure)
        if len(self.failures) == 1:
            raise sqlite3.OperationalError("database or disk is full")  # it must not end the driver

    async def render(self, work: Submission) -> Job:
        with self.events.watch(work.key) as events:
            await self.store.accept(work, estimate=self.times.estimates.seconds(work.request))
            self.seen.append(work)
            self.supervisor.wake()
            return await ended(events)


def fails_once(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Let a method of the store fail at its next call, as on a full disk."""
    real = getattr(JobStore, method)

    async def full(self: JobStore, *arguments: Any) -> Any:
        monkeypatch.setattr(JobStore, method, real)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(JobStore, method, full)
