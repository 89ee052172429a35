"""The cancelTask task: ends an earlier task. Knows no transport."""

from collections.abc import AsyncIterator

from server.api.access.client import Client
from server.api.runware.handlers.validator import TaskValidator
from server.api.runware.responses import Answer, TaskRef
from server.api.runware.schema.tasks import CancelTask, WireTask
from server.api.services import Services
from server.tasks.submit import unknown_task


class Cancelling:
    """Answers cancelTask."""

    def __init__(self, services: Services) -> None:
        self._tasks = services.tasks
        self._validate = TaskValidator(services)

    async def __call__(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Answer when the task has ended: `cancelled`, or `ended` for one that ended by itself. Raises `NotFound`."""
        task = await self._validate(CancelTask, raw, client)
        outcome = await self._tasks.cancel(client.owner, task.taskUUID)
        if outcome == "unknown":
            raise unknown_task(task.taskUUID, parameter="taskUUID")
        yield Answer(data=(TaskRef(task.taskType, task.taskUUID).keys | {"status": outcome},))
