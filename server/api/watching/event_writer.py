"""The events of a watched task as clients read them: a name and an object for each.

Shared by the event stream and the WebSocket, and by all dialects. Knows no transport.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from server.api.access.client import Client
from server.api.urls.image_urls import image_url
from server.errors import ApiError, Failure
from server.jobs.events import Begun, Ended, PreviewReady, ResultReady, StepDone
from server.jobs.job import Job, Result
from server.tasks.watching import Queued, TaskNews

Json = dict[str, Any]


@runtime_checkable
class ItemWriter(Protocol):
    """A surface whose dialect has an item of its own for one finished image."""

    async def result_item(self, job: Job, result: Result, client: Client) -> Json:
        """The image as the dialect's clients get it. Raises `ApiError` when its file has expired."""
        ...


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """`queued`, `loading`, `step`, `preview`, `result` or `end`, and what it says."""

    name: str
    data: Json


class EventWriter:
    """Writes events. `writers` are the surfaces with an item of their own, by the name of the dialect."""

    def __init__(self, writers: Mapping[str, ItemWriter]) -> None:
        self._writers = writers

    async def write(self, news: TaskNews, client: Client) -> TaskEvent:
        """The event of one piece of news."""
        if isinstance(news, Queued):
            return TaskEvent("queued", {"position": news.position, "seconds": news.seconds})
        if isinstance(news, Begun):
            return TaskEvent("loading", {"model": news.job.submission.request.model})
        if isinstance(news, StepDone):
            how = {"step": news.step, "steps": news.steps, "reused": news.reused}
            return TaskEvent("step", {"index": news.index, **how})
        if isinstance(news, PreviewReady):
            uri = "data:image/jpeg;base64," + base64.b64encode(news.jpeg).decode("ascii")
            return TaskEvent("preview", {"index": news.index, "step": news.step, "imageDataURI": uri})
        if isinstance(news, ResultReady):
            return TaskEvent("result", await self._item(news.job, news.result, client))
        return _end(news)

    async def _item(self, job: Job, result: Result, client: Client) -> Json:
        try:
            if writer := self._writers.get(job.submission.dialect):
                return await writer.result_item(job, result, client)
        except ApiError as error:
            return {"imageUUID": result.image_uuid, "error": _error(error)}
        url = image_url(client.base_url, result.image_uuid, job.submission.encoding.extension)
        return {"imageUUID": result.image_uuid, "imageURL": url, "seed": result.seed}


def _end(news: Ended) -> TaskEvent:
    failure = news.job.failure
    error = {} if failure is None else {"error": _error(failure)}
    return TaskEvent("end", {"state": news.job.state, **error})


def _error(error: Failure | ApiError) -> Json:
    return {"code": error.code, "message": error.message}
