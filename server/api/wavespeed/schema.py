"""The body of a submitted prediction, and those of the account's requests. Unknown names are ignored, as there."""

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictStr

from server.api.fields.extensions import Integer
from server.api.fields.pictures import PictureFields
from server.api.fields.types import Flag, OutputFormat, SignedSeed, WebAddress

MAX_PAGE_SIZE = 100  # of the vendor's command line
MAX_DELETED = 100
Id = Annotated[StrictStr, Field(max_length=255)]


class PredictionInput(PictureFields):
    """The parameters of every model path of Qwen-Image."""

    aspect_ratio: StrictStr | None = Field(default=None, description="Such as 16:9. Without effect beside a size.")
    seed: SignedSeed | None = Field(default=None, description="-1 is random.")
    output_format: OutputFormat = Field(default="JPG", description="jpeg, png or webp. Default: jpeg.")
    enable_base64_output: Flag = Field(default=False, description="Outputs are data URIs.")
    enable_sync_mode: Flag = Field(default=False, description="Hold the line until the prediction has ended.")
    webhook_url: WebAddress | None = Field(default=None, description="Gets the prediction by POST at its end.")


class UploadTicket(BaseModel):
    """What is to be uploaded. `size` is in bytes."""

    model_config = ConfigDict(frozen=True)

    filename: Annotated[StrictStr, Field(min_length=1, max_length=255)] = "upload"
    size: Annotated[Integer, Field(ge=1)]
    content_type: Annotated[StrictStr, Field(max_length=255)] = "application/octet-stream"


class HistoryQuery(BaseModel):
    """Which predictions are listed."""

    model_config = ConfigDict(frozen=True)

    page: Annotated[Integer, Field(ge=1, le=10**6)] = 1
    page_size: Annotated[Integer, Field(ge=1, le=MAX_PAGE_SIZE)] = 20
    created_after: AwareDatetime | None = None
    created_before: AwareDatetime | None = None
    model: Id | None = None
    status: StrictStr | None = None
    include_inputs: Flag = False


class Deletion(BaseModel):
    """Which predictions are deleted."""

    model_config = ConfigDict(frozen=True)

    ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=MAX_DELETED)]


class PriceQuery(BaseModel):
    """A model, and what it would be asked for."""

    model_config = ConfigDict(frozen=True)

    model_id: Id
    inputs: dict[str, Any] = Field(default_factory=dict)
