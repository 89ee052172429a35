"""The fields that this server adds to the vendors' requests: steps, guidance, LoRAs, a step cache, the drift guard.

The same names in every dialect. A client that does not know them sends none, and gets the model's own values.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, model_validator

from accel.cache.plan import CacheName
from pipelines.limits import MAX_ADAPTER_WEIGHT, MAX_PROMPT, MAX_STEPS, MAX_TRUE_CFG_SCALE
from server.tasks.plain.cache_choice import CacheChoice
from server.tasks.plain.plain_task import PlainLora

MAX_LORAS = 20
# A cache's threshold where the client gives none. Those of the residuals are the fixed point of both directions.
THRESHOLDS: dict[CacheName, float] = {"fbcache": 0.25, "teacache": 0.5, "dbcache": 0.25}

Integer = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Prompt = Annotated[StrictStr, Field(min_length=1, max_length=MAX_PROMPT)]
LongText = Annotated[StrictStr, Field(max_length=MAX_PROMPT)]


def _as_lora(value: Any) -> Any:
    """A name alone, or an object in one of the spellings that the vendors have."""
    if isinstance(value, str):
        return {"path": value}
    if isinstance(value, dict):
        spellings = {"model": "path", "name": "path", "weight": "scale"}
        return {spellings.get(name, name): item for name, item in value.items()}
    return value


def _as_cache(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class LoraField(BaseModel):
    """One LoRA that is installed here, by its AIR identifier or slug, and its strength."""

    model_config = ConfigDict(frozen=True)

    path: Annotated[StrictStr, Field(min_length=1, max_length=255)]
    scale: Annotated[Number, Field(ge=-MAX_ADAPTER_WEIGHT, le=MAX_ADAPTER_WEIGHT)] | None = None

    @property
    def plain(self) -> PlainLora:
        """The LoRA as a task has it."""
        return PlainLora(self.path, self.scale)


class CacheField(BaseModel):
    """A step cache. A higher threshold reuses more steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["fbcache", "teacache", "dbcache"]
    threshold: Annotated[Number, Field(ge=0, le=1)] | None = None
    start_step: Annotated[Integer, Field(ge=0, le=MAX_STEPS)] | None = None
    end_step: Annotated[Integer, Field(ge=1, le=MAX_STEPS)] | None = None
    max_consecutive_steps: Annotated[Integer, Field(ge=1, le=5)] = 3

    @model_validator(mode="after")
    def _whole_window(self) -> "CacheField":
        if (self.start_step is None) != (self.end_step is None):
            raise ValueError("give start_step and end_step, or neither")
        if self.start_step is not None and self.end_step is not None and self.start_step >= self.end_step:
            raise ValueError("start_step must be less than end_step")
        return self

    @property
    def choice(self) -> CacheChoice:
        """The cache as a task has it."""
        threshold = THRESHOLDS[self.type] if self.threshold is None else self.threshold
        window = None if self.start_step is None or self.end_step is None else (self.start_step, self.end_step)
        return CacheChoice(self.type, threshold, self.max_consecutive_steps, window)


class Extensions(BaseModel):
    """The added fields. A vendor's request inherits them. Fields that no model here reads are ignored, as there."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    num_inference_steps: Annotated[Integer, Field(ge=1, le=MAX_STEPS)] | None = Field(
        default=None, description="Denoising steps. Default: the model's."
    )
    true_cfg_scale: Annotated[Number, Field(ge=0, le=MAX_TRUE_CFG_SCALE)] | None = Field(
        default=None, description="Guidance; 1 or less switches it off. Default: the model's."
    )
    loras: Annotated[tuple[Annotated[LoraField, BeforeValidator(_as_lora)], ...], Field(max_length=MAX_LORAS)] = Field(
        default=(), description="LoRAs that are installed here."
    )
    cache: Annotated[CacheField, BeforeValidator(_as_cache)] | None = Field(
        default=None, description="A step cache, by its name or with its options."
    )
    align_to: Literal["auto"] | Annotated[Integer, Field(ge=0)] | None = Field(
        default=None,
        description="Undo a small shift and scale of an edit against its source: auto for the first image, or the "
        "number of an image, from 0.",
    )
    keep_unchanged: Literal["auto"] | None = Field(
        default=None, description="auto: keep the source's own pixels where an edit has changed nothing."
    )

    @property
    def plain_options(self) -> dict[str, Any]:
        """The added fields as `PlainTask` calls them."""
        return {
            "steps": self.num_inference_steps,
            "true_cfg_scale": self.true_cfg_scale,
            "loras": tuple(lora.plain for lora in self.loras),
            "cache": None if self.cache is None else self.cache.choice,
            "align_to": self.align_to,
            "keep_unchanged": self.keep_unchanged is not None,
        }


# The names of the extensions' parts in errors, for the table of each dialect.
EXTENSION_NAMES = {"loras[]": "loras[].path", "cache.window": "cache.start_step"}
