"""The tasks of the wire as types: names, types, ranges, steps and defaults, and nothing that needs a second field.

Attributes are spelt as on the wire, so that this page reads like the vendor's. Values are validated strictly: no
"1024" for 1024. Rules between fields, and between a field and the model, are in `rules`.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    WithJsonSchema,
)

from pipelines.preprocessors import CANNY_HIGH, CANNY_LOW, KINDS, NEED_A_NETWORK
from server.runware.schedulers import SCHEDULERS, scheduler_name

MAX_SEED = 2**63 - 1
MAX_TTL = 100 * 366 * 86_400  # a lifetime; beyond some size it is no number of seconds that can be stored
MAX_PROMPT = 32_000
NO_EFFECT = "Validated, then refused with unsupportedParameter if it asks for anything: it has no effect yet."
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


Integer = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Hundredths = Annotated[Number, Field(multiple_of=0.01)]
Unit = Annotated[Hundredths, Field(ge=0, le=1)]
Prompt = Annotated[StrictStr, Field(min_length=1, max_length=MAX_PROMPT)]
Size = Annotated[Integer, Field(ge=128, le=2048, multiple_of=16)]
GuideSize = Annotated[Integer, Field(ge=64, le=2048)]
GreyLevel = Annotated[Integer, Field(ge=0, le=255)]
Percentage = Annotated[Integer, Field(ge=0, le=99)]
EndPercentage = Annotated[Integer, Field(ge=1, le=100)]
Weight = Annotated[Hundredths, Field(ge=-4, le=4)]
TaskUUID = Annotated[StrictStr, Field(pattern=UUID_PATTERN, json_schema_extra={"format": "uuid"})]
WebAddress = Annotated[StrictStr, Field(pattern=r"^https?://[^\s/]+", json_schema_extra={"format": "uri"})]
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


ModelOrder = Literal[
    "_score",
    "popularity",
    "-popularity",
    "name",
    "-name",
    "addedUnixTimestamp",
    "-addedUnixTimestamp",
    "updatedDateUnixTimestamp",
    "-updatedDateUnixTimestamp",
]


class WireModel(BaseModel):
    """An object of the wire: unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Task(WireModel):
    """What every task has."""

    taskUUID: TaskUUID = Field(description="UUID of the task, unique, and echoed in everything about it.")
    deliveryMethod: Literal["sync", "async"] = Field(
        default="sync",
        description="async: imageInference is acknowledged at once; other tasks are answered at once anyway.",
    )


class Safety(WireModel):
    """Content checking."""

    checkContent: StrictBool = False
    mode: Literal["none", "fast", "full"] = "none"


class AcceleratorOptions(WireModel):
    """Step caches, one at a time, and when they may act (docs/caching.md)."""

    fbCache: StrictBool = Field(default=False, description="Watch what the first block changes.")
    fbCacheThreshold: Unit = Field(default=0.25, description="Lower: more reuse (see --threshold-direction).")
    teaCache: StrictBool = Field(default=False, description="Watch the first block's input.")
    teaCacheDistance: Unit = Field(default=0.5, description="Higher: more reuse.")
    dbCache: StrictBool = Field(default=False, description="Watch what the first few blocks change.")
    dbCacheThreshold: Unit = Field(default=0.25, description="Lower: more reuse (see --threshold-direction).")
    dbCacheSkipInterval: Annotated[Integer, Field(ge=1)] = Field(
        default=5, description="Steps in a row that dbCache may reuse, if cacheMaxConsecutiveSteps allows as many."
    )
    cacheStartStep: Annotated[Integer, Field(ge=0)] | None = Field(
        default=None, description="First of the executed steps that may be reused. Default: 3, of 28 or more 4."
    )
    cacheEndStep: Annotated[Integer, Field(ge=1)] | None = Field(
        default=None, description="First step that may not be reused any more. Default: the last, of 28 or fewer two."
    )
    cacheStartStepPercentage: Percentage | None = Field(default=None, description="Of the executed steps.")
    cacheEndStepPercentage: EndPercentage | None = Field(default=None, description="Of the executed steps.")
    cacheMaxConsecutiveSteps: Annotated[Integer, Field(ge=1, le=5)] = Field(
        default=3, description="Steps in a row that may be reused."
    )


class Lora(WireModel):
    """One adapter and how strongly it acts."""

    model: Annotated[StrictStr, Field(min_length=1)]
    weight: Weight = Field(default=1.0, description="Default: what the LoRA was installed with, else 1.")
    transformer: Literal["high", "low", "both"] = Field(
        default="both", description="Without meaning: these models have one transformer."
    )


class ControlNet(WireModel):
    """One control model, its guide image and the steps in which it acts."""

    model: Annotated[StrictStr, Field(min_length=1)]
    guideImage: ImageText
    weight: Weight | None = Field(default=None, description="0 switches it off. Default: the ControlNet's, mostly 1.")
    controlMode: Literal["balanced", "controlnet", "prompt"] = Field(
        default="balanced",
        description="prompt: weaker in the first blocks; controlnet: not on the branch of the negative prompt.",
    )
    startStep: Annotated[Integer, Field(ge=0)] | None = None
    endStep: Annotated[Integer, Field(ge=1)] | None = None
    startStepPercentage: Percentage | None = None
    endStepPercentage: EndPercentage | None = None


class Outpaint(WireModel):
    """Pixels to add on each side of the seedImage, whose own pixels stay; blur eases each new edge in, outside it."""

    top: Annotated[Integer, Field(ge=0)] = 0
    right: Annotated[Integer, Field(ge=0)] = 0
    bottom: Annotated[Integer, Field(ge=0)] = 0
    left: Annotated[Integer, Field(ge=0)] = 0
    blur: Annotated[Integer, Field(ge=0, le=32)] = 0


class Inputs(WireModel):
    """Pictures the task starts from: UUID, URL, data URI or base64."""

    referenceImages: tuple[ImageText, ...] = Field(default=(), description="What to edit; for edit models.")
    seedImage: ImageText | None = Field(
        default=None, description="What the picture starts from, scaled to width and height."
    )
    maskImage: ImageText | None = Field(
        default=None,
        description="White where the seedImage is drawn anew, black where its pixels stay exactly as they are.",
    )
    strength: Unit | None = Field(
        default=None,
        description="How much of the seedImage is drawn anew: 0 returns it, 1 starts from noise alone. Default: 0.8, "
        "with outpaint 1. Ignored without a seedImage.",
    )


class InferenceSettings(WireModel):
    """Technical parameters of the inference."""

    trueCFGScale: Number | None = Field(default=None, description="Wins over CFGScale; 1 or less: no guidance.")


class Ultralytics(WireModel):
    """Draw each face of the finished image again, larger; for servers started with --face-refinement."""

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


class ImageInference(Task):
    """Draw images from a prompt, or edit reference images as it says."""

    taskType: Literal["imageInference"]
    model: Annotated[StrictStr, Field(min_length=1)] = Field(description="AIR identifier or slug of a served model.")
    positivePrompt: Prompt = Field(description="What to draw, or how to edit.")
    negativePrompt: Prompt | None = Field(
        default=None, description="What to keep out; without effect when guidance is off."
    )
    width: Size | None = Field(default=None, description="Pixels. Required for text to image, with height.")
    height: Size | None = Field(default=None, description="Pixels. Required for text to image, with width.")
    seed: Annotated[Integer, Field(ge=0, le=MAX_SEED)] | None = Field(
        default=None, description="Result k uses seed + k. Default: random, 32 bits."
    )
    steps: Annotated[Integer, Field(ge=1, le=50)] | None = Field(
        default=None, description="Denoising steps. Default: the model's."
    )
    scheduler: SchedulerName | None = Field(
        default=None,
        description="Sampling method and spacing of the steps (docs/schedulers.md). Default: the model's own, Euler.",
    )
    CFGScale: Annotated[Hundredths, Field(ge=1, le=20)] | None = Field(
        default=None, description="Guidance scale; 1 switches guidance off."
    )
    inputs: Inputs = Inputs()
    settings: InferenceSettings = InferenceSettings()
    numberResults: Annotated[Integer, Field(ge=1, le=20)] = 1
    outputType: Literal["URL", "base64Data", "dataURI"] = "URL"
    outputFormat: Annotated[Literal["JPG", "PNG", "WEBP"], BeforeValidator(_upper)] = "JPG"
    outputQuality: Annotated[Integer, Field(ge=20, le=99)] = 95
    ttl: Annotated[Integer, Field(ge=60, le=MAX_TTL)] | None = Field(
        default=None, description="Seconds until the image URL expires."
    )
    includeCost: StrictBool = False
    webhookURL: WebAddress | None = Field(default=None, description=NO_EFFECT)
    uploadEndpoint: WebAddress | None = Field(default=None, description=NO_EFFECT)
    safety: Safety = Field(default=Safety(), description=NO_EFFECT)
    acceleratorOptions: AcceleratorOptions = AcceleratorOptions()
    lora: tuple[Lora, ...] = Field(default=(), description="Adapters that act together, on this task only.")
    controlNet: tuple[ControlNet, ...] = Field(default=(), description="ControlNets, which act together.")
    maskMargin: Annotated[Integer, Field(ge=32, le=128)] | None = Field(
        default=None, description="Draw only the masked part with so many pixels around it, at the full size."
    )
    outpaint: Outpaint | None = Field(
        default=None, description="Extend the seedImage; width and height are those of the extended image."
    )
    advancedFeatures: AdvancedFeatures = AdvancedFeatures()


class GetResponse(Task):
    """Ask for the results of an earlier task; taskUUID is that task's."""

    taskType: Literal["getResponse"]


class GetTaskDetails(Task):
    """Ask for the request, response, warnings and timings of an earlier task; taskUUID is that task's."""

    taskType: Literal["getTaskDetails"]


class ImageUpload(Task):
    """Keep an image, to be named by its UUID in later tasks."""

    taskType: Literal["imageUpload"]
    image: ImageText


class ControlNetPreprocess(Task):
    """Turn an image into a guide for a ControlNet."""

    taskType: Literal["controlNetPreprocess", "imageControlNetPreProcess"]
    inputImage: ImageText
    preProcessorType: PreprocessorName
    width: GuideSize | None = Field(default=None, description="Pixels. A wider image is shrunk to it.")
    height: GuideSize | None = Field(default=None, description="Pixels. A higher image is shrunk to it.")
    lowThresholdCanny: GreyLevel = Field(default=CANNY_LOW, description="Less than highThresholdCanny; canny only.")
    highThresholdCanny: GreyLevel = Field(default=CANNY_HIGH, description="More than lowThresholdCanny; canny only.")
    includeHandsAndFaceOpenPose: StrictBool = Field(default=False, description="Ignored: openpose is not served.")
    outputType: Literal["URL", "base64Data", "dataURI"] = "URL"
    outputFormat: Annotated[Literal["JPG", "PNG", "WEBP"], BeforeValidator(_upper)] = "JPG"
    outputQuality: Annotated[Integer, Field(ge=20, le=99)] = 95
    ttl: Annotated[Integer, Field(ge=60, le=MAX_TTL)] | None = Field(
        default=None, description="Seconds until the guide expires."
    )
    includeCost: StrictBool = False
    webhookURL: WebAddress | None = Field(default=None, description=NO_EFFECT)
    uploadEndpoint: WebAddress | None = Field(default=None, description=NO_EFFECT)


class MediaStorage(Task):
    """Keep or delete an image."""

    taskType: Literal["mediaStorage"]
    operation: Literal["upload", "delete"]
    media: ImageText


class ModelUpload(Task):
    """Install a LoRA from a URL."""

    taskType: Literal["modelUpload"]
    category: Literal["checkpoint", "lora", "lycoris", "vae", "embeddings"] = Field(description="lora or lycoris.")
    architecture: Literal["qwen_image", "qwen_image_edit"]
    format: Literal["safetensors"] = "safetensors"
    name: ShortText
    version: ShortText
    downloadURL: WebAddress = Field(description="Where the file is; it is fetched once, and kept.")
    air: Annotated[StrictStr, Field(pattern=AIR_PATTERN, max_length=255)] | None = Field(
        default=None, description="What tasks call it by. Default: made of name and version."
    )
    uniqueIdentifier: ShortText | None = Field(default=None, description="Another name for tasks to call it by.")
    defaultWeight: Weight = Field(default=1.0, description="Its weight in tasks that say none.")
    private: StrictBool = Field(default=True, description="Whether only this key finds and uses it.")
    tags: Annotated[tuple[ShortText, ...], Field(max_length=100)] = ()
    heroImageURL: WebAddress | None = None
    positiveTriggerWords: LongText | None = None
    negativeTriggerWords: LongText | None = None
    shortDescription: LongText | None = None
    comment: LongText | None = None


class ModelSearch(Task):
    """List the served models and LoRAs."""

    taskType: Literal["modelSearch"]
    search: StrictStr | None = None
    tags: tuple[StrictStr, ...] = ()
    category: Literal["checkpoint", "lora", "lycoris", "vae", "embeddings", "controlnet"] | None = None
    type: StrictStr | None = None
    architecture: StrictStr | None = None
    conditioning: StrictStr | None = Field(default=None, description=NO_EFFECT)
    source: Literal["official", "community"] | None = None
    capabilities: tuple[StrictStr, ...] = Field(default=(), description=NO_EFFECT)
    visibility: Literal["public", "private", "favorite", "owned", "all"] = "all"
    limit: Annotated[Integer, Field(ge=1, le=100)] = 20
    offset: Annotated[Integer, Field(ge=0)] = 0
    sort: ModelOrder = "_score"


class AccountManagement(Task):
    """What the vendor tells about an account; here there is no money, only usage."""

    taskType: Literal["accountManagement"]
    operation: Literal["getDetails"]


class Ping(WireModel):
    """Ask whether anybody is there."""

    taskType: Literal["ping"]
    taskUUID: TaskUUID | None = None
    ping: StrictBool = True


class Authentication(WireModel):
    """Present a key, and on a WebSocket the session to resume."""

    taskType: Literal["authentication"]
    taskUUID: TaskUUID | None = None
    apiKey: StrictStr | None = None
    connectionSessionUUID: StrictStr | None = None


TASKS: dict[str, type[WireModel]] = {
    "imageInference": ImageInference,
    "getResponse": GetResponse,
    "getTaskDetails": GetTaskDetails,
    "imageUpload": ImageUpload,
    "controlNetPreprocess": ControlNetPreprocess,
    "imageControlNetPreProcess": ControlNetPreprocess,
    "mediaStorage": MediaStorage,
    "modelUpload": ModelUpload,
    "modelSearch": ModelSearch,
    "accountManagement": AccountManagement,
    "ping": Ping,
    "authentication": Authentication,
}

# Known to the vendor's clients, not served here.
UNSERVED: frozenset[str] = frozenset(
    "3dInference audioInference caption imageBackgroundRemoval imageCaption imageMasking imageUpscale "
    "photoMaker promptEnhance removeBackground "
    "textInference tools training upscale vectorize videoInference".split()
)

WireTask = dict[str, Any]
