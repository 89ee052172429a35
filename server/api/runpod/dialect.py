"""RunPod's dialect: parses the body of a job; renders jobs and errors."""

from dataclasses import dataclass
from typing import Any

from pipelines.catalog.catalog import choose_by_references
from server.api.access.client import Client
from server.api.fields.extensions import EXTENSION_NAMES
from server.api.fields.validation import validate
from server.api.runpod.endpoints import endpoint_of
from server.api.runpod.jobs import Json, error_json, job_json
from server.api.runpod.schema import JobBody, JobInput
from server.delivery.targets import Webhook
from server.errors import ApiError, NotFound
from server.jobs.job import Job
from server.media.encode import DEFAULT_QUALITY, Encoding
from server.media.store import MediaStore
from server.tasks.endings.expired_images import without_expired
from server.tasks.lora_library import LoraLibrary
from server.tasks.plain.plain_task import PlainTask, TaskIdentity, to_spec
from server.tasks.spec import TaskSpec

DIALECT = "runpod"
IMAGE_SECONDS = 7 * 86_400  # the vendor's page: image URLs expire after 7 days
WEBHOOK_DELAYS = (10.0, 10.0)  # seconds; the vendor's page: two more tries, 10 seconds apart


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job as it is sent to an endpoint, and the id that it gets. `sent` is the whole body."""

    endpoint: str
    task_id: str
    body: JobBody
    sent: dict[str, Any]


class RunpodDialect:
    """The four functions of a dialect. A job has one image, so its result is the whole job."""

    def __init__(self, loras: LoraLibrary, media: MediaStore) -> None:
        self._loras = loras
        self._media = media

    def check_endpoint(self, endpoint: str, client: Client) -> None:
        """Raise `NotFound` for an endpoint that is not served."""
        if not self._loras.catalog(client.owner).named(DIALECT, endpoint):
            raise NotFound(f"endpoint '{endpoint}' not found", code="endpointNotFound")

    def read(self, endpoint: str, task_id: str, sent: dict[str, Any], client: Client) -> JobRequest:
        """A job whose input is still unchecked. Raises `TaskRejected`, or `NotFound` as `check_endpoint` does."""
        self.check_endpoint(endpoint, client)
        return JobRequest(endpoint, task_id, validate(JobBody, sent), sent)

    def parse(self, request: JobRequest, client: Client) -> TaskSpec:
        """The spec of a job. Raises `TaskRejected`."""
        asked = validate(JobInput, request.body.input)
        catalog = self._loras.catalog(client.owner)
        sent = asked.sent(request.body.input, client)
        plain = PlainTask(
            model=choose_by_references(catalog.named(DIALECT, request.endpoint), len(sent.texts)),
            prompt=asked.prompt,
            negative_prompt=asked.negative_prompt,
            images=sent.texts,
            size=_size(request.endpoint, asked),
            seed=asked.seed,
            encoding=Encoding(asked.output_format, DEFAULT_QUALITY),
            names={**EXTENSION_NAMES, **sent.names},
            **asked.plain_options,
        )
        return to_spec(plain, catalog, **self.identity(request, client), wait=False, ttl=IMAGE_SECONDS)

    def identity(self, request: JobRequest, client: Client) -> TaskIdentity:
        """What a job is, apart from its input."""
        webhook = request.body.webhook
        return {
            "owner": client.owner,
            "dialect": DIALECT,
            "task_id": request.task_id,
            "task": {**request.sent, "endpoint": request.endpoint.lower()},
            "webhook": Webhook(webhook, client.base_url, WEBHOOK_DELAYS) if webhook else None,
        }

    def acknowledge(self, job: Job) -> Json:
        """The id and the state of a job that is not awaited."""
        return {"id": job.submission.task_uuid, "status": "IN_QUEUE"}

    async def result(self, job: Job, client: Client) -> Json:
        """The job with all that is known of it. One whose image has expired has failed."""
        return job_json(await without_expired(job, self._media), client.base_url)

    def error(self, error: ApiError, job_id: str | None = None) -> Json:
        """A request that cannot be answered, or a job that is refused while its sender waits."""
        return error_json(error) if job_id is None else {"id": job_id, "status": "FAILED", **error_json(error)}


def _size(name: str, asked: JobInput) -> tuple[int, int] | None:
    """The size of the picture. None is like that of the last picture."""
    endpoint = endpoint_of(name)
    return asked.size if asked.size and endpoint.takes_size else endpoint.default_size
