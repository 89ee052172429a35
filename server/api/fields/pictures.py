"""The prompt and the pictures of a request that may name them in one of two fields, as a text or as an array.

Shared by the vendors whose clients choose the field by the number of the pictures. Knows no dialect.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from server.api.access.client import Client
from server.api.fields.extensions import Extensions, LongText, Prompt
from server.api.fields.types import Pictures, PixelSize
from server.api.urls.image_urls import picture_text
from server.errors import IncompatibleParameters, TaskRejected


@dataclass(frozen=True, slots=True)
class Sent:
    """The texts of the pictures, and the client's names of them for `server.tasks.plain.parameter_names`."""

    texts: tuple[str, ...]
    names: Mapping[str, str]


class PictureFields(Extensions):
    """The first fields of a vendor's request. Its other fields follow in the subclass."""

    prompt: Prompt = Field(description="What to draw, or how to change the picture.")
    image: Pictures = Field(default=(), description="The picture to edit: URL, data URI or base64.")
    images: Pictures = Field(default=(), description="The pictures to edit, up to three.")
    negative_prompt: LongText = Field(default="", description="What the picture must not show.")
    size: PixelSize | None = Field(default=None, description="Width and height, such as 1024*1024.")

    def sent(self, raw: Mapping[str, Any], client: Client) -> Sent:
        """The pictures of the one field that has some. URLs of this server become UUIDs, which need no download.

        `raw` is the request, which says how each field was written. `image` is named where pictures are missing.
        Raises `TaskRejected` when both fields have some.
        """
        if self.image and self.images:
            message = "Give 'image' or 'images', not both."
            raise TaskRejected(IncompatibleParameters(message, parameter=("image", "images")))
        name = "images" if self.images else "image"
        texts = tuple(picture_text(text, client.base_url) for text in self.image or self.images)
        each = f"{name}[]" if isinstance(raw.get(name), list) else name
        return Sent(texts, {"references": name, "references[]": each})
