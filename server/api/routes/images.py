"""`GET /image/<uuid>.<ext>`: finished and uploaded images, without a key, until they expire.

`GET /image/<uuid>` leads there, for those who know the UUID alone. `GET /image/<uuid>/thumbnail.webp` is a small copy.

The UUID is the secret, as in the vendor's URLs; browsers and SDKs fetch them with no credentials.
"""

import asyncio
import time
from pathlib import Path, PurePosixPath

from fastapi import APIRouter
from starlette.responses import FileResponse, RedirectResponse, Response

from server.api.urls.image_urls import IMAGE_ROUTE, THUMBNAIL_ROUTE
from server.errors import MediaError, NotFound
from server.media import thumbnails
from server.media.store import Media, MediaStore
from server.media.thumbnails import Thumbnails
from server.storage import is_storage_error


def router(media: MediaStore, small: Thumbnails) -> APIRouter:
    """The image routes over a media store and its thumbnails."""
    routes = APIRouter()

    async def published(image_uuid: str) -> Media:
        found = await media.get(image_uuid, owner=None)
        # What clients sent along with a task is theirs, not to be published.
        if found is None or found.kind == "input":
            raise _unknown_image()
        return found

    @routes.api_route(IMAGE_ROUTE + "/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def image(name: str) -> Response:
        found = await published(PurePosixPath(name).stem)
        extension = PurePosixPath(name).suffix
        if not extension:
            return RedirectResponse(found.path.name)
        if extension != found.path.suffix:
            raise _unknown_image()
        return await _send(found, found.path, found.mime)

    @routes.api_route(THUMBNAIL_ROUTE, methods=["GET", "HEAD"], include_in_schema=False)
    async def thumbnail(image_uuid: str) -> Response:
        found = await published(image_uuid)
        try:
            path = await small.find(found)
        except FileNotFoundError as error:
            raise _unknown_image() from error
        except MediaError as error:
            raise NotFound(f"This image has no thumbnail. {error.message}", code="imageNotFound") from error
        except OSError as error:
            if not is_storage_error(error):
                raise
            return RedirectResponse(f"../{found.path.name}")  # a full disk is no reason to show nothing
        return await _send(found, path, thumbnails.MIME)

    return routes


async def _send(found: Media, path: Path, mime: str) -> Response:
    """A file of an image. Clients may keep it until the image expires."""
    try:  # the file may have been deleted since its row was read
        stat = await asyncio.to_thread(path.stat)
    except FileNotFoundError as error:
        raise _unknown_image() from error
    left = int(found.expires - time.time()) if found.expires else 0
    headers = {"Cache-Control": f"private, max-age={max(0, left)}", "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type=mime, headers=headers, stat_result=stat)


def _unknown_image() -> NotFound:
    return NotFound("No such image, or it has expired.", code="imageNotFound")
