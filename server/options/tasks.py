"""The options of what tasks may ask for, and of what becomes of their results. A part of `Settings`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from server.delivery.signatures import secret_key


class TaskSettings(BaseSettings):
    """Parameters, LoRAs, content checks, webhooks and uploads."""

    face_refinement: bool = Field(
        default=False,
        description="Let advancedFeatures.ultralytics render the faces of an image again; needs the extra faces.",
    )
    lora_dir: Path | None = Field(
        default=None, description="Folder of LoRAs: every *.safetensors in it is called by its name without the ending."
    )
    profile_dir: Path | None = Field(
        default=None, description="Folder of your own TeaCache profiles; default: profiles in the data folder."
    )
    result_ttl: int = Field(
        default=86_400, ge=60, description="Seconds until a result that names no ttl of its own expires."
    )
    unknown_parameters: Literal["error", "ignore"] = Field(
        default="error", description="What to do with a parameter that the API does not have."
    )
    unsupported_parameters: Literal["error", "warn"] = Field(
        default="error",
        description="What to do with a parameter of the API that has no effect here, such as refiner or vae.",
    )
    gone_clients: Literal["cancel", "finish"] = Field(
        default="cancel",
        description="What to do with a waiting sync task whose HTTP client has hung up. A running one is finished.",
    )
    webhook_secret: str | None = Field(
        default=None, description="Signs webhooks: 24 to 64 random bytes in base64, with or without whsec_ before it."
    )
    webhook_delays: Annotated[tuple[Annotated[float, Field(ge=0, le=86_400)], ...], NoDecode] = Field(
        default=(5.0, 30.0, 120.0, 600.0),
        description="Seconds between the tries of a webhook, comma separated; a fifth is added at random.",
    )
    webhook_timeout: float = Field(default=10.0, gt=0, description="Seconds that a webhook's receiver may take.")
    upload_timeout: float = Field(default=30.0, gt=0, description="Seconds that one try of an upload may take.")
    safety_default: bool = Field(
        default=False, description="Check the images of tasks that do not say whether to; needs the extra safety."
    )
    safety_action: Literal["flag", "block"] = Field(
        default="flag",
        description="What to do with an image that is not safe for work. flag: its result says so; block: it is not "
        "kept, and its task fails.",
    )
    threshold_direction: Literal["documented", "library"] = Field(
        default="documented",
        description="How fbCacheThreshold and dbCacheThreshold count. documented: lower reuses more, as the API's "
        "pages say; library: higher does.",
    )

    @field_validator("webhook_secret")
    @classmethod
    def _some_secret(cls, value: str | None) -> str | None:
        if value is not None:
            secret_key(value)
        return value
