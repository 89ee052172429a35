"""What RunPod's endpoints do with jobs: submit, wait, look, cancel, retry, purge.

Knows jobs and the vendor's JSON; knows no HTTP.
"""

import asyncio
import contextlib
import time
import uuid
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from server.api.access.client import Client
from server.api.runpod.dialect import DIALECT, JobRequest, RunpodDialect
from server.api.runpod.jobs import Json, output_json, status_of
from server.api.services import Services
from server.errors import ApiError, InvalidRequest, NotFound, TaskRejected
from server.jobs.job import Job
from server.jobs.storage.history import JobFilter
from server.tasks.endings.deadlines import Limits
from server.tasks.endings.expired_images import without_expired
from server.tasks.endings.failed_tasks import never_ran, record_failed
from server.tasks.spec import TaskSpec
from server.tasks.waiting import accept, wait_for_end

# The clients give a cancel request three seconds. A step of a large model can take longer; the job still ends.
CANCEL_SECONDS = 2.0
MAX_STREAMED = 10_000  # jobs whose output has been streamed; one that was forgotten is streamed once more


class RunpodOperations:
    """The operations of every endpoint."""

    def __init__(self, services: Services, dialect: RunpodDialect) -> None:
        self._services = services
        self._dialect = dialect
        self._streamed: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._cancelling: set[asyncio.Task[Any]] = set()
        self._retried = 0

    async def run(self, endpoint: str, body: dict[str, Any], client: Client) -> Json:
        """Accept a job before its pictures are downloaded: the clients give the answer three seconds.

        One with wrong parameters is accepted too, and fails, because a client polls it then.
        """
        request = await self._read(endpoint, f"{uuid.uuid4()}-u1", body, client)
        try:
            job = await self._services.tasks.accept_early(await self._parse(request, client))
            await self._set_limits(request, client)
        except TaskRejected as rejected:
            if any(error.parameter == "webhook" for error in rejected.errors):
                raise
            identity = self._dialect.identity(request, client)
            job = await record_failed(self._services.queue, rejected.errors[0], **identity)
        return self._dialect.acknowledge(job)

    async def run_and_wait(self, endpoint: str, body: dict[str, Any], client: Client, seconds: float) -> Json:
        """Accept a job and hold the line until it has ended or the time is over. Raises `JobRejected`."""
        request = await self._read(endpoint, f"sync-{uuid.uuid4()}-u1", body, client)
        try:
            await accept(self._services.tasks, await self._parse(request, client))
            await self._set_limits(request, client)
        except TaskRejected as rejected:
            raise JobRejected(request.task_id, rejected.errors[0]) from rejected
        return await self.wait(request.task_id, client, seconds)

    async def status(self, job_id: str, client: Client, ttl: float | None = None) -> Json:
        """A job as it is. `ttl` is its new lifetime in seconds, since its submission. Raises `NotFound`."""
        job = await self._job(job_id, client)
        if ttl is not None:
            limits = self._services.deadlines.limits(client.owner, job_id)
            await self._services.deadlines.set(client.owner, job_id, replace(limits, expires=job.created + ttl))
        return await self._dialect.result(job, client)

    async def wait(self, job_id: str, client: Client, seconds: float) -> Json:
        """A job once it has ended, or as it is when the time is over. Raises `NotFound`."""
        return await self._dialect.result(await self._awaited(job_id, client, seconds), client)

    async def stream(self, job_id: str, client: Client, seconds: float) -> Json:
        """The output that was not streamed before, once there is one or the time is over. Raises `NotFound`."""
        job = await without_expired(await self._awaited(job_id, client, seconds), self._services.media)
        output, key = output_json(job, client.base_url), job.submission.key
        new = bool(output) and key not in self._streamed
        if new:
            self._streamed[key] = None
            while len(self._streamed) > MAX_STREAMED:
                self._streamed.popitem(last=False)
        return {"status": status_of(job), "stream": [{"output": output}] if new else []}

    async def cancel(self, job_id: str, client: Client) -> Json:
        """Cancel a job. One that has ended stays as it is. Raises `NotFound`."""
        await self._job(job_id, client)
        cancelling = asyncio.create_task(self._services.tasks.cancel(client.owner, job_id))
        self._cancelling.add(cancelling)
        cancelling.add_done_callback(self._cancelling.discard)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(cancelling), CANCEL_SECONDS)
        job = await self._job(job_id, client)
        return {"id": job.submission.task_uuid, "status": status_of(job) if job.ended else "CANCELLED"}

    async def retry(self, job_id: str, client: Client) -> Json:
        """Queue a failed job again, under its id. Raises `NotFound`, or `InvalidRequest` for a job in another state."""
        job = await self._job(job_id, client)
        if status_of(job) not in ("FAILED", "TIMED_OUT"):
            raise InvalidRequest(f"only failed and timed out jobs are retried; this one is {status_of(job)}")
        limits = self._services.deadlines.limits(client.owner, job_id)
        if never_ran(job):  # its pictures may be there now
            again = await self._services.tasks.accept_again(job)
            if again is None:
                raise InvalidRequest("the parameters of this job are wrong, so it would fail again")
        else:
            uuids = tuple(str(uuid.uuid4()) for _ in job.submission.image_uuids)
            again = await self._services.queue.submit(replace(job.submission, image_uuids=uuids))
        self._retried += 1
        self._streamed.pop(again.submission.key, None)
        await self._services.deadlines.set(client.owner, job_id, limits)
        return self._dialect.acknowledge(again)

    async def purge(self, endpoint: str, client: Client) -> Json:
        """Cancel the waiting jobs of an endpoint."""
        self._dialect.check_endpoint(endpoint, client)
        waiting = JobFilter(client.owner, DIALECT, states=("queued",), marks={"endpoint": endpoint.lower()})
        jobs, _ = await self._services.history.page(waiting, limit=self._services.queue.limit)
        removed = [await self._services.queue.cancel_queued(job.submission.key) for job in jobs]
        return {"removed": sum(removed), "status": "completed"}

    async def health(self, endpoint: str, client: Client) -> Json:
        """The jobs of an endpoint by their state, and the workers, which all endpoints share."""
        self._dialect.check_endpoint(endpoint, client)
        marks = {"endpoint": endpoint.lower()}
        counts = await self._services.history.counts(JobFilter(client.owner, DIALECT, marks=marks))
        workers = self._services.queue.workers.states
        return {
            "jobs": {
                "completed": counts.get("done", 0),
                "failed": counts.get("failed", 0),
                "inProgress": counts.get("running", 0),
                "inQueue": counts.get("queued", 0),
                "retried": self._retried,
            },
            "workers": {
                "idle": workers.count("idle"),
                "initializing": workers.count("starting"),
                "ready": workers.count("idle") + workers.count("busy"),
                "running": workers.count("busy"),
                "throttled": 0,
                "unhealthy": workers.count("failed"),
            },
        }

    async def _read(self, endpoint: str, task_id: str, body: dict[str, Any], client: Client) -> JobRequest:
        """A job with a known endpoint, an input, a policy and a webhook. Raises the first fault as an `ApiError`."""
        try:
            return await self._services.body_pool.run(client.size, self._dialect.read, endpoint, task_id, body, client)
        except TaskRejected as rejected:
            raise rejected.errors[0] from rejected

    async def _parse(self, request: JobRequest, client: Client) -> TaskSpec:
        return await self._services.body_pool.run(client.size, self._dialect.parse, request, client)

    async def _set_limits(self, request: JobRequest, client: Client) -> None:
        """Give an accepted job the limits of its policy."""
        policy = request.body.policy
        if policy.executionTimeout is not None or policy.ttl is not None:
            run_seconds = None if policy.executionTimeout is None else policy.executionTimeout / 1000
            expires = None if policy.ttl is None else time.time() + policy.ttl / 1000
            await self._services.deadlines.set(client.owner, request.task_id, Limits(run_seconds, expires))

    async def _awaited(self, job_id: str, client: Client, seconds: float) -> Job:
        return _of_this_dialect(await wait_for_end(self._services.queue, client.owner, job_id, seconds, client.gone))

    async def _job(self, job_id: str, client: Client) -> Job:
        return _of_this_dialect(await self._services.queue.find(client.owner, job_id))


class JobRejected(Exception):
    """A job whose sender waits is refused for its parameters. It has an id, as the vendor's answer has."""

    def __init__(self, job_id: str, error: ApiError) -> None:
        super().__init__(error.message)
        self.job_id = job_id
        self.error = error


def _of_this_dialect(job: Job | None) -> Job:
    if job is None or job.submission.dialect != DIALECT:
        raise NotFound("job not found", code="taskNotFound")
    return job
