"""WaveSpeed's dialect: parses submitted predictions; renders predictions and errors."""

from dataclasses import dataclass
from typing import Any

from pipelines.catalog.catalog import ModelEntry, choose_by_references
from server.api.access.client import Client
from server.api.fields.extensions import EXTENSION_NAMES
from server.api.fields.sizes import parse_ratio
from server.api.fields.validation import validate
from server.api.wavespeed.predictions import Json, current_json, envelope, error_json, prediction_json
from server.api.wavespeed.schema import PredictionInput
from server.delivery.targets import Webhook
from server.errors import ApiError, InvalidParameter, NotFound, TaskRejected
from server.jobs.job import Job
from server.media.encode import DEFAULT_QUALITY, Encoding
from server.media.store import MediaStore
from server.tasks.lora_library import LoraLibrary
from server.tasks.plain.plain_task import PlainTask, TaskIdentity, to_spec
from server.tasks.spec import TaskSpec

DIALECT = "wavespeed"
WEBHOOK = "webhook_url"  # the parameter; the query of a submission calls it otherwise
IMAGE_SECONDS = 7 * 86_400  # the vendor keeps outputs for 7 days
WEBHOOK_DELAYS = (1.0, 2.0, 4.0)  # seconds; the vendor's page names none


@dataclass(frozen=True, slots=True)
class Submission:
    """A prediction as it is submitted: the model of its path, its id, its body, and the webhook of the query."""

    model: str
    task_id: str
    body: dict[str, Any]
    webhook: str | None = None


class WaveSpeedDialect:
    """The four functions of a dialect. A prediction has one image, so its result is the whole prediction."""

    def __init__(self, loras: LoraLibrary, media: MediaStore) -> None:
        self._loras = loras
        self._media = media

    def check_model(self, model: str, client: Client) -> None:
        """Raise `NotFound` for a model that is not served."""
        if not self._loras.catalog(client.owner).named(DIALECT, model):
            raise NotFound(f"Model '{model}' is not served here.", code="modelNotFound")

    def parse(self, request: Submission, client: Client) -> TaskSpec:
        """The spec of a prediction. Raises `TaskRejected`, or `NotFound` for a model that is not served."""
        self.check_model(request.model, client)
        asked = validate(PredictionInput, request.body)
        catalog = self._loras.catalog(client.owner)
        sent = asked.sent(request.body, client)
        entry = choose_by_references(catalog.named(DIALECT, request.model), len(sent.texts))
        plain = PlainTask(
            model=entry,
            prompt=asked.prompt,
            negative_prompt=asked.negative_prompt,
            images=sent.texts,
            size=asked.size or _size_of_ratio(asked, entry),
            seed=asked.seed,
            encoding=Encoding(asked.output_format, DEFAULT_QUALITY),
            names={**EXTENSION_NAMES, **sent.names, "webhook": WEBHOOK},
            **asked.plain_options,
        )
        return to_spec(plain, catalog, **self.identity(request, client), wait=False, ttl=IMAGE_SECONDS)

    def identity(self, request: Submission, client: Client) -> TaskIdentity:
        """What a prediction is, apart from its input. Raises `TaskRejected`."""
        query = {} if request.webhook is None else {WEBHOOK: request.webhook}
        asked = validate(PredictionInput, request.body | query)
        return {
            "owner": client.owner,
            "dialect": DIALECT,
            "task_id": request.task_id,
            "task": {**request.body, "model": request.model},
            "webhook": Webhook(asked.webhook_url, client.base_url, WEBHOOK_DELAYS) if asked.webhook_url else None,
        }

    def acknowledge(self, job: Job, client: Client) -> Json:
        """The prediction as it was accepted."""
        return envelope(prediction_json(job, client.base_url))

    async def result(self, job: Job, client: Client) -> Json:
        """The prediction with its outputs so far."""
        return envelope(await current_json(job, client.base_url, self._media))

    def error(self, error: ApiError) -> Json:
        """A request that cannot be answered."""
        return error_json(error)


def _size_of_ratio(asked: PredictionInput, entry: ModelEntry) -> tuple[int, int] | None:
    """The size of about one megapixel that an aspect ratio means. None without one."""
    if asked.aspect_ratio is None:
        return None
    try:
        return parse_ratio(asked.aspect_ratio, entry.output_area)
    except ValueError as error:
        message = f"Invalid value for 'aspect_ratio' parameter. It {error}."
        raise TaskRejected(InvalidParameter("aspect_ratio", message)) from error
