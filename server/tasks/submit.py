"""The life of a task, whatever its dialect: its id, its pictures, the queue, and the events until it ends.

Everything that can be refused is refused before the task is accepted. Knows no wire format and no transport.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipelines.request import RenderRequest
from server.delivery.sender import Sender
from server.errors import (
    ApiError,
    MediaError,
    NotFound,
    ServiceUnavailable,
    TaskRejected,
    UnsupportedParameter,
)
from server.extras import install_command
from server.jobs.events import Ended, Event, ResultReady, Stopping
from server.jobs.job import Cancellation, Job, SafetyAction, Submission
from server.jobs.queue import JobQueue
from server.media.inputs import InputImages, needs_download
from server.media.store import Media
from server.tasks.cancel_scopes import CancelScopes
from server.tasks.kept_task import kept_task
from server.tasks.options import TaskOptions
from server.tasks.pictures.picture_rules import check_pictures
from server.tasks.preparations import Preparations, read_spec, spec_text
from server.tasks.receivers import check_receivers
from server.tasks.resolve import assumed_request, to_request
from server.tasks.spec import TaskSpec
from server.tasks.task_ids import TaskIds
from server.tracing.tracer import NO_TRACER, Tracer


@dataclass(frozen=True, slots=True)
class Accepted:
    """A task is in the queue, and on disk."""

    job: Job


TaskEvent = Accepted | ResultReady | Ended


class TaskService:
    """Accepts tasks, yields the events of each, and cancels them."""

    def __init__(
        self,
        ids: TaskIds,
        queue: JobQueue,
        inputs: InputImages,
        sender: Sender,
        options: TaskOptions,
        scopes: CancelScopes,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._preparations = Preparations(queue, self._prepare)
        self._ids = ids
        self._queue = queue
        self._inputs = inputs
        self._sender = sender
        self._options = options
        self._scopes = scopes
        self._tracer = tracer

    async def run(self, spec: TaskSpec, *, listens: bool, gone: asyncio.Event) -> AsyncIterator[TaskEvent]:
        """Accept a task and yield its events up to its end, or only `Accepted` where nobody waits or listens.

        `listens` says whether the client gets later events, as over a WebSocket. A task that its client waits for is
        cancelled when `gone` is set before a worker has begun it. Raises `TaskRejected` or another `ApiError` before
        anything is accepted, and `ServiceUnavailable` when the server stops while the client waits.
        """
        key = spec.owner, spec.task_id.lower()
        with self._queue.watch(key) as events:
            yield Accepted(await self._accept(spec))
            if not spec.wait and not listens:
                return
            with self._queue.giving_up(key, gone) if spec.wait else contextlib.nullcontext():
                async for event in _up_to_the_end(events, listens=listens):
                    yield event

    async def open(self) -> None:
        """Go on with the tasks whose pictures an earlier process has not fetched."""
        await self._preparations.open()

    async def close(self) -> None:
        """Stop fetching pictures. The next start goes on with it."""
        await self._preparations.close()

    async def accept_early(self, spec: TaskSpec) -> Job:
        """Accept a task whose client is answered before its pictures are downloaded.

        A picture that then cannot be used is the task's failure. One that is in the request itself is read now.
        Raises what `run` raises.
        """
        if not any(needs_download(text) for text in spec.pictures.values()):
            return await self._accept(spec)
        async with contextlib.AsyncExitStack() as held:
            traceparent = held.enter_context(self._span(spec))
            async with self._scopes.open(spec.owner, spec.task_id):
                request = await self._enter(spec, held)
                here = {path: text for path, text in spec.pictures.items() if not needs_download(text)}
                pictures = await self._resolve(spec, here)
            spec = replace(
                spec.with_pictures({text: pictures[path].uuid for path, text in here.items()}),
                task=_kept(spec, pictures),
            )
            submission = replace(self._submission(spec, request, ()), traceparent=traceparent)
            job = await self._queue.accept_unprepared(submission, spec_text(spec))
        self._preparations.begin(spec)
        return job

    async def accept_again(self, job: Job) -> Job | None:
        """Accept a job again that failed before its pictures were there. None for any other job.

        Raises what `run` raises.
        """
        text = await self._queue.unprepared.spec(job)
        return None if text is None else await self.accept_early(read_spec(text))

    async def cancel(self, owner: str, task_id: str) -> Cancellation:
        """Cancel a task of any kind, and return when it has ended.

        A waiting task ends at once, a running one at its next step. Its client is told the error `taskCancelled`.
        Raises `ServiceUnavailable` when the server stops before the end.
        """
        stopped = await self._scopes.cancel(owner, task_id)
        self._preparations.stop((owner, task_id.lower()))
        outcome = await self._queue.cancel(owner, task_id)
        if outcome == "unknown" and await self._ids.kind(owner, task_id) is not None:
            outcome = "ended"
            stopped |= await self._scopes.cancel(owner, task_id)  # it may have been accepted meanwhile
        return "cancelled" if stopped else outcome

    async def _accept(self, spec: TaskSpec) -> Job:
        """Put a task into the queue. It has a place there before any picture is fetched."""
        async with contextlib.AsyncExitStack() as held:
            traceparent = held.enter_context(self._span(spec))
            async with self._scopes.open(spec.owner, spec.task_id):
                await self._enter(spec, held)
                pictures = await self._resolve(spec, spec.pictures)
            submission = replace(self._resolved(spec, pictures), traceparent=traceparent)
            return await self._queue.submit(submission, placed=True)

    async def _enter(self, spec: TaskSpec, held: contextlib.AsyncExitStack) -> RenderRequest:
        """Check all of a task but its pictures, and hold a place in the queue for it. Returns what it may become."""
        await self._ids.check_free(spec.owner, spec.task_id)
        self._safety(spec)
        request = assumed_request(spec, self._options.profiles)
        await held.enter_async_context(self._queue.place(spec.owner, request, low=spec.priority == "low"))
        receivers = {"webhook": spec.webhook, "upload": spec.upload}
        urls = {spec.parameter(path): target and target.url for path, target in receivers.items()}
        await check_receivers(self._sender, urls)
        return request

    async def _prepare(self, spec: TaskSpec) -> None:
        """Fetch the pictures of a task that was accepted before, and let a worker take it."""
        pictures = await self._resolve(spec, spec.pictures)
        await self._queue.prepare(self._resolved(spec, pictures))

    def _span(self, spec: TaskSpec) -> contextlib.AbstractContextManager[str | None]:
        return self._tracer.span("accept", {"ownware.task_uuid": spec.task_id})

    def _safety(self, spec: TaskSpec) -> SafetyAction | None:
        """What to do with unsafe images, None for no check. Raises `TaskRejected` when none can be made."""
        options = self._options.safety
        if not (options.by_default if spec.check_content is None else spec.check_content):
            return None
        if not options.available:
            name = spec.parameter("check_content")
            message = f"'{name}' needs the detector of the content check: {install_command('safety')}"
            raise TaskRejected(UnsupportedParameter(message, parameter=name))
        return options.action

    async def _resolve(self, spec: TaskSpec, texts: Mapping[str, str]) -> dict[str, Media]:
        """Pictures of a task, stored, by the paths of their texts. Raises `TaskRejected` with all that are unusable."""
        found = await asyncio.gather(
            *(self._inputs.resolve(text, owner=spec.owner) for text in texts.values()), return_exceptions=True
        )
        errors: list[ApiError] = []
        pictures: dict[str, Media] = {}
        for path, result in zip(texts, found, strict=True):
            if isinstance(result, MediaError):
                errors.append(result.for_parameter(spec.parameter(path)))
            elif isinstance(result, BaseException):
                raise result
            else:
                pictures[path] = result
        if errors:
            raise TaskRejected(*errors)
        return pictures

    def _resolved(self, spec: TaskSpec, pictures: Mapping[str, Media]) -> Submission:
        """A task with all its pictures. Raises `TaskRejected` when they do not fit together."""
        check_pictures(spec, pictures)
        request, warnings = to_request(spec, pictures, self._options.profiles)
        images = tuple(str(uuid.uuid4()) for _ in range(request.count))
        return self._submission(replace(spec, task=_kept(spec, pictures)), request, images, warnings)

    def _submission(
        self, spec: TaskSpec, request: RenderRequest, images: tuple[str, ...], warnings: tuple[str, ...] = ()
    ) -> Submission:
        return Submission(
            owner=spec.owner,
            dialect=spec.dialect,
            task_uuid=spec.task_id,
            task=dict(spec.task),
            request=request,
            encoding=spec.encoding,
            image_uuids=images,
            ttl=self._options.result_ttl if spec.ttl is None else spec.ttl,
            webhook=spec.webhook,
            upload=spec.upload,
            safety=self._safety(spec),
            priority=spec.priority,
            warnings=(*spec.warnings, *warnings),
        )


def unknown_task(task_id: str, *, parameter: str | None = None) -> NotFound:
    """The error for a task that its owner does not have: never sent, forgotten, or another key's."""
    return NotFound(f"No task with taskUUID '{task_id}' is known here.", code="taskNotFound", parameter=parameter)


async def _up_to_the_end(events: asyncio.Queue[Event], *, listens: bool) -> AsyncIterator[ResultReady | Ended]:
    while True:
        event = await events.get()
        if isinstance(event, Stopping):
            if listens:  # the closing socket says it, and the client comes back for the result
                return
            raise ServiceUnavailable("The server is stopping. The task goes on at its next start.")
        yield event
        if isinstance(event, Ended):
            return


def _kept(spec: TaskSpec, pictures: Mapping[str, Media]) -> dict[str, Any]:
    names = [(spec.pictures[path], picture.uuid) for path, picture in pictures.items()]
    return kept_task(spec.task, names)
