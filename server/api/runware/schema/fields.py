"""The scalar types of the wire: ranges, multiples, patterns and lists. Knows no object and no task.

Validation is strict: "1024" is no integer.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictStr, WithJsonSchema

from pipelines.controlnet.preprocessors import KINDS, NEED_A_NETWORK
from pipelines.limits import (
    MAX_ADAPTER_WEIGHT,
    MAX_PROMPT,
    MAX_SEED,
    MAX_SIDE,
    MAX_STEPS,
    MIN_SIDE,
    SIDE_MULTIPLE,
)
from server.api.runware.schema.schedulers import SCHEDULERS, scheduler_name
from server.media.fetching.web_address import parse_web_address

MAX_TTL = 100 * 366 * 86_400  # a century; a much larger number of seconds cannot be stored
MAX_LORAS = 20
MAX_CONTROLNETS = 10
AIR_PATTERN = r"^[\w.-]+:[\w.:-]+@[\w.-]+$"
UUID_PATTERN = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"


def _upper(value: object) -> object:
    return {"JPEG": "JPG"}.get(value.upper(), value.upper()) if isinstance(value, str) else value


def _listed_scheduler(value: str) -> str:
    if (name := scheduler_name(value)) is None:
        raise ValueError("not on the list")
    return name


def _known_preprocessor(value: str) -> str:
    if value not in KINDS and value not in NEED_A_NETWORK:
        raise ValueError("not on the list")
    return value


def _web_address(value: str) -> str:
    parse_web_address(value)
    return value


Integer = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Hundredths = Annotated[Number, Field(multiple_of=0.01)]
Unit = Annotated[Hundredths, Field(ge=0, le=1)]
Prompt = Annotated[StrictStr, Field(min_length=1, max_length=MAX_PROMPT)]
Size = Annotated[Integer, Field(ge=MIN_SIDE, le=MAX_SIDE, multiple_of=SIDE_MULTIPLE)]
ControlImageSize = Annotated[Integer, Field(ge=64, le=MAX_SIDE)]
Steps = Annotated[Integer, Field(ge=1, le=MAX_STEPS)]
Seed = Annotated[Integer, Field(ge=0, le=MAX_SEED)]
GreyLevel = Annotated[Integer, Field(ge=0, le=255)]
Percentage = Annotated[Integer, Field(ge=0, le=99)]
EndPercentage = Annotated[Integer, Field(ge=1, le=100)]
Weight = Annotated[Hundredths, Field(ge=-MAX_ADAPTER_WEIGHT, le=MAX_ADAPTER_WEIGHT)]
TaskUUID = Annotated[StrictStr, Field(pattern=UUID_PATTERN, json_schema_extra={"format": "uuid"})]
# Of a task of any dialect: each vendor has a form of its own.
AnyTaskId = Annotated[StrictStr, Field(pattern=r"^[0-9A-Za-z._:-]{1,128}$")]
WebAddress = Annotated[
    StrictStr,
    Field(pattern=r"^https?://[^\s/]+", json_schema_extra={"format": "uri"}),
    AfterValidator(_web_address),
]
# Of a webhook or an upload. The bound is that of other vendors' callbacks.
Receiver = Annotated[WebAddress, Field(max_length=2048)]
ModelName = Annotated[StrictStr, Field(min_length=1, max_length=255)]
ImageText = Annotated[StrictStr, Field(min_length=1)]
ShortText = Annotated[StrictStr, Field(min_length=1, max_length=255)]
LongText = Annotated[StrictStr, Field(max_length=MAX_PROMPT)]
SchedulerName = Annotated[
    StrictStr,
    AfterValidator(_listed_scheduler),
    WithJsonSchema({"type": "string", "enum": list(SCHEDULERS)}),
]
PreprocessorName = Annotated[
    StrictStr,
    AfterValidator(_known_preprocessor),
    WithJsonSchema({"type": "string", "enum": sorted(KINDS)}),
]
OutputType = Literal["URL", "base64Data", "dataURI"]
OutputFormat = Annotated[Literal["JPG", "PNG", "WEBP"], BeforeValidator(_upper)]
OutputQuality = Annotated[Integer, Field(ge=20, le=99)]
Lifetime = Annotated[Integer, Field(ge=60, le=MAX_TTL)]
