"""Uploads of pictures whose task or file is gone, and clients that wait for them while the server stops."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from server.database import Database
from server.delivery.outbox import Outbox
from server.delivery.sender import DeliveryFailed, Sender
from server.delivery.targets import Upload
from server.delivery.uploads import Uploader
from server.errors import ServiceUnavailable
from server.jobs.events import Event, Stopping
from server.media.fetching.checked_transport import CheckedTransport
from server.media.store import MediaStore
from server.tasks.cancel_scopes import CancelScopes
from server.tasks.pictures.picture_tasks import PictureTask, PictureTasks
from server.tasks.pictures.picture_uploads import PictureUploads

TASK = PictureTask("me", "83E5A68E-074f-4bea-8e26-a6723ae9b2da", {"taskType": "controlNetPreprocess"})
DONE = replace(TASK, picture_uuid="p", input_uuid="i")


class Stops:
    """The part of a queue that says when the server stops."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    @contextlib.contextmanager
    def watch(self, key: tuple[str, str]) -> Iterator[asyncio.Queue[Event]]:
        yield self.events


@pytest.fixture
def tasks(database: Database) -> PictureTasks:
    return PictureTasks(database, CancelScopes())


@pytest.fixture
def stops() -> Stops:
    return Stops()


@pytest.fixture
def uploads(database: Database, tasks: PictureTasks, stops: Stops, tmp_path: Path) -> PictureUploads:
    uploader = Uploader(Sender(CheckedTransport(True)), MediaStore(database, tmp_path / "media"), 60.0)
    return PictureUploads(uploader, tasks, cast("Any", stops))


async def finish(tasks: PictureTasks) -> None:
    async with tasks.accept(TASK):
        await tasks.finish(DONE, time.time() + 60, Upload("http://a.example/put"))


async def test_its_client_is_woken_when_it_has_ended(
    database: Database, tasks: PictureTasks, uploads: PictureUploads
) -> None:
    await finish(tasks)
    waiting = asyncio.create_task(uploads.wait_for(DONE))
    (delivery,) = await Outbox(database).of(DONE.key)
    await asyncio.sleep(0)
    assert await uploads.end(delivery, "It is down.")
    done = await waiting
    assert (done.uploading, done.failure and done.failure.code) == (False, "uploadFailed")
    assert await uploads.wait_for(DONE) == done  # at once
    assert not await uploads.end(delivery, None)


async def test_a_server_that_stops_says_that_the_upload_goes_on(
    tasks: PictureTasks, uploads: PictureUploads, stops: Stops
) -> None:
    await finish(tasks)
    stops.events.put_nowait(Stopping())
    with pytest.raises(ServiceUnavailable, match="goes on at its next start"):
        await uploads.wait_for(DONE)


async def test_a_file_or_a_task_that_is_gone_is_not_tried_again(
    database: Database, tasks: PictureTasks, uploads: PictureUploads
) -> None:
    await finish(tasks)
    (delivery,) = await Outbox(database).of(DONE.key)
    with pytest.raises(DeliveryFailed, match="expired") as failed:
        await uploads.send(delivery)
    assert failed.value.final
    await database.run(lambda connection: connection.execute("DELETE FROM task_ids"))
    assert await Outbox(database).of(DONE.key) == ()
    with pytest.raises(DeliveryFailed, match="deleted") as failed:
        await uploads.send(delivery)
    assert failed.value.final
