"""Runware's webhooks: the body of one POST for a result or a failure.

Knows no receiver and no retries.
"""

from server.api.dialect import Notice
from server.api.json_output.file_texts import render_json
from server.api.runware.responses import Answer, Item
from server.api.runware.results import failure_item, image_item, job_ref, picture_answer, picture_ref
from server.delivery.signatures import message_headers, standard_headers
from server.delivery.targets import Post
from server.errors import ApiError
from server.media.store import MediaStore
from server.tasks.pictures.picture_tasks import PictureTask


class RunwareWebhooks:
    """See `server.api.dialect.WebhookWriter`. With a `key`, each request is signed in the Standard Webhooks form."""

    def __init__(self, media: MediaStore, key: bytes | None = None) -> None:
        self._media = media
        self._key = key

    async def write(self, notice: Notice) -> Post:
        """`data` with one result, or `errors` with one failure."""
        return await self._post(notice.id, notice.time, await self._body(notice))

    async def write_picture(self, notice_id: str, sent: int, task: PictureTask) -> Post:
        """See `server.api.dialect.PictureWriter`."""
        base_url = "" if task.webhook is None else task.webhook.base_url
        try:
            answer = await picture_answer(task, self._media, base_url, status=True)
        except ApiError as error:
            answer = Answer(errors=(failure_item(error, picture_ref(task)),))
        key, items = ("errors", answer.errors) if answer.errors else ("data", answer.data)
        return await self._post(notice_id, sent, {key: list(items)})

    async def _post(self, notice_id: str, sent: int, item: Item) -> Post:
        body = (await render_json(item)).encode()
        if self._key is None:
            signed = message_headers(notice_id, sent)
        else:
            signed = standard_headers(self._key, notice_id, sent, body)
        return Post(body, {"Content-Type": "application/json", **signed})

    async def _body(self, notice: Notice) -> Item:
        job, ref = notice.job, job_ref(notice.job)
        try:
            if notice.result is not None and notice.result.failure is not None:
                return {"errors": [failure_item(notice.result.failure, ref)]}
            if notice.result is not None:
                item = await image_item(job, notice.result, self._media, notice.webhook.base_url, status=True)
                return {"data": [item]}
        except ApiError as error:
            return {"errors": [failure_item(error, ref)]}
        if job.failure is None:
            raise LookupError(f"job {job.id} has neither a result nor a failure to tell of")
        return {"errors": [failure_item(job.failure, ref)]}
