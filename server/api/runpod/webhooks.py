"""RunPod's webhook: the finished job, as `status` shows it. It has no signature."""

import json

from server.api.dialect import Notice
from server.api.runpod.jobs import job_json
from server.delivery.targets import Post
from server.media.store import MediaStore
from server.tasks.endings.expired_images import without_expired


class RunpodWebhooks:
    """See `server.api.dialect.WebhookWriter`."""

    def __init__(self, media: MediaStore) -> None:
        self._media = media

    async def write(self, notice: Notice) -> Post:
        """The job at its end."""
        job = await without_expired(notice.job, self._media)
        body = json.dumps(job_json(job, notice.webhook.base_url)).encode()
        return Post(body, {"Content-Type": "application/json"})
