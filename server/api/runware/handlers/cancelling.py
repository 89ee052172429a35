"""The cancelTask task: ends an earlier task. Knows no transport."""

from collections.abc import AsyncIterator

from server.api.access.client import Client
from server.api.runware.check.normalize import plain
from server.api.runware.check.validation import validate
from server.api.runware.responses import Answer, TaskRef
from server.api.runware.schema.tasks import CancelTask, WireTask
from server.api.services import Services
from server.tasks.submit import unknown_task


class Cancelling:
    """Answers cancelTask."""

    def __init__(self, services: Services) -> None:
        self._tasks = services.tasks
        self._ignore_unknown = services.options.ignore_unknown

    async def __call__(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Answer when the task has ended: `cancelled`, or `ended` for one that ended by itself. Raises `NotFound`."""
        task, _ = validate(CancelTask, plain(raw), ignore_unknown=self._ignore_unknown)
        outcome = await self._tasks.cancel(client.owner, task.taskUUID)
        if outcome == "unknown":
            raise unknown_task(task.taskUUID, parameter="taskUUID")
        yield Answer(data=(TaskRef(task.taskType, task.taskUUID).keys | {"status": outcome},))
