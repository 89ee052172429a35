"""The tasks getResponse and getTaskDetails: results and details of earlier tasks.

Reads jobs and changes none.
"""

from collections.abc import AsyncIterator

from server.api.access.client import Client
from server.api.cache_reports import cache_json
from server.api.runware.handlers.model_upload import ModelUploads
from server.api.runware.handlers.validator import TaskValidator
from server.api.runware.responses import Answer, Item
from server.api.runware.results import job_answer, job_ref, picture_answer
from server.api.runware.schema.tasks import GetResponse, GetTaskDetails, Task, WireTask
from server.api.services import Services
from server.delivery.outbox import Delivery
from server.jobs.job import Job
from server.jobs.policy.forecast import Foreseen
from server.tasks.submit import unknown_task
from server.tasks.task_ids import Kind


class Retrieval:
    """Answers getResponse and getTaskDetails. They find sync tasks too, for a client that lost its connection."""

    def __init__(self, services: Services, uploads: ModelUploads) -> None:
        self._ids = services.ids
        self._queue = services.queue
        self._media = services.media
        self._pictures = services.pictures
        self._outbox = services.outbox
        self._uploads = uploads
        self._validate = TaskValidator(services)

    async def get_response(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Answer with the results so far of a task of any kind. Raises `NotFound`.

        All images of a job come together at its end. One client would else return the first image twice, and the
        second never.
        """
        task = await self._validate(GetResponse, raw, client)
        kind = await self._ids.kind(client.owner, task.taskUUID)
        if kind == "lora" and (upload := self._uploads.find(client.owner, task.taskUUID)):
            yield upload
        elif kind == "picture" and (picture := await self._pictures.find(client.owner, task.taskUUID)):
            yield await picture_answer(picture, self._media, client.base_url, status=True)
        else:
            yield await self._job_so_far(await self._job(task, client, kind), client)

    async def get_task_details(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Answer with the request, the response so far, the warnings and the timings of a task."""
        task = await self._validate(GetTaskDetails, raw, client)
        kind = await self._ids.kind(client.owner, task.taskUUID)
        job = await self._job(task, client, kind)
        answer = await job_answer(job, self._media, client.base_url)
        response: Item = {"data": list(answer.data)} if answer.data else {}
        if answer.errors:
            response["errors"] = list(answer.errors)
        item: Item = {
            "taskType": "getTaskDetails",
            "taskUUID": job.submission.task_uuid,
            "state": job.state,
            "request": [job.submission.task],
            "response": response,
            "timings": _timings(job),
        }
        if job.submission.low:
            item["priority"] = job.submission.priority
        if deliveries := await self._outbox.of_job(job.id):
            item["deliveries"] = [_delivery(one) for one in deliveries]
        if foreseen := await self._queue.foresee(job):
            item["estimate"] = _estimate(foreseen)
        if caches := [cache_json(result.cache) for result in job.results if result.cache is not None]:
            item["cache"] = caches
        if job.submission.warnings:
            item["warnings"] = list(job.submission.warnings)
        yield Answer(data=(item,))

    async def _job(self, task: Task, client: Client, kind: Kind | None) -> Job:
        """The job of a task whose id is of a kind. Raises `NotFound`."""
        job = await self._queue.find(client.owner, task.taskUUID) if kind == "job" else None
        if job is None:
            raise unknown_task(task.taskUUID, parameter="taskUUID")
        return job

    async def _job_so_far(self, job: Job, client: Client) -> Answer:
        if job.ended:
            return await job_answer(job, self._media, client.base_url)
        progress: Item = {"status": "processing", "progress": self._queue.progress(job)}
        return Answer(data=(job_ref(job).keys | progress,))


def _delivery(delivery: Delivery) -> Item:
    """A webhook or an upload. `nextTry` is in seconds since the epoch."""
    item: Item = {"kind": delivery.kind, "id": delivery.message_id, "state": delivery.state, "tries": delivery.tries}
    if delivery.position is not None:
        item["result"] = delivery.position
    if delivery.error is not None:
        item["error"] = delivery.error
    if delivery.state == "waiting":
        item["nextTry"] = round(delivery.due, 3)
    return item


def _estimate(foreseen: Foreseen) -> Item:
    """The place of a waiting task from 0, and the estimated seconds until a task begins and ends."""
    seconds = {"begins": round(foreseen.begins, 1), "ends": round(foreseen.ends, 1)}
    return seconds if foreseen.position is None else {"position": foreseen.position} | seconds


def _timings(job: Job) -> Item:
    """The seconds in the queue, in the worker for each image, and from acceptance to the end."""
    timings: Item = {"render": [round(result.seconds, 4) for result in job.results]}
    if job.started is not None:
        timings["queue"] = round(job.started - job.created, 4)
    if job.finished is not None:
        timings["total"] = round(job.finished - job.created, 4)
    return timings
