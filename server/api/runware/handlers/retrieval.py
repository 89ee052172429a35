"""The tasks getResponse and getTaskDetails: results and details of earlier tasks.

Reads jobs and changes none.
"""

from collections.abc import AsyncIterator

from server.api.access.client import Client
from server.api.cache_reports import cache_json
from server.api.runware.handlers.model_upload import ModelUploads
from server.api.runware.handlers.validator import TaskValidator
from server.api.runware.responses import Answer, Item, refusal
from server.api.runware.results import job_answer, job_ref, picture_answer, picture_ref
from server.api.runware.schema.tasks import GetResponse, GetTaskDetails, Task, WireTask
from server.api.services import Services
from server.delivery.outbox import Delivery
from server.errors import NotFound
from server.jobs.job import Job
from server.jobs.policy.forecast import Foreseen
from server.tasks.pictures.picture_tasks import PictureTask
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
        if kind == "picture" and (picture := await self._pictures.find(client.owner, task.taskUUID)):
            yield await self._picture_details(picture, client)
            return
        job = await self._job(task, client, kind)
        item: Item = {
            "taskType": "getTaskDetails",
            "taskUUID": job.submission.task_uuid,
            "state": job.state,
            "request": [job.submission.task],
            "response": _response(await job_answer(job, self._media, client.base_url)),
            "timings": _timings(job),
        }
        if job.submission.low:
            item["priority"] = job.submission.priority
        if deliveries := await self._outbox.of(job.id):
            item["deliveries"] = [_delivery(one) for one in deliveries]
        if foreseen := await self._queue.foresee(job):
            item["estimate"] = _estimate(foreseen)
        if caches := [cache_json(result.cache) for result in job.results if result.cache is not None]:
            item["cache"] = caches
        if job.submission.warnings:
            item["warnings"] = list(job.submission.warnings)
        yield Answer(data=(item,))

    async def _picture_details(self, picture: PictureTask, client: Client) -> Answer:
        """The details of a task that was never queued: it has no state, no timings and no estimate."""
        try:
            answer = await picture_answer(picture, self._media, client.base_url, status=True)
        except NotFound as error:
            answer = refusal((error,), picture_ref(picture))
        item: Item = {
            "taskType": "getTaskDetails",
            "taskUUID": picture.task["taskUUID"],
            "request": [picture.task],
            "response": _response(answer),
        }
        if deliveries := await self._outbox.of(picture.key):
            item["deliveries"] = [_delivery(one) for one in deliveries]
        if picture.warnings:
            item["warnings"] = list(picture.warnings)
        return Answer(data=(item,))

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


def _response(answer: Answer) -> Item:
    """The items and the errors of a task. Lists that are empty are left out."""
    both = {"data": list(answer.data), "errors": list(answer.errors)}
    return {name: items for name, items in both.items() if items}


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
    """The seconds in the queue, in the worker for each image, and from acceptance to the end.

    `busy` are those in the worker without the parts of other images that were under way at the same time.
    """
    busy = [result.seconds if result.busy is None else result.busy for result in job.results]
    timings: Item = {"render": [round(result.seconds, 4) for result in job.results]}
    timings["busy"] = [round(seconds, 4) for seconds in busy]
    if job.started is not None:
        timings["queue"] = round(job.started - job.created, 4)
    if job.finished is not None:
        timings["total"] = round(job.finished - job.created, 4)
    return timings
