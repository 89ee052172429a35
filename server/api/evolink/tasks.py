"""Tasks over HTTP: create, query, list, batch. Knows requests and headers; knows no body's fields but the filters."""

from collections.abc import Mapping
from math import ceil
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.api.access.client import Client
from server.api.evolink.callbacks import check_scheme
from server.api.evolink.dialect import NAME, STATES, CreateCall, EvoLinkDialect
from server.api.evolink.fields import BatchFields, CreateFields
from server.api.evolink.progress import ToldProgress
from server.api.evolink.queries import MAX_PAGE, MAX_PAGE_SIZE, number
from server.api.evolink.task_ids import KEY_HEADER, PREFIX, new_task_id, task_id_of_key
from server.api.fields.validation import validate
from server.api.requests import client_of, read_fields
from server.api.response_headers import response_headers
from server.api.services import Services
from server.errors import ConflictTaskUUID, InvalidParameter, NotFound
from server.jobs.job import Job, State
from server.jobs.storage.history import JobFilter
from server.tasks.endings.expired_images import without_expired

REPLAY_HEADER = "idempotency-replayed"


class EvoLinkTasks:
    """Answers about tasks."""

    def __init__(self, services: Services, dialect: EvoLinkDialect, progress: ToldProgress) -> None:
        self._services = services
        self._dialect = dialect
        self._progress = progress

    async def create(self, request: Request, client: Client, body: Mapping[str, Any]) -> Response:
        """Accept a task before its pictures are downloaded, and answer with it or with the earlier one of its key.

        Raises `ApiError` or `TaskRejected`.
        """
        parse = self._services.body_pool.run
        fields = await parse(client.size, validate, CreateFields, body)
        key = request.headers.get(KEY_HEADER)
        task_id = new_task_id() if key is None else task_id_of_key(key)
        if fields.callback_url is not None:
            check_scheme(fields.callback_url, allow_private=self._services.allow_private_urls)
        call = CreateCall(task_id, fields, dict(body))
        if key is not None and (known := await self._repeated(client, call)) is not None:
            return known
        try:
            spec = await parse(client.size, self._dialect.parse, call, client)
            job = await self._services.tasks.accept_early(spec)
        except ConflictTaskUUID:  # the same request, a moment earlier
            if (known := await self._repeated(client, call)) is None:
                raise
            return known
        headers = response_headers(200, job.submission.warnings)
        return JSONResponse(self._dialect.acknowledge(job, seconds=self._seconds(job)), 200, headers)

    async def show(self, request: Request) -> Response:
        """One task. Raises `NotFound`, or `InvalidParameter` for an id that is none of this dialect."""
        client, task_id = client_of(request, self._services), request.path_params["task_id"]
        if not task_id.startswith(PREFIX):
            message = f"Invalid value for 'task_id' parameter. It must begin with '{PREFIX}'."
            raise InvalidParameter("task_id", message, code="invalidTaskId")
        job = await self._find(client, task_id)
        if job is None:
            raise NotFound(f"Task {task_id} is not known.", code="taskNotFound")
        return JSONResponse((await self._tasks([job], client))[0])

    async def list_tasks(self, request: Request) -> Response:
        """The tasks of a key, the latest first, without their links. Raises `InvalidParameter`."""
        client, query = client_of(request, self._services), request.query_params
        page = number(query.get("page"), "page", 1, MAX_PAGE)
        size = number(query.get("page_size"), "page_size", 20, MAX_PAGE_SIZE)
        states = _states(query.get("status"))
        marks = {"model": query["model"]} if query.get("model") else {}
        wanted = JobFilter(client.owner, NAME, states, marks=marks)
        if query.get("type", "image") != "image":
            found, total = [], 0
        else:
            found, total = await self._services.history.page(wanted, offset=(page - 1) * size, limit=size)
        told = zip(found, await self._progress.of(*found), strict=True)
        items = [self._dialect.acknowledge(job, progress, self._seconds(job)) for job, progress in told]
        return JSONResponse({"data": items, "total": total, "page": page, "page_size": size})

    async def batch(self, request: Request) -> Response:
        """Several tasks, in the order that they are asked for. Unknown ones are left out."""
        client = client_of(request, self._services)
        fields = await read_fields(BatchFields, request, self._services)
        found = [await self._find(client, task_id) for task_id in dict.fromkeys(fields.task_ids)]
        return JSONResponse({"data": await self._tasks([job for job in found if job is not None], client)})

    async def _find(self, client: Client, task_id: str) -> Job | None:
        job = await self._services.queue.find(client.owner, task_id)
        return job if job is not None and job.submission.dialect == NAME else None

    async def _tasks(self, jobs: list[Job], client: Client) -> list[dict[str, Any]]:
        """Tasks as a query answers them."""
        jobs = [await without_expired(job, self._services.media) for job in jobs]
        told = zip(jobs, await self._progress.of(*jobs), strict=True)
        return [self._dialect.task(job, client.base_url, progress, self._seconds(job)) for job, progress in told]

    def _seconds(self, job: Job) -> int:
        """The estimated seconds of the rendering of a job."""
        return 0 if job.ended else ceil(self._services.queue.estimates.seconds(job.submission.request))

    async def _repeated(self, client: Client, call: CreateCall) -> Response | None:
        """The answer to a repeated request. None when its key is new, or when its task failed and may run again.

        Raises `InvalidParameter` for another request with the same key.
        """
        job = await self._find(client, call.task_id)
        if job is None or job.state in ("failed", "cancelled"):
            return None
        if _plain(job.submission.task) != _plain(call.sent):
            message = f"Invalid value for '{KEY_HEADER}'. It belongs to another request."
            raise InvalidParameter(KEY_HEADER, message)
        return JSONResponse((await self._tasks([job], client))[0], 200, {REPLAY_HEADER: "true"})


def _plain(task: Mapping[str, Any]) -> dict[str, Any]:
    """What repeats of a request share. Inline pictures are stored by other names."""
    pictures = task.get("image_urls")
    return {**task, "image_urls": len(pictures) if isinstance(pictures, list | tuple) else None}


def _states(text: str | None) -> tuple[State, ...]:
    """The states behind one of the vendor's, or none for all."""
    if text is None:
        return ()
    states: tuple[State, ...] = tuple(ours for ours, theirs in STATES.items() if theirs == text)
    if not states:
        known = ", ".join(dict.fromkeys(STATES.values()))
        raise InvalidParameter("status", f"Invalid value for 'status' parameter. It must be one of: {known}.")
    return states
