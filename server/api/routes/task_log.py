"""`GET /v1/server/tasks`: a key's own tasks of every dialect, the latest first, with their errors in words.

Lists what `server.jobs.storage.history` keeps. Knows no dialect.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from server.api.access.auth import bearer_key
from server.api.routes.server_state import SERVER_ROUTE
from server.api.services import Services
from server.jobs.job import Job, Priority, State
from server.jobs.storage.history import JobFilter

MOST_TASKS = 100


class LoggedError(BaseModel):
    """Why a task ended without its images."""

    code: str
    message: str


class LoggedTask(BaseModel):
    """One render. Times are in seconds since the epoch. `seconds` are those of rendering its images."""

    taskUUID: str
    dialect: str
    state: State
    priority: Priority
    model: str
    prompt: str
    images: int = Field(description="Images that are finished.")
    numberResults: int
    created: float
    started: float | None
    finished: float | None
    seconds: float
    warnings: list[str]
    error: LoggedError | None


class TaskLog(BaseModel):
    """Some of the tasks, and the number of all."""

    tasks: list[LoggedTask]
    total: int


def router(services: Services) -> APIRouter:
    """The route over the history of the jobs."""
    routes = APIRouter(tags=["server"])

    @routes.get(f"{SERVER_ROUTE}/tasks", response_model=TaskLog, summary="The log of tasks", responses=_REFUSALS)
    async def tasks(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MOST_TASKS)] = 50,
        offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    ) -> TaskLog:
        """The tasks that this key has sent, the latest first."""
        owner = services.keys.owner(bearer_key(request.headers))
        jobs, total = await services.history.page(JobFilter(owner), offset=offset, limit=limit)
        return TaskLog(tasks=[_row(job) for job in jobs], total=total)

    return routes


def _row(job: Job) -> LoggedTask:
    submission, failure = job.submission, job.failure
    return LoggedTask(
        taskUUID=submission.task_uuid,
        dialect=submission.dialect,
        state=job.state,
        priority=submission.priority,
        model=submission.request.model,
        prompt=submission.request.prompt,
        images=len(job.results),
        numberResults=submission.request.count,
        created=round(job.created, 3),
        started=job.started,
        finished=job.finished,
        seconds=round(sum(result.seconds for result in job.results), 3),
        warnings=list(submission.warnings),
        error=None if failure is None else LoggedError(code=failure.code, message=failure.message),
    )


_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "A number is out of its range."},
    401: {"description": "Missing or wrong API key."},
}
