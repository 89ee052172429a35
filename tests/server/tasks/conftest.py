from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pipelines.catalog.profiles import Profiles
from server.database import Database
from server.delivery.sender import Sender
from server.jobs import rows as job_tables
from server.jobs.policy.admission import QueueBounds
from server.jobs.queue import JobQueue
from server.jobs.store import JobStore
from server.jobs.timing import step_times
from server.jobs.timing.step_times import StepTimes
from server.keys import usage
from server.media import store as media_tables
from server.media.fetching.checked_transport import CheckedTransport
from server.media.fetching.fetch import Fetcher
from server.media.inputs import InputImages
from server.media.store import MediaStore
from server.tasks import lora_library, task_ids
from server.tasks.cancel_scopes import CancelScopes
from server.tasks.options import TaskOptions
from server.tasks.pictures import picture_tasks
from server.tasks.submit import TaskService
from server.tasks.task_ids import IdClaims, TaskIds
from tests.fakes import FakeWorker, InProcessDecoders
from tests.server.tasks.common import CATALOG

TABLES = (media_tables, job_tables, lora_library, task_ids, picture_tasks, step_times, usage)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db.sqlite", [table.SCHEMA for table in TABLES])
    yield database
    database.close()


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
async def queue(tmp_path: Path, database: Database, worker: FakeWorker) -> AsyncIterator[JobQueue]:
    store = JobStore(database, IdClaims("job"))
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
