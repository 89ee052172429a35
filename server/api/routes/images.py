"""`GET /image/<uuid>.<ext>`: finished and uploaded images, without a key, until they expire.

The UUID is the secret, as in the vendor's URLs; browsers and SDKs fetch them with no credentials.
"""

import asyncio
import os
import time
from pathlib import PurePosixPath

from fastapi import APIRouter
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from server.api.urls.image_urls import IMAGE_ROUTE
from server.errors import NotFound
from server.media.store import MediaStore


def router(media: MediaStore) -> APIRouter:
    """The image route over a media store."""
    routes = APIRouter()

    @routes.api_route(IMAGE_ROUTE + "/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def image(name: str) -> Response:
        found = await media.get(PurePosixPath(name).stem, owner=None)
        # What clients sent along with a task is theirs, not to be published.
        if found is None or found.kind == "input" or found.path.suffix != PurePosixPath(name).suffix:
            raise _unknown_image()
        left = int(found.expires - time.time()) if found.expires else 0
        headers = {"Cache-Control": f"private, max-age={max(0, left)}", "X-Content-Type-Options": "nosniff"}
        return _StoredFile(found.path, media_type=found.mime, headers=headers)

    return routes


class _StoredFile(FileResponse):
    """A file that may be deleted between the look at its row and its first byte. Later it is read to its end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.stat_result = await asyncio.to_thread(os.stat, self.path)
        except FileNotFoundError as error:
            raise _unknown_image() from error
        self.set_stat_headers(self.stat_result)
        await super().__call__(scope, receive, send)


def _unknown_image() -> NotFound:
    return NotFound("No such image, or it has expired.", code="imageNotFound")
