"""Runware's dialect: parses imageInference tasks; renders acknowledgements, results and errors."""

from dataclasses import replace

from pipelines.catalog.catalog import Catalog
from server.api.access.client import Client
from server.api.runware.check import rules
from server.api.runware.check.normalize import normalize
from server.api.runware.check.unsupported import let_pass
from server.api.runware.check.validation import validate
from server.api.runware.responses import Answer, TaskRef, acknowledgement, ignored_warnings, refusal
from server.api.runware.results import image_item, job_ref
from server.api.runware.schema.tasks import ImageInference, WireTask
from server.api.runware.translate.spec import to_spec
from server.delivery.targets import Upload, Webhook
from server.errors import ApiError, Failure, InvalidParameter, TaskRejected
from server.jobs.job import Job, Result
from server.media.store import MediaStore
from server.tasks.lora_library import LoraLibrary
from server.tasks.options import TaskOptions
from server.tasks.spec import TaskSpec


class RunwareDialect:
    """See `server.api.dialect.Dialect`. A request is one raw task of an array, a reply an `Answer`."""

    def __init__(self, loras: LoraLibrary, media: MediaStore, options: TaskOptions) -> None:
        self._loras = loras
        self._media = media
        self._options = options

    def parse(self, request: WireTask, client: Client) -> TaskSpec:
        """The spec of an imageInference task. Raises `TaskRejected` or another `ApiError`."""
        return parse_task(request, client, self._loras.catalog(client.owner), self._options)

    def acknowledge(self, job: Job) -> Answer:
        """The task's type and UUID only."""
        return acknowledgement(job_ref(job))

    async def result(self, job: Job, image: Result, client: Client) -> Answer:
        """One image, for a client that waits. Raises `NotFound` when its file has expired."""
        item = await image_item(job, image, self._media, client.base_url, status=False)
        return Answer(data=(item,), warnings=job.submission.warnings)

    def error(self, failure: Failure | ApiError, job: Job | None = None) -> Answer:
        """One error object, and the HTTP status for a client that waits."""
        if job is None:
            return refusal([failure], TaskRef())
        return replace(refusal([failure], job_ref(job)), warnings=job.submission.warnings)


def parse_task(request: WireTask, client: Client, catalog: Catalog, options: TaskOptions) -> TaskSpec:
    """The spec of an imageInference task for the models of a catalogue. Raises `TaskRejected` or another `ApiError`."""
    normalized, contradictions = normalize(request, catalog)
    passed: list[str] = []
    if options.let_unsupported_pass:
        without = () if options.safety.available else ("safety",)
        normalized, contradictions, passed = let_pass(normalized, request, contradictions, without)
    try:
        task, ignored = validate(ImageInference, normalized, ignore_unknown=options.ignore_unknown)
    except TaskRejected as rejected:
        raise TaskRejected(*rejected.errors, *contradictions) from rejected
    if contradictions:
        raise TaskRejected(*contradictions)
    entry = catalog.find(task.model)
    if entry is None:
        served = [entry.air for entry in catalog.entries]
        message = f"Invalid value for 'model' parameter. '{task.model}' is not among the served models: "
        message += f"{', '.join(served)}."
        raise InvalidParameter("model", message, details={"type": "string", "allowedValues": served})
    rules.check(task, entry, catalog)
    rules.check_faces(task, refined=options.face_refinement)
    spec = to_spec(task, entry, catalog, client, options.threshold_direction)
    webhook = None
    if task.webhookURL is not None:
        webhook = Webhook(task.webhookURL, client.base_url, options.webhook_delays, each_result=True)
    upload = None if task.uploadEndpoint is None else Upload(task.uploadEndpoint)
    warnings = (*spec.warnings, *ignored_warnings(ignored), *passed)
    return replace(spec, webhook=webhook, upload=upload, warnings=warnings)
