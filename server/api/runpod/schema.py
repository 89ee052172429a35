"""The body of a job: its input, its webhook and its policy. Unknown names are tolerated, as the vendor does."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from server.api.fields.extensions import Integer
from server.api.fields.pictures import PictureFields
from server.api.fields.types import Flag, OutputFormat, SignedSeed, WebAddress

WEEK_MS = 7 * 86_400_000
# Milliseconds: https://docs.runpod.io/serverless/endpoints/send-requests, "Execution policies".
RunLimit = Annotated[Integer, Field(ge=5_000, le=WEEK_MS)]
Lifetime = Annotated[Integer, Field(ge=10_000, le=WEEK_MS)]


class Policy(BaseModel):
    """How long a job may run, and how long it is known. In milliseconds."""

    model_config = ConfigDict(frozen=True)

    executionTimeout: RunLimit | None = Field(default=None, description="Longest run. Default: no limit of its own.")
    ttl: Lifetime | None = Field(default=None, description="Lifetime since the submission. The job is deleted then.")
    lowPriority: Flag = Field(default=False, description="Without effect.")


class JobBody(BaseModel):
    """What is posted to `run` and `runsync`."""

    model_config = ConfigDict(frozen=True)

    input: dict[str, Any]
    webhook: WebAddress | None = Field(default=None, description="Gets the finished job by POST.")
    policy: Policy = Policy()


class JobInput(PictureFields):
    """The parameters of the model."""

    seed: SignedSeed | None = Field(default=None, description="-1 is random.")
    output_format: OutputFormat = Field(default="JPG", description="jpeg, png or webp. Default: jpeg.")
