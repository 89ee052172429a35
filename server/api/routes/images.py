"""`GET /image/<uuid>.<ext>`: finished and uploaded images, without a key, until they expire.

`GET /image/<uuid>` leads there, for those who know the UUID alone.

The UUID is the secret, as in the vendor's URLs; browsers and SDKs fetch them with no credentials.
"""

import asyncio
import time
from pathlib import PurePosixPath

from fastapi import APIRouter
from starlette.responses import FileResponse, RedirectResponse, Response

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
        if found is None or found.kind == "input":
            raise _unknown_image()
        extension = PurePosixPath(name).suffix
        if not extension:
            return RedirectResponse(found.path.name)
        if extension != found.path.suffix:
            raise _unknown_image()
        try:  # the file may have been deleted since its row was read
            stat = await asyncio.to_thread(found.path.stat)
        except FileNotFoundError as error:
            raise _unknown_image() from error
        left = int(found.expires - time.time()) if found.expires else 0
        headers = {"Cache-Control": f"private, max-age={max(0, left)}", "X-Content-Type-Options": "nosniff"}
        return FileResponse(found.path, media_type=found.mime, headers=headers, stat_result=stat)

    return routes


def _unknown_image() -> NotFound:
    return NotFound("No such image, or it has expired.", code="imageNotFound")
