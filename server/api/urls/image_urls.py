"""URLs of the images that are served here. The UUID in one is its secret, so it needs no key.

Shared by all dialects. Knows no image.
"""

from pathlib import PurePosixPath

IMAGE_ROUTE = "/image"
THUMBNAIL_ROUTE = IMAGE_ROUTE + "/{image_uuid}/thumbnail.webp"
LONGEST = 4096  # characters of a URL of ours: a text of a hundred megabytes takes seconds to take apart


def image_url(base_url: str, image_uuid: str, extension: str) -> str:
    """The URL of an image. It needs no key, because its UUID is the secret."""
    return f"{base_url}{IMAGE_ROUTE}/{image_uuid}.{extension}"


def thumbnail_url(base_url: str, image_uuid: str) -> str:
    """The URL of an image's thumbnail."""
    return base_url + THUMBNAIL_ROUTE.format(image_uuid=image_uuid)


def own_image(text: str, base_url: str) -> str | None:
    """The UUID in a URL of this server, which needs no download. None for any other text.

    The URL of a thumbnail names the image.
    """
    folder = f"{base_url}{IMAGE_ROUTE}/"
    if len(text) > LONGEST or not text.startswith(folder):
        return None
    return PurePosixPath(text.removeprefix(folder).partition("/")[0]).stem


def picture_text(text: str, base_url: str) -> str:
    """The text that names a picture to the task. A URL of this server becomes its UUID, which needs no download."""
    return own_image(text, base_url) or text
