"""`DELETE /v1/tasks/<id>`: cancels a task of any dialect, with the key that sent it."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request

from server.api.access.auth import ApiKeys, bearer_or_bare_key
from server.tasks.submit import TaskService, unknown_task

TASK_ROUTE = "/v1/tasks/{task_id}"


class CancelledTask(BaseModel):
    """What became of a task. `ended` means that it had ended before."""

    taskUUID: str
    status: Literal["cancelled", "ended"]


def router(tasks: TaskService, keys: ApiKeys) -> APIRouter:
    """The routes of single tasks."""
    routes = APIRouter(tags=["tasks"])

    @routes.delete(TASK_ROUTE, response_model=CancelledTask, summary="Cancel a task", responses=_REFUSALS)
    async def cancel(task_id: str, request: Request) -> CancelledTask:
        """A waiting task ends at once, a running one at its next step. The answer comes when it has ended."""
        outcome = await tasks.cancel(keys.owner(bearer_or_bare_key(request.headers)), task_id)
        if outcome == "unknown":
            raise unknown_task(task_id)
        return CancelledTask(taskUUID=task_id, status=outcome)

    return routes


_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"description": "Missing or wrong API key."},
    404: {"description": "This key has no such task."},
    503: {"description": "The server stops before the task could be cancelled."},
}
