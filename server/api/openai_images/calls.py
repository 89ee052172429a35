"""The image calls over HTTP: reads a body, waits for the images, answers.

Knows bodies, headers and status codes. A client that hangs up while its task waits cancels it.
"""

import asyncio
import contextlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.api.access.client import Client
from server.api.bodies.body import read_body
from server.api.fields.form import Form, read_form
from server.api.fields.validation import from_texts, validate
from server.api.openai_images.dialect import ImageCall, OpenAIDialect, status_of
from server.api.openai_images.fields import EditFields, GenerationFields
from server.api.openai_images.stream import ImageStream
from server.api.requests import client_of, read_object
from server.api.response_headers import response_headers
from server.api.services import Services
from server.api.watching.pauses import with_pauses
from server.connections.bodies import release_body
from server.errors import ApiError, InvalidParameter, MediaError, MissingParameter, ServiceUnavailable
from server.jobs.events import Ended, ResultReady
from server.jobs.job import Job
from server.tasks.spec import TaskSpec
from server.tasks.waiting import accept

# The vendor's clients give up after 600 seconds, and would send the same task again.
LONGEST_WAIT = 590.0
KEEPALIVE_SECONDS = 15.0  # proxies close a silent connection
TASK_HEADER = "x-request-id"  # the vendor's clients keep it with an answer
CLIENT_ID_HEADER = "x-client-request-id"
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class ImageCalls:
    """Answers generations and edits."""

    def __init__(self, services: Services, dialect: OpenAIDialect) -> None:
        self._services = services
        self._dialect = dialect

    async def generate(self, request: Request, client: Client, body: Mapping[str, Any]) -> Response:
        """Answer a generation. Raises `ApiError` or `TaskRejected`."""
        fields = await self._services.body_pool.run(client.size, validate, GenerationFields, body)
        return await self._answer(request, client, ImageCall(task_id_of(request), fields, dict(body)))

    async def edit(self, request: Request) -> Response:
        """Answer an edit, which comes as a form or as JSON. Raises `ApiError` or `TaskRejected`."""
        client, parse = client_of(request, self._services), self._services.body_pool.run
        if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            body = await read_body(request, self._services.max_body)
            client = replace(client, size=len(body))
            form = await read_form(request.headers, body, self._services.body_pool)
            release_body(request)
            raw = await parse(client.size, from_texts, EditFields, form.fields)
        else:
            form = Form()
            raw, client = await read_object(request, client, self._services)
        fields = await parse(client.size, validate, EditFields, raw)
        files = [await self._store(data, client, "image") for data in form.files.get("image", [])]
        images = (*files, *fields.images, *fields.image, *fields.url)
        if not images:
            raise MissingParameter("image", "Missing required parameter 'image'.")
        mask = await self._mask(form.files.get("mask", []), fields.mask, client)
        sent = {**raw, "image": list(images)} | ({} if mask is None else {"mask": mask})
        call = ImageCall(task_id_of(request), fields, sent, images, mask)
        return await self._answer(request, client, call)

    async def _store(self, data: bytes, client: Client, parameter: str) -> str:
        """The UUID of a picture that came with a form."""
        try:
            return (await self._services.inputs.add(data, owner=client.owner)).uuid
        except MediaError as error:
            raise error.for_parameter(parameter) from error

    async def _mask(self, files: list[bytes], text: str | None, client: Client) -> str | None:
        """The UUID of a mask that is white where the client's is transparent."""
        if not files and text is None:
            return None
        if len(files) > 1:
            raise InvalidParameter("mask", f"Invalid value for 'mask' parameter. {len(files)} masks were sent.")
        inputs, owner = self._services.inputs, client.owner
        try:
            stored = await (inputs.add(files[0], owner=owner) if files else inputs.resolve(text or "", owner=owner))
            return (await inputs.add_edit_mask(stored, owner=owner)).uuid
        except MediaError as error:
            raise error.for_parameter("mask") from error

    async def _answer(self, request: Request, client: Client, call: ImageCall) -> Response:
        spec = await self._services.body_pool.run(client.size, self._dialect.parse, call, client)
        if call.fields.stream:
            job = await accept(self._services.tasks, replace(spec, wait=False))
            headers = response_headers(200, job.submission.warnings) | {TASK_HEADER: spec.task_id}
            return EventSourceResponse(self._stream(job, call, client), 200, {**headers, "Cache-Control": "no-store"})
        watching = client.watch(request) if self._services.options.cancel_for_gone_clients else contextlib.nullcontext()
        try:
            with watching:
                async with asyncio.timeout(LONGEST_WAIT):
                    images, ended = await self._wait(spec, client)
        except TimeoutError as error:
            await self._services.queue.cancel(spec.owner, spec.task_id)
            raise ServiceUnavailable("The task was not done in time. Try again later.") from error
        job, headers = ended.job, {TASK_HEADER: spec.task_id}
        if job.failure is not None:
            status = status_of(job.failure)
            headers |= response_headers(status, job.submission.warnings)
            return JSONResponse(self._dialect.error(job.failure, job), status, headers)
        headers |= response_headers(200, job.submission.warnings)
        # Its JSON is rendered here: half a second for ten large images in base64.
        return await asyncio.to_thread(JSONResponse, self._dialect.answer(job, images), 200, headers)

    async def _stream(self, job: Job, call: ImageCall, client: Client) -> AsyncIterator[bytes]:
        """The events of an accepted call, with a comment where nothing happens for a while."""
        news = self._services.watch.follow(client.owner, job.submission.task_uuid)
        events = ImageStream(self._dialect, call, client).events(news)
        async with aclosing(with_pauses(events, KEEPALIVE_SECONDS)) as stream:
            async for event in stream:
                if event is None:
                    yield KEEPALIVE_COMMENT
                else:
                    text = await asyncio.to_thread(json.dumps, event)
                    yield format_sse_event(data_str=text, event=event["type"])

    async def _wait(self, spec: TaskSpec, client: Client) -> tuple[list[dict[str, Any]], Ended]:
        """The images of a task, and its end."""
        images = []
        async for event in self._services.tasks.run(spec, listens=False, gone=client.gone):
            if isinstance(event, ResultReady):
                images.append(await self._dialect.result(event.job, event.result, client))
            elif isinstance(event, Ended):
                return images, event
        raise LookupError("a task that is waited for has no end")


def task_id_of(request: Request) -> str:
    """The UUID that the client gives its request, so that it can watch and cancel the task; else a new one."""
    sent = request.headers.get(CLIENT_ID_HEADER, "")
    return sent if _UUID.fullmatch(sent) else str(uuid.uuid4())


def error_answer(dialect: OpenAIDialect, error: ApiError) -> Response:
    """The response to a call that is refused."""
    return JSONResponse(
        dialect.error(error), error.status, response_headers(error.status, retry_after=error.retry_after)
    )
