"""The tasks imageUpload and mediaStorage: store a picture for later tasks, or delete one."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace

from server.api.access.client import Client
from server.api.runware.handlers.validator import TaskValidator
from server.api.runware.responses import Answer
from server.api.runware.results import picture_answer
from server.api.runware.schema.tasks import ImageUpload, MediaStorage, WireTask
from server.api.services import Services
from server.errors import MediaError, NotFound
from server.media.inputs import UPLOAD_SECONDS
from server.tasks.pictures.picture_tasks import PictureTask


class Pictures:
    """Answers imageUpload and mediaStorage."""

    def __init__(self, services: Services) -> None:
        self._tasks = services.pictures
        self._media = services.media
        self._inputs = services.inputs
        self._validate = TaskValidator(services)

    async def image_upload(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Store a picture. Answers with its UUID and URL."""
        task = await self._validate(ImageUpload, raw, client)
        yield await self._upload(task, "image", task.image, client)

    async def media_storage(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Store or delete a picture."""
        task = await self._validate(MediaStorage, raw, client)
        if task.operation == "upload":
            yield await self._upload(task, "media", task.media, client)
            return
        if not await self._media.delete(task.media, owner=client.owner):
            raise NotFound("No media with this UUID is stored here.", code="mediaNotFound", parameter="media")
        item = {"taskType": task.taskType, "taskUUID": task.taskUUID, "operation": task.operation}
        yield Answer(data=(item | {"mediaUUID": task.media},))

    async def _upload(self, task: ImageUpload | MediaStorage, parameter: str, text: str, client: Client) -> Answer:
        kept = PictureTask(client.owner, task.taskUUID, {"taskType": task.taskType, "taskUUID": task.taskUUID})
        async with self._tasks.accept(kept):
            try:
                media = await self._inputs.upload(text, owner=client.owner)
            except MediaError as error:
                raise error.for_parameter(parameter) from error
            kept = replace(kept, picture_uuid=media.uuid)
            await self._tasks.finish(kept, time.time() + UPLOAD_SECONDS)
        return await picture_answer(kept, self._media, client.base_url, status=False)
