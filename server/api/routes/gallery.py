"""`GET /v1/images` and `DELETE /v1/images/<imageUUID>`: the finished images of a key, of every dialect.

Lists what `server.media.gallery` has. Knows no dialect.
"""

import re
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from server.api.requests import client_of
from server.api.services import Services
from server.api.urls.image_urls import image_url, thumbnail_url
from server.errors import InvalidParameter, NotFound
from server.media.gallery import GalleryFilter, GalleryImage

GALLERY_ROUTE = "/v1/images"
MOST_IMAGES, PROPOSED_IMAGES = 100, 50
LONGEST_TEXT = 1000  # characters of a text that prompts are searched for
_CURSOR = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


class GalleryQuery(BaseModel):
    """Which images are asked for."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(PROPOSED_IMAGES, ge=1, le=MOST_IMAGES)
    cursor: str | None = Field(None, description="The `nextCursor` of the page before.")
    model: str | None = Field(None, min_length=1, max_length=255, description="The name of a model, or its slug.")
    prompt: str | None = Field(None, min_length=1, max_length=LONGEST_TEXT, description="Part of the prompt, any case.")
    taskUUID: str | None = Field(None, min_length=1, max_length=255)
    imageUUID: uuid.UUID | None = None


class FinishedImage(BaseModel):
    """One finished image. Times are in seconds since the epoch. `NSFWContent` is absent if it was not checked."""

    imageUUID: str
    taskUUID: str
    imageURL: str
    thumbnailURL: str
    model: str
    prompt: str
    seed: int
    width: int
    height: int
    format: str
    created: float
    expires: float | None = None
    NSFWContent: bool | None = None


class ImagePage(BaseModel):
    """Some of the images. `nextCursor` is absent at the end."""

    images: list[FinishedImage]
    nextCursor: str | None = None


def router(services: Services) -> APIRouter:
    """The routes over the gallery of each key."""
    routes = APIRouter(tags=["images"])

    @routes.get(
        GALLERY_ROUTE,
        response_model=ImagePage,
        response_model_exclude_none=True,
        summary="The finished images",
        responses=_LIST_REFUSALS,
    )
    async def list_images(request: Request, query: Annotated[GalleryQuery, Query()]) -> ImagePage:
        """The images that this key has got, the latest first, until they expire."""
        client = client_of(request, services)
        model = None if query.model is None else services.loras.catalog(client.owner).find(query.model)
        image_uuid = None if query.imageUUID is None else str(query.imageUUID)
        air = query.model if model is None else model.air
        wanted = GalleryFilter(client.owner, air, query.prompt, query.taskUUID, image_uuid)
        found, following = await services.gallery.page(wanted, limit=query.limit, before=_place(query.cursor))
        cursor = None if following is None else str(following)
        return ImagePage(images=[_item(image, client.base_url) for image in found], nextCursor=cursor)

    # Only a UUID is an image: other names below this path belong to other dialects.
    @routes.delete(
        GALLERY_ROUTE + "/{image_uuid:uuid}", status_code=204, summary="Delete an image", responses=_DELETE_REFUSALS
    )
    async def delete_image(image_uuid: uuid.UUID, request: Request) -> Response:
        """Delete an image and its file, for good. An open task that has it as its input keeps it to its end."""
        if not await services.gallery.delete(str(image_uuid), owner=client_of(request, services).owner):
            message = f"This key has no image {image_uuid}. It may have been deleted, or have expired."
            raise NotFound(message, code="imageNotFound")
        return Response(status_code=204)

    return routes


def _place(cursor: str | None) -> int | None:
    """Where a page begins. Raises `InvalidParameter`."""
    if cursor is None:
        return None
    if _CURSOR.fullmatch(cursor) is None:
        raise InvalidParameter("cursor", "Invalid value for 'cursor' parameter. It must be the nextCursor of a page.")
    return int(cursor)


def _item(image: GalleryImage, base: str) -> FinishedImage:
    media = image.media
    extension = media.path.suffix[1:]
    return FinishedImage(
        imageUUID=media.uuid,
        taskUUID=image.task_uuid,
        imageURL=image_url(base, media.uuid, extension),
        thumbnailURL=thumbnail_url(base, media.uuid),
        model=image.model,
        prompt=image.prompt,
        seed=image.seed,
        width=media.width,
        height=media.height,
        format=extension.upper(),
        created=round(media.created, 3),
        expires=None if media.expires is None else round(media.expires, 3),
        NSFWContent=image.unsafe,
    )


_LIST_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "A parameter is unknown or out of its range, or the cursor is none of this list's."},
    401: {"description": "Missing or wrong API key."},
}
_DELETE_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"description": "Missing or wrong API key."},
    404: {"description": "This key has no such image, or not any more."},
}
