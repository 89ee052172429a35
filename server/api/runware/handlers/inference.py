"""The imageInference task: turns the events of a job into answers. Knows no transport."""

from collections.abc import AsyncIterator

from server.api.access.client import Client
from server.api.bodies.body_pool import BodyPool
from server.api.dialect import Dialect
from server.api.runware.responses import Answer, joined
from server.api.runware.results import job_answer
from server.api.runware.schema.tasks import WireTask
from server.jobs.events import ResultReady
from server.media.store import MediaStore
from server.tasks.submit import Accepted, TaskService


class Inference:
    """Answers imageInference."""

    def __init__(
        self, dialect: Dialect[WireTask, Answer], tasks: TaskService, media: MediaStore, pool: BodyPool
    ) -> None:
        self._dialect = dialect
        self._tasks = tasks
        self._media = media
        self._pool = pool

    async def __call__(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Answer a sync task with each image and at most one error, and an async task with an acknowledgement.

        A listening client gets all images of an async task in one answer when it has ended. Raises `TaskRejected` or
        another `ApiError` before the task is accepted.
        """
        spec = await self._pool.run(client.size, self._dialect.parse, raw, client)
        refusals: list[Answer] = []
        async for event in self._tasks.run(spec, listens=client.listens, gone=client.gone):
            if isinstance(event, Accepted):
                if client.on_accept is not None:
                    client.on_accept(event.job)
                if not spec.wait:
                    yield self._dialect.acknowledge(event.job)
            elif isinstance(event, ResultReady):
                if event.result.failure is not None:
                    refusals.append(self._dialect.error(event.result.failure, event.job))
                elif spec.wait:
                    yield await self._dialect.result(event.job, event.result, client)
            elif not spec.wait:
                yield await job_answer(event.job, self._media, client.base_url)
            else:
                if event.job.failure is not None:
                    refusals.append(self._dialect.error(event.job.failure, event.job))
                if refusals:
                    yield joined(refusals)
