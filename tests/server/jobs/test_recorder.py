import sqlite3
from dataclasses import replace
from typing import Any

import pytest
import structlog

from server.database import Database
from server.delivery.outbox import Outbox
from server.delivery.targets import Upload, Webhook
from server.errors import Failure
from server.jobs import recorder as recorder_module
from server.jobs.events import Ended, JobEvents, ResultReady
from server.jobs.job import CANCELLED, Job, Result, State
from server.jobs.recorder import JobRecorder
from server.jobs.storage.store import JobStore
from server.jobs.workers.messages import Cancelled, Failed, Finished, ImageWritten, Outcome, Output
from server.media.store import MediaStore
from tests.server.jobs.common import submission

WORK = submission(count=3)
IMAGE = ImageWritten(1, 0, 64, 48, "hash", 7, 0.5, "{}", ("a warning",), recompiled=2)

REFUSED = Failure("invalidModel", "why", 400, "loras[0]")


@pytest.fixture
def events() -> JobEvents:
    return JobEvents()


@pytest.fixture
def recorder(store: JobStore, media: MediaStore, events: JobEvents) -> JobRecorder:
    return JobRecorder(store, media, events)


def test_a_worker_gets_the_images_that_are_not_finished(recorder: JobRecorder, media: MediaStore) -> None:
    results = (Result(1, WORK.image_uuids[1], 8, 0.1, "{}"),)
    ours = recorder.render_job(Job(5, WORK, "running", 0.0, results=results))
    paths = [media.path_for(WORK.image_uuids[index], "webp") for index in (0, 2)]
    assert (ours.job_id, ours.request, ours.encoding) == (5, WORK.request, WORK.encoding)
    assert ours.outputs == (Output(0, paths[0]), Output(2, paths[1]))


async def test_an_image_is_stored_before_it_is_told(
    recorder: JobRecorder, store: JobStore, media: MediaStore, events: JobEvents
) -> None:
    job = await store.accept(WORK)
    path = media.path_for(WORK.image_uuids[0], "webp")
    path.parent.mkdir(parents=True)
    path.touch()
    with events.watch(WORK.key) as told:
        await recorder.add_image(job, IMAGE)
        event = told.get_nowait()
    assert isinstance(event, ResultReady)
    assert event.result == Result(0, WORK.image_uuids[0], 7, 0.5, "{}", recompiled=2)
    assert event.job == await store.find(*WORK.key)
    assert event.job.submission.warnings == ("one", "a warning")
    stored = await media.get(WORK.image_uuids[0], owner="me")
    assert stored is not None
    assert (stored.kind, stored.mime, stored.width, stored.height) == ("result", "image/webp", 64, 48)
    assert stored.expires == pytest.approx(stored.created + WORK.ttl)


@pytest.mark.parametrize(
    ("outcome", "state", "failure"),
    [
        (Finished(1), "done", None),
        (Cancelled(1), "cancelled", CANCELLED),
        (Failed(1, REFUSED), "failed", REFUSED),
    ],
)
async def test_ends(
    recorder: JobRecorder, store: JobStore, events: JobEvents, outcome: Outcome, state: State, failure: Failure | None
) -> None:
    job = await store.accept(WORK)
    with events.watch(WORK.key) as told:
        await recorder.end(job, outcome)
        event = told.get_nowait()
    found = await store.find(*WORK.key)
    assert found is not None
    assert (found.state, found.failure) == (state, failure)
    assert event == Ended(found)


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often the disk has refused an end: three times."""
    monkeypatch.setattr(recorder_module, "FIRST_PAUSE_SECONDS", 0.0)
    refused: list[str] = []
    whole = JobStore.end

    async def full(self: JobStore, *arguments: Any) -> Job:
        if len(refused) == 3:
            return await whole(self, *arguments)
        refused.append("database or disk is full")
        raise sqlite3.OperationalError(refused[-1])

    monkeypatch.setattr(JobStore, "end", full)
    return refused


async def test_a_failure_that_cannot_be_stored_is_told_at_once_and_stored_later(
    recorder: JobRecorder, store: JobStore, events: JobEvents, refusals: list[str]
) -> None:
    job = await store.accept(WORK)
    failure = Failure("inferenceError", "why", 500)
    with events.watch(WORK.key) as told:
        await recorder.fail(job, "why")
        assert told.get_nowait() == Ended(replace(job, state="failed", failure=failure))
        assert told.empty()
    assert len(refusals) == 3
    found = await store.find(*WORK.key)
    assert found is not None
    assert (found.state, found.failure) == ("failed", failure)


async def test_an_end_that_cannot_be_stored_is_stored_later(
    recorder: JobRecorder, store: JobStore, events: JobEvents, refusals: list[str]
) -> None:
    """The task stayed "processing" for ever, and its id was taken."""
    job = await store.accept(WORK)
    with events.watch(WORK.key) as told:
        await recorder.end(job, Finished(job.id))
        event = told.get_nowait()
    assert len(refusals) == 3
    assert isinstance(event, Ended)
    assert event.job.state == "done"
    assert await store.find(*WORK.key) == event.job


async def test_the_log_has_one_line_at_the_end_of_each_task(recorder: JobRecorder, store: JobStore) -> None:
    job = await store.accept(WORK, estimate=1.0)
    with structlog.testing.capture_logs() as lines:
        await recorder.end(job, Failed(1, REFUSED), loaded=1.234)
        await recorder.fail(job, "why")
    one, other = (line for line in lines if line["event"] == "task ended")
    assert (one["task"], one["state"], one["error"]) == (WORK.task_uuid, "failed", REFUSED.code)
    assert (one["loaded"], one["images"], one["steps"], one["seconds"]) == (1.23, 0, 0, 0)
    assert one["waited"] >= 0
    assert other["error"] == "inferenceError"
    assert "delivery" not in one


async def test_the_line_at_the_end_counts_what_was_delivered(
    recorder: JobRecorder, store: JobStore, database: Database
) -> None:
    work = replace(WORK, webhook=Webhook("http://a.example", "http://box", (1.0,), each_result=True))
    job = await store.accept(replace(work, upload=Upload("http://b.example")))
    outbox = Outbox(database)
    for index, failure in ((0, None), (1, REFUSED)):
        await store.add_result(job.id, Result(index, f"image-{index}", 1, 0.1, "{}"), ())
        *_, upload = await outbox.of(job.id)
        await recorder.end_upload(upload, "no" if failure else None, failure)
    (told, *_) = [row for row in await outbox.of(job.id) if row.kind == "webhook"]
    await outbox.end(told, None)
    with structlog.testing.capture_logs() as lines:
        await recorder.end(job, Finished(1))
    (line,) = lines
    assert line["delivery"] == {"upload": {"delivered": 1, "given_up": 1}, "webhook": {"delivered": 1, "waiting": 1}}
