"""WaveSpeed's webhook: the prediction without its envelope, with its input, signed."""

import json

from server.api.dialect import Notice
from server.api.wavespeed.account import WebhookSecrets
from server.api.wavespeed.predictions import current_json, input_json
from server.delivery.signatures import SECRET_PREFIX, digest, message_headers
from server.delivery.targets import Post
from server.media.store import MediaStore


class WaveSpeedWebhooks:
    """See `server.api.dialect.WebhookWriter`."""

    def __init__(self, media: MediaStore, webhook_secrets: WebhookSecrets) -> None:
        self._media = media
        self._secrets = webhook_secrets

    async def write(self, notice: Notice) -> Post:
        """The prediction at its end. The key of the signature is the text of the secret, not what it decodes to."""
        base_url = notice.webhook.base_url
        prediction = await current_json(notice.job, base_url, self._media)
        body = json.dumps({**prediction, "input": input_json(notice.job)}).encode()
        secret = await self._secrets.get(notice.job.submission.owner)
        key = secret.removeprefix(SECRET_PREFIX).encode()
        signature = "v3," + digest(key, notice.id, notice.time, body).hex()
        headers = {"Content-Type": "application/json", "webhook-signature": signature}
        return Post(body, headers | message_headers(notice.id, notice.time))
