"""The fields of EvoLink's requests, with the vendor's bounds. Fields that are not here are ignored, as there."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictStr, ValidationInfo, field_validator

from server.api.fields.extensions import Extensions, Integer

MIN_SIDE, MAX_SIDE = 512, 2048  # pixels of a result whose size is given
PICTURE_SIDES = (384, 3072)  # pixels of an input picture
MAX_NEGATIVE = 500  # characters; the rest is cut
MAX_URL = 2048  # characters of a callback

Url = Annotated[StrictStr, Field(min_length=1)]


def _cut(value: Any) -> Any:
    return value[:MAX_NEGATIVE] if isinstance(value, str) else value


class CreateFields(Extensions):
    """`POST /v1/images/generations`."""

    model: Annotated[StrictStr, Field(min_length=1, max_length=255)] = Field(
        description="Such as `qwen-image-edit-plus`; also a slug or AIR identifier of a served model."
    )
    prompt: Annotated[StrictStr, Field(min_length=1, max_length=2000)]
    image_urls: Annotated[tuple[Url, ...], Field(min_length=1, max_length=3)] = Field(
        description="One to three pictures with sides of 384 to 3072 pixels: URLs or data URIs."
    )
    n: Annotated[Integer, Field(ge=1, le=6)] = Field(default=1, description="Image k has the seed `seed` + k.")
    negative_prompt: Annotated[StrictStr, BeforeValidator(_cut)] | None = Field(
        default=None, description="What exceeds 500 characters is cut."
    )
    size: Annotated[StrictStr, Field(pattern=r"^[0-9]+x[0-9]+$")] | None = Field(
        default=None,
        description="`WIDTHxHEIGHT`, 512 to 2048 each, with `n` 1 only. Default: the last picture's aspect.",
    )
    prompt_extend: StrictBool | None = Field(default=None, description="Without effect: nothing rewrites prompts here.")
    watermark: StrictBool = Field(default=False, description="Draw `Qwen-Image` into the bottom right corner.")
    seed: Annotated[Integer, Field(ge=0, le=2**31 - 1)] | None = Field(default=None, description="Default: random.")
    callback_url: Annotated[StrictStr, Field(max_length=MAX_URL)] | None = Field(
        default=None, description="A public https address that gets the task when it has ended."
    )

    @field_validator("size")
    @classmethod
    def _one_size(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("n", 1) > 1:
            raise ValueError("size is available with n = 1 only")
        return value


class BatchFields(Extensions):
    """`POST /v1/tasks/batch`."""

    task_ids: Annotated[tuple[Annotated[StrictStr, Field(max_length=128)], ...], Field(min_length=1, max_length=50)]
