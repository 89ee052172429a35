"""`POST /v1`: an array of tasks in, one JSON object out.

Knows bodies, headers and status codes; knows no task type but authentication.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from server.api.access.auth import bearer_key
from server.api.access.client import Client
from server.api.bodies.body import read_body_for_key
from server.api.bodies.body_pool import request_size
from server.api.json_output.file_texts import json_parts, json_size, stream_json
from server.api.response_headers import response_headers
from server.api.runware.dispatch import RunwareApi, parse_tasks, task_ref
from server.api.runware.responses import Answer, TaskRef, http_body, refusal
from server.api.services import Services
from server.api.urls.base_url import base_url
from server.connections.bodies import release_body
from server.errors import ApiError, Unauthorized


class RunwareHttp:
    """The HTTP side of the Runware surface."""

    def __init__(self, api: RunwareApi, services: Services) -> None:
        self._api = api
        self._pool = services.body_pool
        self._keys = services.keys
        self._public_url = services.public_url
        self._max_body = services.max_body
        self._notices_hang_up = services.options.cancel_for_gone_clients

    async def post(self, request: Request) -> Response:
        """Answer one request with a JSON object of `data`, `errors` or both."""
        try:
            body = await read_body_for_key(request, self._keys, self._max_body)
            size = len(body)
            tasks = await self._pool.run(size, parse_tasks, body)
            size = request_size(size, len(tasks))
            del body  # a task may wait for minutes
            release_body(request)
        except Unauthorized as error:
            response = json_response([refusal([error], TaskRef("authentication"))])
            response.headers["Connection"] = "close"  # the rest of the body is not read
            return response
        except ApiError as error:
            return json_response([refusal([error], TaskRef())])
        logins = [task for task in tasks if _is_login(task)]
        work = [task for task in tasks if not _is_login(task)]
        try:
            owner = self._keys.owner(_key(request, logins))
        except Unauthorized as error:
            refs = [task_ref(task) for task in work] or [TaskRef("authentication")]
            return json_response([refusal([error], ref) for ref in refs])
        if not work:
            session = {"taskType": "authentication", "connectionSessionUUID": str(uuid.uuid4())}
            return json_response([Answer(data=(session,))])
        client = Client(owner, base_url(request, self._public_url), listens=False, size=size)
        watching = client.watch(request) if self._notices_hang_up else contextlib.nullcontext()
        with watching:
            async with asyncio.TaskGroup() as group:
                running = []
                for task in work:
                    running.append(group.create_task(self._collect(task, client)))
                    await asyncio.sleep(0)  # a thousand would begin before anything else
        return await self._pool.run(size, json_response, [task.result() for task in running])

    async def _collect(self, task: Any, client: Client) -> Answer:
        """Collect all answers of a task into one."""
        answers = [answer async for answer in self._api.handle(task, client)]
        return Answer(
            data=tuple(item for answer in answers for item in answer.data),
            errors=tuple(item for answer in answers for item in answer.errors),
            status=max(answer.status for answer in answers),
            warnings=tuple(dict.fromkeys(text for answer in answers for text in answer.warnings)),
            retry_after=max((answer.retry_after or 0 for answer in answers), default=0),
        )


def json_response(answers: Sequence[Answer]) -> Response:
    """Render answers. Warnings go into a header, because clients reject unknown keys in result items."""
    status, body = http_body(answers)
    warnings = (text for answer in answers for text in answer.warnings)
    retry_after = max((answer.retry_after or 0 for answer in answers), default=0)
    headers = response_headers(status, warnings, retry_after=retry_after)
    parts = json_parts(body)
    if len(parts) == 1:
        return Response(parts[0], status, headers, media_type="application/json")
    headers["Content-Length"] = str(json_size(parts))
    return StreamingResponse(stream_json(parts), status, headers, media_type="application/json")


def _is_login(task: Any) -> bool:
    return isinstance(task, dict) and task.get("taskType") == "authentication"


def _key(request: Request, logins: list[dict[str, Any]]) -> str | None:
    """The API key of the header, else of an authentication task in the array."""
    if key := bearer_key(request.headers):
        return key
    keys = [login.get("apiKey") for login in logins]
    return next((key for key in keys if isinstance(key, str) and key), None)
