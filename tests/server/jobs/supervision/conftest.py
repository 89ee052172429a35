import asyncio
from collections.abc import AsyncIterator

import pytest

from server.database import Database
from server.jobs.storage.store import JobStore
from server.jobs.timing.step_times import StepTimes
from server.media.store import MediaStore
from tests.fakes import FakeWorker
from tests.server.jobs.supervision.supervised import Supervised, WatchedStore


@pytest.fixture
def store(database: Database) -> WatchedStore:
    return WatchedStore(database)


@pytest.fixture
async def supervised(
    worker: FakeWorker, store: JobStore, media: MediaStore, times: StepTimes
) -> AsyncIterator[Supervised]:
    supervised = Supervised(worker, store, media, times)
    yield supervised
    supervised.task.cancel()
    await asyncio.gather(supervised.task, return_exceptions=True)
