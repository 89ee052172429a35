"""The types of the fields that several vendors share: pictures, sizes, seeds, formats, addresses.

Validation is strict: "5" is no integer. Knows no dialect.
"""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictStr

from server.api.fields.extensions import Integer
from server.api.fields.sizes import parse_size
from server.media.fetching.web_address import WebAddressError, parse_web_address
from server.media.metadata import Format

# The vendors' seeds have 31 bits. Some clients send larger ones, which are reduced.
SEEDS = 2**31
RANDOM_SEED = -1

_FORMATS: dict[str, Format] = {"jpeg": "JPG", "jpg": "JPG", "png": "PNG", "webp": "WEBP"}


def _texts(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError("it must be a URL, a data URI or base64, or an array of them")
    return tuple(texts)


def _format(value: object) -> Format:
    found = _FORMATS.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise ValueError("it must be jpeg, png or webp")
    return found


def _size(value: object) -> tuple[int, int]:
    if not isinstance(value, str):
        raise ValueError("it must be a text such as 1024*1024")
    return parse_size(value)


def _web_address(value: str) -> str:
    try:
        parse_web_address(value)
    except WebAddressError as error:
        raise ValueError(f"the URL {error}") from error
    return value


def _seed(value: int) -> int | None:
    return None if value == RANDOM_SEED else value % SEEDS


Flag = StrictBool
# A text or an array of texts, as one tuple.
Pictures = Annotated[tuple[str, ...], BeforeValidator(_texts, json_schema_input_type=str | list[str])]
OutputFormat = Annotated[Format, BeforeValidator(_format, json_schema_input_type=str)]
PixelSize = Annotated[tuple[int, int], BeforeValidator(_size, json_schema_input_type=str)]
# -1 is random, which is None here.
SignedSeed = Annotated[Integer, Field(ge=RANDOM_SEED), AfterValidator(_seed)]
WebAddress = Annotated[StrictStr, AfterValidator(_web_address)]
