"""`GET /v1/tasks/<id>/events`: a task of any dialect as server-sent events, with the key that sent it.

A client resumes a broken stream with `Last-Event-ID`. Every id says how many images the client has.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.requests import Request
from starlette.responses import Response

from server.api.access.auth import bearer_or_bare_key
from server.api.access.client import Client
from server.api.json_output.file_texts import render_json
from server.api.routes.tasks import TASK_ROUTE
from server.api.services import Services
from server.api.urls.base_url import base_url
from server.api.watching.event_writer import EventWriter
from server.api.watching.pauses import with_pauses
from server.errors import InvalidParameter
from server.jobs.events import Ended, ResultReady
from server.jobs.job import Job
from server.tasks.watching import TaskNews

# The interval that the specification of server-sent events proposes: proxies close a silent connection.
KEEPALIVE_SECONDS = 15.0
LAST_EVENT_ID = "Last-Event-ID"
_ID = re.compile(r"([0-9a-f]{1,16})-([0-9]{1,4}|end)", re.ASCII)


@dataclass(slots=True)
class _Place:
    """How much of a task a client has: of which acceptance, the number of images, and whether it has the end."""

    accepted: str
    images: int = 0
    ended: bool = False

    def __str__(self) -> str:
        return f"{self.accepted}-{'end' if self.ended else self.images}"

    def add(self, news: TaskNews) -> None:
        """Count what is sent now."""
        self.images += isinstance(news, ResultReady)
        self.ended = isinstance(news, Ended)


def router(services: Services, writer: EventWriter) -> APIRouter:
    """The event stream of single tasks."""
    routes = APIRouter(tags=["tasks"])

    @routes.get(TASK_ROUTE + "/events", response_class=Response, summary="Watch a task", responses=RESPONSES)
    async def events(
        task_id: str,
        request: Request,
        last_event_id: Annotated[str | None, Header(alias=LAST_EVENT_ID, description="The last id received.")] = None,
    ) -> Response:
        """How the task stands, and then its events up to the end. One that has ended has its results and its end."""
        owner = services.keys.owner(bearer_or_bare_key(request.headers))
        client = Client(owner, base_url(request, services.public_url), listens=True)
        place = _resumed(await services.watch.find(owner, task_id), last_event_id)
        if place.ended:  # otherwise a browser connects again and again
            return Response(status_code=204)
        news = services.watch.follow(owner, task_id, place.images)
        return EventSourceResponse(_stream(news, place, writer, client), headers={"Cache-Control": "no-store"})

    return routes


def _resumed(job: Job, last_event_id: str | None) -> _Place:
    """Where a client goes on. An id of an earlier task of this UUID begins anew. Raises `InvalidParameter`."""
    accepted = f"{int(job.created * 1000):x}"
    if not last_event_id:
        return _Place(accepted)
    found = _ID.fullmatch(last_event_id)
    if found is None or (found[1] == accepted and found[2] != "end" and int(found[2]) > len(job.results)):
        message = f"Invalid value for '{LAST_EVENT_ID}' header. It must be the id of an event of this task."
        raise InvalidParameter(LAST_EVENT_ID, message, code="invalidLastEventID", details={"type": "string"})
    if found[1] != accepted:
        return _Place(accepted)
    return _Place(accepted, ended=job.ended) if found[2] == "end" else _Place(accepted, int(found[2]))


async def _stream(
    news: AsyncGenerator[TaskNews], place: _Place, writer: EventWriter, client: Client
) -> AsyncIterator[bytes]:
    """The stream, with a comment where nothing happens for a while."""
    async with aclosing(with_pauses(news, KEEPALIVE_SECONDS)) as stream:
        async for latest in stream:
            if latest is None:
                yield KEEPALIVE_COMMENT
                continue
            event = await writer.write(latest, client)
            place.add(latest)
            yield format_sse_event(data_str=await render_json(event.data), event=event.name, id=str(place))


_EXAMPLE = """event: queued
data: {"position":1,"seconds":12.5}
id: 19a2f3b4c5d-0

event: step
data: {"index":0,"step":3,"steps":20,"reused":false}
id: 19a2f3b4c5d-0

event: preview
data: {"index":0,"step":3,"imageDataURI":"data:image/jpeg;base64,/9j/4AAQ…"}
id: 19a2f3b4c5d-0

event: result
data: {"taskType":"imageInference","taskUUID":"…","imageUUID":"…","imageURL":"…","seed":7}
id: 19a2f3b4c5d-1

event: end
data: {"state":"done"}
id: 19a2f3b4c5d-end

"""
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events: `queued`, `loading`, `step`, `preview`, `result` and `end`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
    },
    204: {"description": "The client has had the end."},
    400: {"description": "The `Last-Event-ID` is not one of this task's."},
    401: {"description": "Missing or wrong API key."},
    404: {"description": "This key has no such task."},
}
