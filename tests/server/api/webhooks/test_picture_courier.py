"""Webhooks of picture tasks. `tests/server/delivery/test_picture_deliveries.py` sends whole tasks."""

import time
from dataclasses import replace

import pytest

from server.api.webhooks.picture_courier import PictureWebhookCourier
from server.database import Database
from server.delivery.outbox import Outbox
from server.delivery.sender import DeliveryFailed, Sender
from server.delivery.targets import Post, Webhook
from server.media.fetching.checked_transport import CheckedTransport
from server.tasks.cancel_scopes import CancelScopes
from server.tasks.pictures.picture_tasks import PictureTask, PictureTasks
from tests.receivers import Receiver

TASK = PictureTask("me", "83e5a68e-074f-4bea-8e26-a6723ae9b2da", {"taskType": "controlNetPreprocess"})


class Writer:
    """Keeps what it is asked to render."""

    def __init__(self) -> None:
        self.told: list[tuple[str, PictureTask]] = []

    async def write_picture(self, notice_id: str, sent: int, task: PictureTask) -> Post:
        self.told.append((notice_id, task))
        return Post(b"body", {"X-Vendor": "small"})


async def test_a_finished_task_is_told_once(database: Database, there: Receiver) -> None:
    tasks, outbox, writer = PictureTasks(database, CancelScopes()), Outbox(database), Writer()
    courier = PictureWebhookCourier(Sender(CheckedTransport(True)), outbox, tasks, writer, 60.0)
    done = replace(TASK, picture_uuid="p", input_uuid="i", webhook=Webhook(there.url, "http://box", (1.0,)))
    async with tasks.accept(TASK):
        await tasks.finish(done, time.time() + 60)
    (delivery,) = await outbox.of(TASK.key)
    await courier.send(delivery)
    assert await courier.end(delivery, None)
    assert [(got.body, got.headers["x-vendor"]) for got in there.requests] == [(b"body", "small")]
    assert writer.told == [(delivery.message_id, done)]
    assert not await courier.end(delivery, None)
    await database.run(lambda connection: connection.execute("DELETE FROM task_ids"))
    with pytest.raises(DeliveryFailed, match="deleted") as failed:
        await courier.send(delivery)
    assert failed.value.final
