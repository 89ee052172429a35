"""The tasks that look back: getResponse and getTaskDetails.

Reads jobs; changes nothing.
"""

from collections.abc import AsyncIterator

from server.api.client import Client
from server.api.runware.check.normalize import plain
from server.api.runware.check.validation import validate
from server.api.runware.handlers.model_upload import ModelUploads
from server.api.runware.responses import Answer, Item
from server.api.runware.results import cache_item, job_answer, job_ref
from server.api.runware.schema.tasks import GetResponse, GetTaskDetails, Task, WireTask
from server.errors import NotFound
from server.jobs.job import Job
from server.jobs.queue import JobQueue
from server.media.store import MediaStore
from server.tasks.guides import GuideTasks, guide_answer


class Retrieval:
    """Finds earlier tasks again, sync ones too: a client that lost its connection asks for those as well."""

    def __init__(
        self, queue: JobQueue, media: MediaStore, uploads: ModelUploads, guides: GuideTasks, *, ignore_unknown: bool
    ) -> None:
        self._queue = queue
        self._media = media
        self._uploads = uploads
        self._guides = guides
        self._ignore_unknown = ignore_unknown

    async def get_response(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """The images of a task once all are done, or that it is being processed.

        Never a part of them: one client would return the first image twice and the second never. Of an upload, the
        stages it has reached.
        """
        task = self._validated(GetResponse, raw)
        if upload := self._uploads.find(client.owner, task.taskUUID):
            yield upload
            return
        job = await self._queue.find(client.owner, task.taskUUID)
        if job is None and (guide := await self._guides.find(client.owner, task.taskUUID)):
            yield await guide_answer(guide, self._media, client, status=True)
            return
        job = _known(job, task)
        if job.ended:
            yield await job_answer(job, self._media, client.base_url)
            return
        item: Item = job_ref(job).keys
        item |= {"status": "processing", "progress": self._queue.progress(job)}
        yield Answer(data=(item,))

    async def get_task_details(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """The request, the response so far, warnings and timings of a task."""
        task = self._validated(GetTaskDetails, raw)
        job = _known(await self._queue.find(client.owner, task.taskUUID), task)
        answer = await job_answer(job, self._media, client.base_url)
        response: Item = {"data": list(answer.data)} if answer.data else {}
        if answer.errors:
            response["errors"] = list(answer.errors)
        item: Item = {
            "taskType": "getTaskDetails",
            "taskUUID": job.submission.task["taskUUID"],
            "state": job.state,
            "request": [job.submission.task],
            "response": response,
            "timings": _timings(job),
        }
        if caches := [cache_item(result.cache) for result in job.results if result.cache is not None]:
            item["cache"] = caches
        if job.submission.warnings:
            item["warnings"] = list(job.submission.warnings)
        yield Answer(data=(item,))

    def _validated(self, model: type[Task], raw: WireTask) -> Task:
        return validate(model, plain(raw), ignore_unknown=self._ignore_unknown)[0]


def _known(job: Job | None, task: Task) -> Job:
    if job is None:
        message = f"No task with taskUUID '{task.taskUUID}' is known here."
        raise NotFound(message, code="taskNotFound", parameter="taskUUID")
    return job


def _timings(job: Job) -> Item:
    """Seconds: waiting in the queue, inside the worker for each image, and from acceptance to the end."""
    timings: Item = {"render": [round(result.seconds, 4) for result in job.results]}
    if job.started is not None:
        timings["queue"] = round(job.started - job.created, 4)
    if job.finished is not None:
        timings["total"] = round(job.finished - job.created, 4)
    return timings
