"""A store in which every image is, but for those that are gone."""

from typing import Any, cast

from server.media.store import MediaStore


class Images:
    """The part of a media store that says whether an image is still there."""

    def __init__(self, *gone: str) -> None:
        self._gone = gone

    async def get(self, media_uuid: str, *, owner: str | None) -> Any:
        return None if media_uuid in self._gone else object()


def images(*gone: str) -> MediaStore:
    """A store without these images."""
    return cast("MediaStore", Images(*gone))
