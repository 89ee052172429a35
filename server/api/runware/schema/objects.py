"""The objects within the tasks of the wire. Knows names, types and defaults; knows no task."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from pipelines.limits import MAX_TRUE_CFG_SCALE
from server.api.runware.schema.fields import (
    EndPercentage,
    ImageText,
    Integer,
    ModelName,
    Number,
    Percentage,
    Unit,
    Weight,
)


class WireModel(BaseModel):
    """An object of the wire. Unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Safety(WireModel):
    """Content checking."""

    checkContent: StrictBool = False
    mode: Literal["none", "fast", "full"] = "none"


class AcceleratorOptions(WireModel):
    """Step caches and the steps in which they act (docs/reference/step-caches.md). One at a time."""

    fbCache: StrictBool = Field(default=False, description="Compare the residual of the first block.")
    fbCacheThreshold: Unit = Field(default=0.25, description="Lower: more reuse (see --threshold-direction).")
    teaCache: StrictBool = Field(default=False, description="Compare the input of the first block.")
    teaCacheDistance: Unit = Field(default=0.5, description="Higher: more reuse.")
    dbCache: StrictBool = Field(default=False, description="Compare the residual of the first few blocks.")
    dbCacheThreshold: Unit = Field(default=0.25, description="Lower: more reuse (see --threshold-direction).")
    dbCacheSkipInterval: Annotated[Integer, Field(ge=1)] = Field(
        default=5, description="Consecutive steps that dbCache may reuse. cacheMaxConsecutiveSteps limits it too."
    )
    cacheStartStep: Annotated[Integer, Field(ge=0)] | None = Field(
        default=None, description="First executed step that may be reused. Default: 3, of 28 or more 4."
    )
    cacheEndStep: Annotated[Integer, Field(ge=1)] | None = Field(
        default=None,
        description="First step after the window. Default: the last step, of 28 or fewer the last but one.",
    )
    cacheStartStepPercentage: Percentage | None = Field(default=None, description="Of the executed steps.")
    cacheEndStepPercentage: EndPercentage | None = Field(default=None, description="Of the executed steps.")
    cacheMaxConsecutiveSteps: Annotated[Integer, Field(ge=1, le=5)] = Field(
        default=3, description="Consecutive steps that may be reused."
    )


class Lora(WireModel):
    """One LoRA and its weight."""

    model: ModelName
    weight: Weight = Field(default=1.0, description="Default: the LoRA's own default weight, else 1.")
    transformer: Literal["high", "low", "both"] = Field(
        default="both", description="Without effect: these models have one transformer."
    )


class ControlNet(WireModel):
    """One ControlNet, its control image and the steps in which it acts."""

    model: ModelName
    guideImage: ImageText
    weight: Weight | None = Field(
        default=None, description="0 switches it off. Default: the ControlNet's own weight, else 1."
    )
    controlMode: Literal["balanced", "controlnet", "prompt"] = Field(
        default="balanced",
        description="prompt: weaker in the first blocks; controlnet: not on the branch of the negative prompt.",
    )
    startStep: Annotated[Integer, Field(ge=0)] | None = None
    endStep: Annotated[Integer, Field(ge=1)] | None = None
    startStepPercentage: Percentage | None = None
    endStepPercentage: EndPercentage | None = None


class Outpaint(WireModel):
    """Pixels to add on each side of the seedImage. Its own pixels stay. blur softens each new edge, outside it."""

    top: Annotated[Integer, Field(ge=0)] = 0
    right: Annotated[Integer, Field(ge=0)] = 0
    bottom: Annotated[Integer, Field(ge=0)] = 0
    left: Annotated[Integer, Field(ge=0)] = 0
    blur: Annotated[Integer, Field(ge=0, le=32)] = 0


class Inputs(WireModel):
    """Input pictures: UUID, URL, data URI or base64."""

    referenceImages: tuple[ImageText, ...] = Field(default=(), description="Pictures to edit. For edit models.")
    seedImage: ImageText | None = Field(
        default=None, description="Picture to start from. It is scaled to width and height."
    )
    maskImage: ImageText | None = Field(
        default=None,
        description="White where the seedImage changes, black where its pixels stay exactly as they are.",
    )
    strength: Unit | None = Field(
        default=None,
        description="How much of the seedImage changes: 0 returns it, 1 starts from noise alone. Default: 0.8, "
        "with outpaint 1. Ignored without a seedImage.",
    )


class InferenceSettings(WireModel):
    """Technical parameters of the inference."""

    # The page names no range.
    trueCFGScale: Annotated[Number, Field(le=MAX_TRUE_CFG_SCALE)] | None = Field(
        default=None, description="Overrides CFGScale. 1 or less switches guidance off."
    )


class Ultralytics(WireModel):
    """Render each face of the finished image again, larger. For servers started with --face-refinement."""

    CFGScale: Annotated[Number, Field(ge=0, le=50, multiple_of=0.1)] = 8.0
    confidence: Unit = 0.9
    maskBlur: Annotated[Integer, Field(ge=0, le=100)] = 5
    maskPadding: Annotated[Integer, Field(ge=0, le=20)] = 5
    negativePrompt: StrictStr | None = None
    positivePrompt: StrictStr | None = None
    steps: Annotated[Integer, Field(ge=1, le=100)] = 20
    strength: Unit = 0.3


class AdvancedFeatures(WireModel):
    """Add-ons and post-processing."""

    ultralytics: Ultralytics | None = Field(default=None, description="Documented for other model families.")


class OwnwareOptions(WireModel):
    """Options of this server that Runware does not have."""

    alignTo: Literal["auto", "seedImage"] | Annotated[Integer, Field(ge=0)] | None = Field(
        default=None,
        description="Undo a small shift and scale of the whole image against its source: the seedImage, or a number "
        "of referenceImages, from 0. auto: the seedImage, else the first reference.",
    )
    keepUnchanged: Literal["auto"] | ImageText | None = Field(
        default=None,
        description="Keep the source's own pixels where nothing has changed: auto, or a mask that is white where the "
        "image may differ.",
    )
    priority: Literal["normal", "low"] = Field(
        default="normal",
        description="low: render the task while no other one waits. It gives way to others between its steps.",
    )
