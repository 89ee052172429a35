"""The tasks of the wire as types: names, types, ranges and defaults.

Attributes have the wire's names. `check.rules` has the rules between fields, and between a field and the model.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictStr

from pipelines.controlnet.preprocessors import CANNY_HIGH, CANNY_LOW
from pipelines.limits import MAX_MASK_MARGIN, MIN_MASK_MARGIN
from server.api.runware.schema.fields import (
    AIR_PATTERN,
    MAX_CONTROLNETS,
    MAX_LORAS,
    AnyTaskId,
    ControlImageSize,
    GreyLevel,
    Hundredths,
    ImageText,
    Integer,
    Lifetime,
    LongText,
    ModelName,
    OutputFormat,
    OutputQuality,
    OutputType,
    PreprocessorName,
    Prompt,
    Receiver,
    SchedulerName,
    Seed,
    ShortText,
    Size,
    Steps,
    TaskUUID,
    WebAddress,
    Weight,
)
from server.api.runware.schema.objects import (
    AcceleratorOptions,
    AdvancedFeatures,
    ControlNet,
    InferenceSettings,
    Inputs,
    Lora,
    Outpaint,
    OwnwareOptions,
    Safety,
    WireModel,
)
from server.media.encode import DEFAULT_QUALITY

NO_EFFECT = "Validated, then refused with unsupportedParameter if it asks for something. It has no effect."

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


class Task(WireModel):
    """The fields of every task."""

    taskUUID: TaskUUID = Field(description="UUID of the task. It is unique, and every answer repeats it.")
    deliveryMethod: Literal["sync", "async"] = Field(
        default="sync",
        description="async: imageInference is acknowledged at once. Other tasks are always answered at once.",
    )


class ImageInference(Task):
    """Generate images from a prompt, or edit reference images by one."""

    taskType: Literal["imageInference"]
    model: ModelName = Field(description="AIR identifier or slug of a served model.")
    positivePrompt: Prompt = Field(description="What the image shows, or how to edit.")
    negativePrompt: Prompt | None = Field(
        default=None, description="What the image does not show. Without effect when guidance is off."
    )
    width: Size | None = Field(default=None, description="Pixels. Required for text to image, with height.")
    height: Size | None = Field(default=None, description="Pixels. Required for text to image, with width.")
    seed: Seed | None = Field(default=None, description="Result k uses seed + k. Default: random, 32 bits.")
    steps: Steps | None = Field(default=None, description="Denoising steps. Default: the model's.")
    scheduler: SchedulerName | None = Field(
        default=None,
        description="Solver and schedule (docs/reference/schedulers.md). Default: the model's own, Euler.",
    )
    CFGScale: Annotated[Hundredths, Field(ge=1, le=20)] | None = Field(
        default=None, description="Guidance scale. 1 switches guidance off."
    )
    inputs: Inputs = Inputs()
    settings: InferenceSettings = InferenceSettings()
    numberResults: Annotated[Integer, Field(ge=1, le=20)] = 1
    outputType: OutputType = "URL"
    outputFormat: OutputFormat = "JPG"
    outputQuality: OutputQuality = DEFAULT_QUALITY
    ttl: Lifetime | None = Field(default=None, description="Seconds until the image URL expires.")
    includeCost: StrictBool = False
    webhookURL: Receiver | None = Field(
        default=None, description="Gets a POST with each result as it becomes available, and with a failure."
    )
    uploadEndpoint: Receiver | None = Field(
        default=None, description="Gets a PUT with the file of each image, before the image is answered."
    )
    safety: Safety = Field(
        default=Safety(), description="Check each image for being safe for work. Its result has NSFWContent."
    )
    acceleratorOptions: AcceleratorOptions = AcceleratorOptions()
    lora: tuple[Lora, ...] = Field(
        default=(), max_length=MAX_LORAS, description="LoRAs. They act together, on this task only."
    )
    controlNet: tuple[ControlNet, ...] = Field(
        default=(), max_length=MAX_CONTROLNETS, description="ControlNets. They act together."
    )
    maskMargin: Annotated[Integer, Field(ge=MIN_MASK_MARGIN, le=MAX_MASK_MARGIN)] | None = Field(
        default=None, description="Render only the masked part at the full size, with this many pixels around it."
    )
    outpaint: Outpaint | None = Field(
        default=None, description="Extend the seedImage. width and height are those of the extended image."
    )
    advancedFeatures: AdvancedFeatures = AdvancedFeatures()
    ownware: OwnwareOptions = OwnwareOptions()


class EarlierTask(Task):
    """The fields of a task about another one, of any dialect."""

    taskUUID: AnyTaskId = Field(description="The id of the earlier task.")


class GetResponse(EarlierTask):
    """Get the results of an earlier task. taskUUID is that task's."""

    taskType: Literal["getResponse"]


class GetTaskDetails(EarlierTask):
    """Get the request, response, warnings and timings of an earlier task. taskUUID is that task's."""

    taskType: Literal["getTaskDetails"]


class CancelTask(EarlierTask):
    """Cancel an earlier task. taskUUID is that task's."""

    taskType: Literal["cancelTask"]


class ImageUpload(Task):
    """Store an image. Later tasks name it by its UUID."""

    taskType: Literal["imageUpload"]
    image: ImageText


class ControlNetPreprocess(Task):
    """Turn an image into a control image for a ControlNet."""

    taskType: Literal["controlNetPreprocess", "imageControlNetPreProcess"]
    inputImage: ImageText
    preProcessorType: PreprocessorName
    width: ControlImageSize | None = Field(default=None, description="Pixels. A wider image is shrunk to it.")
    height: ControlImageSize | None = Field(default=None, description="Pixels. A higher image is shrunk to it.")
    lowThresholdCanny: GreyLevel = Field(default=CANNY_LOW, description="Less than highThresholdCanny. Canny only.")
    highThresholdCanny: GreyLevel = Field(default=CANNY_HIGH, description="More than lowThresholdCanny. Canny only.")
    includeHandsAndFaceOpenPose: StrictBool = Field(default=False, description="Ignored: openpose is not served.")
    outputType: OutputType = "URL"
    outputFormat: OutputFormat = "JPG"
    outputQuality: OutputQuality = DEFAULT_QUALITY
    ttl: Lifetime | None = Field(default=None, description="Seconds until the control image expires.")
    includeCost: StrictBool = False
    webhookURL: Receiver | None = Field(
        default=None, description="Gets a POST with the control image, or with the failure of its upload."
    )
    uploadEndpoint: Receiver | None = Field(
        default=None, description="Gets a PUT with the file of the control image, before it is answered."
    )


class MediaStorage(Task):
    """Store or delete an image."""

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
    downloadURL: WebAddress = Field(description="URL of the file. It is fetched once, and stored.")
    air: Annotated[StrictStr, Field(pattern=AIR_PATTERN, max_length=255)] | None = Field(
        default=None, description="Identifier for tasks. Default: made of name and version."
    )
    uniqueIdentifier: ShortText | None = Field(default=None, description="Another identifier for tasks.")
    defaultWeight: Weight = Field(default=1.0, description="Its weight in tasks that give none.")
    private: StrictBool = Field(default=True, description="Whether only this API key finds and uses it.")
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
    """Get the usage of an API key. There is no balance here."""

    taskType: Literal["accountManagement"]
    operation: Literal["getDetails"]


class Ping(WireModel):
    """Check the connection."""

    taskType: Literal["ping"]
    taskUUID: TaskUUID | None = None
    ping: StrictBool = True


class Authentication(WireModel):
    """Authenticate with an API key, and resume a WebSocket session."""

    taskType: Literal["authentication"]
    taskUUID: TaskUUID | None = None
    apiKey: StrictStr | None = None
    connectionSessionUUID: StrictStr | None = None
    events: StrictBool = Field(default=False, description="WebSocket: send the events of each imageInference task too.")


TASKS: dict[str, type[WireModel]] = {
    "imageInference": ImageInference,
    "getResponse": GetResponse,
    "getTaskDetails": GetTaskDetails,
    "cancelTask": CancelTask,
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
