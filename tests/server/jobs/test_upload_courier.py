"""Uploads, and jobs that end with the last of them."""

from dataclasses import replace

import pytest

from server.database import Database
from server.delivery.outbox import Delivery, Outbox
from server.delivery.sender import DeliveryFailed, Sender
from server.delivery.targets import Upload, Webhook
from server.delivery.uploads import Uploader
from server.errors import Failure
from server.jobs.events import Ended, JobEvents, ResultReady
from server.jobs.job import Job
from server.jobs.recorder import JobRecorder
from server.jobs.storage.store import JobStore
from server.jobs.upload_courier import UploadCourier
from server.jobs.workers.messages import Finished, ImageWritten
from server.media.fetching.checked_transport import CheckedTransport
from server.media.store import MediaStore
from tests.receivers import Receiver
from tests.server.jobs.common import submission

URL = "http://a.example/put"
IMAGE = ImageWritten(1, 0, 64, 48, "hash", 7, 0.5, "{}", ())


@pytest.fixture
def events() -> JobEvents:
    return JobEvents()


@pytest.fixture
def recorder(store: JobStore, media: MediaStore, events: JobEvents) -> JobRecorder:
    return JobRecorder(store, media, events)


@pytest.fixture
def courier(store: JobStore, media: MediaStore, recorder: JobRecorder) -> UploadCourier:
    return UploadCourier(Uploader(Sender(CheckedTransport(True)), media, 30.0), store, recorder)


async def run_to_end(store: JobStore, recorder: JobRecorder, media: MediaStore, url: str = URL, count: int = 1) -> Job:
    """A job whose worker has ended it, and whose uploads wait."""
    webhook = Webhook("http://a.example/hook", "http://box", (), each_result=True)
    await store.accept(replace(submission(count=count), upload=Upload(url), webhook=webhook))
    job = await store.claim()
    assert job is not None
    for index, output in enumerate(recorder.render_job(job).outputs):
        output.path.parent.mkdir(parents=True, exist_ok=True)
        output.path.write_bytes(b"picture")
        await recorder.add_image(job, replace(IMAGE, index=index))
    await recorder.end(job, Finished(job.id))
    return job


async def uploads(database: Database, job: Job) -> list[Delivery]:
    return [one for one in await Outbox(database).of(job.id) if one.kind == "upload"]


async def state(store: JobStore, job: Job) -> str:
    found = await store.find(*job.submission.key)
    assert found is not None
    return found.state


async def test_a_job_ends_with_its_last_upload(
    database: Database, store: JobStore, media: MediaStore, recorder: JobRecorder, events: JobEvents,
    courier: UploadCourier, there: Receiver,
) -> None:  # fmt: skip
    with events.watch(submission().key) as told:
        job = await run_to_end(store, recorder, media, f"{there.url}/put", count=2)
        first, second = await uploads(database, job)
        assert told.empty()
        await courier.send(first)
        assert (there.requests[0].body, there.requests[0].headers["content-type"]) == (b"picture", "image/webp")
        assert await courier.end(first, None)
        assert isinstance(told.get_nowait(), ResultReady)
        assert (told.empty(), await state(store, job)) == (True, "running")
        assert await courier.end(second, "The receiver is down.")
        failed = told.get_nowait()
        assert isinstance(failed, ResultReady)
        message = "The image could not be uploaded. The receiver is down."
        assert failed.result.failure == Failure("uploadFailed", message, 400, "upload")
        assert isinstance(told.get_nowait(), Ended)
    assert await state(store, job) == "done"
    assert not await courier.end(second, None)  # once only
    assert [one.position for one in await Outbox(database).of(job.id) if one.kind == "webhook"] == [0, 1]


async def test_a_failure_waits_for_the_uploads_too(
    database: Database, store: JobStore, media: MediaStore, recorder: JobRecorder, courier: UploadCourier
) -> None:
    job = await run_to_end(store, recorder, media)
    await recorder.fail(job, "broken")  # as when the database could not be written
    assert await state(store, job) == "running"
    (upload,) = await uploads(database, job)
    await courier.end(upload, None)
    found = await store.find(*job.submission.key)
    assert found is not None
    assert (found.state, found.failure and found.failure.message) == ("failed", "broken")


async def test_a_job_that_is_only_uploaded_needs_no_worker(
    store: JobStore, media: MediaStore, recorder: JobRecorder
) -> None:
    job = await run_to_end(store, recorder, media)
    await store.put_back_all()
    assert await store.requeue_interrupted() == (0, 0)
    assert (await store.claim(), await state(store, job)) == (None, "running")


async def test_a_file_that_is_gone(
    database: Database, store: JobStore, media: MediaStore, recorder: JobRecorder, courier: UploadCourier
) -> None:
    job = await run_to_end(store, recorder, media)
    (upload,) = await uploads(database, job)
    media.path_for(job.submission.image_uuids[0], "webp").unlink()
    with pytest.raises(DeliveryFailed, match="expired"):
        await courier.send(upload)
    await database.run(lambda connection: connection.execute("DELETE FROM jobs"))
    with pytest.raises(DeliveryFailed, match="deleted"):
        await courier.send(upload)
    assert not await courier.end(upload, None)
