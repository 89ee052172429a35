import time
from dataclasses import replace

import pytest

from server.database import Database
from server.delivery.outbox import Outbox
from server.delivery.targets import Upload, Webhook
from server.errors import ConflictTaskUUID, Failure
from server.tasks.cancel_scopes import CancelScopes
from server.tasks.pictures.picture_tasks import DELIVERY_SECONDS, PictureTask, PictureTasks
from server.tasks.task_ids import TaskIds

TASK = PictureTask("me", "83E5A68E-074f-4bea-8e26-a6723ae9b2da", {"taskType": "imageUpload"})
DONE = replace(TASK, picture_uuid="p", input_uuid="i", warnings=("one",))


@pytest.fixture
def tasks(database: Database) -> PictureTasks:
    return PictureTasks(database, CancelScopes())


async def test_a_task_is_found_while_it_is_worked_on_and_when_it_is_done(tasks: PictureTasks) -> None:
    async with tasks.accept(TASK):
        found = await tasks.find("me", TASK.task_id.upper())
        assert found == replace(TASK, task_id=TASK.task_id.lower())
        with pytest.raises(ConflictTaskUUID):
            async with tasks.accept(TASK):
                pass
        await tasks.finish(DONE, time.time() + 60)
    assert await tasks.find("me", TASK.task_id) == replace(DONE, task_id=TASK.task_id.lower())
    assert await tasks.find("you", TASK.task_id) is None


async def test_a_task_that_fails_gives_its_id_back(database: Database, tasks: PictureTasks) -> None:
    with pytest.raises(ValueError, match="no picture"):
        async with tasks.accept(TASK):
            raise ValueError("no picture")
    assert await tasks.find("me", TASK.task_id) is None
    await TaskIds(database).check_free("me", TASK.task_id)


async def test_a_new_process_gives_back_the_ids_of_unfinished_tasks(database: Database, tasks: PictureTasks) -> None:
    await tasks.accept(TASK).__aenter__()
    other = replace(DONE, task_id="other")
    async with tasks.accept(other):
        await tasks.finish(other, time.time() + 60)
    await tasks.open()
    ids = TaskIds(database)
    assert (await ids.kind("me", TASK.task_id), await ids.kind("me", "other")) == (None, "picture")
    assert await tasks.find("me", TASK.task_id) is None


async def test_an_expired_answer_goes_with_its_id(database: Database, tasks: PictureTasks) -> None:
    async with tasks.accept(TASK):
        await tasks.finish(DONE, 5.0)
    await TaskIds(database).sweep(5.0)
    assert await tasks.find("me", TASK.task_id) is None


async def test_its_webhook_is_due_when_its_upload_has_ended(database: Database) -> None:
    woken: list[None] = []
    tasks, outbox = PictureTasks(database, CancelScopes(), lambda: woken.append(None)), Outbox(database)
    told = replace(DONE, webhook=Webhook("http://a.example/hook", "http://box", (1.0,)))
    async with tasks.accept(TASK):
        await tasks.finish(told, 5.0, Upload("http://a.example/put"))
    (upload,) = await outbox.of(TASK.key)
    assert (upload.kind, upload.url, upload.job_id, upload.task) == ("upload", "http://a.example/put", None, TASK.key)
    found = await tasks.find(*TASK.key)
    assert found is not None
    assert (found.uploading, found.webhook) == (True, told.webhook)
    failure = Failure("uploadFailed", "why", 400, "upload")
    assert await tasks.end_upload(upload, "why", failure)
    assert not await tasks.end_upload(upload, None, None)
    _, webhook = await outbox.of(TASK.key)
    assert (webhook.kind, webhook.url, webhook.delays) == ("webhook", "http://a.example/hook", (1.0,))
    found = await tasks.find(*TASK.key)
    assert found is not None
    assert (found.uploading, found.failure) == (False, failure)
    assert len(woken) == 3


async def test_a_task_stays_for_its_receivers(database: Database, tasks: PictureTasks) -> None:
    async with tasks.accept(TASK):
        await tasks.finish(replace(DONE, webhook=Webhook("http://a.example/", "http://box", ())), 5.0)
    ids = TaskIds(database)
    await ids.sweep(time.time() + DELIVERY_SECONDS / 2)
    assert len(await Outbox(database).of(TASK.key)) == 1
    await ids.sweep(time.time() + DELIVERY_SECONDS + 60)
    assert await Outbox(database).of(TASK.key) == ()
