"""RunPod's webhook: the finished job, as `status` shows it. It has no signature."""

import json

from server.api.dialect import Notice
from server.api.runpod.jobs import job_json
from server.delivery.targets import Post


class RunpodWebhooks:
    """See `server.api.dialect.WebhookWriter`."""

    async def write(self, notice: Notice) -> Post:
        """The job at its end."""
        body = json.dumps(job_json(notice.job, notice.webhook.base_url)).encode()
        return Post(body, {"Content-Type": "application/json"})
