"""The interface of a dialect: one vendor's wire format for tasks, and its paths.

A dialect translates and does nothing else. `server.tasks.submit` owns the life of its tasks. `server.delivery` sends
their webhooks and uploads.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from fastapi import FastAPI
from starlette.responses import Response

from server.api.access.client import Client
from server.delivery.targets import Post, Webhook
from server.errors import ApiError, Failure
from server.jobs.job import Job, Result
from server.tasks.pictures.picture_tasks import PictureTask
from server.tasks.spec import TaskSpec

Request = TypeVar("Request", contravariant=True)
Reply = TypeVar("Reply", covariant=True)


class Dialect(Protocol[Request, Reply]):
    """Four functions between a vendor's JSON and the types of the server."""

    def parse(self, request: Request, client: Client) -> TaskSpec:
        """The spec of a request. Raises `TaskRejected` or another `ApiError`, naming the vendor's parameters."""
        ...

    def acknowledge(self, job: Job) -> Reply:
        """The reply to a client that does not wait for the images of its accepted task."""
        ...

    async def result(self, job: Job, image: Result, client: Client) -> Reply:
        """The reply for one finished image. Raises `NotFound` when its file has expired."""
        ...

    def error(self, failure: Failure | ApiError, job: Job | None = None) -> Reply:
        """The reply for a job that failed, or for a request that cannot be answered."""
        ...


@dataclass(frozen=True, slots=True)
class Notice:
    """What one webhook is told: a result of a job, or with `result` None the end of the job.

    `id` is the same at every try, so that a receiver recognizes a repetition. `time` is that of the try, in whole
    seconds since the epoch. `webhook` has the base of image URLs.
    """

    id: str
    time: int
    webhook: Webhook
    job: Job
    result: Result | None = None


class WebhookWriter(Protocol):
    """Renders the webhooks of a dialect. `server.delivery` decides when, and sends them."""

    async def write(self, notice: Notice) -> Post:
        """The body and the headers of a request, with the dialect's signature if it has one."""
        ...


class PictureWriter(Protocol):
    """Renders the webhooks of a dialect's picture tasks."""

    async def write_picture(self, notice_id: str, sent: int, task: PictureTask) -> Post:
        """The request that tells of an ended task. `sent` is the time of the try, as in a `Notice`."""
        ...


class Surface(Protocol):
    """A served dialect: its paths, its documentation, and its background work."""

    # What `--dialects` calls it, and `TaskSpec.dialect`, which is stored with each job.
    name: ClassVar[str]
    # The tables that only this dialect uses, as SQL; empty for none.
    schema: ClassVar[str]
    # Path prefixes whose errors are answered in this dialect; of several that fit, the longest counts.
    paths: ClassVar[tuple[str, ...]]

    @property
    def webhooks(self) -> WebhookWriter | None:
        """What renders the dialect's webhooks. None when its tasks have none."""
        ...

    def add_routes(self, app: FastAPI) -> None:
        """Serve the dialect's paths."""
        ...

    def describe(self, document: dict[str, Any]) -> None:
        """Add the dialect's requests and replies to the OpenAPI document."""
        ...

    def error_response(self, *errors: ApiError) -> Response:
        """The HTTP response to a request on one of these paths that is refused for these errors."""
        ...

    async def open(self) -> None:
        """Start the background work."""
        ...

    async def close(self) -> None:
        """Stop the background work."""
        ...
