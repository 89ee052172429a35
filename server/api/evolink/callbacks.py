"""Callbacks: https only, and the body of a call. `server.delivery` checks the address, sends and tries again."""

import json

from server.api.dialect import Notice
from server.api.evolink.dialect import EvoLinkDialect
from server.api.evolink.progress import ToldProgress
from server.delivery.targets import Post
from server.errors import InvalidParameter
from server.media.store import MediaStore
from server.tasks.endings.expired_images import without_expired

FIELD = "callback_url"


class EvoLinkWebhooks:
    """See `server.api.dialect.WebhookWriter`. The vendor documents no signature."""

    def __init__(self, dialect: EvoLinkDialect, progress: ToldProgress, media: MediaStore) -> None:
        self._media = media
        self._dialect = dialect
        self._progress = progress

    async def write(self, notice: Notice) -> Post:
        """The task as a query would answer it."""
        job = await without_expired(notice.job, self._media)
        (progress,) = await self._progress.of(job)
        body = json.dumps(self._dialect.task(job, notice.webhook.base_url, progress))
        return Post(body.encode(), {"Content-Type": "application/json"})


def check_scheme(url: str, *, allow_private: bool) -> None:
    """Raise `InvalidParameter` for a callback that is not https. With `allow_private` it may be http.

    The address is checked when the task is accepted, and again when it is called.
    """
    if not allow_private and url[:8].lower() != "https://":
        raise InvalidParameter(FIELD, f"Invalid value for '{FIELD}' parameter. Only https addresses are called.")
