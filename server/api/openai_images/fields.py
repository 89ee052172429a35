"""The fields of OpenAI's two image requests, and those that this server adds.

Knows names, types and ranges. Fields that are not here are ignored, as the vendor's list keeps growing.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictStr

from pipelines.limits import MAX_SEED
from server.api.fields.extensions import Extensions, Integer, LongText, Prompt

AUTO = "auto"
# What has no meaning here, and the values that ask for nothing.
NEUTRAL: dict[str, tuple[str, ...]] = {
    "quality": (AUTO, "standard", "medium"),
    "style": ("vivid", "natural"),
    "input_fidelity": ("low", "high"),
}
ImageText = Annotated[StrictStr, Field(min_length=1)]


def _image_text(value: Any) -> Any:
    """An image as a text, or as the vendor's JSON object with its URL."""
    if not isinstance(value, dict):
        return value
    if "file_id" in value:
        raise ValueError("files of the vendor's file store cannot be read here; send image_url")
    return value.get("image_url")


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


JsonImage = Annotated[ImageText, BeforeValidator(_image_text)]


class GenerationFields(Extensions):
    """`POST /v1/images/generations`."""

    prompt: Prompt
    model: Annotated[StrictStr, Field(min_length=1, max_length=255)] | None = Field(
        default=None, description="A slug or AIR identifier of a served model. Default: the first that fits."
    )
    n: Annotated[Integer, Field(ge=1, le=10)] = Field(default=1, description="Image k has the seed `seed` + k.")
    size: StrictStr = Field(default=AUTO, description="`WIDTHxHEIGHT`, 128 to 2048 pixels each, or `auto`.")
    response_format: Literal["b64_json", "url"] = "b64_json"
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_compression: Annotated[Integer, Field(ge=0, le=100)] | None = Field(
        default=None, description="Quality of JPEG and WebP in percent. Default: 95."
    )
    background: Literal["auto", "opaque"] = Field(default=AUTO, description="`transparent` cannot be rendered.")
    quality: StrictStr = Field(default=AUTO, description="Without effect: use `num_inference_steps`.")
    style: StrictStr | None = Field(default=None, description="Without effect.")
    stream: StrictBool = Field(default=False, description="Answer with server-sent events, one for each image.")
    partial_images: Annotated[Integer, Field(ge=0, le=3)] = Field(
        default=0, description="Previews of each image in a stream, small JPEGs."
    )
    seed: Annotated[Integer, Field(ge=0, le=MAX_SEED)] | None = Field(default=None, description="Default: random.")
    negative_prompt: LongText | None = None


class EditFields(GenerationFields):
    """`POST /v1/images/edits`, as JSON or as a form. `image` and `url` name the pictures, in this order."""

    images: tuple[JsonImage, ...] = Field(default=(), description='`{"image_url": "URL or data URI"}` each.')
    image: Annotated[tuple[JsonImage, ...], BeforeValidator(_listed)] = Field(default=(), description="The same.")
    url: Annotated[tuple[ImageText, ...], BeforeValidator(_listed)] = Field(
        default=(), description="The same, as URLs."
    )
    mask: JsonImage | None = Field(
        default=None, description="A picture whose transparent parts are edited, for the first picture."
    )
    input_fidelity: StrictStr | None = Field(default=None, description="Without effect.")
