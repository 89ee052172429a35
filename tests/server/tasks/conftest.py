from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipelines.catalog.profiles import Profiles
from server.database import Database
from server.delivery.sender import Sender
from server.jobs.policy.admission import QueueBounds
from server.jobs.queue import JobQueue
from server.jobs.storage.store import JobStore
from server.jobs.timing.step_times import StepTimes
from server.media.fetching.checked_transport import CheckedTransport
from server.media.fetching.fetch import Fetcher
from server.media.inputs import InputImages
from server.media.store import MediaStore
from server.tasks.cancel_scopes import CancelScopes
from server.tasks.options import TaskOptions
from server.tasks.submit import TaskService
from server.tasks.task_ids import TaskIds
from tests.fakes import FakeWorker, InProcessDecoders
from tests.server.tasks.common import CATALOG


@pytest.fixture
async def queue(tmp_path: Path, database: Database, store: JobStore, worker: FakeWorker) -> AsyncIterator[JobQueue]:
    bounds, media = QueueBounds(9, 1e6), MediaStore(database, tmp_path / "media")
    queue = JobQueue(store, media, [worker], StepTimes(database), bounds=bounds)
    await queue.open()
    yield queue
    await queue.close()


@pytest.fixture
async def service(tmp_path: Path, database: Database, queue: JobQueue) -> AsyncIterator[TaskService]:
    fetcher = Fetcher(False, 1.0, 1_000_000)
    decoders = InProcessDecoders(tmp_path / "media" / "drafts")
    inputs = InputImages(MediaStore(database, tmp_path / "media"), fetcher, decoders, max_pixels=10**6, ttl=99)
    sender = Sender(CheckedTransport(False))
    options = TaskOptions(Profiles(CATALOG), result_ttl=99)
    yield TaskService(TaskIds(database), queue, inputs, sender, options, CancelScopes())
    await fetcher.aclose()
    await sender.aclose()
