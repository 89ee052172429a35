"""What WaveSpeed's API does with predictions: submit, wait, look, list, delete.

Knows jobs and the vendor's JSON; knows no HTTP.
"""

from datetime import datetime
from typing import Any

from server.api.access.client import Client
from server.api.services import Services
from server.api.wavespeed.dialect import DIALECT, WEBHOOK, Submission, WaveSpeedDialect
from server.api.wavespeed.predictions import (
    STATUSES,
    Json,
    current_json,
    envelope,
    given_up,
    input_json,
    new_id,
)
from server.api.wavespeed.schema import HistoryQuery
from server.api.wavespeed.uploads import Uploads
from server.errors import InvalidParameter, NotFound, TaskRejected
from server.jobs.job import Job, State
from server.jobs.storage.history import JobFilter
from server.tasks.endings.failed_tasks import record_failed
from server.tasks.waiting import wait_for_end

# The vendor's own cap, as the tests of its Python SDK have it. Node's fetch would wait 300 s for the headers.
SYNC_SECONDS = 90.0
# What each word of the vendor's list of states means here. A prediction that timed out was cancelled for that.
_STATES: dict[str, tuple[State, ...]] = {word: (state,) for state, word in STATUSES.items()}
_STATES |= {"pending": ("queued",), "timeout": ("cancelled",)}


class Predictions:
    """The predictions of every client."""

    def __init__(self, services: Services, dialect: WaveSpeedDialect, uploads: Uploads) -> None:
        self._services = services
        self._dialect = dialect
        self._uploads = uploads

    async def submit(self, model: str, body: dict[str, Any], client: Client, webhook: str | None) -> Json:
        """Accept a prediction before its pictures are downloaded, and hold the line if its body asks for that.

        One with a picture that cannot be used is accepted too, and has failed then. Raises `TaskRejected` for other
        wrong parameters.
        """
        body = await self._uploads.resolved(body, client)
        request = Submission(model, new_id(), body, webhook)
        parse = self._services.body_pool.run
        spec = await parse(client.size, self._dialect.parse, request, client)
        try:
            job = await self._services.tasks.accept_early(spec)
        except TaskRejected as rejected:  # for its pictures, or for a webhook that may not be called
            if any(error.parameter == WEBHOOK for error in rejected.errors):
                raise
            identity = await parse(client.size, self._dialect.identity, request, client)
            job = await record_failed(self._services.queue, rejected.errors[0], **identity)
        if not body.get("enable_sync_mode"):
            return self._dialect.acknowledge(job, client)
        queue = self._services.queue
        ended = await wait_for_end(queue, client.owner, request.task_id, SYNC_SECONDS, client.gone)
        if ended is None or not ended.ended:
            return envelope(given_up(ended or job, client.base_url))
        return await self._dialect.result(ended, client)

    async def find(self, prediction_id: str, client: Client) -> Json:
        """A prediction as it is. Raises `NotFound`."""
        job = await self._known(prediction_id, client)
        if job is None:
            raise NotFound("No prediction of this id is known here.", code="predictionNotFound")
        return await self._dialect.result(job, client)

    async def page(self, query: HistoryQuery, client: Client) -> Json:
        """Some of the predictions of a client, the latest first. Raises `InvalidParameter`."""
        wanted = JobFilter(
            client.owner,
            DIALECT,
            states=_states(query.status),
            created_after=_seconds(query.created_after),
            created_before=_seconds(query.created_before),
            marks={} if query.model is None else {"model": query.model},
        )
        offset = (query.page - 1) * query.page_size
        jobs, total = await self._services.history.page(wanted, offset=offset, limit=query.page_size)
        items = [await self._item(job, client, inputs=query.include_inputs) for job in jobs]
        return envelope({"page": query.page, "total": total, "items": items})

    async def delete(self, ids: tuple[str, ...], client: Client) -> Json:
        """Delete predictions with their images, the running ones too. Ids that are not the client's are passed over."""
        deleted = [prediction_id for prediction_id in ids if await self._delete(prediction_id, client)]
        return envelope({"deleted": len(deleted), "ids": deleted})

    async def _delete(self, prediction_id: str, client: Client) -> bool:
        """Delete one prediction. False where the client has none of this id."""
        job = await self._known(prediction_id, client)
        if job is None:
            return False
        if not job.ended:
            await self._services.tasks.cancel(client.owner, prediction_id)
        gone = await self._services.history.delete(client.owner, prediction_id)
        if gone is None:
            return False
        for result in gone.results:
            await self._services.media.delete(result.image_uuid, owner=client.owner)
        return True

    async def _item(self, job: Job, client: Client, *, inputs: bool) -> Json:
        """One prediction of a list, which has the outputs that are URLs."""
        item = await current_json(job, client.base_url, self._services.media, inline=False)
        return item | ({"inputs": input_json(job)} if inputs else {})

    async def _known(self, prediction_id: str, client: Client) -> Job | None:
        job = await self._services.queue.find(client.owner, prediction_id)
        return job if job is not None and job.submission.dialect == DIALECT else None


def _states(word: str | None) -> tuple[State, ...]:
    """The states that a word of the vendor means. None means all."""
    if word is None:
        return ()
    if word not in _STATES:
        message = f"Invalid value for 'status' parameter. It must be one of {', '.join(_STATES)}."
        raise InvalidParameter("status", message)
    return _STATES[word]


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()
